# SPDX-License-Identifier: GPL-3.0-or-later
"""What the metrics host collects: all that exports, where it listens, and nothing that it cannot reach."""

from __future__ import annotations

from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.compare import compare
from hypothesis import HealthCheck, given, settings
from unit.plan import fleets
from unit.plan.test_properties import planned

FLEET = {
    "edge": (2, 3972, "nginx streaming"),
    "web1": (4, 7946, "web"),
    "work1": (2, 7946, "sidekiq"),
    "db1": (4, 15892, "postgres_primary pgbouncer"),
    "db2": (4, 15892, "postgres_replica"),
    "redis1": (2, 3972, "redis_core"),
    "cache": (2, 3972, "redis_cache"),
    "watch": (2, 3972, "metrics"),
}


def targets(plan):
    return {(target["job"], target["host"]): target for target in plan.as_mapping()["metrics"]["targets"]}


def numbers(plan):
    return {
        (number["name"].removeprefix("fediops_plan_"), *number["labels"].values()): number["value"]
        for number in plan.as_mapping()["metrics"]["planned"]
    }


def test_without_a_metrics_host_there_is_nothing(plan_box):
    plan = plan_box().as_mapping()
    assert plan["metrics"] == {"targets": [], "planned": []}
    assert "exporters" not in plan["hosts"]["box"]


def test_a_box_watches_itself(plan_box):
    plan = plan_box(groups={"metrics": ["box"], "pgbouncer": ["box"]})
    jobs = {job: (target["address"], target["port"]) for (job, _host), target in targets(plan).items()}
    assert jobs == {
        "node": ("192.0.2.10", 9100),
        "postgres": ("192.0.2.10", 9187),
        "pgbouncer": ("192.0.2.10", 9127),
        "redis": ("192.0.2.10", 9121),
        "nginx": ("192.0.2.10", 9113),
        "mastodon": ("192.0.2.10", 9394),
        "streaming": ("127.0.0.1", 4000),
        "blackbox": ("192.0.2.10", 443),
        "prometheus": ("127.0.0.1", 9090),
        "alertmanager": ("127.0.0.1", 9093),
    }


def test_what_is_collected_of_a_fleet(plan_fleet):
    plan = plan_fleet(FLEET)
    assert plan.errors == ()
    found = targets(plan)
    assert {host for job, host in found if job == "node"} == set(FLEET)
    assert {host for job, host in found if job == "mastodon"} == {"web1", "work1"}
    assert {host for job, host in found if job == "postgres"} == {"db1", "db2"}
    assert {host for job, host in found if job == "blackbox"} == {"edge"}
    assert found["redis", "redis1"]["labels"] == {"redis": "core"}
    assert found["redis", "cache"]["labels"] == {"redis": "cache"}
    assert found["node", "web1"] == {"job": "node", "host": "web1", "address": "10.0.0.2", "port": 9100, "labels": {}}
    assert found["streaming", "edge"]["labels"] == {"port": "4000"}


def test_each_host_knows_its_exporters(plan_fleet):
    hosts = plan_fleet(FLEET).as_mapping()["hosts"]
    assert hosts["db1"]["exporters"] == {"node": 9100, "pgbouncer": 9127, "postgres": 9187}
    assert hosts["watch"]["exporters"] == {"node": 9100}


def test_streaming_listens_where_the_metrics_host_can_ask_it(plan_fleet):
    alone = {"edge": (2, 3972, "nginx streaming"), **{name: FLEET[name] for name in ("web1", "work1", "db1", "redis1")}}
    (process,) = plan_fleet(alone).hosts["edge"].streaming.processes
    assert process.bind == "127.0.0.1"
    watched = plan_fleet(alone | {"watch": FLEET["watch"]})
    (process,) = watched.hosts["edge"].streaming.processes
    assert process.bind == targets(watched)["streaming", "edge"]["address"] == "10.0.0.1"
    # Puma has no port that is asked: it stays where it is.
    box = plan_fleet(
        {"box": (4, 15892, "nginx web streaming sidekiq postgres_primary redis_core"), "watch": FLEET["watch"]}
    )
    assert (box.hosts["box"].web.bind, box.hosts["box"].streaming.processes[0].bind) == ("127.0.0.1", "10.0.0.1")


def test_through_the_end_of_tls_streaming_is_asked_by_https(plan_fleet):
    plan = plan_fleet(FLEET, {"mastodon_internal_tls_enabled": True})
    target = targets(plan)["streaming", "edge"]
    assert (target["address"], target["port"]) == ("10.0.0.1", 4000)
    assert target["labels"] == {"port": "4000", "__scheme__": "https"}
    assert plan.hosts["edge"].streaming.processes[0].bind == "127.0.0.1"


def test_the_numbers_of_the_plan(plan_fleet):
    plan = plan_fleet(FLEET)
    found, hosts = numbers(plan), plan.hosts
    assert found["web_workers", "web1"] == 4
    assert found["web_threads", "web1"] == 4 * 5 == plan.totals.puma_threads
    assert found["sidekiq_threads", "work1"] == plan.totals.sidekiq_threads
    assert found["streaming_processes", "edge"] == plan.totals.streaming_processes
    pools = {name[2]: value for name, value in found.items() if name[0] == "pgbouncer_pool_size"}
    assert pools == {pool.name: pool.pool_size for pool in hosts["db1"].pgbouncer.pools}
    assert found["pgbouncer_max_clients", "db1"] == plan.totals.max_client_conn
    connections = {host: found["postgres_max_connections", host] for host in ("db1", "db2")}
    assert connections == {host: hosts[host].postgres.settings["max_connections"] for host in connections}
    bytes_of = {
        host: found["redis_max_memory_bytes", host, kind] for host, kind in (("redis1", "core"), ("cache", "cache"))
    }
    for host, size in bytes_of.items():
        assert f"{size // 1024 // 1024}mb" == hosts[host].redis.settings["maxmemory"]


def test_single_mode_has_its_threads(plan_box):
    found = numbers(plan_box(groups={"metrics": ["box"]}, vm_memory_mb=2560))
    assert (found["web_workers", "box"], found["web_threads", "box"]) == (0, 3)


def test_a_change_of_the_group_says_what_restarts(plan_fleet):
    without = {name: host for name, host in FLEET.items() if name != "watch"}
    comparison = compare(plan_fleet(without).as_mapping(), plan_fleet(FLEET).as_mapping())
    restarted = {entry["service"]: entry["hosts"] for entry in comparison.services if entry["effect"] == "restart"}
    assert restarted["Puma"] == ["web1"]
    assert all(service.startswith(("Puma", "Sidekiq", "streaming")) for service in restarted)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(inventory=fleets.sensible_fleets())
def test_every_target_listens_and_lets_the_metrics_host_in(inventory):
    plan, _named = planned(inventory)
    hosts, watching = plan["hosts"], inventory.groups.get("metrics", [])
    found = plan["metrics"]["targets"]
    assert bool(found) == bool(hosts and watching)
    for target in found:
        host = hosts[target["host"]]
        if target["host"] in watching:
            continue
        assert target["address"] == host["host"]["address"]
        (opening,) = (entry for entry in host["firewall"] if entry["port"] == target["port"])
        allowed = {"world", *(hosts[name]["host"]["address"] for name in watching)}
        assert allowed & set(opening["sources"])
    asked = [(target["host"], target["port"], target["job"]) for target in found]
    assert len(asked) == len(set(asked))
