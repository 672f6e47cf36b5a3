# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter sidekiq_processes."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: sidekiq_processes
short_description: Compute the Sidekiq processes of each host, with their queues and threads
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - One process for each core where the memory allows, since more processes do more than more threads. The seven
    queues of Mastodon are split over the processes of all hosts; C(scheduler) is in exactly one of them.
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
- name: Show which queues the processes of a box of 4 vCPU and 8 GB serve
  ansible.builtin.debug:
    msg: "{{ (size | fediops.mastodon.sidekiq_processes).box | items2dict(key_name='name', value_name='queues') }}"
  vars:
    size: {box: {vm_vcpus: 4, vm_memory_mb: 8192}}
"""

RETURN = r"""
---
_value:
  description:
    - For each host of C(sidekiq) the list of its processes, each with C(name), C(queues), C(concurrency),
      C(db_pool) and limits of memory.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils.part_filter import part_filter


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"sidekiq_processes": part_filter("sidekiq_processes", "sidekiq.processes")}
