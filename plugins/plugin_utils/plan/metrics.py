# SPDX-License-Identifier: GPL-3.0-or-later
"""What the metrics host collects, and the plan's own numbers that it holds what it collects against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import exporters
from .model import LOOPBACK, Fleet, HostPlan, Metrics, Planned, Target
from .proxies import ends_tls

HTTPS_PORT = 443
# The parts of the metrics host itself, which nobody else reaches.
_OWN = (("prometheus", 9090), ("alertmanager", 9093))
_BYTES_OF_MB = 1024 * 1024


def metrics(fleet: Fleet, hosts: Mapping[str, HostPlan]) -> Metrics:
    """What is collected from every host of the plan, and its numbers; nothing without a metrics host."""
    if not fleet.monitored:
        return Metrics()
    targets = [target for plan in hosts.values() for target in _targets(fleet, plan)]
    planned = [number for plan in hosts.values() for number in _numbers(plan)]
    return Metrics(
        targets=tuple(sorted(targets, key=lambda target: (target.job, target.host, target.port))),
        planned=tuple(sorted(planned, key=lambda number: (number.name, [*number.labels.items()]))),
    )


def _targets(fleet: Fleet, plan: HostPlan) -> Iterator[Target]:
    """Where the exporters of a host answer, its streaming processes, its edge, and the metrics host to itself."""
    host = plan.host
    for job, port in exporters.of(host).items():
        labels = {"redis": str(plan.redis.role)} if job == "redis" and plan.redis else {}
        yield Target(job=job, host=host.name, address=host.address, port=port, labels=labels)
    # Labels that begin with two underscores tell Prometheus how to ask, and are not kept.
    tls = ends_tls(fleet, host)
    for process in plan.streaming.processes if plan.streaming else ():
        yield Target(
            job="streaming",
            host=host.name,
            address=host.address if tls else process.bind,
            port=process.port,
            labels={"port": str(process.port), **({"__scheme__": "https"} if tls else {})},
        )
    if plan.nginx:
        yield Target(job="blackbox", host=host.name, address=host.address, port=HTTPS_PORT)
    if host.runs("metrics"):
        yield from (Target(job=job, host=host.name, address=LOOPBACK, port=port) for job, port in _OWN)


def _numbers(plan: HostPlan) -> Iterator[Planned]:
    """The sizes of a host, each with the labels by which it is found beside what the host says of itself."""

    def number(name: str, value: int, **labels: str) -> Planned:
        return Planned(name=f"fediops_plan_{name}", labels={"instance": plan.host.name, **labels}, value=value)

    if plan.web:
        yield number("web_workers", plan.web.workers)
        yield number("web_threads", max(1, plan.web.workers) * plan.web.threads)
    if plan.sidekiq:
        yield number("sidekiq_threads", sum(process.concurrency for process in plan.sidekiq.processes))
    if plan.streaming:
        yield number("streaming_processes", len(plan.streaming.processes))
    if plan.pgbouncer:
        for pool in plan.pgbouncer.pools:
            yield number("pgbouncer_pool_size", pool.pool_size, database=pool.name)
        yield number("pgbouncer_max_clients", plan.pgbouncer.max_client_conn)
    if plan.postgres:
        yield number("postgres_max_connections", int(plan.postgres.settings["max_connections"]))
    if plan.redis:
        maxmemory_mb = int(str(plan.redis.settings["maxmemory"]).removesuffix("mb"))
        yield number("redis_max_memory_bytes", maxmemory_mb * _BYTES_OF_MB, redis=plan.redis.role)
