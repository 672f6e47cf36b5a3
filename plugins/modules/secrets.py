#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which does the work on the control machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: secrets
short_description: Make the secrets of an instance, once
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Makes the passwords of PostgreSQL and Redis, the keys of Rails, the VAPID key pair and the certificate authority of
    the fleet, and keeps them in C(group_vars/all/vault.yml) beside the inventory, encrypted with the vault password
    that Ansible was given, readable by its owner only.
  - A secret that exists is never made again, wherever in the inventory it is set. If some exist and others do not, the
    task fails and names those that are missing, unless O(make_missing) asks for them.
  - New keys on a living instance destroy it. So nothing is made while one of O(data_hosts) holds the data of an
    instance,
    asked for or not, and nothing is made while one of them could not be asked, unless O(hosts_are_new) says that the
    machines do not exist yet.
  - Runs once, on the control machine, needs the Python library C(cryptography) there, and connects to nothing. No value
    is ever shown or returned.
options:
  data_hosts:
    description:
      - Hosts that may hold the data of an instance. For each of them C(mastodon_host_state), registered before from
        M(fediops.mastodon.host_state), says whether it does; a host without it counts as one that could not be asked.
    type: list
    elements: str
    required: true
  make_missing:
    description: Make the secrets that are missing although others exist.
    type: bool
    default: false
  hosts_are_new:
    description: Go on although a host could not be asked.
    type: bool
    default: false
  path:
    description: The vault file, if not C(group_vars/all/vault.yml) beside the inventory.
    type: path
attributes:
  check_mode:
    support: full
    description: Says what would be made, and writes nothing.
  diff_mode:
    support: none
    description: The content is secret.
"""

EXAMPLES = r"""
---
- name: Make the secrets that the inventory lacks
  fediops.mastodon.secrets:
    data_hosts: "{{ groups['postgres'] }}"
"""

RETURN = r"""
---
path:
  description: The vault file.
  returned: success
  type: str
made:
  description: Names of the secrets that were made, or would be in check mode.
  returned: success
  type: list
  elements: str
kept:
  description: Names of the secrets that were there.
  returned: success
  type: list
  elements: str
"""
