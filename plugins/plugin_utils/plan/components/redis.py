# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis: memory from the host, clients from the processes that connect."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from ..coefficients import Coefficients
from ..model import Host, Reasons, Redis, Sidekiq, Streaming, Web
from .memory import Reserve, why_maxmemory

PORT = 6379
_TCP_BACKLOG = 4096


def clients(webs: Iterable[Web], sidekiqs: Iterable[Sidekiq], streamings: Iterable[Streaming], c: Coefficients) -> int:
    """The most connections that the fleet can open to Redis at once.

    A Puma worker with T threads: 3 T + 1 up to ten threads, 2 T + 11 above. A Sidekiq process with c: 3 c + 11.
    A streaming process: 2. tootctl: one a thread. Read in Mastodon v4.6.5 and the gems that it locks.
    """
    total = c.postgres_connections_tootctl
    for web in webs:
        a_worker = 3 * web.threads + 1 if web.threads <= 10 else 2 * web.threads + 11
        total += max(1, web.workers) * a_worker
    for sidekiq in sidekiqs:
        total += sum(3 * process.concurrency + 11 for process in sidekiq.processes)
    for streaming in streamings:
        total += 2 * len(streaming.processes)
    return total


def size(
    host: Host, set_aside: Reserve, worst_case_clients: int, bind: tuple[str, ...], c: Coefficients
) -> tuple[Redis, Reasons]:
    """Redis of one host. worst_case_clients: what `clients` says of the fleet.

    Every instance takes the clients of the whole fleet: then none restarts when a cache or a replica joins or goes,
    and a replica can take the place of its core.
    """
    role = host.redis_role or "core"
    maxmemory_mb = set_aside.redis_maxmemory_mb
    maxclients = max(c.redis_clients_minimum, ceil(worst_case_clients * c.redis_client_headroom / 500) * 500)
    settings: dict[str, tuple[str | int, str]] = {
        "maxmemory": (f"{maxmemory_mb}mb", why_maxmemory(host, c)),
        "maxmemory-policy": ("noeviction", "queues and feeds must never be dropped"),
        "maxclients": (
            maxclients,
            f"{c.redis_client_headroom:g} x the worst case of {worst_case_clients} clients, in steps of 500, "
            f"at least {c.redis_clients_minimum}",
        ),
        "tcp-backlog": (_TCP_BACKLOG, "as much as net.core.somaxconn lets through"),
    }
    if role == "cache":
        settings |= {
            "maxmemory-policy": ("allkeys-lru", "what was used least goes first; all of it can be made again"),
            "appendonly": ("no", "a cache need not outlive a restart"),
            "save": ('""', "a cache need not outlive a restart"),
        }
    redis = Redis(
        role=role,
        bind=bind,
        port=PORT,
        settings={name: value for name, (value, dummy) in settings.items()},
        limit_nofile=max(c.limit_nofile, maxclients + 32),
    )
    reasons = {f"redis.settings.{name}": f"{value} = {why}" for name, (value, why) in settings.items()}
    reasons["redis.role"] = f"{role} = the group of {host.name}"
    reasons["redis.port"] = f"{PORT} = Redis's own"
    reasons["redis.bind"] = f"{', '.join(bind)} = where its clients reach it"
    reasons["redis.limit_nofile"] = f"{redis.limit_nofile} = more than maxclients + 32, which Redis asks for"
    return redis, reasons
