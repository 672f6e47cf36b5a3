# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter redis_objections."""

from __future__ import annotations

DOCUMENTATION = r"""
name: redis_objections
short_description: Say why a host must not run Redis in the role that an inventory gives it
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Compares what each host holds with the inventory. Queues, feeds and retries do not move when a host is named
    otherwise; they would stay behind, or be overwritten.
positional: host, role, holds_queues
options:
  _input:
    description: What M(fediops.mastodon.host_state) returned, by the names of the hosts that were looked at.
    type: dict
    required: true
  host:
    description: The host that is asked about.
    type: str
    required: true
  role:
    description: The role that the inventory gives to Redis there.
    type: str
    choices: [core, replica, cache, sidekiq]
    required: true
  holds_queues:
    description: Whether by the inventory the queues are in this Redis, or in the core that it copies.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Refuse a Redis whose data are not what the inventory says
  ansible.builtin.assert:
    that: objections | length == 0
    fail_msg: "{{ objections | join(' ') }}"
  vars:
    objections: "{{ states | fediops.mastodon.redis_objections(inventory_hostname, 'core', true) }}"
"""

RETURN = r"""
_value:
  description: A text for each reason, with the procedure of C(docs/redis.md) that helps; empty if there is none.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import redis
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def redis_objections(states: Mapping[str, Any], host: str, role: str, holds_queues: bool) -> list[str]:
    """Check types, call the library, name the filter in what it raises."""
    with named("redis_objections"):
        require("the states", states, "a mapping")
        require("host", host, "text")
        require("role", role, "text")
        return redis.redis_objections(states, host, role, bool(holds_queues))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"redis_objections": redis_objections}
