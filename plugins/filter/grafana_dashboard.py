# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter grafana_dashboard."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: grafana_dashboard
short_description: Make a dashboard as Grafana imports it
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Makes the JSON model of one dashboard from the source of all. The data source is a variable of the dashboard, so it
    fits any Grafana that has a Prometheus.
  - Numbers of panels come from their titles, so links to panels stay when others come and go.
  - The whole source is checked first, and everything that is wrong with it is told with its place.
positional: name
options:
  _input:
    description:
      - The dashboards, each with its C(name), C(title) and C(rows), the rows with C(title) and C(panels).
      - A panel has C(title), C(kind) (C(stat), C(graph) or C(table)), C(unit), C(description) and C(queries), and may
        have the values C(warning) and C(critical), from which on it is coloured.
      - A query has C(expr) and C(legend), and may have a C(unit) of its own. C($window) in it is the time that a rate
        looks back, and C({label}) in a legend names a label.
    type: list
    elements: dict
    required: true
  name:
    description: The name of the dashboard to make.
    type: str
    required: true
seealso:
  - plugin: fediops.mastodon.overview_page
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Write the dashboard of the queues where Grafana finds it
  ansible.builtin.copy:
    content: "{{ metrics_dashboards | fediops.mastodon.grafana_dashboard('queues') | ansible.builtin.to_nice_json }}"
    dest: /var/lib/grafana/dashboards/queues.json
    mode: "0644"
"""

RETURN = r"""
---
_value:
  description: The JSON model of the dashboard.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import dashboards
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def grafana_dashboard(source: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Check types, call the library, name the filter in what it raises."""
    with named("grafana_dashboard"):
        require("the source", source, "a list")
        require("name", name, "text")
        return dashboards.grafana_dashboard(source, name)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"grafana_dashboard": grafana_dashboard}
