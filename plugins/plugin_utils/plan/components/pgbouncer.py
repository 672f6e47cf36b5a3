# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer: few connections to PostgreSQL for many clients, summed over all poolers of the fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from ..coefficients import Coefficients
from ..model import LOOPBACK, Fleet, Host, Pgbouncer, Pool, Reasons
from .haproxy import READER_PORT
from .postgres import DATABASE
from .postgres import PORT as POSTGRES_PORT

PORT = 6432
# What clients ask a pooler for when they may read what is a moment old.
READER = f"{DATABASE}_read"
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


def reserve_of(size: int, poolers: int, c: Coefficients) -> int:
    """Connections beyond a pool of `size` that a peak may take; the least is shared by all poolers."""
    return max(ceil(c.pgbouncer_reserve_minimum / poolers), ceil(round(size * c.pgbouncer_reserve_share, 6)))


def largest_size(room: int, poolers: int, c: Coefficients) -> int:
    """The largest pool of each pooler with which all pools and their reserves fit into `room` connections."""
    each = room // poolers
    least_reserve = ceil(c.pgbouncer_reserve_minimum / poolers)
    return max(0, min(each - least_reserve, int(each / (1 + c.pgbouncer_reserve_share) + 1e-9)))


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What all poolers together would like to open for one purpose: a third of its clients, within limits of CPU."""

    connections: int
    why: str

    def each(self, poolers: int) -> int:
        """The pool of each of so many poolers."""
        return ceil(self.connections / poolers)

    def opened(self, poolers: int, c: Coefficients) -> int:
        """What so many poolers open, reserves included."""
        return poolers * (self.each(poolers) + reserve_of(self.each(poolers), poolers, c))


@dataclass(frozen=True, kw_only=True)
class Pools:
    """The pools of one pooler; reader is None where nobody asks for a replica."""

    primary: PoolSize
    reader: PoolSize | None


def aim(clients: int, databases: Sequence[Host], c: Coefficients) -> Aim:
    """A third of the clients, at most 8 connections for each vCPU of the databases that serve them."""
    vcpus = sum(database.vcpus for database in databases)
    cap = max(c.pgbouncer_pool_minimum, c.pgbouncer_pool_per_vcpu * vcpus)
    wanted = max(ceil(clients / c.pgbouncer_clients_per_connection), c.pgbouncer_pool_minimum)
    one = len(databases) == 1
    whom = databases[0].name if one else f"{len(databases)} replicas"
    return Aim(
        connections=min(wanted, cap),
        why=f"{clients} clients of {whom} / {c.pgbouncer_clients_per_connection:g}, {c.pgbouncer_pool_minimum} to "
        f"{c.pgbouncer_pool_per_vcpu} a vCPU of {'it' if one else 'them all'} ({cap})",
    )


def by_hand(poolers: Sequence[Host], c: Coefficients) -> dict[str, int]:
    """What the poolers whose pgbouncer_pool_size is set by hand open to the primary, reserve included, by name."""
    given = {host.name: host.overrides.pgbouncer_pool_size for host in poolers}
    return {name: size + reserve_of(size, len(poolers), c) for name, size in given.items() if size is not None}


def reader_room(poolers: Sequence[Host], writers: Aim, readers: Aim, room: int, c: Coefficients) -> int:
    """Connections of the primary that may be for reading, of those that it has for all pools.

    The primary serves who reads while no replica does. Where it has too few for both, each kind has its share of them.
    """
    fixed = by_hand(poolers, c)
    left = room - sum(fixed.values())
    free = writers.opened(len(poolers), c) * (len(poolers) - len(fixed)) // len(poolers)
    wanted = readers.opened(len(poolers), c)
    return left if free + wanted <= left else left * wanted // (free + wanted)


def pool_sizes(
    poolers: Sequence[Host], wanted: Aim, room: int, whose: str, c: Coefficients, *, fixed: bool
) -> dict[str, PoolSize]:
    """The pool of each pooler, by its name, for one purpose.

    room: connections that the smallest database behind them, on the host `whose`, has for all of these pools.
    fixed: pgbouncer_pool_size counts, which is meant for the primary.
    """
    count = len(poolers)
    given = {host.name: host.overrides.pgbouncer_pool_size if fixed else None for host in poolers}
    taken = by_hand(poolers, c) if fixed else {}
    free = max(1, count - len(taken))
    each = max(1, min(wanted.each(count), largest_size(room - sum(taken.values()), free, c)))
    why = (
        wanted.why
        + (f", over {count} poolers" if count > 1 else "")
        + (f", and no more than {whose} has connections for ({room})" if each < wanted.each(count) else "")
    )
    return {
        name: PoolSize(
            size=size or each,
            reserve=reserve_of(size or each, count, c),
            why="pgbouncer_pool_size, set by hand" if size else why,
        )
        for name, size in given.items()
    }


def share_out(
    fleet: Fleet, clients: int, ruby_clients: int, room: Mapping[str, int], c: Coefficients
) -> dict[str, Pools]:
    """The pools of all poolers, by the name of their host.

    clients: database connections of all processes, of which ruby_clients read from replicas too. room: for each host
    of PostgreSQL the connections that it has for pools of the application. Any replica, and the primary, may have to
    take all who read, so that the smallest of them decides. When the last replica leaves, those who have not heard of
    it yet read from the primary, by what its other pools leave.
    """
    poolers = fleet.running("pgbouncer")
    primary = fleet.primary
    writers = aim(clients, (primary,), c)
    left = room[primary.name]
    reader: dict[str, PoolSize] = {}
    if fleet.replicas:
        readers = aim(ruby_clients, fleet.replicas, c)
        smallest = min(fleet.replicas, key=lambda replica: room[replica.name])
        of_primary = reader_room(poolers, writers, readers, left, c)
        least, whose = min((room[smallest.name], smallest.name), (of_primary, primary.name))
        reader = pool_sizes(poolers, readers, least, whose, c, fixed=False)
        left -= sum(pool.most for pool in reader.values())
    writer = pool_sizes(poolers, writers, left, primary.name, c, fixed=True)
    if not fleet.replicas and _last_replica_leaves(fleet):
        left -= sum(pool.most for pool in writer.values())
        reader = pool_sizes(poolers, aim(ruby_clients, (primary,), c), left, primary.name, c, fixed=False)
    return {host.name: Pools(primary=writer[host.name], reader=reader.get(host.name)) for host in poolers}


def _last_replica_leaves(fleet: Fleet) -> bool:
    """True while processes may still ask for a replica, because one that leaves was the last."""
    return any(host.postgres_role == "replica" for host in fleet.leaving)


def opened_for(part: Pgbouncer, for_: str) -> int:
    """Connections that a pooler may open for a purpose: primary, replica or monitoring."""
    return sum(pool.most for pool in part.pools if pool.for_ == for_)


def max_clients(clients: int, c: Coefficients) -> int:
    """What a pooler takes, in steps of 100, if it had to take all clients of the fleet."""
    needed = (clients + c.pgbouncer_client_spare) * c.pgbouncer_client_headroom
    return max(c.pgbouncer_clients_minimum, ceil(needed / 100) * 100)


def size(
    fleet: Fleet,
    host: Host,
    pools: Pools,
    clients: int,
    bind: tuple[str, ...],
    c: Coefficients,
) -> tuple[Pgbouncer, Reasons]:
    """PgBouncer of one host.

    pools: what this pooler may open, to the primary and, where there are replicas, for reading. clients: all that may
    come to one pooler, for either.
    """
    max_client_conn = host.overrides.pgbouncer_max_client_conn or max_clients(clients, c)
    reasons: Reasons = {}
    made = tuple(_pools(fleet, host, pools, reasons, c))
    opened = sum(pool.most for pool in made)
    files = max_client_conn + opened + 100
    limit_nofile = ceil(files / c.pgbouncer_files_minimum) * c.pgbouncer_files_minimum
    settings: dict[str, tuple[str | int, str]] = {
        "pool_mode": ("transaction", "a connection serves whoever has a transaction, not whoever is connected"),
        "default_pool_size": (pools.primary.size, "that of the primary"),
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


def _pools(fleet: Fleet, host: Host, pools: Pools, reasons: Reasons, c: Coefficients) -> Iterator[Pool]:
    """The pools of one pooler; their reasons are added to `reasons`."""
    primary = LOOPBACK if fleet.primary is host else fleet.primary.address
    rows: list[_Row] = [(DATABASE, primary, POSTGRES_PORT, pools.primary, "primary")]
    if pools.reader:
        reader = (LOOPBACK, READER_PORT) if fleet.replicas else (primary, POSTGRES_PORT)
        rows.append((READER, *reader, pools.reader, "replica"))
    if fleet.monitored:
        probe = PoolSize(size=c.pgbouncer_pool_monitoring, reserve=0, why="for what asks whether the database answers")
        rows.append((_MONITORING, primary, POSTGRES_PORT, probe, "monitoring"))
    for name, address, port, pool, for_ in rows:
        prefix = f"pgbouncer.pools.{name}"
        reasons[prefix] = f"{name} = what clients ask for when they mean {_MEANT[for_]}"
        reasons[f"{prefix}.pool_size"] = f"{pool.size} = {pool.why}"
        reasons[f"{prefix}.reserve_pool_size"] = f"{pool.reserve} = " + (
            f"{c.pgbouncer_reserve_share:.0%} of the pool, at least {c.pgbouncer_reserve_minimum} over all poolers"
            if pool.reserve
            else "none: it can wait"
        )
        reasons[f"{prefix}.port"] = f"{port} = " + (
            "HAProxy of this host, which knows the replicas" if port == READER_PORT else "PostgreSQL's own"
        )
        yield Pool(
            name=name,
            database=DATABASE,
            host=address,
            port=port,
            pool_size=pool.size,
            reserve_pool_size=pool.reserve,
            for_=for_,
        )


_MEANT = {
    "primary": "the primary",
    "replica": "any replica, or the primary while none is well",
    "monitoring": "to see whether the primary answers",
}
_Row = tuple[str, str, int, PoolSize, Literal["primary", "replica", "monitoring"]]
