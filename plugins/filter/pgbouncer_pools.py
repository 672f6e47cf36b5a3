# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter pgbouncer_pools."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: pgbouncer_pools
short_description: Compute the pools of each PgBouncer
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - All poolers together open no more connections than PostgreSQL takes, on the primary and on each replica.
  - A fleet in which a constraint does not hold is refused, with all findings.
positional: groups, settings
extends_documentation_fragment:
  - fediops.mastodon.fleet
seealso:
  - plugin: fediops.mastodon.capacity_plan
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Show the pools of a fleet of three hosts
  ansible.builtin.debug:
    msg: "{{ fleet_hosts | fediops.mastodon.pgbouncer_pools(fleet_groups) }}"
  vars:
    fleet_hosts:
      app: {vm_vcpus: 8, vm_memory_mb: 16384, vm_address: 10.0.0.1}
      pool: {vm_vcpus: 2, vm_memory_mb: 4096, vm_address: 10.0.0.2}
      data: {vm_vcpus: 4, vm_memory_mb: 16384, vm_address: 10.0.0.3}
    fleet_groups:
      nginx: [app]
      web: [app]
      streaming: [app]
      sidekiq: [app]
      pgbouncer: [pool]
      postgres: [data]
      postgres_primary: [data]
      redis: [data]
      redis_core: [data]
"""

RETURN = r"""
---
_value:
  description:
    - For each host of C(pgbouncer) the list of its pools, each with C(name), C(database), C(host), C(port),
      C(pool_size), C(reserve_pool_size) and what it is C(for).
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils.part_filter import part_filter


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"pgbouncer_pools": part_filter("pgbouncer_pools", "pgbouncer.pools")}
