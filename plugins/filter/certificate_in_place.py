# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter certificate_in_place."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_in_place
short_description: Says whether the certificate that a host has is still the one to have
version_added: 0.1.0
author: The fediops.mastodon contributors
description:
  - Looks whether the fleet's own authority issued it, for exactly some domains and addresses and for the key that lies
    beside it, and whether it is valid for long enough.
positional: authority, domains, days_left
options:
  _input:
    description:
      - The certificate followed by those that lead to its authority, then the public key of the private key beside it,
        as PEM. Either may be missing or damaged.
    type: str
    required: true
  authority:
    description: Certificate of the fleet's own authority, as PEM.
    type: str
    required: true
  domains:
    description: Domains and addresses that the certificate must be for, and no other.
    type: list
    elements: str
    required: true
  days_left:
    description: How many days it must still be valid.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Say whether another certificate is needed
  ansible.builtin.debug:
    msg: "{{ (found.stdout | fediops.mastodon.certificate_in_place(ca_certificate, ['social.example'], 30)).fits }}"
"""

RETURN = r"""
_value:
  description: What was found.
  type: dict
  contains:
    leaf:
      description: The certificate as PEM, without its chain; empty where there is none that can be read.
      type: str
    own:
      description: Whether the authority issued it.
      type: bool
    fits:
      description: Whether the authority would give the same again.
      type: bool
"""

from collections.abc import Callable
from datetime import UTC, datetime

from ansible_collections.fediops.mastodon.plugins.plugin_utils import certificates
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def certificate_in_place(found: str, authority: str, domains: list[str], days_left: int) -> dict[str, object]:
    """Check types, call the library, name the filter in what it raises."""
    with named("certificate_in_place"):
        require("what was found", found, "text")
        require("authority", authority, "text")
        require("domains", domains, "a list")
        require("days_left", days_left, "a whole number")
        return certificates.certificate_in_place(found, authority, domains, days_left, datetime.now(UTC))


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., dict[str, object]]]:
        """Map the name to the function."""
        return {"certificate_in_place": certificate_in_place}
