# SPDX-License-Identifier: GPL-3.0-or-later
"""The coefficients of the plan: one place, each with where it comes from.

Marks: [S] Mastodon's source, [D] documentation of the component, [I] published by a running instance,
[M] measured on Mastodon v4.6.5, [E] our own estimate. A person overrides any of them by name with
`mastodon_plan_coefficients`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """Numbers that the formulas take; memory in MB (2^20 bytes), shares between 0 and 1."""

    # --- the host. [E] 6 % for journald, ssh, exporters and a little page cache.
    os_share: float = 0.06
    os_minimum_mb: int = 256
    # [E] Between these two sizes what differs on tiny hosts is interpolated, so that more memory never buys less.
    tiny_until_mb: int = 2000
    small_from_mb: int = 3000
    # [E] On hosts below small_from_mb estimates may exceed the memory by this share, with swap behind it.
    overdraft_share: float = 0.10
    swap_advised_mb: int = 2048

    # --- Puma. [D] Puma's deployment guide: about one worker a core; [E] 0.75 beside Sidekiq and PostgreSQL.
    web_workers_per_vcpu_alone: float = 1.0
    web_workers_per_vcpu_shared: float = 0.75
    web_workers_maximum: int = 32
    # [I] fit to toot.community's requests and masto.nyc's processes after three days: 300 + 400 a worker.
    web_master_mb: int = 300
    web_worker_mb: int = 400
    # [M] Single mode saves the master: 345 MB young against 475, grown in the same proportion.
    web_single_mode_mb: int = 450
    # [M] Beside PostgreSQL 3 threads carry what 5 do, with a p99 lower by 40 %; [D] 5 elsewhere.
    web_threads_beside_postgres: int = 3
    web_threads: int = 5
    # [S] PERSISTENT_TIMEOUT of config/puma.rb.
    web_persistent_timeout_seconds: int = 20
    # [E] Longer than the requests that nginx waits for half the time; systemd kills what is left.
    web_stop_timeout_seconds: int = 60

    # --- Sidekiq. [I] fit to masto.nyc and toot.community: 400 + 24 a thread.
    sidekiq_process_mb: int = 400
    sidekiq_thread_mb: int = 24
    # [M] One process a core: two do 2.3 to 2.9 times the work of one, with PostgreSQL beside them.
    sidekiq_processes_per_vcpu: float = 1.0
    sidekiq_processes_maximum: int = 16
    # [M] Threads slow down queues that compute; [D] GitLab, Perham: nothing is gained beyond 25, crashes above 50.
    sidekiq_threads_computing: int = 5
    sidekiq_threads_mixed: int = 15
    sidekiq_threads_waiting: int = 25
    sidekiq_threads_refused_above: int = 50
    # [S] Sidekiq waits 25 s for its jobs; what is killed before that is lost.
    sidekiq_stop_timeout_seconds: int = 60

    # --- Streaming. [I] toot.community: 202 MB in 2023; [E] 120 on a tiny host.
    streaming_mb: int = 200
    streaming_tiny_mb: int = 120
    # [E] 1 a box, 2 from this many vCPUs.
    streaming_second_from_vcpus: int = 4
    # [S] DB_POOL of streaming is 10 unless told; [E] 5 while the other clients are fewer than this.
    streaming_db_pool: int = 10
    streaming_db_pool_small: int = 5
    streaming_db_pool_small_below_clients: int = 60

    # --- PostgreSQL. [E] share of a host that also runs Ruby; [D] the rest is PGTune's profile "web".
    postgres_share: float = 0.25
    postgres_share_tiny: float = 0.20
    postgres_shared_buffers_minimum_mb: int = 128
    postgres_max_connections_minimum: int = 100
    postgres_max_connections_minimum_tiny: int = 50
    # [S] tootctl opens its concurrency plus one; [E] room for a person, an exporter and the reserved superusers.
    postgres_connections_tootctl: int = 6
    postgres_connections_direct: int = 5
    postgres_connections_exporters: int = 5
    postgres_connections_superuser: int = 3
    postgres_client_headroom: float = 1.1
    # [D] A. Freund: below 2 MB for an idle backend with shared memory mapped; [I] above 250 needs a reason.
    postgres_idle_backend_mb: int = 2
    postgres_max_connections_unusual_above: int = 250
    # [I] toot.community's report of April 2026: PGTune forgets hash_mem_multiplier, which is 2 since PostgreSQL 15.
    postgres_hash_mem_multiplier: float = 2.0

    # --- Redis. [E] share of a host that also runs Ruby; [D] a fork copies pages while it saves.
    redis_share: float = 0.10
    redis_minimum_mb: int = 128
    redis_maximum_mb: int = 2048
    redis_fork_factor: float = 1.25
    redis_client_headroom: float = 1.5
    redis_clients_minimum: int = 1000

    # --- nginx. [E] memory; [D] worker_connections counts both sides of a proxied request.
    nginx_mb: int = 64
    nginx_tiny_mb: int = 32
    nginx_connections_tiny: int = 1024
    nginx_connections_small: int = 4096
    nginx_connections_large: int = 16384
    nginx_large_from_mb: int = 12000
    # [S] dist/nginx.conf; a request that nginx gives up while Rails works on it is sent again by clients.
    nginx_body_size_mb: int = 99
    nginx_proxy_read_timeout_seconds: int = 120

    # --- Units. [I] toot.community's limits are 1.3 to 2 times its requests; [S] dist/mastodon-streaming.service.
    memory_high_factor: float = 1.5
    memory_max_factor: float = 2.0
    limit_nofile: int = 65536


def read_coefficients(given: Mapping[str, object] | None) -> Coefficients:
    """The coefficients with a person's own values in place of the defaults.

    given: mapping of names of `Coefficients` to positive numbers, or None.
    Raises ValueError that names the coefficient, the value and what is allowed.
    """
    known = {field.name: field.default for field in fields(Coefficients)}
    chosen: dict[str, float | int] = {}
    for name, value in (given or {}).items():
        if name not in known:
            raise ValueError(f"mastodon_plan_coefficients: there is no coefficient {name!r}; known: {', '.join(known)}")
        whole = isinstance(known[name], int)
        try:
            number = int(str(value)) if whole else float(str(value))
        except ValueError:
            number = -1
        if isinstance(value, bool) or not 0 < number < 10**7:
            raise ValueError(
                f"mastodon_plan_coefficients: {name} is {value!r}; allowed: a positive "
                f"{'whole number' if whole else 'number'}, such as {name}: {known[name]}"
            )
        chosen[name] = number
    return Coefficients(**chosen)
