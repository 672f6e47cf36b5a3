# SPDX-License-Identifier: GPL-3.0-or-later
"""Every query of every dashboard finds something on a fleet that is measured."""

from __future__ import annotations

from ansible_collections.fediops.mastodon.plugins.plugin_utils import dashboards

from .conftest import SOURCE

# What not every fleet has, by its job: how its metrics begin.
OPTIONAL = {"pgbouncer": ("pgbouncer_", "fediops_plan_pgbouncer_")}


def test_no_query_is_empty(live):
    """An empty one has a name that no exporter has, or an exporter is missing."""
    jobs = {series["metric"]["job"] for series in live.ask("query", query="count by (job) (up)")["result"]}
    # A container may not ask its kernel about the clock.
    if live.ask("query", query='node_scrape_collector_success{collector="timex"} == 1')["result"]:
        absent = ()
    else:
        absent = ("node_timex_",)
    absent += tuple(prefix for job, prefixes in OPTIONAL.items() if job not in jobs for prefix in prefixes)
    wanted = [query for query in dashboards.queries(SOURCE) if not any(prefix in query.expr for prefix in absent)]
    assert len(wanted) > 80
    empty = [query for query in wanted if not live.ask("query", query=query.expr)["result"]]
    assert [f"{query.place}: {query.expr}" for query in empty] == []
