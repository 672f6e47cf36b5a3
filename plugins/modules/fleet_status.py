#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which does the work on the control machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: fleet_status
short_description: Judge how the fleet is doing, and show it
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Compares what M(fediops.mastodon.status) read on each host with the plan of the fleet, and shows a table of the
    hosts, what is not as it should be, and what to do about each.
  - A problem is what people notice, or will soon. A warning can wait for a day.
  - Runs once for all hosts of a play, on the control machine, and connects to nothing. It does not fail for what it
    finds; let a task after it do so.
options:
  readings:
    description: For each host what M(fediops.mastodon.status) returned, or why it did not.
    type: dict
    required: true
  plan:
    description: The hosts of the plan, as M(fediops.mastodon.plan) returns them; empty where there is no plan.
    type: dict
    required: true
  refusal:
    description: Why there is no plan.
    type: str
    default: ""
  thresholds:
    description: From which number on something is a warning, or a problem; C(docs/status.md) has the names.
    type: dict
    default: {}
  output:
    description: Whether a table is shown, or all of it as one line of JSON.
    type: str
    choices: [table, json]
    default: table
  file:
    description: File on the control machine to write the JSON to as well, readable by its owner only.
    type: path
attributes:
  check_mode:
    description: It changes nothing but O(file).
    support: full
  diff_mode:
    description: There is nothing to compare with.
    support: none
seealso:
  - module: fediops.mastodon.status
  - module: fediops.mastodon.plan
"""

EXAMPLES = r"""
---
- name: Read how each host is doing
  fediops.mastodon.status:
  register: status_reading

- name: Judge and show it
  fediops.mastodon.fleet_status:
    readings: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all
                                                    | map('extract', hostvars, 'status_reading'))) }}"
    plan: "{{ mastodon_fleet.plan.hosts }}"
  register: fleet_status
  run_once: true
"""

RETURN = r"""
---
state:
  description: The worst of what was found - V(ok), V(warning) or V(problem).
  returned: success
  type: str
findings:
  description: What is not as it should be, problems first.
  returned: success
  type: list
  elements: dict
  contains:
    severity:
      description: V(problem) or V(warning).
      type: str
      returned: always
    host:
      description: The host that it is about.
      type: str
      returned: always
    component:
      description: A component, such as V(redis); V(host), V(release), or V(plan).
      type: str
      returned: always
    message:
      description: What is not as it should be, with numbers.
      type: str
      returned: always
    advice:
      description: What to do.
      type: str
      returned: always
hosts:
  description:
    - For each host its C(state), which is V(silent) where it did not answer, and what M(fediops.mastodon.status) read.
  returned: success
  type: dict
sidekiq:
  description: What M(fediops.mastodon.sidekiq_state) returns; null where nobody could tell.
  returned: success
  type: dict
releases:
  description: The hosts on which each release is in force.
  returned: success
  type: dict
alerts:
  description: The alerts that fire, oldest first; null where there is no metrics host that could tell.
  returned: success
  type: list
  elements: dict
text:
  description: The table, what was found, and what to do.
  returned: success
  type: str
"""
