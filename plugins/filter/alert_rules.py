# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter alert_rules."""

from __future__ import annotations

DOCUMENTATION = r"""
name: alert_rules
short_description: Make Prometheus's file of rules from a list of alerts
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Adds to each alert what all of them have alike, its severity as a label and the address of its page, and refuses one
    that lacks something.
positional: scale, runbooks
options:
  _input:
    description:
      - Groups, each with a C(name) and C(rules). A rule is an alert, with C(alert), C(expr), C(for_seconds),
        C(severity), C(summary) and C(description), or C(record) with C(expr).
      - The texts are templates of Prometheus, with C([[ ]]) where it has double braces, because those are Ansible's.
    type: list
    elements: dict
    required: true
  scale:
    description:
      - By what the time is multiplied that an expression must hold before its alert fires. Must be more than 0.
      - Windows inside of expressions stay as they are.
    type: float
    default: 1
  runbooks:
    description: Address of the folder that has a page for each alert, named like it.
    type: str
    default: https://github.com/fediops/mastodon/tree/main/docs/runbooks
"""

EXAMPLES = r"""
- name: Show the rules as Prometheus reads them
  ansible.builtin.debug:
    msg: "{{ groups | fediops.mastodon.alert_rules(1) | to_nice_yaml }}"
  vars:
    groups:
      - name: fleet
        rules:
          - alert: HostDown
            expr: up{job="node"} == 0
            for_seconds: 180
            severity: critical
            summary: "[[ $labels.instance ]] does not answer"
            description: Nothing is known of this host.
"""

RETURN = r"""
_value:
  description: What Prometheus reads, with one key, C(groups).
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import alert_rules as library
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require

_KINDS = {
    "for_seconds": "a whole number",
    **dict.fromkeys(("alert", "record", "expr", "severity", "summary", "description"), "text"),
}


def alert_rules(
    groups: Sequence[Mapping[str, Any]], scale: float = 1, runbooks: str = library.RUNBOOKS
) -> dict[str, Any]:
    """Check types, call the library, name the filter in what it raises."""
    with named("alert_rules"):
        require("the groups", groups, "a list")
        require("the scale", scale, "a number")
        require("the address of the runbooks", runbooks, "text")
        for group in groups:
            require("a group", group, "a mapping")
            require("the name of a group", group.get("name"), "text")
            require(f"the rules of {group['name']}", group.get("rules"), "a list")
            for rule in group["rules"]:
                require(f"a rule of {group['name']}", rule, "a mapping")
                name = rule.get("alert", rule.get("record", f"a rule of {group['name']}"))
                for key, value in rule.items():
                    require(f"{key} of {name}", value, _KINDS.get(key, "text"))
        return library.alert_rules(groups, scale, runbooks)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"alert_rules": alert_rules}
