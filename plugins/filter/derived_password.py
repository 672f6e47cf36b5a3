# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter derived_password."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: derived_password
short_description: Make a password for one purpose from a secret
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Returns the same 43 letters, digits, C(-) and C(_) for the same secret and purpose, so that one secret of the vault
    serves several roles, none of which can find out the password of another.
  - It is the HMAC-SHA256 of the purpose, keyed with the secret, in the base64 that is safe in addresses.
positional: purpose
options:
  _input:
    description: The secret, for instance a password of the vault. It should be long and random itself.
    type: str
    required: true
  purpose:
    description: What the password is for, for instance the role that logs in with it.
    type: str
    required: true
"""

EXAMPLES = r"""
---
- name: Make the role that replicas log in as
  community.postgresql.postgresql_user:
    name: mastodon_replication
    password: >-
      {{ mastodon_postgres_password | fediops.mastodon.derived_password('mastodon_replication')
         | fediops.mastodon.scram_verifier('mastodon_replication') }}
    role_attr_flags: LOGIN,REPLICATION
  no_log: true
"""

RETURN = r"""
---
_value:
  description: The password.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import scram
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def derived_password(value: str, purpose: str) -> str:
    """Check types, call the library, name the filter in what it raises."""
    with named("derived_password"):
        require("the secret", value, "text")
        require("purpose", purpose, "text")
        return scram.derived_password(value, purpose)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"derived_password": derived_password}
