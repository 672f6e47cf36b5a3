# SPDX-License-Identifier: GPL-3.0-or-later
"""Each host is killed and started again, one at a time, under a light load; nobody lends a hand.

By name only, since it takes minutes: `pytest tests/e2e/split_tier/test_hosts_killed.py`. What stopped working and for
how long is written to tests/results/hosts_killed.jsonl, a line for each run.
"""

from __future__ import annotations

import subprocess
import time

import pytest
from bench.record import record
from e2e.instance import wait_until
from e2e.load import Load

pytestmark = pytest.mark.by_name

DOWN_SECONDS, BACK_SECONDS, WELL_SECONDS = 20, 180, 5
KINDS = ["page", "home", "post", "delivery", "stream"]
OURS = [
    *(
        f"{name}.service"
        for name in ("postgresql@*", "pgbouncer", "haproxy", "redis-server", "nginx", "fediops-firewall")
    ),
    *("mastodon-web*", "mastodon-streaming*", "mastodon-sidekiq*", "*mastodon-*.socket", "fediops-*.socket"),
]


@pytest.fixture(scope="module")
def load(instance):
    with Load(instance) as load:
        wait_until(lambda: load.well_for(WELL_SECONDS), 60, "a load under which all is well")
        yield load


def outage(load, kind, since):
    """How often a kind failed since then, and the seconds from the first failure to the last."""
    failures = load.failures(kind, since)
    if not failures:
        return None
    return {"failed": len(failures), "seconds": round(failures[-1].due + failures[-1].took - failures[0].due, 1)}


def kill(host, load):
    """Kill a host, start it again, and return what was seen."""
    units = host.active(*OURS)
    assert units
    killed = time.monotonic()
    subprocess.run(["docker", "kill", host.container], check=True, capture_output=True)
    time.sleep(DOWN_SECONDS)
    subprocess.run(["docker", "start", host.container], check=True, capture_output=True)
    started = time.monotonic()
    up = ["systemctl", "is-system-running", "--wait"]
    wait_until(lambda: host.run(*up).stdout.strip() in ("running", "degraded"), BACK_SECONDS, "systemd")
    wait_until(lambda: host.active(*OURS) == units, BACK_SECONDS, f"{units} on {host.name}")
    wait_until(lambda: load.well_for(WELL_SECONDS), BACK_SECONDS, f"all is well after {host.name} came back")
    well = time.monotonic() - WELL_SECONDS
    # A post that was due in the last moments may still be on its way.
    time.sleep(12)
    return {
        "groups": host.groups,
        "down_seconds": round(started - killed, 1),
        "well_again_seconds": round(max(0.0, well - started), 1),
        "stopped": {kind: seen for kind in KINDS if (seen := outage(load, kind, killed))},
        "what": sorted({it.wrong for kind in KINDS for it in load.failures(kind, killed)}),
    }


def test_each_host_is_killed_and_all_comes_back(instance, load):
    hosts = {name: kill(host, load) for name, host in instance.hosts.items()}
    asked = f"SELECT id FROM statuses WHERE id IN ({', '.join(load.posted)}) AND deleted_at IS NULL"
    lost = set(load.posted) - set(instance.sql(asked))
    rates = "post 0.25/s, home 0.8/s, page 1/s, one stream"
    record("hosts_killed", {"load": rates, "posts": len(load.posted), "lost_posts": len(lost), "hosts": hosts})
    assert lost == set()
