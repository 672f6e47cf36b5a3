# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter instance_differences."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: instance_differences
short_description: Say in which way an inventory does not describe the instance that is there
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Compares the record of an instance with the domain, the web domain, the media store and the secrets that this run
    would put in their place.
  - Without a record there is nothing to differ from.
positional: identity
options:
  _input:
    description: The stored record, or null if there is none.
    type: dict
    required: true
  identity:
    description: What must not change under living data.
    type: dict
    required: true
    suboptions:
      local_domain:
        description: The domain in the names of accounts.
        type: str
        required: true
      web_domain:
        description: The domain of the web interface.
        type: str
        required: true
      media:
        description: Where media are, such as V(local) or V(s3:bucket).
        type: str
        required: true
      secrets:
        description: Names of secrets, without the prefix C(mastodon_), and their values.
        type: dict
        required: true
"""

EXAMPLES = r"""
---
- name: Refuse keys, domains or media that are not those of the instance
  ansible.builtin.assert:
    that: differences | length == 0
    fail_msg: "{{ differences | join(' ') }}"
  vars:
    differences: "{{ mastodon_host_state.instance | fediops.mastodon.instance_differences(mastodon_identity) }}"
"""

RETURN = r"""
---
_value:
  description: One sentence for each difference; empty if there is none. No secret is in them.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import instance
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def instance_differences(value: Mapping[str, Any] | None, identity: Mapping[str, Any]) -> list[str]:
    """Check types, call the library, name the filter in what it raises."""
    with named("instance_differences"):
        require("the record", value, "a mapping or null")
        require("identity", identity, "a mapping")
        require("secrets of identity", identity.get("secrets", {}), "a mapping")
        return instance.instance_differences(value, identity)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"instance_differences": instance_differences}
