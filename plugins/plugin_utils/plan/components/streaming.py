# SPDX-License-Identifier: GPL-3.0-or-later
"""Streaming: one Node process is one core at most."""

from __future__ import annotations

from ..coefficients import Coefficients
from ..model import Fleet, Host, Reasons, Streaming, StreamingProcess
from .memory import Share, streaming_limit, streaming_process_mb

FIRST_PORT = 4000


def size(fleet: Fleet, host: Host, share: Share, bind: str, c: Coefficients) -> tuple[Streaming, Reasons]:
    """The streaming processes of one host."""
    processes = share.streaming_processes
    # Nothing that moves when hosts join: another number restarts streaming, and everybody's client connects anew.
    pooled = bool(fleet.running("pgbouncer"))
    pool = c.streaming_db_pool if pooled else c.streaming_db_pool_unpooled
    estimate_mb = streaming_process_mb(host, c)
    streaming = Streaming(
        processes=tuple(StreamingProcess(port=FIRST_PORT + index, bind=bind) for index in range(processes)),
        db_pool=pool,
        memory_max_mb=int(estimate_mb * c.memory_max_factor),
        limit_nofile=c.limit_nofile,
    )
    why = _why_processes(fleet, host, c)
    return streaming, {
        "streaming.processes": f"{processes} = {why}; ports from {FIRST_PORT} upwards",
        "streaming.db_pool": f"{pool} = "
        + ("Mastodon's default" if pooled else "few: without PgBouncer each is a process of PostgreSQL"),
        "streaming.memory_max_mb": f"{streaming.memory_max_mb} = {c.memory_max_factor:g} x the estimate of "
        f"{estimate_mb} MB a process",
        "streaming.limit_nofile": f"{c.limit_nofile} = Mastodon's own unit: a connection is a file",
    }


def _why_processes(fleet: Fleet, host: Host, c: Coefficients) -> str:
    if host.overrides.streaming_processes is not None:
        return "streaming_processes, set by hand"
    if fleet.monthly_active_users:
        return (
            f"{c.streaming_connections_per_user:g} connections for each of {fleet.monthly_active_users} active users, "
            f"{c.streaming_connections_per_process} a process, at most one for two vCPU"
        )
    if streaming_limit(fleet, host, c) > 2:
        return f"{c.streaming_processes_alone} from {c.streaming_second_from_vcpus} vCPU on hosts with little else"
    return f"one, or two from {c.streaming_second_from_vcpus} vCPU when all else is paid for"
