# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter redis_settings."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: redis_settings
short_description: Compute the settings of each Redis
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - A Redis that keeps jobs and feeds refuses to write when it is full; one that only caches forgets what is
    oldest.
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
- name: Show how much memory Redis may take on a box of 4 vCPU and 8 GB
  ansible.builtin.debug:
    msg: "{{ ({'box': {'vm_vcpus': 4, 'vm_memory_mb': 8192}} | fediops.mastodon.redis_settings).box.maxmemory }}"
"""

RETURN = r"""
---
_value:
  description:
    - For each host of C(redis) its settings by name, ready to print, units included.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils.part_filter import part_filter


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"redis_settings": part_filter("redis_settings", "redis.settings")}
