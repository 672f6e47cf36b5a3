# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter metrics_objections."""

from __future__ import annotations

DOCUMENTATION = r"""
name: metrics_objections
short_description: Say what is wrong with the settings of the metrics host
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Looks at what an argument specification cannot - values that depend on each other, on the disk, or on a pattern.
positional: disk_gb, logs_disk_gb
options:
  _input:
    description:
      - The settings, by the names of the role's variables without C(metrics_) - C(retention_size_gb),
        C(logs_size_gb), C(logs_days), C(alert_for_scale), C(alert_email), C(smtp_server), C(smtp_login),
        C(smtp_tls_required), C(webhooks), C(user), C(password), C(allowed_cidrs), C(grafana_enabled),
        C(grafana_apt_uri) and C(grafana_apt_key_file).
    type: dict
    required: true
  disk_gb:
    description: The size of the file system that will have the data.
    type: float
    required: true
  logs_disk_gb:
    description: The size of the one that will have the logs.
    type: float
    required: true
"""

EXAMPLES = r"""
- name: Refuse a metrics host that would tell nobody
  ansible.builtin.assert:
    that: objections | length == 0
    fail_msg: "{{ objections | join(' ') }}"
  vars:
    objections: "{{ settings | fediops.mastodon.metrics_objections(40, 40) }}"
"""

RETURN = r"""
_value:
  description: A text for each objection, with what to type; empty if there is none.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import metrics_host
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def metrics_objections(settings: Mapping[str, Any], disk_gb: float, logs_disk_gb: float) -> list[str]:
    """Check types, call the library, name the filter in what it raises."""
    with named("metrics_objections"):
        require("the settings", settings, "a mapping")
        require("disk_gb", disk_gb, "a whole number")
        require("logs_disk_gb", logs_disk_gb, "a whole number")
        for name in ("alert_email", "smtp_server", "smtp_login", "user", "password"):
            require(name, settings.get(name), "text")
        for name in ("webhooks", "allowed_cidrs"):
            require(name, settings.get(name), "a list")
        return metrics_host.objections(settings, disk_gb, logs_disk_gb)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"metrics_objections": metrics_objections}
