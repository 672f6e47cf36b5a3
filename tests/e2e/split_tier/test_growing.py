# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts are added to a living instance, and leave it again, and nobody notices: no request fails, nothing is lost.

One run of site.yml brings all of them, one of retire.yml takes all of them out. On the hosts that were there, nothing
may be restarted that need not be.
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

WEB_AND_SIDEKIQ = {
    "web3": {"groups": ["web"], "vcpus": 4, "memory_mb": 8192},
    "worker3": {"groups": ["sidekiq/sidekiq_push"], "vcpus": 4, "memory_mb": 8192},
}
VARIABLES = {"sidekiq_push": {"sidekiq_queues": ["push"]}}
LOAD_SECONDS, QUIET_SECONDS, SERVES_SECONDS = 540, 5, 30
SERVED = "journalctl --unit mastodon-web.service --output cat --no-pager | grep -c ' path=/@'"


def page(instance, edge):
    """The owner's page, as one host with nginx shows it."""
    return Edge(instance.summary, instance.hosts[edge], edge).ask(f"/@{instance.owner['username']}").text


class ComeAndGo:
    """What holds for hosts of any kind: `HOSTS` come, and go."""

    HOSTS = WEB_AND_SIDEKIQ
    RECORDED = False

    @pytest.fixture(scope="class")
    @classmethod
    def grown(cls, deployed, instance, tmp_path_factory):
        """The fleet with its new hosts, and what was seen of how it came to them."""
        hosts = cls.HOSTS
        growth = Growth(deployed, tmp_path_factory.mktemp("growth"))
        seen = {"growth": growth, "before": starts(instance)}
        try:
            growth.add(hosts, VARIABLES)
            # Packages take minutes of the one machine that all these hosts share, which says nothing of the others.
            deployed.site("--tags", "base", "--limit", ",".join(hosts))
            with HeavyLoad(instance, LOAD_SECONDS) as load:
                time.sleep(QUIET_SECONDS)
                began = time.monotonic()
                deployed.site()
                seen["site_seconds"] = round(time.monotonic() - began, 1)
                load.instance = seen["instance"] = growth.instance()
                replicas = {name: scans(load.instance.hosts[name]) for name in hosts if name.startswith("db")}
                time.sleep(SERVES_SECONDS)
                seen["reads"] = {name: scans(load.instance.hosts[name]) - was for name, was in replicas.items()}
                seen["pages"] = {name: page(load.instance, name) for name in hosts if name.startswith("edge")}
            seen |= {"load": load.seen, "jobs": load.jobs, "after": starts(load.instance)}
            if cls.RECORDED:
                record("growing", {"added": list(hosts), "site_seconds": seen["site_seconds"], **load.seen.record()})
            yield seen
        finally:
            if "run_without" not in seen:
                growth.take_out()

    @pytest.fixture(scope="class")
    @classmethod
    def shrunk(cls, grown, deployed):
        """The same fleet when all of them were retired, and what was seen of that; they are gone then."""
        with HeavyLoad(grown["instance"], LOAD_SECONDS) as load:
            time.sleep(QUIET_SECONDS)
            began = time.monotonic()
            hosts = ",".join(cls.HOSTS)
            run = deployed.command("run", "playbooks/retire.yml", "-e", f"host={hosts}", "-e", "dns_changed=true")
            seconds = round(time.monotonic() - began, 1)
            time.sleep(QUIET_SECONDS)
        if cls.RECORDED:
            record("retiring", {"host": hosts, "retire_seconds": seconds, **load.seen.record()})
        after = starts(grown["instance"])
        grown["run_without"] = grown["growth"].take_out()
        return {"run": run, "load": load.seen, "after": after}

    def test_nobody_notices_that_they_come(self, grown):
        grown["load"].assert_nobody_noticed()

    def test_nothing_is_restarted_because_they_come(self, grown):
        assert restarted(grown["before"], grown["after"]) == []

    def test_the_new_web_host_serves(self, grown):
        assert int(grown["instance"].hosts["web3"].shell(SERVED)) > 10

    def test_jobs_of_push_run_on_the_new_worker(self, grown):
        """Its queue is still the other host's too: whoever is free takes a job."""
        log = grown["instance"].hosts["worker3"].shell("journalctl --unit 'mastodon-sidekiq*' --output cat --no-pager")
        assert [jid for jid in grown["jobs"].slow if f"jid={jid}" in log]

    def test_another_run_changes_nothing(self, grown, deployed):
        assert deployed.site().changed == []

    def test_nobody_notices_that_they_go(self, shrunk):
        # Whoever is connected to a streaming process that ends connects anew, to another.
        streams = LISTENERS if any(name.startswith("streaming") for name in self.HOSTS) else 0
        shrunk["load"].assert_nobody_noticed(reconnects=streams)

    def test_nothing_is_restarted_because_they_go(self, grown, shrunk):
        stayed = {(host, unit): start for (host, unit), start in grown["after"].items() if host not in self.HOSTS}
        assert restarted(stayed, shrunk["after"]) == []

    def test_nothing_runs_on_them_any_more(self, shrunk):
        assert [(host, unit) for host, unit in shrunk["after"] if host in self.HOSTS] == []

    def test_how_to_delete_them_is_said(self, shrunk):
        assert f"{', '.join(self.HOSTS)} left the fleet" in " ".join(shrunk["run"].output.split())

    def test_a_run_without_them_changes_no_host(self, grown, shrunk):
        # What was planned is kept beside the inventory, and forgets them.
        changed = [task for task, _host in grown["run_without"].changed if not task.startswith("Compute the plan")]
        assert changed == []


class TestWebAndSidekiq(ComeAndGo):
    """The kinds that are added most often."""


@pytest.mark.by_name
class TestEveryKind(ComeAndGo):
    """What was seen is written to tests/results, growing.jsonl and retiring.jsonl."""

    RECORDED = True
    HOSTS = WEB_AND_SIDEKIQ | {
        "edge2": {"groups": ["nginx"], "vcpus": 2, "memory_mb": 4096},
        "streaming2": {"groups": ["streaming"], "vcpus": 2, "memory_mb": 2048},
        "db3": {"groups": ["postgres_replica"], "vcpus": 4, "memory_mb": 16384},
    }

    def test_the_new_edge_served(self, grown, summary):
        assert summary["owner"]["username"] in grown["pages"]["edge2"]

    def test_timelines_were_read_on_the_new_replica(self, grown):
        assert grown["reads"]["db3"] > 10

    def test_the_slot_of_the_replica_went_with_it(self, shrunk, instance):
        assert instance.primary.sql("SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'db3'") == []
