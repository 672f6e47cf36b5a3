# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter overview_page."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: overview_page
short_description: Make what the overview page of the metrics host reads
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - The page lies beside its C(dashboards.json), which this makes, and asks Prometheus for the rest.
  - The whole source is checked first, and everything that is wrong with it is told with its place.
positional: title
options:
  _input:
    description: The dashboards, as the filter P(fediops.mastodon.grafana_dashboard#filter) takes them.
    type: list
    elements: dict
    required: true
  title:
    description: The title of the page, for example the domain of the instance.
    type: str
    required: true
seealso:
  - plugin: fediops.mastodon.grafana_dashboard
    plugin_type: filter
"""

EXAMPLES = r"""
---
- name: Write what the overview page reads
  ansible.builtin.copy:
    content: "{{ metrics_dashboards | fediops.mastodon.overview_page('social.example') | ansible.builtin.to_json }}"
    dest: /var/www/metrics/dashboards.json
    mode: "0644"
"""

RETURN = r"""
---
_value:
  description: C(title), and C(dashboards) as they are in the source.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils import dashboards
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def overview_page(source: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    """Check types, call the library, name the filter in what it raises."""
    with named("overview_page"):
        require("the source", source, "a list")
        require("title", title, "text")
        return dashboards.overview_page(source, title)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"overview_page": overview_page}
