# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter certificate_problems."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_problems
short_description: Says what is wrong with a certificate that a person brings
version_added: 0.1.0
author: The fediops.mastodon contributors
description:
  - Looks whether a TLS certificate can serve some domains with a private key, now.
  - Trust is judged by the authorities that the control machine trusts, where it is asked for.
positional: private_key, domains, publicly_trusted
options:
  _input:
    description: The certificate followed by those that lead to its authority, as PEM.
    type: str
    required: true
  private_key:
    description: The private key, as PEM, without a passphrase.
    type: str
    required: true
  domains:
    description: Domains that the certificate must cover.
    type: list
    elements: str
    required: true
  publicly_trusted:
    description: Whether one of the authorities that the control machine trusts must stand behind it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse a certificate that browsers would refuse
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: >-
      {{ lookup('ansible.builtin.file', 'fullchain.pem')
         | fediops.mastodon.certificate_problems(lookup('ansible.builtin.file', 'privkey.pem'), ['social.example']) }}
"""

RETURN = r"""
_value:
  description: One sentence for each problem; empty when there is none.
  type: list
  elements: str
"""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from ansible_collections.fediops.mastodon.plugins.plugin_utils import certificates
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def trusted_authorities() -> list[bytes]:
    """The authorities that this machine trusts, as DER. Raises ValueError when it has none."""
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not found:
        raise ValueError("this machine trusts no authority: install its package ca-certificates")
    return found


def certificate_problems(
    fullchain: str, private_key: str, domains: list[str], publicly_trusted: bool = False
) -> list[str]:
    """Check types, call the library, name the filter in what it raises."""
    with named("certificate_problems"):
        require("the certificate", fullchain, "text")
        require("private_key", private_key, "text")
        require("domains", domains, "a list")
        trusted = trusted_authorities() if publicly_trusted else None
        return certificates.certificate_problems(fullchain, private_key, domains, datetime.now(UTC), trusted)


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Map the name to the function."""
        return {"certificate_problems": certificate_problems}
