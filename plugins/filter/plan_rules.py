# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter plan_rules."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plan_rules
short_description: Make recording rules of the plan's numbers
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - What the plan gave to each host stands in Prometheus beside what the host says of itself, so that an alert or a
    dashboard can compare the two.
options:
  _input:
    description:
      - The numbers - a list of mappings with C(name), C(labels) and C(value), as C(metrics.planned) of the plan has it.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the plan's numbers where Prometheus reads its rules
  ansible.builtin.copy:
    dest: /etc/prometheus/rules/plan.yml
    content: "{{ {'groups': [{'name': 'plan', 'rules': rules}]} | to_nice_yaml }}"
    mode: "0644"
  vars:
    rules: "{{ mastodon_plan.metrics.planned | fediops.mastodon.plan_rules }}"
"""

RETURN = r"""
_value:
  description: The rules, each with C(record), C(expr) and C(labels).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import prometheus
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def plan_rules(planned: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check types, call the library, name the filter in what it raises."""
    with named("plan_rules"):
        require("the numbers", planned, "a list")
        for number in planned:
            require("a number of the plan", number, "a mapping")
        return prometheus.plan_rules(planned)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"plan_rules": plan_rules}
