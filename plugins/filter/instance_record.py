# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter instance_record."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: instance_record
short_description: Make the record of an instance, or keep the one that exists
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Returns what is stored beside the database when an instance is first made - its domain, its web domain, where its
    media are, and keyed fingerprints of its secrets, from which no secret can be learnt.
  - An existing record is returned unchanged, whatever the identity says.
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
- name: Keep the record of the instance beside its data
  fediops.mastodon.config_files:
    files:
      - dest: /var/lib/postgresql/fediops-instance.json
        content: "{{ record | ansible.builtin.to_nice_json }}"
        mode: "0600"
  vars:
    record: "{{ mastodon_host_state.instance | fediops.mastodon.instance_record(mastodon_identity) }}"
"""

RETURN = r"""
---
_value:
  description: The record, with the keys C(version), C(salt), C(local_domain), C(web_domain), C(media), C(fingerprints).
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import instance
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def instance_record(value: Mapping[str, Any] | None, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Check types, call the library, name the filter in what it raises."""
    with named("instance_record"):
        require("the record", value, "a mapping or null")
        require("identity", identity, "a mapping")
        require("secrets of identity", identity.get("secrets", {}), "a mapping")
        return instance.instance_record(value, identity)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"instance_record": instance_record}
