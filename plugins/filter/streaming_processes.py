# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter streaming_processes."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: streaming_processes
short_description: Compute the streaming processes of each host, with their ports
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - One process is one core at most.
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
- name: Show the ports of the streaming processes of a box
  ansible.builtin.debug:
    msg: "{{ (size | fediops.mastodon.streaming_processes).box | map(attribute='port') }}"
  vars:
    size: {box: {vm_vcpus: 8, vm_memory_mb: 16384}}
"""

RETURN = r"""
---
_value:
  description:
    - For each host of C(streaming) the list of its processes, each with C(port) and C(bind).
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils.part_filter import part_filter


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"streaming_processes": part_filter("streaming_processes", "streaming.processes")}
