# SPDX-License-Identifier: GPL-3.0-or-later
"""Who talks to whom: the firewall, pg_hba, binds and the picture of a fleet come from here.

The endpoints of the plan say where each host goes; this only finds the host behind each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import endpoints, exporters
from .components import haproxy, postgres, redis
from .model import LOOPBACK, Fleet, Flow, HostPlan

WORLD, CONTROL = "world", "control"
SSH = 22
_RELEASES, _GATE, _ACME = "host -> releases", "gate -> nginx", "nginx -> nginx"
LOGS = "host -> logs"
REPLICATION, HEALTH = "replica -> postgres", "haproxy -> replica health"
# What passes while a playbook runs, or certificates are asked for, and not while people use the instance.
OF_RUNS = (_RELEASES, _GATE, _ACME)
_REDIS = {"redis": "feeds, queues and locks", "redis_cache": "the cache", "redis_sidekiq": "the queues"}


def flows(fleet: Fleet, hosts: Mapping[str, HostPlan]) -> tuple[Flow, ...]:
    """Every connection between two different hosts, and those from the world and the control machine; sorted."""
    by_address = {plan.host.address: name for name, plan in hosts.items()}
    found = [*_from_outside(fleet), *_replication(fleet), *_monitoring(fleet, hosts)]
    for plan in hosts.values():
        found += _edge(plan, by_address)
        found += _application(fleet, plan, by_address)
        found += _pools(plan, by_address)
        found += _releases(plan, by_address)
        found += _logs(plan, by_address)
    primary, builder = fleet.primary.name, endpoints.builder(fleet)
    found.append(_flow(builder, primary, postgres.PORT, "builder -> postgres", "migrations of the database"))
    found += _between_edges(fleet, builder)
    between = {flow for flow in found if flow.from_ != flow.to}
    return tuple(sorted(between, key=lambda flow: (flow.from_, flow.to, flow.port, flow.what)))


def _from_outside(fleet: Fleet) -> Iterator[Flow]:
    for host in fleet.hosts:
        yield _flow(CONTROL, host.name, SSH, "control -> host", "Ansible sets up the host")
    for host in fleet.running("nginx"):
        yield _flow(WORLD, host.name, 80, "world -> nginx", "people who type no https, and certificates")
        yield _flow(WORLD, host.name, 443, "world -> nginx", "people, and other servers of the fediverse")


def _edge(plan: HostPlan, by_address: Mapping[str, str]) -> Iterator[Flow]:
    """From nginx to every process of web and streaming."""
    if plan.nginx is None:
        return
    for tier, purpose in (("web", "pages and the API"), ("streaming", "what streaming pushes to people")):
        for end in plan.endpoints[tier]:
            target = _behind(end, plan, by_address)
            yield _flow(plan.host.name, target, end["port"], f"nginx -> {tier}", purpose)


def _application(fleet: Fleet, plan: HostPlan, by_address: Mapping[str, str]) -> Iterator[Flow]:
    """From Puma, Sidekiq and streaming to a pooler or the databases, and to Redis."""
    name, ends = plan.host.name, plan.endpoints
    pooled = bool(fleet.running("pgbouncer"))
    for tier, pool in _pools_of(plan):
        ruby = tier != "streaming"
        both = ruby and "database_replica" in ends
        target = _behind(ends["database"], plan, by_address)
        what = f"{tier} -> {'pgbouncer' if pooled else 'postgres'}"
        purpose = f"what {tier} reads and writes" + (", and what it reads from a replica" if both else "")
        yield _flow(name, target, ends["database"]["port"], what, purpose, pool * 2 if both else pool)
        for role, purpose in _REDIS.items():
            if role in ends and (ruby or role == "redis"):
                target = _behind(ends[role], plan, by_address)
                yield _flow(name, target, ends[role]["port"], f"{tier} -> {role}", purpose)


def _pools_of(plan: HostPlan) -> Iterator[tuple[str, int]]:
    """The tiers of the application on a host, and the most connections of each to the database."""
    if plan.web:
        yield "web", max(1, plan.web.workers) * plan.web.db_pool
    if plan.streaming:
        yield "streaming", plan.streaming.db_pool * len(plan.streaming.processes)
    if plan.sidekiq:
        yield "sidekiq", sum(process.db_pool for process in plan.sidekiq.processes)


def _pools(plan: HostPlan, by_address: Mapping[str, str]) -> Iterator[Flow]:
    """From a pooler to each PostgreSQL, and from HAProxy beside it to where a replica says how it is.

    Whoever reads may all come to any replica, or to the primary.
    """
    if plan.pgbouncer is None:
        return
    listeners = plan.haproxy.listeners if plan.haproxy else ()
    readers = [server for listener in listeners if listener.name == haproxy.READER for server in listener.servers]
    opened: dict[str, int] = {}
    for pool in plan.pgbouncer.pools:
        for end in readers if pool.for_ == "replica" else [pool]:
            target = _behind({"host": end.host}, plan, by_address)
            opened[target] = opened.get(target, 0) + pool.most
    for target, most in opened.items():
        purpose = "transactions of all clients of the pooler"
        yield _flow(plan.host.name, target, postgres.PORT, "pgbouncer -> postgres", purpose, most)
    for server in readers:
        if server.check_port:
            target = _behind({"host": server.host}, plan, by_address)
            purpose = "whether a replica is up, and how far behind"
            yield _flow(plan.host.name, target, server.check_port, HEALTH, purpose)


def _releases(plan: HostPlan, by_address: Mapping[str, str]) -> Iterator[Flow]:
    """From every host that needs a release to the one that built it."""
    if end := plan.endpoints.get("releases"):
        target = _behind(end, plan, by_address)
        yield _flow(plan.host.name, target, end["port"], _RELEASES, "releases, fetched from where they are built")


def _logs(plan: HostPlan, by_address: Mapping[str, str]) -> Iterator[Flow]:
    """From every host whose journal is kept elsewhere too."""
    if end := plan.endpoints.get("logs"):
        target = _behind(end, plan, by_address)
        yield _flow(plan.host.name, target, end["port"], LOGS, "what the journal of the host says")


def _between_edges(fleet: Fleet, builder: str) -> Iterator[Flow]:
    """To every edge from the host that tries it, and from every other: whichever is asked finds who wants to know."""
    edges = fleet.running("nginx")
    for edge in edges:
        yield _flow(builder, edge.name, 443, _GATE, "whether each edge serves, at the end of a run")
        for other in edges:
            yield _flow(other.name, edge.name, 80, _ACME, "challenges of a certificate, to the edge that asked for it")


def _replication(fleet: Fleet) -> Iterator[Flow]:
    for host in fleet.replicas:
        yield _flow(host.name, fleet.primary.name, postgres.PORT, REPLICATION, "replication of the database")
    for host in fleet.running("redis"):
        if host.redis_role == "replica":
            core = fleet.redis["core"].name
            yield _flow(host.name, core, redis.PORT, "redis replica -> redis", "replication of Redis")


def _monitoring(fleet: Fleet, hosts: Mapping[str, HostPlan]) -> Iterator[Flow]:
    """From the metrics host to what every host exports, streaming on its own ports; and to every edge."""
    for metrics in fleet.running("metrics"):
        for name, plan in hosts.items():
            streaming = plan.streaming.processes if plan.streaming else ()
            listening = [*exporters.ports(plan.host), *(("streaming", process.port) for process in streaming)]
            for what, port in listening:
                yield _flow(metrics.name, name, port, f"metrics -> {what}", "metrics, collected every few seconds")
            if plan.nginx:
                purpose = "whether the edge answers, and how long its certificate holds"
                yield _flow(metrics.name, name, 443, "metrics -> nginx", purpose)


def _behind(end: Mapping[str, Any], plan: HostPlan, by_address: Mapping[str, str]) -> str:
    """The name of the host that an endpoint leads to."""
    return plan.host.name if end["host"] == LOOPBACK else by_address[end["host"]]


def _flow(from_: str, to: str, port: int, what: str, purpose: str, pool: int | None = None) -> Flow:
    return Flow(from_=from_, to=to, port=port, protocol="tcp", what=what, purpose=purpose, pool=pool)
