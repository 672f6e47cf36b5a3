# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter metrics_retention."""

from __future__ import annotations

DOCUMENTATION = r"""
name: metrics_retention
short_description: Say how much of a disk what is collected may take
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - A fifth of the disk, at least 1 GB and at most 50, so that databases and logs fit beside where they share it.
options:
  _input:
    description: The size of the file system that will have the data, in GB.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Show what a disk of 40 GB gives
  ansible.builtin.debug:
    msg: "{{ 40 | fediops.mastodon.metrics_retention }}"  # 8
"""

RETURN = r"""
_value:
  description: The size, in GB.
  type: int
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import metrics_host
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def metrics_retention(disk_gb: int) -> int:
    """Check types, call the library, name the filter in what it raises."""
    with named("metrics_retention"):
        require("the size of the disk", disk_gb, "a whole number")
        return metrics_host.retention_gb(disk_gb)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"metrics_retention": metrics_retention}
