# SPDX-License-Identifier: GPL-3.0-or-later
"""The constraints on connections to PostgreSQL: C4, C5, C6, C8, C10; and when poolers are advised, or pools short."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil

from .coefficients import Coefficients
from .components import memory, pgbouncer, postgres
from .findings import error, names, warning
from .inventory import COUNTS
from .model import LOOPBACK, Finding, Fleet, Host, HostPlan, Pool

Hosts = Mapping[str, HostPlan]


def pools_fit_the_database(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C4. What all poolers together may open fits into max_connections, of the primary and of each replica apart.

    Who reads may all come to one replica, when it is the last one that is well, or to the primary.

    toot.community's outage of April 2026: two poolers with pools of 125 before a database of 200 connections.
    """
    if not fleet.running("pgbouncer"):
        return []
    by_database = _pools_by_database(fleet, hosts)
    found = []
    for host in (fleet.primary, *fleet.replicas):
        pools = by_database[host.name]
        opened = sum(pool.most for dummy, pool in pools)
        demand = postgres.pooled(opened, len(fleet.running("pgbouncer")), c)
        have = max_connections(hosts[host.name])
        if have < demand.needed:
            found.append(_too_many_pools(fleet, hosts, host, pools, have, demand, c))
        elif have > (limit := backends(hosts[host.name], c)):
            wanted = max(demand.needed, _least_connections(fleet, hosts, host, c))
            found.append(_too_many_backends("C4", fleet, hosts, host, wanted, limit, c))
        elif host.overrides.postgres_max_connections and have > c.postgres_max_connections_unusual_above:
            wanted = max(demand.needed, _least_connections(fleet, hosts, host, c))
            if have > wanted:
                found.append(_unusually_many("C4", host, have, wanted))
    return found


def _too_many_pools(
    fleet: Fleet,
    hosts: Hosts,
    host: Host,
    pools: list[tuple[str, Pool]],
    have: int,
    demand: postgres.Demand,
    c: Coefficients,
) -> Finding:
    """C4 broken: the largest pool that fits, or the connections that the pools need."""
    meant = {"primary": " for writing", "replica": " for reading"} if fleet.replicas else {}
    each = [
        f"{pool.pool_size} + {pool.reserve_pool_size} in reserve{meant.get(pool.for_, '')}"
        for dummy, pool in pools
        if pool.for_ != "monitoring"
    ]
    kinds = " and ".join(dict.fromkeys(each))
    poolers = list(dict.fromkeys(name for name, dummy in pools))
    message = (
        f"The pools of all poolers together exceed max_connections of the one database behind them: "
        f"{len(poolers)} pooler{'s' if len(poolers) > 1 else ''} ({names(poolers)}) with pools of {kinds} open up to "
        f"{sum(pool.most for dummy, pool in pools)} connections to {host.name}, {demand.needed} with those that come "
        f"direct and those kept for exporters and superusers, and its max_connections is {have}."
    )
    probes = sum(pool.most for dummy, pool in pools if pool.for_ == "monitoring")
    largest = _largest_pool(fleet, hosts, have - postgres.beside_pools(c) - probes, c)
    by_hand = [name for name in poolers if _override(fleet, name, "pgbouncer_pool_size") is not None]
    if host is fleet.primary and by_hand and largest:
        return error(
            "C4",
            poolers,
            message,
            f"Set pgbouncer_pool_size: {largest} or less on {names(poolers)}, or leave it out; or raise "
            f"postgres_max_connections of {host.name} to {demand.needed}.",
            pgbouncer_pool_size=largest,
        )
    least = max(demand.needed, _least_connections(fleet, hosts, host, c))
    on = _with_those_that_follow(fleet, host, least)
    return error(
        "C4",
        on,
        message,
        f"Set postgres_max_connections: {least} or more on {names(on)}, or leave it out.",
        postgres_max_connections=least,
    )


def poolers_take_all_clients(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C5. Any pooler takes 1.25 x all clients of the fleet: when another is away, they all come to it."""
    clients = _database_clients(hosts) + (_ruby_clients(hosts) if fleet.replicas else 0)
    needed = ceil(clients * c.pgbouncer_client_headroom)
    others = ", if the other poolers are away" if len(fleet.running("pgbouncer")) > 1 else ""
    found = []
    for host in fleet.running("pgbouncer"):
        part = hosts[host.name].pgbouncer
        if part is None:
            continue
        if part.max_client_conn < needed:
            found.append(
                error(
                    "C5",
                    (host.name,),
                    f"{host.name}: PgBouncer takes {part.max_client_conn} clients, and {clients} may come to it, with "
                    f"headroom {needed}: all of the fleet{others}.",
                    f"Set pgbouncer_max_client_conn: {needed} or more on {host.name}, or leave it out.",
                    pgbouncer_max_client_conn=needed,
                )
            )
        files = part.max_client_conn + sum(pool.most for pool in part.pools)
        if part.limit_nofile < files:
            message = f"{host.name}: PgBouncer may open {part.limit_nofile} files, and its connections need {files}."
            found.append(error("C5", (host.name,), message, "Lower pgbouncer_max_client_conn."))
    return found


def connections_fit(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C6. Without a pooler max_connections holds 1.1 x all clients, tootctl, a person and the reserved ones.

    Nobody reads from replicas then.
    """
    if fleet.running("pgbouncer"):
        return []
    found = []
    for host in (fleet.primary, *fleet.replicas):
        clients = _database_clients(hosts) if host is fleet.primary else 0
        needed = postgres.needed_connections(clients, c)
        have = max_connections(hosts[host.name])
        wanted = max(needed, _least_connections(fleet, hosts, host, c))
        if have < needed and needed > COUNTS["postgres_max_connections"][1]:
            message = f"{host.name}: {clients} clients need {needed} connections, which no PostgreSQL should hold."
            found.append(error("C6", (host.name,), message, "Put a host into the group pgbouncer."))
        elif have < needed:
            on = _with_those_that_follow(fleet, host, wanted)
            found.append(
                error(
                    "C6",
                    on,
                    f"{host.name}: max_connections is {have}, but {clients} clients need {needed}.",
                    f"Set postgres_max_connections: {wanted} or more on {names(on)}, or leave it out; or put a host "
                    f"into pgbouncer.",
                    postgres_max_connections=wanted,
                )
            )
        elif have > (limit := backends(hosts[host.name], c)):
            found.append(_too_many_backends("C6", fleet, hosts, host, wanted, limit, c))
        elif have > c.postgres_max_connections_unusual_above:
            found.append(_unusually_many("C6", host, have, wanted))
    return found


def _unusually_many(constraint: str, host: Host, have: int, needed: int) -> Finding:
    """Not wrong, but more than a PostgreSQL of this kind usually serves well."""
    message = (
        f"{host.name}: max_connections is {have}; {needed} are needed. Each one more leaves less memory to sort in."
    )
    if needed < have:
        advice = f"Set postgres_max_connections: {needed}, unless something else connects too."
        return warning(constraint, (host.name,), message, advice, postgres_max_connections=needed)
    advice = "Put a host into the group pgbouncer: it serves the same clients with a third."
    return warning(constraint, (host.name,), message, advice)


def _too_many_backends(
    constraint: str, fleet: Fleet, hosts: Hosts, host: Host, needed: int, limit: int, c: Coefficients
) -> Finding:
    """C4 or C6 broken: PostgreSQL may not hold more backends than its memory does when all of them idle."""
    plan = hosts[host.name]
    have = max_connections(plan)
    message = (
        f"{host.name}: {have} backends of PostgreSQL take {have * c.postgres_idle_backend_mb} MB even when idle, and "
        f"{limit * c.postgres_idle_backend_mb} MB are left for them."
    )
    by_hand = host.overrides.postgres_max_connections is not None
    if by_hand and limit >= needed and memory.fits(host, plan.memory.used_mb, c):
        advice = f"Set postgres_max_connections: {limit} or less; {needed} are needed."
        return error(constraint, (host.name,), message, advice, postgres_max_connections=limit)
    poolers = fleet.running("pgbouncer")
    pools_by_hand = any(pooler.overrides.pgbouncer_pool_size is not None for pooler in poolers)
    probes = c.pgbouncer_pool_monitoring * len(poolers) if fleet.monitored else 0
    largest = _largest_pool(fleet, hosts, limit - postgres.beside_pools(c) - probes, c) if poolers else 0
    if host is fleet.primary and pools_by_hand and largest and not by_hand:
        advice = f"Set pgbouncer_pool_size: {largest} or less on {names(pooler.name for pooler in poolers)}."
        return error(constraint, (pooler.name for pooler in poolers), message, advice, pgbouncer_pool_size=largest)
    memory_mb = memory_for_backends(fleet, hosts, plan, c)
    lower = (
        f"Lower or leave out postgres_max_connections on {host.name}, or give it" if by_hand else f"Give {host.name}"
    )
    pooler = "" if poolers else ", or put a host into the group pgbouncer"
    advice = f"{lower} vm_memory_mb: {memory_mb} or more{pooler}."
    return error(constraint, (host.name,), message, advice, vm_memory_mb=memory_mb)


def migrations_go_direct(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C8. Migrations and dumps reach the primary itself: they lock and set for a session, which a pooler shares."""
    primary = fleet.primary
    return [
        error(
            "C8",
            (name,),
            f"{name}: migrations and dumps would go to {target['host']} port {target['port']}, which is not PostgreSQL "
            f"on {primary.name}.",
            f"Let endpoints.postgres lead to {primary.address} port {postgres.PORT}.",
        )
        for name, plan in hosts.items()
        if (target := plan.endpoints["postgres"])
        and (target["host"], target["port"]) != (LOOPBACK if name == primary.name else primary.address, postgres.PORT)
    ]


def replicas_have_what_the_primary_has(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C10. A replica with less of these settings than its primary does not start."""
    leading = hosts[fleet.primary.name].postgres
    found = []
    for host in fleet.replicas:
        own = hosts[host.name].postgres
        for setting, default in postgres.STANDBY_DEFAULTS.items():
            least, have = (int(part.settings.get(setting, default)) for part in (leading, own) if part)
            if have >= least:
                continue
            variable = {"max_connections": "postgres_max_connections"}.get(setting)
            found.append(
                error(
                    "C10",
                    (host.name,),
                    f"{host.name}: {setting} is {have}, and {least} on its primary {fleet.primary.name}; with less "
                    f"than its primary a replica does not start.",
                    f"Set {variable or setting}: {least} or more on {host.name}, or leave it out. Raise it on replicas "
                    f"first, and lower it on the primary first.",
                    **({variable: least} if variable else {}),
                )
            )
    return found


def pooler_is_advised(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """Many clients, or several hosts of the application, are better served through PgBouncer."""
    if fleet.running("pgbouncer"):
        return []
    clients = _database_clients(hosts)
    users = [host.name for host in fleet.hosts if host.runs("web", "sidekiq")]
    why = []
    if clients > c.pgbouncer_advised_above_clients:
        why.append(f"{clients} clients connect to PostgreSQL")
    if len(users) > 1:
        why.append(f"{len(users)} hosts run the application")
    if not why:
        return []
    return [
        warning(
            "pgbouncer",
            (fleet.primary.name,),
            f"{names(why)}, and there is no pooler: every thread holds a connection, and every host more needs "
            f"max_connections to grow, which restarts PostgreSQL.",
            f"Put {fleet.primary.name}, or a host of its own, into the group pgbouncer.",
        )
    ]


def replicas_are_read(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """Without a pooler nobody reads from a replica: nothing would leave out one that is behind, or gone."""
    if not fleet.replicas or fleet.running("pgbouncer"):
        return []
    replicas = [host.name for host in fleet.replicas]
    return [
        warning(
            "reads",
            replicas,
            f"{names(replicas)} {'keeps a copy' if len(replicas) == 1 else 'keep copies'} of the database, and nobody "
            f"reads from {'it' if len(replicas) == 1 else 'them'}: only hosts in the group pgbouncer know which "
            f"replicas are up and not behind.",
            f"Put {fleet.primary.name}, or a host of its own, into the group pgbouncer.",
        )
    ]


def pools_are_as_large_as_wanted(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """Pools that a database has too few connections for are made smaller; a person should know what that costs."""
    poolers = fleet.running("pgbouncer")
    if not poolers:
        return []
    writers = pgbouncer.aim(_database_clients(hosts), (fleet.primary,), c)
    readers = pgbouncer.aim(_ruby_clients(hosts), fleet.replicas, c) if fleet.replicas else None
    fixed = pgbouncer.by_hand(poolers, c)
    reading = readers.opened(len(poolers), c) if readers else 0
    writing = sum(fixed.values()) + writers.opened(len(poolers), c) * (len(poolers) - len(fixed)) // len(poolers)
    lost = {
        for_: f"{pool.pool_size} for {what} where {wanted.each(len(poolers))} are wanted"
        for what, for_, wanted in (("writing", "primary", writers), ("reading", "replica", readers))
        if wanted and (pool := _smallest_pool(hosts, for_, set(fixed) if for_ == "primary" else set()))
        if pool.pool_size < wanted.each(len(poolers))
    }
    found: list[Finding] = []
    # The primary comes first, and its finding names the replicas that have to follow it.
    for host, pools in _pools_by_database(fleet, hosts).items():
        if any(host in finding.hosts for finding in found):
            continue
        plan, leads = hosts[host], host == fleet.primary.name
        opened = sum(pool.most for _pooler, pool in pools)
        probes = sum(pool.most for _pooler, pool in pools if pool.for_ == "monitoring")
        by_hand = plan.host.overrides.postgres_max_connections is not None
        have = max_connections(plan) if by_hand else max(max_connections(plan), backends(plan, c) // 10 * 10)
        wanted = reading + writing + probes if leads else reading
        needed = postgres.pooled(wanted, len(poolers), c).needed
        smaller = list(lost.values()) if leads else [lost[for_] for for_ in lost if for_ == "replica"]
        if not smaller or not postgres.pooled(opened, len(poolers), c).needed <= have < needed:
            continue
        needed = max(needed, _least_connections(fleet, hosts, plan.host, c))
        lower = " Or lower pgbouncer_pool_size." if fixed and leads else ""
        because = ", set by hand" if by_hand else " at most, as many as its memory holds"
        message = (
            f"{host}: the pools of each pooler are smaller than its clients ask for ({names(smaller)}): "
            f"max_connections is {have}{because}, and {needed} are needed."
        )
        if by_hand:
            on = _with_those_that_follow(fleet, plan.host, needed)
            advice = f"Set postgres_max_connections: {needed} or more on {names(on)}, or leave it out.{lower}"
            found.append(warning("pools", on, message, advice, postgres_max_connections=needed))
            found += [_memory_first(fleet, hosts, name, needed, c) for name in on if needed > backends(hosts[name], c)]
        else:
            memory_mb = memory_for_backends(fleet, hosts, plan, c, needed)
            advice = f"Give {host} vm_memory_mb: {memory_mb} or more.{lower}"
            found.append(warning("pools", (host,), message, advice, vm_memory_mb=memory_mb))
    return found


def _memory_first(fleet: Fleet, hosts: Hosts, name: str, needed: int, c: Coefficients) -> Finding:
    """A host that has not the memory for connections that are advised."""
    memory_mb = memory_for_backends(fleet, hosts, hosts[name], c, needed)
    message = (
        f"{name}: {needed} backends of PostgreSQL take {needed * c.postgres_idle_backend_mb} MB even when idle, and "
        f"{backends(hosts[name], c) * c.postgres_idle_backend_mb} MB are left for them."
    )
    advice = f"Give {name} vm_memory_mb: {memory_mb} or more before postgres_max_connections is {needed}."
    return warning("pools", (name,), message, advice, vm_memory_mb=memory_mb)


CHECKS: tuple[Callable[[Fleet, Hosts, Coefficients], list[Finding]], ...] = (
    pools_fit_the_database,
    poolers_take_all_clients,
    connections_fit,
    migrations_go_direct,
    replicas_have_what_the_primary_has,
)


def _with_those_that_follow(fleet: Fleet, host: Host, connections: int) -> list[str]:
    """The host and, where it is the primary, the replicas on which fewer connections are set by hand (C10)."""
    replicas = fleet.replicas if host is fleet.primary else ()
    lower = [other for other in replicas if (other.overrides.postgres_max_connections or connections) < connections]
    return [other.name for other in (host, *lower)]


def _least_connections(fleet: Fleet, hosts: Hosts, host: Host, c: Coefficients) -> int:
    """What a replica must have because its primary has it, or is advised to (C10); less would only lead there."""
    if host is fleet.primary:
        return 0
    have = max_connections(hosts[fleet.primary.name])
    poolers = fleet.running("pgbouncer")
    if not poolers:
        return max(have, postgres.needed_connections(_database_clients(hosts), c))
    if any(pooler.overrides.pgbouncer_pool_size is not None for pooler in poolers):
        return have
    opened = sum(pool.most for dummy, pool in _pools_by_database(fleet, hosts)[fleet.primary.name])
    return max(have, postgres.pooled(opened, len(poolers), c).needed)


def _ruby_clients(hosts: Hosts) -> int:
    """Database connections of Puma and Sidekiq, which use replicas too."""
    total = sum(max(1, plan.web.workers) * plan.web.db_pool for plan in hosts.values() if plan.web)
    sidekiqs = (plan.sidekiq for plan in hosts.values() if plan.sidekiq)
    return total + sum(process.db_pool for part in sidekiqs for process in part.processes)


def _database_clients(hosts: Hosts) -> int:
    """Database connections of all processes, to the primary."""
    streamings = (plan.streaming for plan in hosts.values() if plan.streaming)
    return _ruby_clients(hosts) + sum(part.db_pool * len(part.processes) for part in streamings)


def _pools_by_database(fleet: Fleet, hosts: Hosts) -> dict[str, list[tuple[str, Pool]]]:
    """By the name of each host of PostgreSQL all pools that may lead to it, each with the name of its pooler.

    Pools for reading may lead to each.
    """
    found: dict[str, list[tuple[str, Pool]]] = {host.name: [] for host in (fleet.primary, *fleet.replicas)}
    for host in fleet.running("pgbouncer"):
        part = hosts[host.name].pgbouncer
        for pool in part.pools if part else ():
            for database in found if pool.for_ == "replica" else (fleet.primary.name,):
                found[database].append((host.name, pool))
    return found


def _largest_pool(fleet: Fleet, hosts: Hosts, room: int, c: Coefficients) -> int:
    """The largest pgbouncer_pool_size of all poolers that leaves those who read their share.

    room: connections of the primary for all pools. 0 where there is no room for any.
    """
    count = len(fleet.running("pgbouncer"))
    if not fleet.replicas:
        return pgbouncer.largest_size(room, count, c)
    writing = pgbouncer.aim(_database_clients(hosts), (fleet.primary,), c).opened(count, c)
    reading = pgbouncer.aim(_ruby_clients(hosts), fleet.replicas, c).opened(count, c)
    share = min(reading, room * reading // (writing + reading))
    least = count * (1 + pgbouncer.reserve_of(1, count, c))
    return pgbouncer.largest_size(room - max(share, least), count, c)


def _smallest_pool(hosts: Hosts, for_: str, by_hand: set[str]) -> Pool | None:
    """The smallest pool of a kind that nobody set by hand."""
    pools = [
        pool
        for name, plan in hosts.items()
        if plan.pgbouncer and name not in by_hand
        for pool in plan.pgbouncer.pools
        if pool.for_ == for_
    ]
    return min(pools, key=lambda pool: pool.pool_size, default=None)


def max_connections(plan: HostPlan) -> int:
    """What PostgreSQL of the host takes; 0 where there is none."""
    return int(plan.postgres.settings["max_connections"]) if plan.postgres else 0


def backends(plan: HostPlan, c: Coefficients) -> int:
    """The backends that the memory of PostgreSQL holds when all of them idle."""
    ram_mb = next((row.mb for row in plan.memory.budget if row.what == "postgres"), 0)
    return postgres.memory_limit(ram_mb, c)


def memory_for_backends(fleet: Fleet, hosts: Hosts, plan: HostPlan, c: Coefficients, needed: int | None = None) -> int:
    """A memory_mb with which PostgreSQL of the host holds `needed` backends, else those that it may have to.

    Where its clients come without a pooler, and some from hosts of PostgreSQL, these grow with the memory advised.
    """
    have = needed or max(max_connections(plan), c.postgres_max_connections_minimum)
    if not fleet.running("pgbouncer") and plan.host.overrides.postgres_max_connections is None:
        growth = sum(_growth(fleet, hosts[host.name], c) for host in (fleet.primary, *fleet.replicas))
        have += ceil(growth * c.postgres_client_headroom) + c.postgres_connections_step
    streaming = len(plan.streaming.processes) if plan.streaming else 0
    low, high = plan.host.memory_mb, 2**24
    while low < high:
        middle = (low + high) // 2
        ram_mb = memory.reserve(fleet, replace(plan.host, memory_mb=middle), streaming, c).postgres_mb
        low, high = (low, middle) if postgres.memory_limit(ram_mb, c) >= have else (middle + 1, high)
    return low


def _growth(fleet: Fleet, plan: HostPlan, c: Coefficients) -> int:
    """The clients of the database that processes of this host would add at most if it had all memory they ask for."""
    host, most = plan.host, 0
    if plan.web:
        most += max(memory.workers_limit(host, c), plan.web.workers, 1) * plan.web.db_pool
    if plan.sidekiq:
        threads = host.overrides.sidekiq_concurrency or c.sidekiq_threads_waiting
        most += max(memory.processes_limit(host, c), len(plan.sidekiq.processes)) * threads
    if plan.streaming:
        processes = max(memory.streaming_limit(fleet, host, c), len(plan.streaming.processes))
        most += processes * plan.streaming.db_pool
    return max(0, most - _database_clients({host.name: plan}))


def _override(fleet: Fleet, name: str, variable: str) -> int | None:
    return next(getattr(host.overrides, variable) for host in fleet.running("pgbouncer") if host.name == name)
