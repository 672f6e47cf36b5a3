# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter metrics_log_limits."""

from __future__ import annotations

DOCUMENTATION = r"""
name: metrics_log_limits
short_description: Say what keeps the logs of a fleet within their share of a disk
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - A tenth of the disk, at least 1 GB and at most 25, unless a size is given, in settings of
    C(systemd-journal-remote).
positional: hosts, size_gb
options:
  _input:
    description: The size of the file system that has them, in GB.
    type: int
    required: true
  hosts:
    description: How many hosts send theirs.
    type: int
    required: true
  size_gb:
    description: How much they may take, in GB; V(0) for the tenth.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Show what a disk of 40 GB gives to eight hosts
  ansible.builtin.debug:
    msg: "{{ 40 | fediops.mastodon.metrics_log_limits(8) }}"  # {MaxUse: 2048M, MaxFileSize: 128M}
"""

RETURN = r"""
_value:
  description: The settings, each with its value.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import metrics_host
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def metrics_log_limits(disk_gb: int, hosts: int, size_gb: int = 0) -> dict[str, str]:
    """Check types, call the library, name the filter in what it raises."""
    with named("metrics_log_limits"):
        for what, value in (("the size of the disk", disk_gb), ("hosts", hosts), ("size_gb", size_gb)):
            require(what, value, "a whole number")
        return metrics_host.log_limits(size_gb or metrics_host.logs_gb(disk_gb), hosts)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"metrics_log_limits": metrics_log_limits}
