# SPDX-License-Identifier: GPL-3.0-or-later
"""The coefficients of the plan: one place, each with where it comes from.

Marks: [S] Mastodon's source, [D] documentation of the component, [I] published by a running instance,
[M] measured on Mastodon v4.6.5, [E] our own estimate. A person overrides any of them by name with
`mastodon_plan_coefficients`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

_MAY_BE_ZERO = frozenset({"pgbouncer_max_prepared_statements"})


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

    # --- Streaming: users. [D] docs, scaling: 800 to 1200 connections at 10 to 20 thousand monthly active users;
    # [I] toot.community scales at 1000 a process.
    streaming_connections_per_user: float = 0.08
    streaming_connections_per_process: int = 1000

    # --- Streaming. [I] toot.community: 202 MB in 2023; [E] 120 on a tiny host.
    streaming_mb: int = 200
    streaming_tiny_mb: int = 120
    # [E] 1 a box, 2 from this many vCPUs.
    streaming_second_from_vcpus: int = 4
    # [E] As many on hosts of that size that run neither Ruby nor data.
    streaming_processes_alone: int = 4
    # [S] DB_POOL of streaming is 10 unless told; [E] 5 where each of them is a process of PostgreSQL.
    streaming_db_pool: int = 10
    streaming_db_pool_unpooled: int = 5

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
    postgres_app_share: float = 0.9
    # [D] A. Freund: below 2 MB for an idle backend with shared memory mapped; [I] above 250 needs a reason.
    postgres_idle_backend_mb: int = 2
    postgres_max_connections_unusual_above: int = 250
    # [I] toot.community's report of April 2026: PGTune forgets hash_mem_multiplier, which is 2 since PostgreSQL 15.
    postgres_hash_mem_multiplier: float = 2.0

    # [E] Migrations, dumps, tootctl and a person, who all go round the pooler.
    postgres_connections_beside_pooler: int = 15
    # [E] Only a restart changes max_connections: steps so coarse that another host rarely needs one.
    postgres_connections_step: int = 10
    postgres_connections_step_pooled: int = 50
    # [D] PostgreSQL's default is 10 and each replica takes one, and one more while it is made.
    postgres_wal_senders_minimum: int = 10
    # [E] Disk that a replica which does not answer may keep filled with what it missed.
    postgres_slot_keep_gb: int = 10
    # [D] PostgreSQL's default: how long a query on a replica may hold up what it replays.
    postgres_standby_delay_seconds: int = 30
    # [E] How far a replica may be behind before nobody reads from it, unless postgres_replica_max_lag_seconds says.
    postgres_replica_lag_seconds: int = 10

    # --- PgBouncer. [D] 2 kB a client; [I] toot.community: 10 to 100 MB.
    pgbouncer_mb: int = 32
    # [I] masto.nyc: 95 clients on 28 connections under transaction pooling.
    pgbouncer_clients_per_connection: float = 3.0
    pgbouncer_pool_minimum: int = 20
    # [E] Rails keeps a transaction open while it waits for the network: four times what HikariCP advises a core.
    pgbouncer_pool_per_vcpu: int = 8
    # [E] for peaks.
    pgbouncer_reserve_share: float = 0.20
    pgbouncer_reserve_minimum: int = 5
    # [E] Whatever asks the database how it is, over the pooler as the application does.
    pgbouncer_pool_monitoring: int = 2
    pgbouncer_client_headroom: float = 1.25
    pgbouncer_client_spare: int = 10
    pgbouncer_clients_minimum: int = 200
    pgbouncer_files_minimum: int = 4096
    # [D] PgBouncer's defaults, but: fail before nginx gives up, and take bursts of connections.
    pgbouncer_server_idle_timeout_seconds: int = 600
    pgbouncer_server_lifetime_seconds: int = 3600
    pgbouncer_query_wait_timeout_seconds: int = 45
    pgbouncer_reserve_timeout_seconds: int = 5
    pgbouncer_listen_backlog: int = 1024
    # [M] With this many, prepared statements work through PgBouncer from 1.21 on; 0 forbids them.
    pgbouncer_max_prepared_statements: int = 200
    # [E] Advised beyond this many clients; below, PostgreSQL alone is simpler.
    pgbouncer_advised_above_clients: int = 80

    # --- HAProxy. [D] some 17 kB a connection, twice that with TLS.
    haproxy_mb: int = 32
    haproxy_headroom: float = 1.25
    # [E] What a restart would change, in steps so coarse that growth rarely moves it.
    haproxy_connections_step: int = 1000
    haproxy_files_step: int = 4096
    # [S] Puma's backlog; [E] four times what a streaming process is planned for: it slows down before the door closes.
    haproxy_web_backlog: int = 1024
    haproxy_streaming_connections: int = 4000

    # --- Redis. [E] share of a host that also runs Ruby; [D] a fork copies pages while it saves.
    redis_share: float = 0.10
    redis_minimum_mb: int = 128
    redis_maximum_mb: int = 2048
    # [E] Beside PostgreSQL without Ruby, and of all that is left where Redis is alone with its fork.
    redis_share_beside_postgres: float = 0.15
    redis_minimum_beside_postgres_mb: int = 256
    redis_maximum_beside_postgres_mb: int = 4096
    redis_share_alone: float = 0.60
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

    # --- Demand, at the busiest time of a usual day. [I] mastodon.social in 2018: 183 requests/s of 10,000 people a
    # week, who are some 17,000 a month; toot.community in 2024: 118 on average over a week with 27,000.
    demand_requests_per_second_per_1000_users: float = 10.0
    # [I] mastodon.social in 2017: 200 ms; [E] a little more for what has grown since.
    demand_request_seconds: float = 0.25
    # [M] 34 requests/s keep one worker, which is one core, wholly busy.
    demand_request_cpu_seconds: float = 0.03
    # [I] toot.community adds web hosts from this share of busy threads on.
    demand_busy_share: float = 0.7
    # [I] jobs/s of 1,000 users: vmst.io 5 to 10, mastodon.social 4 to 10, universeodon 3.5, on average of a day.
    demand_jobs_per_second_per_1000_users: float = 10.0
    # [E] Deliveries wait for other servers, for up to 10 s; most of the rest is done in 50 ms.
    demand_job_seconds: float = 0.6
    # [M] 0.008 for writing into a home feed; [E] more with the incoming posts and the pictures.
    demand_job_cpu_seconds: float = 0.02
    # [E] from a study (database at 4 to 11 % of a CPU where the web took 58 to 177) and the hosts of large instances.
    demand_postgres_seconds_per_request: float = 0.01
    demand_postgres_seconds_per_job: float = 0.005
    # [E] fit to small boxes, to aus.social (10,000 active) and to toot.community (27,000).
    demand_postgres_base_mb: int = 512
    demand_postgres_mb_per_user: float = 0.6
    # [E] Of the people of a month, so many come in a week; [S] their home feeds hold 800 posts each in Redis.
    demand_weekly_share: float = 0.6
    demand_feed_mb_per_weekly_user: float = 0.12
    demand_redis_base_mb: int = 256
    # [E] From here on two edge hosts are proposed, so that one can be taken away.
    demand_two_edges_from_users: int = 20000
    # [E] Of two layouts that cost about the same the one with fewer hosts is less work.
    demand_cost_share_per_host: float = 0.01

    # --- Metrics. [E] Prometheus, Alertmanager and dashboards, and some thousand series a host; [I] toot.community:
    # 180 to 250 MB for the exporter of Ruby.
    metrics_mb: int = 512
    metrics_host_mb: int = 8
    metrics_ruby_exporter_mb: int = 150

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
        least = 0 if name in _MAY_BE_ZERO else 1e-9
        # A quarter is 0.25; who types 25 means it, but would be told to buy terabytes.
        share = name.endswith("_share") or "_share_" in name
        if isinstance(value, bool) or not least <= number <= (1 if share else 10**7):
            raise ValueError(
                f"mastodon_plan_coefficients: {name} is {value!r}; allowed: a positive "
                f"{'whole number' if whole else 'number'}{' up to 1' if share else ''}, such as {name}: {known[name]}"
            )
        chosen[name] = number
    return Coefficients(**chosen)
