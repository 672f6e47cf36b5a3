# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between two plans, and what a run would restart for it."""

from __future__ import annotations

import copy
import json
import re

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.compare import (
    announce,
    as_record,
    compare,
    describe_changes,
    from_record,
)
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.words import listed
from unit.plan.samples import SETTINGS, TEN, TWO_HUNDRED, inventory


@pytest.fixture
def box(plan_box):
    return plan_box().as_mapping()


def changed(plan, path, value, host="box"):
    """The plan with one value replaced."""
    new = copy.deepcopy(plan)
    target = new["hosts"][host]
    *parents, last = path.split(".")
    for name in parents:
        target = target[int(name) if name.isdigit() else name]
    target[last] = value
    return new


def test_a_plan_is_like_itself_also_after_it_was_a_file(box):
    comparison = compare(json.loads(json.dumps(box)), box)
    assert not comparison
    assert describe_changes(comparison) == "Nothing differs from the last plan."


def test_reasons_and_budgets_alone_are_no_difference(box):
    assert not compare(box, changed(box, "reasons", {"web.workers": "1 = because"}))
    assert not compare(box, changed(box, "memory.used_mb", 1))


@pytest.mark.parametrize(
    ("path", "value", "services"),
    [
        ("web.workers", 9, {"Puma": "restart"}),
        ("streaming.db_pool", 9, {"streaming": "restart"}),
        ("sidekiq.processes.1.concurrency", 9, {"Sidekiq federation": "restart"}),
        ("sidekiq.stop_timeout_seconds", 9, {"Sidekiq": "restart"}),
        ("postgres.settings.max_connections", 999, {"PostgreSQL": "restart"}),
        ("postgres.settings.shared_buffers", "9MB", {"PostgreSQL": "restart"}),
        ("postgres.settings.work_mem", "9MB", {"PostgreSQL": "reload"}),
        ("postgres.bind", ["127.0.0.1", "192.0.2.10"], {"PostgreSQL": "restart"}),
        ("postgres.app_connection_limit", 9, {}),
        ("redis.settings.maxmemory", "9mb", {"Redis": "reload"}),
        ("redis.limit_nofile", 9, {"Redis": "restart"}),
        ("nginx.worker_connections", 9, {"nginx": "reload"}),
        ("nginx.limit_nofile", 9, {"nginx": "restart"}),
        ("endpoints.logs", {"host": "192.0.2.11", "port": 19532}, {}),
        ("endpoints.web", [{"host": "192.0.2.11", "port": 3000}], {"nginx": "reload"}),
        ("endpoints.redis.host", "192.0.2.11", {"Puma": "restart", "streaming": "restart", "Sidekiq": "restart"}),
        ("host.memory_mb", 5000, {}),
        ("kernel.sysctl.vm.swappiness", 9, {}),
    ],
)
def test_a_service_restarts_only_for_what_it_reads_at_its_start(box, path, value, services):
    if path.startswith("kernel"):
        new = changed(box, "kernel.sysctl", {**box["hosts"]["box"]["kernel"]["sysctl"], "vm.swappiness": value})
    else:
        new = changed(box, path, value)
    comparison = compare(box, new)
    assert comparison.hosts == ("box",)
    assert {entry["service"]: entry["effect"] for entry in comparison.services} == services


def test_a_pool_of_the_pooler_is_a_reload_and_its_files_are_a_restart(box):
    pooler = {"bind": ["192.0.2.10"], "limit_nofile": 4096, "pools": [{"name": "mastodon", "pool_size": 20}]}
    old = changed(box, "pgbouncer", pooler)
    pools = changed(old, "pgbouncer.pools", [{"name": "mastodon", "pool_size": 40}])
    assert compare(old, pools).services == [{"service": "PgBouncer", "effect": "reload", "hosts": ["box"]}]
    assert [change.what for change in compare(old, pools).changes] == ["PgBouncer pools mastodon pool_size"]
    files = changed(pools, "pgbouncer.limit_nofile", 8192)
    assert compare(old, files).services == [{"service": "PgBouncer", "effect": "restart", "hosts": ["box"]}]


def test_of_what_comes_in_only_what_differs_is_told(plan_fleet):
    hosts = {
        "app1": (4, 7946, "nginx web streaming sidekiq pgbouncer"),
        **{f"app{number}": (4, 7946, "web sidekiq") for number in (2, 3)},
        "db1": (4, 15892, "postgres_primary redis_core"),
    }
    old = plan_fleet(hosts).as_mapping()
    new = plan_fleet({**hosts, "app4": (4, 7946, "web sidekiq")}).as_mapping()
    changes = {change.what: change for change in compare(old, new).changes if change.hosts == ("db1",)}
    assert set(changes) == {"firewall"}
    assert (changes["firewall"].before, changes["firewall"].after) == (None, "6379<-10.0.0.5")
    assert changes["firewall"].services == ()
    direct = {**hosts, "app1": (4, 7946, "nginx web streaming sidekiq")}
    comparison = compare(old, plan_fleet(direct).as_mapping())
    clients = next(change for change in comparison.changes if change.what == "PostgreSQL clients")
    assert (clients.before, clients.after) == (None, "mastodon@10.0.0.2 mastodon@10.0.0.3")
    assert (clients.services, clients.effect) == (("PostgreSQL",), "reload")


def test_a_replica_more_restarts_nothing(plan_fleet):
    hosts = {
        "app1": (4, 7946, "nginx web streaming sidekiq"),
        "db1": (4, 15892, "postgres_primary redis_core pgbouncer"),
        "db2": (4, 15892, "postgres_replica"),
        "db3": (4, 15892, "postgres_replica"),
    }
    larger = {**hosts, "db4": (4, 15892, "postgres_replica")}
    comparison = compare(plan_fleet(hosts).as_mapping(), plan_fleet(larger).as_mapping())
    assert comparison.services == [
        {"service": "HAProxy", "effect": "reload", "hosts": ["db1"]},
        {"service": "PostgreSQL", "effect": "reload", "hosts": ["db1"]},
    ]


def test_where_poolers_stand_between_the_application_does_not_restart_for_another_address_of_the_primary(box):
    behind = changed(box, "endpoints.database", {"host": "192.0.2.20", "port": 6432})
    assert compare(behind, changed(behind, "endpoints.postgres.host", "192.0.2.30")).services == []


def test_a_process_that_comes_and_one_that_goes_leave_the_others_alone(box):
    one = box["hosts"]["box"]["sidekiq"]["processes"][0]
    more = changed(box, "sidekiq.processes", [*box["hosts"]["box"]["sidekiq"]["processes"], {**one, "name": "push"}])
    assert compare(box, more).services == [{"service": "Sidekiq push", "effect": "start", "hosts": ["box"]}]
    assert compare(more, box).services == [{"service": "Sidekiq push", "effect": "stop", "hosts": ["box"]}]


def test_a_component_that_leaves_a_host_stops_there(box):
    without = copy.deepcopy(box)
    del without["hosts"]["box"]["streaming"]
    assert {"service": "streaming", "effect": "stop", "hosts": ["box"]} in compare(box, without).services
    assert {"service": "streaming", "effect": "start", "hosts": ["box"]} in compare(without, box).services


def test_hosts_that_come_and_go_are_named_and_what_is_alike_is_told_once(box):
    part = box["hosts"]["box"]
    old = {"hosts": {f"web{number}": part for number in range(1, 5)} | {"old1": part}}
    new = {"hosts": {f"web{number}": changed(box, "web.workers", 7)["hosts"]["box"] for number in range(1, 6)}}
    comparison = compare(old, new)
    assert (comparison.added, comparison.removed) == (("web5",), ("old1",))
    assert [(change.hosts, change.before, change.after) for change in comparison.changes] == [
        (("web1", "web2", "web3", "web4"), "1", "7")
    ]
    text = describe_changes(comparison)
    for words in ("New: web5", "Gone: old1", "Puma workers  1 -> 7   (restart Puma)", "Puma: restart on web1 to web4"):
        assert words in text


def test_what_happens_to_many_processes_is_told_once():
    hosts, groups = inventory(TWO_HUNDRED)
    old = from_inventory(hosts, groups, SETTINGS).as_mapping()
    for name in groups["sidekiq_push"]:
        hosts[name]["sidekiq_concurrency"] = 20
    comparison = compare(old, from_inventory(hosts, groups, SETTINGS).as_mapping())
    processes = [entry for entry in comparison.services if entry["service"].startswith("Sidekiq ")]
    assert sum(len(entry["hosts"]) for entry in processes) == 120
    text = describe_changes(comparison)
    assert "120 processes of Sidekiq: restart on push1 to push30" in text
    assert re.search(r"\n  \d+ processes of Sidekiq: concurrency +5 -> 20   \(restart them\)", text)
    assert len(text.splitlines()) < 30


class TestWhatARunAnnounces:
    """What is said before the first change, on the fleet of ten hosts."""

    @pytest.fixture
    def ten(self):
        return from_inventory(*inventory(TEN), SETTINGS).as_mapping()

    def test_nothing_is_said_of_the_same_plan(self, ten):
        assert announce(compare(ten, ten), ten) == ""

    def test_what_restarts_and_for_what(self, ten):
        new = changed(ten, "web.workers", 7, host="web1")
        lines = announce(compare(ten, new), new).splitlines()
        assert lines == ["Puma: restart on web1 (Puma workers 4 -> 7)"]

    def test_a_host_outside_the_run_is_left_out(self, ten):
        new = changed(changed(ten, "web.workers", 7, host="web1"), "web.workers", 8, host="web2")
        assert announce(compare(ten, new), new, ["web2"]) == "Puma: restart on web1 (Puma workers 4 -> 7)"
        assert announce(compare(ten, new), new, ["web1", "web2"]) == ""

    def test_who_comes_and_goes_and_what_is_let_in(self, ten):
        hosts = dict(ten["hosts"])
        old = {"hosts": {**hosts, "web9": hosts["web1"]}}
        new = changed({**ten, "hosts": {**hosts, "web3": hosts["web1"]}}, "firewall", [], host="pool1")
        assert announce(compare(old, new), new).splitlines() == [
            "New: web3",
            "No longer part of the fleet: web9",
            "No service that runs is restarted or reloaded.",
            "firewall: other rules on pool1",
        ]

    def test_a_restart_of_the_primary_is_told_as_people_notice_it(self, ten):
        new = changed(ten, "postgres.settings.max_connections", 999, host="db1")
        waits = "While PostgreSQL restarts on db1, pages wait in PgBouncer: 3 seconds in a rehearsal. "
        announced = announce(compare(ten, new), new)
        assert waits in announced
        assert "Nothing that was posted is lost." in announced
        assert waits in describe_changes(compare(ten, new), new)

    def test_one_of_a_replica_is_not_noticed(self, ten):
        new = changed(ten, "postgres.settings.max_connections", 999, host="reader1")
        assert "on reader1, the other replicas or the primary answer" in announce(compare(ten, new), new)

    def test_without_a_pooler_pages_fail_meanwhile(self, box):
        new = changed(box, "postgres.settings.max_connections", 999)
        assert "on box, pages fail: 3 seconds in a rehearsal." in announce(compare(box, new), new)


def test_the_comparison_is_plain_data(box):
    plain = compare(box, changed(box, "web.workers", 7)).as_mapping()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {"hosts", "added", "removed", "changes", "services"}


def test_hosts_that_wait_for_a_run_are_compared_with_what_they_had(box):
    part = box["hosts"]["box"]
    other = changed(box, "web.workers", 7)["hosts"]["box"]
    old = {"hosts": {"web1": part, "web2": part}}
    new = {"hosts": {"web1": other, "web2": other, "web3": other}}
    assert compare(old, new).hosts == ("web1", "web2", "web3")
    # A run of web1 only, whose plan is kept as a file.
    kept = json.loads(json.dumps(as_record(new, old, ["web2", "web3"])))
    assert kept["hosts"] == new["hosts"]
    waiting = compare(from_record(kept), new)
    assert (waiting.hosts, waiting.added) == (("web2", "web3"), ("web3",))
    # Then one of web2.
    kept = as_record(new, from_record(kept), ["web3"])
    assert compare(from_record(kept), new).hosts == ("web3",)
    assert as_record(new, from_record(kept), []) == new


@pytest.mark.parametrize("record", [None, [], {}, {"hosts": []}, {"hosts": {"box": 1}}, {"hosts": {}, "waiting": 3}])
def test_what_is_no_plan_is_refused(record):
    with pytest.raises(ValueError, match="does not hold a plan"):
        from_record(record)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["box"], "box"),
        (["web2", "web1"], "web1, web2"),
        (["web10", "web9", "web11", "db1"], "db1, web9 to web11"),
        ([f"q{n}.social.example" for n in (1, 2, 3, 7)], "q1.social.example to q3.social.example, q7.social.example"),
        (["a", "b", "c"], "a, b, c"),
    ],
)
def test_long_lists_of_hosts_are_ranges(names, text):
    assert listed(names) == text
