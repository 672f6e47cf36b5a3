# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: connections from its clients, memory by PGTune's profile "web" with its work_mem corrected."""

from __future__ import annotations

from math import ceil

from ..coefficients import Coefficients
from ..model import Host, Postgres, Reasons
from .memory import Reserve, is_tiny

PORT = 5432
_PGTUNE = "PGTune, profile web"


def reserved_connections(c: Coefficients) -> int:
    """Connections that the application never gets: exporters and superusers."""
    return c.postgres_connections_exporters + c.postgres_connections_superuser


def needed_connections(clients: int, c: Coefficients) -> int:
    """Connections for the clients of the application with headroom, tootctl, a person, exporters and superusers."""
    direct = c.postgres_connections_tootctl + c.postgres_connections_direct + reserved_connections(c)
    return ceil(clients * c.postgres_client_headroom) + direct


def size(
    host: Host, set_aside: Reserve, clients: int, bind: tuple[str, ...], c: Coefficients
) -> tuple[Postgres, Reasons]:
    """PostgreSQL of one host.

    clients: connections that all processes of the fleet may hold at once.
    max_connections rises in steps of ten, because only a restart changes it. work_mem is PGTune's, divided by
    hash_mem_multiplier, which PGTune forgets.
    """
    ram_mb = set_aside.postgres_mb
    tiny = is_tiny(host, c)
    least = c.postgres_max_connections_minimum_tiny if tiny else c.postgres_max_connections_minimum
    needed = needed_connections(clients, c)
    max_connections = host.overrides.postgres_max_connections or max(least, ceil(needed / 10) * 10)
    shared_mb = max(c.postgres_shared_buffers_minimum_mb, ram_mb // 4)
    parallel = host.vcpus >= 4
    worker_processes = host.vcpus if parallel else 8
    sorters = (max_connections + worker_processes) * 3
    pgtune_work_mb = max(0, ram_mb - shared_mb) / sorters
    work_mb = min(64, max(2 if tiny else 4, int(pgtune_work_mb / c.postgres_hash_mem_multiplier)))
    maintenance_mb = min(8192, max(32, ram_mb // 16))
    wal_buffers_mb = min(16, max(1, round(shared_mb * 0.03)))
    app_limit = max(1, max_connections - reserved_connections(c))
    settings: dict[str, tuple[str | int, str]] = {
        "max_connections": (max_connections, _why_connections(host, clients, needed, least, c)),
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
        "max_worker_processes": (worker_processes, "one a vCPU, PostgreSQL's own 8 below four"),
    }
    if parallel:
        gather = min(4, ceil(host.vcpus / 2))
        settings |= {
            "max_parallel_workers": (host.vcpus, "one a vCPU"),
            "max_parallel_workers_per_gather": (gather, "half of the vCPUs, up to 4"),
            "max_parallel_maintenance_workers": (gather, "half of the vCPUs, up to 4"),
        }
    postgres = Postgres(
        bind=bind,
        port=PORT,
        settings={name: value for name, (value, dummy) in settings.items()},
        app_connection_limit=app_limit,
    )
    reasons = {f"postgres.settings.{name}": f"{value} = {why}" for name, (value, why) in settings.items()}
    reasons["postgres.port"] = f"{PORT} = PostgreSQL's own"
    reasons["postgres.bind"] = f"{', '.join(bind)} = where its clients reach it"
    reasons["postgres.app_connection_limit"] = (
        f"{app_limit} = {max_connections} less {reserved_connections(c)} for exporters and superusers"
    )
    return postgres, reasons


def _why_connections(host: Host, clients: int, needed: int, least: int, c: Coefficients) -> str:
    demand = (
        f"{c.postgres_client_headroom:g} x {clients} clients + {c.postgres_connections_tootctl} tootctl + "
        f"{c.postgres_connections_direct} direct + {reserved_connections(c)} reserved = {needed}"
    )
    if host.overrides.postgres_max_connections is not None:
        return f"postgres_max_connections, set by hand; needed: {demand}"
    return f"{demand}, in steps of ten, at least {least}"
