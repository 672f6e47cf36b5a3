# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter scram_verifier."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: scram_verifier
short_description: Make what PostgreSQL stores instead of a password
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Returns the SCRAM-SHA-256 verifier of a password, which PostgreSQL takes in place of the password in
    C(CREATE ROLE ... PASSWORD), and PgBouncer in its C(auth_file). So the password itself never reaches the host's
    command lines, logs or tables.
  - The same password and role always give the same verifier, so a task that sets it is idempotent.
requirements:
  - passlib (on the control machine)
positional: username
options:
  _input:
    description: The password, of printable ASCII characters.
    type: str
    required: true
  username:
    description: The role that logs in with it.
    type: str
    required: true
"""

EXAMPLES = r"""
---
- name: Set the password of the application's role
  community.postgresql.postgresql_user:
    name: mastodon
    password: "{{ mastodon_postgres_password | fediops.mastodon.scram_verifier('mastodon') }}"
  no_log: true
"""

RETURN = r"""
---
_value:
  description: The verifier, C(SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey).
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import scram
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def scram_verifier(value: str, username: str) -> str:
    """Check types, call the library, name the filter in what it raises."""
    with named("scram_verifier"):
        require("the password", value, "text")
        require("username", username, "text")
        return scram.scram_verifier(value, username)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"scram_verifier": scram_verifier}
