# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all filters of the plan take."""

from __future__ import annotations


class ModuleDocFragment:
    """The fleet that is planned, and what holds for all of it."""

    DOCUMENTATION = r"""
options:
  _input:
    description:
      - For each host its C(vm_vcpus) and C(vm_memory_mb), its C(vm_address) where there are several hosts, and any of
        C(web_workers), C(web_threads), C(sidekiq_queues), C(sidekiq_processes), C(sidekiq_concurrency),
        C(streaming_processes), C(pgbouncer_pool_size), C(pgbouncer_max_client_conn), C(postgres_max_connections),
        C(postgres_replica_max_lag_seconds) and C(mastodon_env).
      - Other keys are ignored.
    type: dict
    required: true
  groups:
    description:
      - For each group the names of its hosts, as in Ansible's own C(groups). The groups that count are C(nginx),
        C(web), C(streaming), C(sidekiq), C(pgbouncer), C(postgres) with C(postgres_primary) and C(postgres_replica),
        C(redis) with C(redis_core), C(redis_replica), C(redis_cache) and C(redis_sidekiq), and C(metrics). A group
        whose name begins with C(sidekiq_) is a part of C(sidekiq).
      - May be left out for a single host, on which everything runs then.
    type: dict
  settings:
    description:
      - What holds for the whole fleet - C(mastodon_s3_enabled), C(mastodon_internal_tls_enabled),
        C(mastodon_central_logs_enabled), C(mastodon_monthly_active_users), C(mastodon_requests_per_second),
        C(mastodon_plan_coefficients) and C(mastodon_plan_silenced).
    type: dict
    default: {}
"""
