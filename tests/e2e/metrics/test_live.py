# SPDX-License-Identifier: GPL-3.0-or-later
"""The overview page of a fleet under load, from a network that may see it: all of it has data, on a phone too."""

from __future__ import annotations

import json
import time
import urllib.error
from pathlib import Path

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils import dashboards
from e2e.instance import wait_until
from e2e.load import Load
from e2e.ports import scan

from .conftest import SOURCE, MetricsHost
from .test_page import NAMES, PHONE, SCREEN, WHOLE, assert_whole, keep_pictures
from .watching import FRONT_PORT, SECONDS

# What not every fleet has, by its job: how its metrics begin.
OPTIONAL = {"pgbouncer": ("pgbouncer_", "fediops_plan_pgbouncer_")}
EVERY_SECONDS, HISTORY_SECONDS = 5, 300
# Lines need some minutes. Messages to people are counted from the first one on since streaming was started.
MEASURED = (
    "min(count_over_time(up[10m])) > 12",
    "count_over_time(sum(rate(mastodon_streaming_messages_sent_total[5m]))[2m:30s]) > 2",
)
# A container may not ask its kernel about the clock.
UNMEASURED = {"Clocks"}


@pytest.fixture(scope="module")
def live(watch, deployed, fleet):
    """The metrics host, whose front is open to this machine; closed again afterwards."""
    here = watch.address.rpartition(".")[0] + ".1"
    only = ("--tags", "base,metrics", "--limit", watch.name)
    deployed.site(*only, "-e", json.dumps({"metrics_allowed_cidrs": [f"{here}/32"]}))
    try:
        login = ("admin", fleet.secrets()["mastodon_metrics_password"])
        yield MetricsHost(f"https://{watch.address}:{FRONT_PORT}/", login)
    finally:
        deployed.site(*only)


@pytest.fixture(scope="module")
def busy(live, watched):
    """The fleet under load, and measured for so long that lines can be drawn."""
    with Load(watched) as load:
        for measured in MEASURED:
            wait_until(lambda it=measured: live.ask("query", query=it)["result"], HISTORY_SECONDS, measured)
        wait_until(lambda: load.well_for(30), SECONDS, "half a minute of load")
        yield load


def test_whoever_has_no_password_is_turned_away(live):
    with pytest.raises(urllib.error.HTTPError) as turned_away:
        MetricsHost(live.address, ("admin", "wrong")).ask("query", query="up")
    assert turned_away.value.code == 401


def test_no_query_is_empty(live, busy):
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

    empty, until = wanted, time.monotonic() + SECONDS
    while empty := [query for query in empty if not live.ask("query", query=query.expr)["result"]]:
        if time.monotonic() > until:
            break
        # A rate has a value when it was seen twice, and whoever asks too often is turned away.
        time.sleep(EVERY_SECONDS)
    assert [f"{query.place}: {query.expr}" for query in empty] == []


@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_data_while_people_are_there(show, live, busy, watched, name, size):
    if not watched.hosts_of("pgbouncer"):
        pytest.skip("not all that there are panels for runs on this fleet")
    tab = show(live, f"{name}/1h", WHOLE[size])
    assert_whole(tab, live, name, size)
    unmeasured = tab.run("""[...document.querySelectorAll('.panel')]
        .filter((each) => each.querySelector('.body').innerText.includes('Nothing measures this'))
        .map((each) => each.querySelector('h3').textContent)""")
    assert set(unmeasured) <= UNMEASURED


def test_pictures_of_the_overview_are_kept(show, live, busy, request):
    keep_pictures(show, live, "overview", Path(request.config.rootpath) / ".cache/overview_page/live")


def test_nobody_noticed_who_looked(busy, live):
    assert [it for it in busy.sent if it.wrong] == []


def test_it_is_closed_again(live, watch, deployed):
    """Last of this file: the run without the network closes the front to it."""
    deployed.site("--tags", "base,metrics", "--limit", watch.name)
    assert scan({watch.address: [FRONT_PORT]})[watch.address][FRONT_PORT] == "silent"


@pytest.mark.by_name
def test_it_can_be_open_to_everybody_and_nothing_else_is(deployed, watch, watched, fleet):
    only = ("--tags", "base,metrics", "--limit", watch.name)
    ports, login = [9090, 9093, 9100, 9115, FRONT_PORT], ("admin", fleet.secrets()["mastodon_metrics_password"])
    (other, *_more) = (host for host in watched.hosts.values() if host.name != watch.name)
    deployed.site(*only, "-e", json.dumps({"metrics_public": True}))
    try:
        for source in (other, None):
            answers = scan({watch.address: ports}, source)[watch.address]
            assert {port for port, answer in answers.items() if answer == "open"} == {FRONT_PORT}
        front = MetricsHost(f"https://{watch.address}:{FRONT_PORT}/", login)
        assert front.ask("query", query="up")["result"]
        with pytest.raises(urllib.error.HTTPError) as turned_away:
            MetricsHost(front.address, ("admin", "wrong")).ask("query", query="up")
        assert turned_away.value.code == 401
    finally:
        deployed.site(*only)
    assert set(scan({watch.address: ports})[watch.address].values()) == {"silent"}
