# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter capacity_plan."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: capacity_plan
short_description: Compute every size of a fleet from the sizes of its hosts
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Returns workers, threads, pools, memory and connections for all hosts of a fleet, what does not fit, and why each
    number is what it is. Playbooks use the action P(fediops.mastodon.plan#module), which finds hosts, groups and
    sizes by itself; this filter is for those who ask what a fleet would look like that they do not have.
  - Nothing is refused by raising an error except a wrong type. What does not hold is in C(findings), with what to
    change; C(hosts) is empty if the fleet cannot be planned at all.
positional: groups, settings
extends_documentation_fragment:
  - fediops.mastodon.fleet
seealso:
  - plugin: fediops.mastodon.plan
    plugin_type: module
"""

EXAMPLES = r"""
---
- name: Show what a box of 4 vCPU and 8 GB would run
  ansible.builtin.debug:
    msg: "{{ ({'box': {'vm_vcpus': 4, 'vm_memory_mb': 8192}} | fediops.mastodon.capacity_plan).table }}"

- name: Show what a fleet of two hosts would run, and what stands against it
  ansible.builtin.debug:
    msg:
      - "{{ plan.table }}"
      - "{{ plan.findings | map(attribute='message') }}"
  vars:
    plan: "{{ fleet_hosts | fediops.mastodon.capacity_plan(fleet_groups, {'mastodon_s3_enabled': true}) }}"
    fleet_hosts:
      app: {vm_vcpus: 4, vm_memory_mb: 8192, vm_address: 10.0.0.1}
      data: {vm_vcpus: 4, vm_memory_mb: 16384, vm_address: 10.0.0.2}
    fleet_groups:
      nginx: [app]
      web: [app]
      streaming: [app]
      sidekiq: [app]
      postgres: [data]
      postgres_primary: [data]
      redis: [data]
      redis_core: [data]

- name: Show whether twelve workers would fit on this host
  ansible.builtin.debug:
    msg: "{{ plan.findings | map(attribute='message') }}"
  vars:
    plan: "{{ {inventory_hostname: size} | fediops.mastodon.capacity_plan }}"
    size:
      vm_vcpus: "{{ ansible_facts['processor_vcpus'] }}"
      vm_memory_mb: "{{ ansible_facts['memtotal_mb'] }}"
      web_workers: 12
"""

RETURN = r"""
---
_value:
  description:
    - C(hosts) holds the sizes of each host, C(findings) what does not hold, each with C(constraint), C(severity),
      C(hosts), C(message), C(advice) and C(remedy), C(flows) who talks to whom, C(totals) the sums, C(demand) what the
      users need beside what there is, and C(table) the sizes as text.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require_fleet
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.parts import plan_of


def capacity_plan(
    hosts: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Check types, call the library, name the filter in what it raises."""
    with named("capacity_plan"):
        require_fleet(hosts, groups, settings)
        return plan_of(hosts, groups, settings).as_mapping()


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"capacity_plan": capacity_plan}
