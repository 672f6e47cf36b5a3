# SPDX-License-Identifier: GPL-3.0-or-later
"""The constraints: one function each, which looks at a finished plan and returns what does not hold.

C1 to C20 are the constraints of a whole fleet; those that need several hosts (poolers, replicas, remote
edges) join when the plan takes several hosts. C3, C17 and C18 guard the library itself and overrides to come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import ceil

from .coefficients import Coefficients
from .components import memory, postgres, redis
from .model import REQUIRED_TIERS, TIERS, Finding, Fleet, HostPlan
from .queues import QUEUES, queue_name

Hosts = Mapping[str, HostPlan]


def check_fleet(fleet: Fleet) -> tuple[Finding, ...]:
    """What must hold before there can be sizes at all."""
    return (
        *_some_host(fleet),
        *_every_tier_has_a_host(fleet),
        *_every_host_has_a_tier(fleet),
        *_addresses_differ(fleet),
    )


def check_plan(fleet: Fleet, hosts: Hosts, c: Coefficients) -> tuple[Finding, ...]:
    """Every constraint on the finished sizes; all findings, errors first."""
    findings = [finding for check in _CHECKS for finding in check(fleet, hosts, c)]
    return tuple(sorted(findings, key=lambda finding: finding.severity != "error"))


def _some_host(fleet: Fleet) -> list[Finding]:
    """An inventory without hosts is a wrong path more often than an empty fleet."""
    if fleet.hosts:
        return []
    return [
        _error(
            "inventory",
            (),
            "The inventory names no host.",
            f"Put one host at least into the groups {', '.join(REQUIRED_TIERS)}.",
        )
    ]


def _every_tier_has_a_host(fleet: Fleet) -> list[Finding]:
    """Mastodon needs every tier."""
    missing = [tier for tier in REQUIRED_TIERS if not fleet.running(tier)]
    if not missing or not fleet.hosts:
        return []
    only = fleet.hosts[0].name if len(fleet.hosts) == 1 else "a host"
    return [
        _error(
            "inventory",
            (),
            f"No host is in {_group_words(missing)}; Mastodon does not run without.",
            f"Add {only} to {_group_words(missing)}.",
        )
    ]


def _every_host_has_a_tier(fleet: Fleet) -> list[Finding]:
    """A host in no tier is a mistake in the inventory."""
    return [
        _error(
            "inventory",
            (host.name,),
            f"{host.name} is in none of the groups {', '.join(TIERS)}, so nothing runs on it.",
            f"Put {host.name} into the groups of what it is to run, or take it out of the inventory.",
        )
        for host in fleet.hosts
        if not host.tiers and host.name != fleet.builder
    ]


def _addresses_differ(fleet: Fleet) -> list[Finding]:
    """Two hosts cannot share an address."""
    counts = Counter(host.address for host in fleet.hosts if host.address)
    findings = []
    for address, count in counts.items():
        if count > 1:
            names = tuple(host.name for host in fleet.hosts if host.address == address)
            findings.append(
                _error(
                    "inventory",
                    names,
                    f"{' and '.join(names)} have the same vm_address {address}.",
                    "Give each host the address that it has for its neighbours.",
                )
            )
    return findings


def queues_are_served(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C1. Every queue has a process: jobs of a queue that nobody serves wait for ever."""
    served = {queue for dummy, queues in _served(hosts) for queue in queues}
    missing = [queue for queue in QUEUES if queue not in served]
    if not missing:
        return []
    names = tuple(host.name for host in fleet.running("sidekiq"))
    return [
        _error(
            "C1",
            names,
            f"No Sidekiq process serves {_and(missing)}: its jobs would wait for ever.",
            f"Add {_and(missing)} to sidekiq_queues of {names[0]}, or leave sidekiq_queues out.",
        )
    ]


def scheduler_runs_once(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C2. `scheduler` is in exactly one process of the fleet: cron jobs are pushed once by each that serves it."""
    owners = [name for name, queues in _served(hosts) if "scheduler" in queues]
    if len(owners) <= 1:
        return []
    names = tuple(sorted({name.split("/")[0] for name in owners}))
    return [
        _error(
            "C2",
            names,
            f"{len(owners)} Sidekiq processes serve scheduler ({', '.join(owners)}): "
            "every cron job would run that often.",
            "Leave scheduler in one list of sidekiq_queues only.",
        )
    ]


def pools_hold_all_threads(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C3. A process has a database connection for each of its threads."""
    short = [
        (name, what, pool, threads)
        for name, plan in hosts.items()
        for what, pool, threads in _pools(plan)
        if pool < threads
    ]
    return [
        _error(
            "C3",
            (name,),
            f"{name}: {what} has {threads} threads on a pool of {pool} connections.",
            f"Give it a pool of {threads}.",
        )
        for name, what, pool, threads in short
    ]


def connections_fit(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C6. Without a pooler max_connections holds 1.1 x all clients, tootctl, a person and the reserved ones."""
    if fleet.running("pgbouncer"):
        return []
    clients = _database_clients(hosts)
    needed = postgres.needed_connections(clients, c)
    # The application may hold nine tenths, so that a person still gets in when it has taken all it may.
    needed = max(needed, ceil(clients / 0.9))
    findings = []
    for name, plan in hosts.items():
        if plan.postgres is None:
            continue
        have = int(plan.postgres.settings["max_connections"])
        if have < needed:
            findings.append(
                _error(
                    "C6",
                    (name,),
                    f"{name}: max_connections is {have}, but {clients} clients need {needed}.",
                    f"Set postgres_max_connections: {needed} or more, or leave it out.",
                    postgres_max_connections=needed,
                )
            )
            continue
        ram_mb = next(row.mb for row in plan.memory.budget if row.what == "postgres")
        spare_mb = ram_mb - int(str(plan.postgres.settings["shared_buffers"]).removesuffix("MB"))
        most = max(needed, spare_mb // c.postgres_idle_backend_mb)
        if have > most:
            findings.append(
                _error(
                    "C6",
                    (name,),
                    f"{name}: {have} backends of PostgreSQL take {have * c.postgres_idle_backend_mb} MB "
                    f"even when idle, and {spare_mb} MB are left for them.",
                    f"Set postgres_max_connections: {most} or less; {needed} are needed.",
                    postgres_max_connections=most,
                )
            )
        elif have > c.postgres_max_connections_unusual_above:
            findings.append(
                _warning(
                    "C6",
                    (name,),
                    f"{name}: max_connections is {have}; {needed} are needed. Each one more "
                    "leaves less memory to sort in.",
                    f"Set postgres_max_connections: {needed}, unless something else connects too.",
                    postgres_max_connections=needed,
                )
            )
    return findings


def redis_takes_all_clients(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C12. maxclients is 1.5 x the worst case of all processes, and the unit may open as many files."""
    clients = redis.clients(
        [plan.web for plan in hosts.values() if plan.web],
        [plan.sidekiq for plan in hosts.values() if plan.sidekiq],
        [plan.streaming for plan in hosts.values() if plan.streaming],
        c,
    )
    findings = []
    for name, plan in hosts.items():
        if plan.redis is None:
            continue
        maxclients = int(plan.redis.settings["maxclients"])
        needed = ceil(clients * c.redis_client_headroom)
        if maxclients < needed or plan.redis.limit_nofile < maxclients + 32:
            findings.append(
                _error(
                    "C12",
                    (name,),
                    f"{name}: Redis takes {maxclients} clients with {plan.redis.limit_nofile} "
                    f"files; {needed} are needed.",
                    "Run fewer processes or threads.",
                )
            )
    return findings


def media_are_reachable(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C14. Local media only where web and Sidekiq are one host; otherwise they would not find each other's files."""
    names = tuple(host.name for host in fleet.hosts if host.runs("web", "sidekiq"))
    if fleet.media_in_object_storage or len(names) <= 1:
        return []
    return [
        _error(
            "C14",
            names,
            f"Media are on local disks, but {_and(names)} all read and write them.",
            "Set mastodon_s3_enabled: true and the other mastodon_s3_ variables.",
        )
    ]


def memory_suffices(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C16. The estimates of a host fit its memory; tiny hosts need swap behind them."""
    findings = []
    for name, plan in hosts.items():
        host, used_mb = plan.host, plan.memory.used_mb
        if memory.fits(host, used_mb, c):
            if plan.memory.swap_advised_mb:
                findings.append(
                    _warning(
                        "C16",
                        (name,),
                        f"{name}: {host.memory_mb} MB are tight for what runs on it ({used_mb} MB when grown old).",
                        f"Give it {plan.memory.swap_advised_mb} MB of swap, or vm_memory_mb: {c.small_from_mb} or "
                        f"more.",
                        vm_memory_mb=c.small_from_mb,
                    )
                )
            continue
        ruby_mb = sum(row.mb for row in plan.memory.budget if row.what in ("web", "sidekiq"))
        needed_mb = memory.memory_for(fleet, host, ruby_mb, len(plan.streaming.processes) if plan.streaming else 0, c)
        by_hand = [
            variable
            for variable in (
                "web_workers",
                "sidekiq_processes",
                "sidekiq_concurrency",
                "sidekiq_queues",
                "streaming_processes",
            )
            if getattr(host.overrides, variable) is not None
        ]
        lower = f"Lower or leave out {_and(by_hand)} on {name}, or give" if by_hand else "Give"
        rows = ", ".join(f"{row.what} {row.mb}" for row in plan.memory.budget)
        findings.append(
            _error(
                "C16",
                (name,),
                f"{name}: {used_mb} MB are needed ({rows}), and it has {host.memory_mb}.",
                f"{lower} it vm_memory_mb: {needed_mb} or more.",
                vm_memory_mb=needed_mb,
            )
        )
    return findings


def ports_differ(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C17. No two processes of a host listen on the same port."""
    findings = []
    for name, plan in hosts.items():
        counts = Counter(port for dummy, port in _ports(plan))
        for port in sorted(port for port, count in counts.items() if count > 1):
            users = [what for what, used in _ports(plan) if used == port]
            findings.append(
                _error(
                    "C17",
                    (name,),
                    f"{name}: {_and(users)} all listen on port {port}.",
                    "Run fewer streaming processes.",
                )
            )
    return findings


def nginx_outwaits_puma(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C18. nginx waits 60 to 300 s for Rails; given up earlier, a request is sent again while the first still runs."""
    return [
        _error(
            "C18",
            (name,),
            f"{name}: nginx waits {plan.nginx.proxy_read_timeout_seconds} s for Rails.",
            "Set nginx_proxy_read_timeout_seconds in mastodon_plan_coefficients between 60 and 300.",
        )
        for name, plan in hosts.items()
        if plan.nginx and not 60 <= plan.nginx.proxy_read_timeout_seconds <= 300
    ]


def workers_fit_the_cores(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """Workers beyond the cores were measured to cost memory and latency, and to carry nothing more."""
    return [
        _warning(
            "workers",
            (name,),
            f"{name}: {plan.web.workers} Puma workers on {plan.host.vcpus} vCPU carry no more than "
            f"{plan.host.vcpus}, and answer later.",
            f"Set web_workers: {plan.host.vcpus}, or leave it out.",
            web_workers=plan.host.vcpus,
        )
        for name, plan in hosts.items()
        if plan.web and plan.web.workers > plan.host.vcpus
    ]


def threads_are_useful(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """A Sidekiq process gains nothing from more than 25 threads; processes do the work, one a core."""
    return [
        _warning(
            "threads",
            (name,),
            f"{name}: Sidekiq {process.name} has {process.concurrency} threads; nothing is gained "
            f"beyond {c.sidekiq_threads_waiting}.",
            f"Set sidekiq_concurrency: {c.sidekiq_threads_waiting} or less, and more sidekiq_processes if cores are "
            f"idle.",
            sidekiq_concurrency=c.sidekiq_threads_waiting,
        )
        for name, plan in hosts.items()
        if plan.sidekiq
        for process in plan.sidekiq.processes
        if process.concurrency > c.sidekiq_threads_waiting
    ]


_CHECKS: tuple[Callable[[Fleet, Hosts, Coefficients], list[Finding]], ...] = (
    queues_are_served,
    scheduler_runs_once,
    pools_hold_all_threads,
    connections_fit,
    redis_takes_all_clients,
    media_are_reachable,
    memory_suffices,
    ports_differ,
    nginx_outwaits_puma,
    workers_fit_the_cores,
    threads_are_useful,
)


def _served(hosts: Hosts) -> list[tuple[str, set[str]]]:
    """Each Sidekiq process of the fleet as host/name, and its queues."""
    return [
        (f"{name}/{process.name}", {queue_name(entry) for entry in process.queues})
        for name, plan in hosts.items()
        if plan.sidekiq
        for process in plan.sidekiq.processes
    ]


def _pools(plan: HostPlan) -> list[tuple[str, int, int]]:
    pools = [("Puma", plan.web.db_pool, plan.web.threads)] if plan.web else []
    if plan.sidekiq:
        pools += [(f"Sidekiq {p.name}", p.db_pool, p.concurrency) for p in plan.sidekiq.processes]
    return pools


def _database_clients(hosts: Hosts) -> int:
    total = 0
    for plan in hosts.values():
        if plan.web:
            total += max(1, plan.web.workers) * plan.web.db_pool
        if plan.sidekiq:
            total += sum(process.db_pool for process in plan.sidekiq.processes)
        if plan.streaming:
            total += plan.streaming.db_pool * len(plan.streaming.processes)
    return total


def _ports(plan: HostPlan) -> list[tuple[str, int]]:
    ports = [(what, part.port) for what in ("web", "postgres", "redis") if (part := getattr(plan, what))]
    if plan.streaming:
        ports += [("streaming", process.port) for process in plan.streaming.processes]
    return ports


def _group_words(groups: list[str]) -> str:
    return f"group {groups[0]}" if len(groups) == 1 else f"the groups {_and(groups)}"


def _and(words: tuple[str, ...] | list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _error(constraint: str, hosts: tuple[str, ...], message: str, advice: str, **remedy: int) -> Finding:
    return Finding(constraint=constraint, severity="error", hosts=hosts, message=message, advice=advice, remedy=remedy)


def _warning(constraint: str, hosts: tuple[str, ...], message: str, advice: str, **remedy: int) -> Finding:
    return Finding(
        constraint=constraint, severity="warning", hosts=hosts, message=message, advice=advice, remedy=remedy
    )
