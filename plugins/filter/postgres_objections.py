# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter postgres_objections."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: postgres_objections
short_description: Say why a host must not become the primary or the replica that the inventory names it
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Compares the data that PostgreSQL hosts hold with what they are to be, before anything is changed. Data never move
    by editing an inventory, and a copy is never made over data that are not known to be a copy.
positional: host, role, primary, version
options:
  _input:
    description: What M(fediops.mastodon.host_state) returned, by the names of the hosts. Of hosts that are missing
      nothing is said.
    type: dict
    required: true
  host:
    description: The host in question.
    type: str
    required: true
  role:
    description: What it is to be.
    type: str
    choices: [primary, replica]
    required: true
  primary:
    description: Name of the primary of the inventory.
    type: str
    required: true
  version:
    description: Major version of PostgreSQL that is to run.
    type: int
    required: true
"""

EXAMPLES = r"""
---
- name: Refuse a primary whose data are elsewhere
  ansible.builtin.assert:
    that: objections | length == 0
    fail_msg: "{{ objections | join(' ') }}"
  vars:
    objections: >-
      {{ {'db1': db1_state, 'db2': db2_state}
         | fediops.mastodon.postgres_objections('db2', 'replica', 'db1', 17) }}
"""

RETURN = r"""
---
_value:
  description: One sentence for each objection; empty when there is none.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import postgres
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def postgres_objections(
    value: Mapping[str, Mapping[str, Any]], host: str, role: str, primary: str, version: int
) -> list[str]:
    """Check types, call the library, name the filter in what it raises."""
    with named("postgres_objections"):
        require("the states of the hosts", value, "a mapping")
        for name, state in value.items():
            require(f"the state of {name}", state, "a mapping")
        for what, text in (("host", host), ("role", role), ("primary", primary)):
            require(what, text, "text")
        require("version", version, "a whole number")
        return postgres.postgres_objections(value, host, role, primary, version)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"postgres_objections": postgres_objections}
