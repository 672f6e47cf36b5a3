# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that watches leaves the fleet, while people are there, and comes back: nobody notices, nothing is left."""

from __future__ import annotations

import json

import pytest
from e2e.load import Load
from e2e.ports import listening
from e2e.starts import restarted, starts

from .test_metrics_host import UNITS
from .watching import FRONT_PORT, all_targets_up

pytestmark = pytest.mark.by_name
EXPORTERS = {9100, 9113, 9121, 9127, 9187, 9394}


@pytest.fixture(scope="module")
def retired(deployed, watch, watched):
    """What was seen of retiring it; it is there again afterwards."""
    before = {(host, unit): start for (host, unit), start in starts(watched).items() if host != watch.name}
    with Load(watched) as load:
        deployed.command("run", "playbooks/retire.yml", "-e", f"host={watch.name}")
    seen = {
        "load": load,
        "restarted": restarted(before, starts(watched)),
        "running": watch.active(*UNITS, "nginx.service", "prometheus*.service", "fediops-exporter-*"),
        "listening": {host.name: listening(host) & (EXPORTERS | {FRONT_PORT}) for host in watched.hosts.values()},
    }
    return seen | {"back": deployed.site(), "plan": json.loads((deployed.state / "plan.json").read_text())}


def test_nobody_notices(retired):
    assert [it for it in retired["load"].sent if it.wrong and it.kind != "stream"] == []


def test_nothing_watches_and_nothing_is_told(retired):
    assert retired["running"] == []
    assert {name: ports for name, ports in retired["listening"].items() if ports} == {}


def test_only_what_reported_by_itself_is_restarted(retired):
    units = {it.split(" of ")[0].split("@")[0].removesuffix(".service") for it in retired["restarted"]}
    assert units <= {"mastodon-web", "mastodon-sidekiq", "mastodon-prometheus-exporter"}


def test_it_comes_back(retired, watch):
    assert retired["back"].recap[watch.name]["failed"] == 0
    all_targets_up(watch, retired["plan"])
