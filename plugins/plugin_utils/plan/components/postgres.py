# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: connections from its clients, memory by PGTune's profile "web" with its work_mem corrected."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ..coefficients import Coefficients
from ..model import Fleet, Host, Postgres, Reasons
from .memory import Reserve, is_tiny

PORT = 5432
# Where a replica says whether it is up and how far behind, to those who balance reads.
HEALTH_PORT = 6434
# The database of Mastodon, as the roles make it.
DATABASE = "mastodon_production"
_PGTUNE = "PGTune, profile web"
# What PostgreSQL has where nothing is set, of the settings that a replica must not have less of than its primary.
STANDBY_DEFAULTS = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Connections that one PostgreSQL has to take, in numbers and in words; pooled: they come from poolers."""

    needed: int
    words: str
    pooled: bool

    def planned(self, host: Host, ram_mb: int, c: Coefficients) -> int:
        """max_connections in steps, because only a restart changes it, and as far as the memory holds a step."""
        least = c.postgres_max_connections_minimum_tiny if is_tiny(host, c) else c.postgres_max_connections_minimum
        step = c.postgres_connections_step_pooled if self.pooled else c.postgres_connections_step
        limit = memory_limit(ram_mb, c)
        return min(max(least, ceil(self.needed / step) * step), max(self.needed, limit - limit % 10))


def reserved_connections(c: Coefficients) -> int:
    """Connections that the application never gets: exporters and superusers."""
    return c.postgres_connections_exporters + c.postgres_connections_superuser


def needed_connections(clients: int, c: Coefficients) -> int:
    """Connections for the clients of the application with headroom, tootctl, a person, exporters and superusers.

    The application may hold nine tenths, so that a person still gets in when it has taken all it may.
    """
    return max(ceil(clients * c.postgres_client_headroom) + beside_clients(c), ceil(clients / c.postgres_app_share))


def beside_clients(c: Coefficients) -> int:
    """Connections beside those of clients that come without a pooler."""
    return c.postgres_connections_tootctl + c.postgres_connections_direct + reserved_connections(c)


def beside_pools(c: Coefficients) -> int:
    """Connections beside those of poolers: migrations, dumps, tootctl, a person, exporters and superusers."""
    return c.postgres_connections_beside_pooler + reserved_connections(c)


def direct(clients: int, c: Coefficients) -> Demand:
    """What PostgreSQL takes where all clients come to it."""
    needed = needed_connections(clients, c)
    words = (
        f"{c.postgres_client_headroom:g} x {clients} clients + {c.postgres_connections_tootctl} tootctl + "
        f"{c.postgres_connections_direct} direct + {reserved_connections(c)} reserved = {needed}"
    )
    return Demand(needed=needed, words=words, pooled=False)


def pooled(connections: int, poolers: int, c: Coefficients) -> Demand:
    """What PostgreSQL takes behind poolers. connections: of all their pools to it, reserves included."""
    needed = connections + beside_pools(c)
    words = (
        f"{connections} of the pools of {poolers} pooler{'s' if poolers > 1 else ''} + "
        f"{c.postgres_connections_beside_pooler} direct + {reserved_connections(c)} reserved = {needed}"
    )
    return Demand(needed=needed, words=words, pooled=True)


def shared_buffers_mb(ram_mb: int, c: Coefficients) -> int:
    """A quarter of PostgreSQL's memory."""
    return max(c.postgres_shared_buffers_minimum_mb, ram_mb // 4)


def memory_limit(ram_mb: int, c: Coefficients) -> int:
    """The backends that PostgreSQL's memory holds beside its buffers even when all of them idle."""
    return max(0, ram_mb - shared_buffers_mb(ram_mb, c)) // c.postgres_idle_backend_mb


def size(
    fleet: Fleet,
    host: Host,
    set_aside: Reserve,
    demand: Demand,
    bind: tuple[str, ...],
    c: Coefficients,
    primary: Postgres | None = None,
) -> tuple[Postgres, Reasons]:
    """PostgreSQL of one host.

    demand: connections that it has to take; primary: the one that it repeats, None on the primary itself.
    max_connections rises in steps, because only a restart changes it. work_mem is PGTune's, divided by
    hash_mem_multiplier, which PGTune forgets.
    """
    ram_mb = set_aside.postgres_mb
    tiny = is_tiny(host, c)
    max_connections, why_connections = _max_connections(host, ram_mb, demand, c, primary)
    shared_mb = shared_buffers_mb(ram_mb, c)
    parallel = host.vcpus >= 4
    worker_processes = host.vcpus if parallel else 8
    if primary:
        worker_processes = max(worker_processes, int(primary.settings["max_worker_processes"]))
    sorters = (max_connections + worker_processes) * 3
    pgtune_work_mb = max(0, ram_mb - shared_mb) / sorters
    work_mb = min(64, max(2 if tiny else 4, int(pgtune_work_mb / c.postgres_hash_mem_multiplier)))
    maintenance_mb = min(8192, max(32, ram_mb // 16))
    wal_buffers_mb = min(16, max(1, round(shared_mb * 0.03)))
    app_limit = max(1, max_connections - reserved_connections(c))
    settings: dict[str, tuple[str | int, str]] = {
        "max_connections": (max_connections, why_connections),
        "superuser_reserved_connections": (
            c.postgres_connections_superuser,
            "kept for a person when all others are taken",
        ),
        "shared_buffers": (
            f"{shared_mb}MB",
            f"a quarter of PostgreSQL's {ram_mb} MB, at least {c.postgres_shared_buffers_minimum_mb}",
        ),
        "effective_cache_size": (f"{ram_mb * 3 // 4}MB", f"three quarters of PostgreSQL's {ram_mb} MB"),
        "maintenance_work_mem": (f"{maintenance_mb}MB", f"a sixteenth of PostgreSQL's {ram_mb} MB, 32 to 8192"),
        "work_mem": (
            f"{work_mb}MB",
            f"({ram_mb} - {shared_mb}) MB / {sorters} sorts at once / hash_mem_multiplier "
            f"{c.postgres_hash_mem_multiplier:g}, "
            f"{2 if tiny else 4} to 64",
        ),
        "wal_buffers": (f"{wal_buffers_mb}MB", "3 % of shared_buffers, up to 16"),
        "min_wal_size": ("1GB", _PGTUNE),
        "max_wal_size": ("4GB", _PGTUNE),
        "checkpoint_completion_target": ("0.9", _PGTUNE),
        "default_statistics_target": (100, _PGTUNE),
        "random_page_cost": ("1.1", f"{_PGTUNE}, for SSD"),
        "effective_io_concurrency": (200, f"{_PGTUNE}, for SSD"),
        "huge_pages": ("try" if shared_mb >= 2048 else "off", "tried from 2 GB of shared_buffers on"),
        "jit": ("off", "compiling costs more than Mastodon's short queries take"),
        "wal_compression": ("lz4", "less to write, for little CPU"),
        "autovacuum_max_workers": (
            3 if host.vcpus < 16 else 4 if host.vcpus < 32 else 5,
            "3, 4 from 16 vCPU, 5 from 32",
        ),
        "max_worker_processes": (
            worker_processes,
            "one a vCPU, PostgreSQL's own 8 below four" + ("; no fewer than on the primary" if primary else ""),
        ),
    }
    if parallel:
        gather = min(4, ceil(host.vcpus / 2))
        settings |= {
            "max_parallel_workers": (host.vcpus, "one a vCPU"),
            "max_parallel_workers_per_gather": (gather, "half of the vCPUs, up to 4"),
            "max_parallel_maintenance_workers": (gather, "half of the vCPUs, up to 4"),
        }
    settings |= _replication(fleet, host, primary, c)
    role = "replica" if primary else "primary"
    postgres = Postgres(
        role=role,
        bind=bind,
        port=PORT,
        settings={name: value for name, (value, dummy) in settings.items()},
        app_connection_limit=app_limit,
        replicas=() if primary else _replicas(fleet),
        primary={"host": fleet.primary.address, "port": PORT} if primary else None,
    )
    reasons = {f"postgres.settings.{name}": f"{value} = {why}" for name, (value, why) in settings.items()}
    reasons["postgres.role"] = f"{role} = the group of {host.name}"
    reasons["postgres.port"] = f"{PORT} = PostgreSQL's own"
    if primary:
        reasons["postgres.primary"] = f"{fleet.primary.name} = what this host repeats"
        reasons["postgres.primary.port"] = f"{PORT} = PostgreSQL's own"
    elif postgres.replicas:
        reasons["postgres.replicas"] = f"{', '.join(postgres.replicas)} = the hosts in postgres_replica"
    reasons["postgres.bind"] = f"{', '.join(bind)} = where its clients reach it"
    reasons["postgres.app_connection_limit"] = (
        f"{app_limit} = {max_connections} less {reserved_connections(c)} for exporters and superusers"
    )
    return postgres, reasons


def _replicas(fleet: Fleet) -> tuple[str, ...]:
    """All that repeat the primary; a replica that is leaving needs its slot to the end."""
    return tuple(sorted(host.name for host in fleet.reached_by("postgres") if host.postgres_role == "replica"))


def _max_connections(
    host: Host, ram_mb: int, demand: Demand, c: Coefficients, primary: Postgres | None
) -> tuple[int, str]:
    if host.overrides.postgres_max_connections is not None:
        given = host.overrides.postgres_max_connections
        return given, f"postgres_max_connections, set by hand; needed: {demand.words}"
    planned = demand.planned(host, ram_mb, c)
    step = c.postgres_connections_step_pooled if demand.pooled else c.postgres_connections_step
    least = c.postgres_max_connections_minimum_tiny if is_tiny(host, c) else c.postgres_max_connections_minimum
    steps = "in steps of ten" if step == 10 else f"in steps of {step}"
    why = f"{demand.words}, {steps}, at least {least}"
    if primary and int(primary.settings["max_connections"]) > planned:
        return int(primary.settings["max_connections"]), f"as many as on the primary, which a replica needs; {why}"
    return planned, why


def _replication(
    fleet: Fleet, host: Host, primary: Postgres | None, c: Coefficients
) -> dict[str, tuple[str | int, str]]:
    """What a primary and its replicas need of each other; nothing where there are no replicas."""
    if not fleet.replicas:
        return {}
    senders = max(c.postgres_wal_senders_minimum, ceil((2 * len(fleet.replicas) + 2) / 10) * 10)
    why = f"two for each of {len(fleet.replicas)} replicas and two more, in steps of ten"
    settings: dict[str, tuple[str | int, str]] = {
        "max_wal_senders": (senders, why),
        "max_replication_slots": (senders, "as many as max_wal_senders"),
        "max_slot_wal_keep_size": (
            f"{c.postgres_slot_keep_gb}GB",
            "a replica that is away that long is made anew, and the disk of the primary does not fill",
        ),
    }
    if primary:
        lag_seconds = host.overrides.postgres_replica_max_lag_seconds or c.postgres_replica_lag_seconds
        settings |= {
            "hot_standby": ("on", "replicas answer queries"),
            "hot_standby_feedback": ("on", "the primary keeps the rows that a query here still reads"),
            "max_standby_streaming_delay": (
                f"{c.postgres_standby_delay_seconds}s",
                "a query here may hold up what is replayed that long",
            ),
            "wal_receiver_timeout": (
                f"{lag_seconds}s",
                "as far as a replica may be behind (postgres_replica_max_lag_seconds): it then connects anew",
            ),
        }
    return settings
