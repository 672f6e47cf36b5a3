# SPDX-License-Identifier: GPL-3.0-or-later
"""Puma: workers from cores and memory, threads from what they wait for."""

from __future__ import annotations

from ..coefficients import Coefficients
from ..model import Host, Reasons, Web
from .memory import Share, is_tiny, web_mb, workers_limit

PORT = 3000


def size(host: Host, share: Share, bind: str, c: Coefficients) -> tuple[Web, Reasons]:
    """The sizes of Puma on one host.

    workers: as many as the cores can use (0.75 a vCPU on a shared host, one where Puma is alone) and the memory
    pays for. threads: 3 beside PostgreSQL and on tiny hosts, else 5. The pool is the threads: a thread holds at most
    one connection.
    """
    workers = share.workers
    few = host.runs("postgres") or is_tiny(host, c)
    threads = host.overrides.web_threads or (c.web_threads_beside_postgres if few else c.web_threads)
    estimate_mb = web_mb(workers, c)
    web = Web(
        workers=workers,
        threads=threads,
        db_pool=threads,
        bind=bind,
        port=PORT,
        persistent_timeout_seconds=c.web_persistent_timeout_seconds,
        memory_high_mb=int(estimate_mb * c.memory_high_factor),
        memory_max_mb=int(estimate_mb * c.memory_max_factor),
        limit_nofile=c.limit_nofile,
        stop_timeout_seconds=c.web_stop_timeout_seconds,
    )
    estimate = f"{c.web_master_mb} + {c.web_worker_mb} x {workers}" if workers else "single mode"
    return web, {
        "web.workers": _why_workers(host, share, c),
        "web.threads": f"{threads} = " + _why_threads(host, c),
        "web.db_pool": f"{threads} = one connection for each thread of a worker",
        "web.bind": f"{bind} = where nginx reaches Puma",
        "web.port": f"{PORT} = Mastodon's own",
        "web.persistent_timeout_seconds": f"{web.persistent_timeout_seconds} = Mastodon's own",
        "web.memory_high_mb": f"{web.memory_high_mb} = {c.memory_high_factor:g} x the estimate of {estimate_mb} MB "
        f"({estimate})",
        "web.memory_max_mb": f"{web.memory_max_mb} = {c.memory_max_factor:g} x the estimate of {estimate_mb} MB "
        f"({estimate})",
        "web.limit_nofile": f"{web.limit_nofile} = room for requests and outgoing connections; the default is 1024",
        "web.stop_timeout_seconds": f"{web.stop_timeout_seconds} = requests under way may end",
    }


def _why_workers(host: Host, share: Share, c: Coefficients) -> str:
    workers, limit = share.workers, workers_limit(host, c)
    if host.overrides.web_workers is not None:
        return f"{workers} = web_workers, set by hand; the cores of {host.name} can use {limit}"
    if workers >= limit:
        return f"{workers} = what {host.vcpus} vCPU can use; workers beyond the cores cost memory and gain nothing"
    single = " (single mode: no master process, the throughput of one worker)" if workers == 0 else ""
    wanted = f"; one more {share.missing} from {share.missing_from_memory_mb} MB on" if share.missing else ""
    return f"{workers} = what the memory pays for{single}; {host.vcpus} vCPU could use {limit}{wanted}"


def _why_threads(host: Host, c: Coefficients) -> str:
    if host.overrides.web_threads is not None:
        return "web_threads, set by hand"
    if host.runs("postgres"):
        return "PostgreSQL is on the same host: the throughput of 5 with fewer connections and a lower p99"
    if is_tiny(host, c):
        return f"below {c.small_from_mb} MB every thread counts"
    return "Mastodon's default: threads hide the wait for a database across the network"
