# SPDX-License-Identifier: GPL-3.0-or-later
"""A web host leaves the fleet while people are on it, and comes back: nobody notices either."""

from __future__ import annotations

import pytest
from bench.record import record
from e2e.heavy_load import HeavyLoad
from e2e.starts import restarted, starts

pytestmark = pytest.mark.by_name

LOAD_SECONDS = 500


@pytest.fixture(scope="module")
def retired(deployed, instance, hosts_of):
    """What was seen while the last web host left and came back, and of what ran then."""
    host = hosts_of("web")[-1]
    seen = {"host": host, "before": starts(instance)}
    with HeavyLoad(instance, LOAD_SECONDS) as load:
        deployed.command("run", "playbooks/retire.yml", "-e", f"host={host.name}")
        seen["gone"] = starts(instance)
        seen["upstreams"] = hosts_of("nginx")[0].shell("cat /etc/nginx/conf.d/mastodon.conf")
        deployed.site()
    return seen | {"load": load.seen, "back": starts(instance)}


def test_nobody_noticed(retired, request):
    if any("test_retiring.py" in str(argument) for argument in request.config.args):
        record("retiring", {"host": retired["host"].name, **retired["load"].record()})
    retired["load"].assert_nobody_noticed()


def test_nothing_runs_on_it_and_nobody_is_sent_there(retired):
    name = retired["host"].name
    assert [unit for host, unit in retired["gone"] if host == name] == []
    assert retired["host"].address not in retired["upstreams"]


def test_nothing_was_restarted_elsewhere(retired):
    name = retired["host"].name
    elsewhere = {(host, unit): start for (host, unit), start in retired["before"].items() if host != name}
    assert restarted(elsewhere, retired["back"]) == []


def test_it_came_back_whole(retired):
    assert retired["back"].keys() == retired["before"].keys()
