# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter standby_settings."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: standby_settings
short_description: Compare the settings that a standby must not have less of than its primary
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - A standby of PostgreSQL stops replaying when its primary has more C(max_connections), C(max_worker_processes),
    C(max_wal_senders), C(max_prepared_transactions) or C(max_locks_per_transaction) than itself. What rises must rise
    on standbys first, and what falls must fall on the primary first.
positional: wanted
options:
  _input:
    description: Settings as they are, by name. Others than the five are left out; PostgreSQL's default counts for a
      missing one.
    type: dict
    required: true
  wanted:
    description: Settings as they are to be.
    type: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Say what has to rise here before it rises on the primary
  ansible.builtin.debug:
    msg: "{{ ({'max_connections': '100'} | fediops.mastodon.standby_settings({'max_connections': 200})).rising }}"
"""

RETURN = r"""
---
_value:
  description: C(rising) and C(falling), the names of settings, and C(highest), the higher value of each that is given.
  type: dict
  sample:
    rising: [max_connections]
    falling: []
    highest:
      max_connections: 200
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import postgres
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def standby_settings(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Check types, call the library, name the filter in what it raises."""
    with named("standby_settings"):
        require("the settings", value, "a mapping")
        require("wanted", wanted, "a mapping")
        return postgres.standby_settings(value, wanted)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"standby_settings": standby_settings}
