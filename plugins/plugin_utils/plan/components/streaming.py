# SPDX-License-Identifier: GPL-3.0-or-later
"""Streaming: one Node process is one core at most."""

from __future__ import annotations

from ..coefficients import Coefficients
from ..model import Host, Reasons, Streaming, StreamingProcess
from .memory import streaming_process_mb

FIRST_PORT = 4000


def count(host: Host, c: Coefficients) -> int:
    """How many streaming processes the host runs: one, two from four vCPUs, or what a person set."""
    if not host.runs("streaming"):
        return 0
    if host.overrides.streaming_processes is not None:
        return host.overrides.streaming_processes
    return 2 if host.vcpus >= c.streaming_second_from_vcpus else 1


def db_pool(ruby_clients: int, c: Coefficients) -> int:
    """Connections of one streaming process: few beside few Ruby clients, else Mastodon's default."""
    return c.streaming_db_pool_small if ruby_clients < c.streaming_db_pool_small_below_clients else c.streaming_db_pool


def size(host: Host, ruby_clients: int, bind: str, c: Coefficients) -> tuple[Streaming, Reasons]:
    """The streaming processes of one host. ruby_clients: database connections of all Ruby processes of the fleet."""
    processes = count(host, c)
    pool = db_pool(ruby_clients, c)
    estimate_mb = streaming_process_mb(host, c)
    streaming = Streaming(
        processes=tuple(StreamingProcess(port=FIRST_PORT + index, bind=bind) for index in range(processes)),
        db_pool=pool,
        memory_max_mb=int(estimate_mb * c.memory_max_factor),
        limit_nofile=c.limit_nofile,
    )
    by_hand = host.overrides.streaming_processes is not None
    why = "streaming_processes, set by hand" if by_hand else f"one, or two from {c.streaming_second_from_vcpus} vCPU"
    return streaming, {
        "streaming.processes": f"{processes} = {why}; ports from {FIRST_PORT} upwards",
        "streaming.db_pool": f"{pool} = beside {ruby_clients} connections of Ruby; {c.streaming_db_pool} from "
        f"{c.streaming_db_pool_small_below_clients} on",
        "streaming.memory_max_mb": f"{streaming.memory_max_mb} = {c.memory_max_factor:g} x the estimate of "
        f"{estimate_mb} MB a process",
        "streaming.limit_nofile": f"{c.limit_nofile} = Mastodon's own unit: a connection is a file",
    }
