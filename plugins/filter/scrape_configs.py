# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter scrape_configs."""

from __future__ import annotations

DOCUMENTATION = r"""
name: scrape_configs
short_description: Make Prometheus's scrape_configs of what the plan collects
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - One scrape configuration for each job. The label C(instance) is the inventory's name of the host.
  - Edges (job V(blackbox)) are asked by the blackbox exporter; what Mastodon's streaming says of itself gets the prefix
    C(mastodon_streaming_).
positional: probe
options:
  _input:
    description:
      - What is collected - a list of mappings with C(job), C(host), C(address), C(port) and C(labels), as
        C(metrics.targets) of the plan has it.
    type: list
    elements: dict
    required: true
  probe:
    description:
      - How edges are asked - C(address), the blackbox exporter's own with its port; C(module), one of its modules;
        C(hostname), the name that is asked for; and C(path), the page.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what Prometheus is told to collect
  ansible.builtin.debug:
    msg: "{{ mastodon_plan.metrics.targets | fediops.mastodon.scrape_configs(probe) }}"
  vars:
    probe: {address: "127.0.0.1:9115", module: edge, hostname: social.example, path: /health}
"""

RETURN = r"""
_value:
  description: The scrape configurations, by the names of their jobs.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import prometheus
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def scrape_configs(targets: Sequence[Mapping[str, Any]], probe: Mapping[str, str]) -> list[dict[str, Any]]:
    """Check types, call the library, name the filter in what it raises."""
    with named("scrape_configs"):
        require("the targets", targets, "a list")
        for target in targets:
            require("a target", target, "a mapping")
        require("probe", probe, "a mapping")
        for name in ("address", "module", "hostname", "path"):
            require(f"{name} of probe", probe.get(name), "text")
        return prometheus.scrape_configs(targets, probe)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"scrape_configs": scrape_configs}
