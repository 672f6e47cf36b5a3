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
options:
  _input:
    description:
      - For each host its C(vm_vcpus), C(vm_memory_mb) and C(vm_address), and any of C(web_workers), C(web_threads),
        C(sidekiq_queues), C(sidekiq_processes), C(sidekiq_concurrency), C(streaming_processes) and
        C(postgres_max_connections). Other keys are ignored.
    type: dict
    required: true
  groups:
    description:
      - For each group the names of its hosts, as in Ansible's own C(groups). The groups that count are C(nginx),
        C(web), C(streaming), C(sidekiq), C(postgres) and C(redis).
    type: dict
    required: true
  settings:
    description: For the whole fleet, C(mastodon_s3_enabled) and C(mastodon_plan_coefficients).
    type: dict
    default: {}
seealso:
  - plugin: fediops.mastodon.plan
    plugin_type: module
"""

EXAMPLES = r"""
---
- name: Show what a box of 4 vCPU and 8 GB would run
  ansible.builtin.debug:
    msg: "{{ (hosts | fediops.mastodon.capacity_plan(groups)).table.splitlines() }}"
  vars:
    hosts:
      box:
        vm_vcpus: 4
        vm_memory_mb: 8192
        vm_address: 192.0.2.10

- name: Show whether twelve workers would fit on this host
  ansible.builtin.debug:
    msg: "{{ plan.findings | map(attribute='message') }}"
  vars:
    plan: "{{ {inventory_hostname: size} | fediops.mastodon.capacity_plan(groups) }}"
    size:
      vm_vcpus: "{{ ansible_facts['processor_vcpus'] }}"
      vm_memory_mb: "{{ ansible_facts['memtotal_mb'] }}"
      vm_address: "{{ ansible_facts['default_ipv4']['address'] }}"
      web_workers: 12
"""

RETURN = r"""
---
_value:
  description:
    - C(hosts) holds the sizes of each host, C(findings) what does not hold, each with C(constraint), C(severity),
      C(hosts), C(message), C(advice) and C(remedy), and C(table) the sizes as text.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory


def capacity_plan(
    value: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Check types, call the library, name the filter in what it raises."""
    for what, given in (("hosts", value), ("groups", groups), ("settings", settings or {})):
        if not isinstance(given, Mapping):
            raise AnsibleFilterError(
                f"fediops.mastodon.capacity_plan: {what} must be a mapping, got {native_type_name(given)}"
            )
    for host, variables in value.items():
        if not isinstance(variables, Mapping):
            raise AnsibleFilterError(
                f"fediops.mastodon.capacity_plan: the variables of {host} must be a mapping, got "
                f"{native_type_name(variables)}"
            )
    return from_inventory(value, groups, settings).as_mapping()


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"capacity_plan": capacity_plan}
