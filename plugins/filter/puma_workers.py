# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter puma_workers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: puma_workers
short_description: Compute how many workers and threads Puma runs on each host
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - The workers follow from processors and memory, and from what else runs on the host; the threads from whether
    PostgreSQL does.
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
- name: Show how many workers a box of 4 vCPU and 8 GB runs
  ansible.builtin.debug:
    msg: "{{ ({'box': {'vm_vcpus': 4, 'vm_memory_mb': 8192}} | fediops.mastodon.puma_workers).box.workers }}"
"""

RETURN = r"""
---
_value:
  description:
    - For each host of C(web) its C(workers), C(threads), C(db_pool), C(bind), C(port) and limits of memory and
      files.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils.part_filter import part_filter


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"puma_workers": part_filter("puma_workers", "web")}
