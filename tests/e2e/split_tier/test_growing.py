# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts are added to a living instance, and leave it again, and nobody notices: no request fails, nothing is lost.

One run of site.yml brings all of them, one of retire.yml takes all of them out. On the hosts that were there, nothing
may be restarted that need not be. What was seen is written to tests/results, growing.jsonl and retiring.jsonl.
"""

from __future__ import annotations

import time

import pytest
from bench.record import record
from e2e.edge import Edge
from e2e.growth import Growth
from e2e.heavy_load import LISTENERS, HeavyLoad
from e2e.readers import scans
from e2e.starts import restarted, starts

pytestmark = pytest.mark.by_name

HOSTS = {
    "edge2": {"groups": ["nginx"], "vcpus": 2, "memory_mb": 4096},
    "web3": {"groups": ["web"], "vcpus": 4, "memory_mb": 8192},
    "worker3": {"groups": ["sidekiq/sidekiq_push"], "vcpus": 4, "memory_mb": 8192},
    "streaming2": {"groups": ["streaming"], "vcpus": 2, "memory_mb": 2048},
    "db3": {"groups": ["postgres_replica"], "vcpus": 4, "memory_mb": 16384},
}
VARIABLES = {"sidekiq_push": {"sidekiq_queues": ["push"]}}
LOAD_SECONDS, QUIET_SECONDS, SERVES_SECONDS = 540, 5, 30
SERVED = "journalctl --unit mastodon-web.service --output cat --no-pager | grep -c ' path=/@'"


@pytest.fixture(scope="module")
def grown(deployed, instance, tmp_path_factory):
    """The fleet with its new hosts, and what was seen of how it came to them."""
    growth = Growth(deployed, tmp_path_factory.mktemp("growth"))
    seen = {"before": starts(instance)}
    try:
        growth.add(HOSTS, VARIABLES)
        # Packages take minutes of the one machine that all these hosts share, which says nothing of the others.
        deployed.site("--tags", "base", "--limit", ",".join(HOSTS))
        with HeavyLoad(instance, LOAD_SECONDS) as load:
            time.sleep(QUIET_SECONDS)
            began = time.monotonic()
            seen["run"] = deployed.site()
            seen["site_seconds"] = round(time.monotonic() - began, 1)
            load.instance = seen["instance"] = growth.instance()
            db3 = load.instance.hosts["db3"]
            reads = scans(db3)
            time.sleep(SERVES_SECONDS)
            seen["reads_of_db3"] = scans(db3) - reads
        seen |= {"load": load.seen, "jobs": load.jobs, "after": starts(load.instance)}
        record("growing", {"added": list(HOSTS), "site_seconds": seen["site_seconds"], **load.seen.record()})
        seen["growth"] = growth
        yield seen
    finally:
        if "run_without" not in seen:
            growth.take_out()


@pytest.fixture(scope="module")
def shrunk(grown, deployed):
    """The same fleet when all of them were retired, and what was seen of that; they are gone then."""
    hosts = ",".join(HOSTS)
    with HeavyLoad(grown["instance"], LOAD_SECONDS) as load:
        time.sleep(QUIET_SECONDS)
        began = time.monotonic()
        run = deployed.command("run", "playbooks/retire.yml", "-e", f"host={hosts}", "-e", "dns_changed=true")
        seconds = round(time.monotonic() - began, 1)
        time.sleep(QUIET_SECONDS)
    record("retiring", {"host": hosts, "retire_seconds": seconds, **load.seen.record()})
    after = starts(grown["instance"])
    grown["run_without"] = grown["growth"].take_out()
    return {"run": run, "load": load.seen, "after": after, "run_without": grown["run_without"]}


def test_nobody_noticed(grown):
    grown["load"].assert_nobody_noticed()


def test_nothing_was_restarted_that_need_not_be(grown):
    assert restarted(grown["before"], grown["after"]) == []


def test_the_new_edge_serves(grown, summary):
    host = grown["instance"].hosts["edge2"]
    edge = Edge(grown["instance"].summary, host, "edge2")
    assert summary["owner"]["username"] in edge.ask(f"/@{summary['owner']['username']}").text


def test_the_new_web_host_serves(grown):
    assert int(grown["instance"].hosts["web3"].shell(SERVED)) > 10


def test_jobs_of_push_run_on_the_new_worker(grown):
    """Its queue is still the other host's too: whoever is free takes a job."""
    log = grown["instance"].hosts["worker3"].shell("journalctl --unit 'mastodon-sidekiq*' --output cat --no-pager")
    assert [jid for jid in grown["jobs"].slow if f"jid={jid}" in log]


def test_timelines_are_read_on_the_new_replica(grown):
    assert grown["reads_of_db3"] > 10


def test_another_run_changes_nothing(grown, deployed):
    assert deployed.site().changed == []


def test_nobody_notices_that_they_leave(shrunk):
    # Whoever is connected to a streaming process that ends connects anew, to another.
    shrunk["load"].assert_nobody_noticed(reconnects=LISTENERS)


def test_nothing_is_restarted_because_they_leave(grown, shrunk):
    stayed = {(host, unit): start for (host, unit), start in grown["after"].items() if host not in HOSTS}
    assert restarted(stayed, shrunk["after"]) == []


def test_nothing_runs_on_them_any_more(shrunk):
    assert [(host, unit) for host, unit in shrunk["after"] if host in HOSTS] == []


def test_the_slot_of_the_replica_went_with_it(shrunk, instance):
    assert instance.primary.sql("SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'db3'") == []


def test_a_run_without_them_changes_no_host(shrunk):
    # What was planned is kept beside the inventory, and forgets them.
    changed = [task for task, _host in shrunk["run_without"].changed if not task.startswith("Compute the plan")]
    assert changed == []


def test_how_to_delete_them_is_said(shrunk):
    assert all(name in shrunk["run"].output.rpartition("left the fleet")[0][-200:] for name in HOSTS)
