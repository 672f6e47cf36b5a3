# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer: few connections to PostgreSQL for many clients, summed over all poolers of the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from ..coefficients import Coefficients
from ..model import LOOPBACK, Fleet, Host, Pgbouncer, Pool, Reasons
from .postgres import DATABASE
from .postgres import PORT as POSTGRES_PORT

PORT = 6432
_MONITORING = f"{DATABASE}_monitoring"


@dataclass(frozen=True, kw_only=True)
class PoolSize:
    """What one pooler may open to one PostgreSQL, and why."""

    size: int
    reserve: int
    why: str

    @property
    def most(self) -> int:
        """All connections that the pool may hold."""
        return self.size + self.reserve


def replica_alias(replica: Host) -> str:
    """The database that clients ask a pooler for when they mean this replica."""
    return f"{DATABASE}_{replica.name}"


def reserve_of(size: int, poolers: int, c: Coefficients) -> int:
    """Connections beyond a pool of `size` that a peak may take; the least is shared by all poolers."""
    return max(ceil(c.pgbouncer_reserve_minimum / poolers), ceil(round(size * c.pgbouncer_reserve_share, 6)))


def largest_size(room: int, poolers: int, c: Coefficients) -> int:
    """The largest pool of each pooler with which all pools and their reserves fit into `room` connections."""
    each = room // poolers
    least_reserve = ceil(c.pgbouncer_reserve_minimum / poolers)
    return max(0, min(each - least_reserve, int(each / (1 + c.pgbouncer_reserve_share) + 1e-9)))


def pool_sizes(
    poolers: Sequence[Host], database: Host, clients: int, room: int, c: Coefficients, *, by_hand: bool
) -> dict[str, PoolSize]:
    """The pool of each pooler, by its name, to one PostgreSQL.

    clients: what all poolers together serve of it. room: connections that the database has for all pools.
    A third of the clients, at most 8 connections a vCPU of the database, divided over the poolers.
    by_hand: pgbouncer_pool_size counts, which is meant for the primary.
    """
    given = {host.name: host.overrides.pgbouncer_pool_size for host in poolers if by_hand}
    fixed = {name: size for name, size in given.items() if size is not None}
    count = len(poolers)
    cap = max(c.pgbouncer_pool_minimum, c.pgbouncer_pool_per_vcpu * database.vcpus)
    wanted = min(max(ceil(clients / c.pgbouncer_clients_per_connection), c.pgbouncer_pool_minimum), cap)
    free = max(1, count - len(fixed))
    left = room - sum(size + reserve_of(size, count, c) for size in fixed.values())
    each = max(1, min(ceil(wanted / count), largest_size(left, free, c)))
    why = (
        f"{clients} clients of {database.name} / {c.pgbouncer_clients_per_connection:g}, "
        f"{c.pgbouncer_pool_minimum} to {c.pgbouncer_pool_per_vcpu} a vCPU of it ({cap})"
        + (f", over {count} poolers" if count > 1 else "")
        + (f", and no more than it has connections for ({room})" if each < ceil(wanted / count) else "")
    )
    sizes = {}
    for host in poolers:
        size = fixed.get(host.name, each)
        sizes[host.name] = PoolSize(
            size=size,
            reserve=reserve_of(size, count, c),
            why="pgbouncer_pool_size, set by hand" if host.name in fixed else why,
        )
    return sizes


def max_clients(clients: int, c: Coefficients) -> int:
    """What a pooler takes, in steps of 100, if it had to take all clients of the fleet."""
    needed = (clients + c.pgbouncer_client_spare) * c.pgbouncer_client_headroom
    return max(c.pgbouncer_clients_minimum, ceil(needed / 100) * 100)


def size(
    fleet: Fleet,
    host: Host,
    pools: Mapping[str, PoolSize],
    clients: int,
    bind: tuple[str, ...],
    c: Coefficients,
) -> tuple[Pgbouncer, Reasons]:
    """PgBouncer of one host.

    pools: what this pooler may open to each host of PostgreSQL, by its name. clients: all that may come to one pooler,
    to the primary and to replicas.
    """
    max_client_conn = host.overrides.pgbouncer_max_client_conn or max_clients(clients, c)
    reasons: Reasons = {}
    made = tuple(_pools(fleet, host, pools, reasons, c))
    opened = sum(pool.most for pool in made)
    files = max_client_conn + opened + 100
    limit_nofile = ceil(files / c.pgbouncer_files_minimum) * c.pgbouncer_files_minimum
    settings: dict[str, tuple[str | int, str]] = {
        "pool_mode": ("transaction", "a connection serves whoever has a transaction, not whoever is connected"),
        "default_pool_size": (pools[fleet.primary.name].size, "that of the primary"),
        "reserve_pool_timeout": (c.pgbouncer_reserve_timeout_seconds, "seconds that a client waits for the reserve"),
        "server_idle_timeout": (c.pgbouncer_server_idle_timeout_seconds, "seconds; PgBouncer's own"),
        "server_lifetime": (c.pgbouncer_server_lifetime_seconds, "seconds; PgBouncer's own"),
        "query_wait_timeout": (c.pgbouncer_query_wait_timeout_seconds, "seconds; it fails before nginx gives up"),
        "listen_backlog": (c.pgbouncer_listen_backlog, "all clients may connect at once after a restart"),
        "ignore_startup_parameters": ("extra_float_digits", "clients send it, and nothing here needs it"),
        "auth_type": ("scram-sha-256", "as PostgreSQL asks it"),
        "max_prepared_statements": (
            c.pgbouncer_max_prepared_statements,
            "what PREPARED_STATEMENTS=true needs, which is off unless asked for",
        ),
        "application_name_add_host": (0, "each change of the name is a statement more"),
    }
    pgbouncer = Pgbouncer(
        bind=bind,
        port=PORT,
        max_client_conn=max_client_conn,
        limit_nofile=limit_nofile,
        pools=made,
        settings={name: value for name, (value, dummy) in settings.items()},
    )
    by_hand = host.overrides.pgbouncer_max_client_conn is not None
    reasons |= {f"pgbouncer.settings.{name}": f"{value} = {why}" for name, (value, why) in settings.items()}
    reasons["pgbouncer.bind"] = f"{', '.join(bind)} = where its clients reach it"
    reasons["pgbouncer.port"] = f"{PORT} = PgBouncer's own"
    reasons["pgbouncer.max_client_conn"] = f"{max_client_conn} = " + (
        "pgbouncer_max_client_conn, set by hand"
        if by_hand
        else f"{c.pgbouncer_client_headroom:g} x ({clients} clients + {c.pgbouncer_client_spare}), all of which may "
        f"come to one pooler, in steps of 100, at least {c.pgbouncer_clients_minimum}"
    )
    reasons["pgbouncer.limit_nofile"] = (
        f"{limit_nofile} = {max_client_conn} clients + {opened} connections + 100, in steps of "
        f"{c.pgbouncer_files_minimum}"
    )
    return pgbouncer, reasons


def _pools(
    fleet: Fleet, host: Host, pools: Mapping[str, PoolSize], reasons: Reasons, c: Coefficients
) -> Iterable[Pool]:
    """The pools of one pooler; their reasons are added to `reasons`."""
    primary = fleet.primary
    rows: list[tuple[str, Host, PoolSize, Literal["primary", "replica", "monitoring"]]] = [
        (DATABASE, primary, pools[primary.name], "primary")
    ]
    rows += [(replica_alias(replica), replica, pools[replica.name], "replica") for replica in fleet.replicas]
    if fleet.monitored:
        probe = PoolSize(size=c.pgbouncer_pool_monitoring, reserve=0, why="for what asks whether the database answers")
        rows.append((_MONITORING, primary, probe, "monitoring"))
    for name, database, pool, for_ in rows:
        prefix = f"pgbouncer.pools.{name}"
        reasons[prefix] = f"{name} = what clients ask for when they mean the {for_} on {database.name}"
        reasons[f"{prefix}.pool_size"] = f"{pool.size} = {pool.why}"
        reasons[f"{prefix}.reserve_pool_size"] = f"{pool.reserve} = " + (
            f"{c.pgbouncer_reserve_share:.0%} of the pool, at least {c.pgbouncer_reserve_minimum} over all poolers"
            if pool.reserve
            else "none: it can wait"
        )
        reasons[f"{prefix}.port"] = f"{POSTGRES_PORT} = PostgreSQL's own"
        yield Pool(
            name=name,
            database=DATABASE,
            host=LOOPBACK if database.name == host.name else database.address,
            port=POSTGRES_PORT,
            pool_size=pool.size,
            reserve_pool_size=pool.reserve,
            for_=for_,
        )
