# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter postgres_settings."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: postgres_settings
short_description: Compute the settings of each PostgreSQL
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Connections follow from all clients of the fleet, memory from the share of the host that PostgreSQL has.
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
- name: Show the settings of PostgreSQL on a box of 4 vCPU and 8 GB
  ansible.builtin.debug:
    msg: "{{ ({'box': {'vm_vcpus': 4, 'vm_memory_mb': 8192}} | fediops.mastodon.postgres_settings).box }}"
"""

RETURN = r"""
---
_value:
  description:
    - For each host of C(postgres) its settings by name, ready to print, units included.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils.part_filter import part_filter


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"postgres_settings": part_filter("postgres_settings", "postgres.settings")}
