#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which does the work on the control machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: plan
short_description: Compute every size of the fleet, once
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Computes workers, threads, pools, memory and connections for all hosts of the inventory from their size and from
    what a person overrode, checks that they fit together, and says why each number is what it is.
  - Runs once for all hosts of a play, on the control machine, and connects to nothing. Give it C(register), and read
    the sizes of a host from C(plan.hosts).
  - A host's size is what C(vm_vcpus), C(vm_memory_mb) and C(vm_address) declare, else what its
    facts say, of this run or cached. A host whose size is not known is refused by name.
  - These variables of a host take part in the plan where they are set, at any level of the inventory - C(web_workers),
    C(web_threads), C(sidekiq_queues), C(sidekiq_processes), C(sidekiq_concurrency), C(streaming_processes),
    C(postgres_max_connections). For the whole fleet count C(mastodon_s3_enabled) and C(mastodon_plan_coefficients).
  - If a constraint does not hold, the task fails with all findings at once, each with what to change. Warnings are
    shown and do not fail the task.
options:
  file:
    description:
      - Write the plan as JSON to this file on the control machine, readable by its owner only.
      - The task reports V(changed) only if the content of the file changes.
    type: path
attributes:
  check_mode:
    support: full
    description: The plan is computed as ever; O(file) is not written.
  diff_mode:
    support: none
    description: Compare the files of two runs instead.
"""

EXAMPLES = r"""
---
- name: Compute the plan of the whole fleet
  fediops.mastodon.plan:
  register: mastodon_fleet

- name: Show the sizes
  ansible.builtin.debug:
    msg: "{{ mastodon_fleet.plan.table.splitlines() }}"
  run_once: true

- name: Keep the plan for other tools
  fediops.mastodon.plan:
    file: "{{ inventory_dir }}/plan.json"
"""

RETURN = r"""
---
plan:
  description: Sizes of all hosts, what does not hold, and a table for people.
  returned: success
  type: dict
  contains:
    hosts:
      description:
        - For each host its sizes - C(host), C(endpoints), C(memory), C(kernel), C(reasons), and one key for each
          component that runs there.
      type: dict
      returned: always
    findings:
      description: What to look at although the plan holds; all of it warnings.
      type: list
      elements: dict
      returned: always
      contains:
        constraint:
          description: Which constraint, such as V(C6); V(input) and V(inventory) for what cannot be read.
          type: str
          returned: always
        severity:
          description: V(error) or V(warning).
          type: str
          returned: always
        hosts:
          description: The hosts it is about.
          type: list
          elements: str
          returned: always
        message:
          description: What does not hold, with numbers.
          type: str
          returned: always
        advice:
          description: What to change, ready to type.
          type: str
          returned: always
        remedy:
          description: Values of inventory variables with which it holds; empty if there is no single one.
          type: dict
          returned: always
    table:
      description: The sizes as text, with the reason of each.
      type: str
      returned: always
"""
