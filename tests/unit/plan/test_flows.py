# SPDX-License-Identifier: GPL-3.0-or-later
"""Who talks to whom: exactly what a fleet needs, and nothing else."""

from __future__ import annotations

from collections import Counter

import pytest

FLEET = {
    "edge": (2, 3972, "nginx streaming"),
    "web1": (4, 7946, "web"),
    "web2": (4, 7946, "web"),
    "work1": (2, 7946, "sidekiq"),
    "db1": (4, 15892, "postgres_primary pgbouncer"),
    "db2": (4, 15892, "postgres_replica"),
    "redis1": (2, 3972, "redis_core"),
    "cache": (2, 3972, "redis_cache"),
    "spare": (2, 3972, "redis_replica"),
}


def flows(plan):
    return plan.as_mapping()["flows"]


def without_ssh(plan):
    return {(flow["from"], flow["to"], flow["port"]): flow["what"] for flow in flows(plan) if flow["port"] != 22}


def test_one_box_talks_to_the_world_and_the_control_machine_only(plan_box):
    assert [(flow["from"], flow["to"], flow["port"]) for flow in flows(plan_box())] == [
        ("control", "box", 22),
        ("world", "box", 80),
        ("world", "box", 443),
    ]


def test_all_of_a_fleet(plan_fleet):
    plan = plan_fleet(FLEET)
    assert plan.errors == ()
    assert without_ssh(plan) == {
        ("world", "edge", 80): "world -> nginx",
        ("world", "edge", 443): "world -> nginx",
        ("edge", "web1", 3000): "nginx -> web",
        ("edge", "web2", 3000): "nginx -> web",
        ("edge", "web1", 8640): "host -> releases",
        ("web2", "web1", 8640): "host -> releases",
        ("work1", "web1", 8640): "host -> releases",
        ("web1", "edge", 443): "gate -> nginx",
        ("edge", "db1", 6432): "streaming -> pgbouncer",
        ("edge", "redis1", 6379): "streaming -> redis",
        ("web1", "db1", 6432): "web -> pgbouncer",
        ("web2", "db1", 6432): "web -> pgbouncer",
        ("work1", "db1", 6432): "sidekiq -> pgbouncer",
        ("web1", "redis1", 6379): "web -> redis",
        ("web2", "redis1", 6379): "web -> redis",
        ("work1", "redis1", 6379): "sidekiq -> redis",
        ("web1", "cache", 6379): "web -> redis_cache",
        ("web2", "cache", 6379): "web -> redis_cache",
        ("work1", "cache", 6379): "sidekiq -> redis_cache",
        ("web1", "db1", 5432): "builder -> postgres",
        ("db1", "db2", 5432): "pgbouncer -> postgres",
        ("db1", "db2", 6434): "haproxy -> replica health",
        ("db2", "db1", 5432): "replica -> postgres",
        ("spare", "redis1", 6379): "redis replica -> redis",
    }


def test_the_control_machine_reaches_every_host(plan_fleet):
    assert {flow["to"] for flow in flows(plan_fleet(FLEET)) if flow["from"] == "control"} == set(FLEET)


def test_every_flow_says_what_it_is(plan_fleet):
    for flow in flows(plan_fleet(FLEET | {"watch": (2, 3972, "metrics")})):
        assert set(flow) == {"from", "to", "port", "protocol", "what", "purpose", "pool"}
        assert (flow["protocol"], flow["from"] != flow["to"]) == ("tcp", True)
        assert " -> " in flow["what"]
        assert flow["purpose"]


def test_they_are_sorted_and_none_is_there_twice(plan_fleet):
    keys = [(flow["from"], flow["to"], flow["port"], flow["what"]) for flow in flows(plan_fleet(FLEET))]
    assert keys == sorted(set(keys))


def test_the_pools_of_clients_are_all_clients_and_those_of_poolers_fit_the_database(plan_fleet):
    plan = plan_fleet({name: host for name, host in FLEET.items() if name != "db2"} | {"pool": (2, 3972, "pgbouncer")})
    pools = Counter()
    for flow in flows(plan):
        pools[flow["port"]] += flow["pool"] or 0
    assert pools[6432] == plan.totals.database_clients
    (to_the_primary,) = [flow["pool"] for flow in flows(plan) if (flow["from"], flow["to"]) == ("pool", "db1")]
    assert to_the_primary <= plan.hosts["db1"].postgres.settings["max_connections"] - 15 - 8


def test_readers_of_a_replica_count_twice_at_a_pooler(plan_fleet):
    pool = {(flow["from"], flow["what"]): flow["pool"] for flow in flows(plan_fleet(FLEET))}
    assert pool["web1", "web -> pgbouncer"] == 2 * 4 * 5
    assert pool["edge", "streaming -> pgbouncer"] == plan_fleet(FLEET).hosts["edge"].streaming.db_pool


def test_without_a_pooler_they_go_to_the_databases(plan_fleet):
    found = without_ssh(plan_fleet(FLEET | {"db1": (4, 15892, "postgres_primary")}))
    assert found["web2", "db1", 5432] == "web -> postgres"
    assert {source for source, target, _port in found if target == "db2"} == set()
    assert 6432 not in {port for _from, _to, port in found}


@pytest.mark.parametrize(("extra", "builder"), [({}, "web1"), ({"mill": (4, 7946, "builder")}, "mill")])
def test_the_builder_migrates(plan_fleet, extra, builder):
    found = without_ssh(plan_fleet(FLEET | extra))
    assert [source for source, target, port in found if (target, port) == ("db1", 5432)] == sorted([builder, "db2"])


def test_metrics_are_collected_from_what_each_host_runs(plan_fleet):
    watched = plan_fleet(FLEET | {"watch": (2, 3972, "metrics")})
    ports = {}
    for flow in flows(watched):
        if flow["from"] == "watch":
            ports.setdefault(flow["to"], set()).add(flow["port"])
    assert ports["edge"] == {9100, 9113, 4000, 443}
    assert ports["web1"] == {9100, 9394}
    assert ports["db1"] == {9100, 9187, 9127}
    assert ports["cache"] == {9100, 9121}
    assert set(ports) == set(FLEET)
    assert not [flow for flow in flows(plan_fleet(FLEET)) if flow["port"] in range(9000, 9500)]


def test_logs_go_to_the_metrics_host_where_a_person_asks_for_it(plan_fleet):
    watched = FLEET | {"watch": (2, 3972, "metrics")}
    plan = plan_fleet(watched, {"mastodon_central_logs_enabled": True})
    found = {(flow["from"], flow["to"]) for flow in flows(plan) if flow["port"] == 19532}
    assert found == {(name, "watch") for name in FLEET}
    (opening,) = (entry for entry in plan.hosts["watch"].firewall if entry.port == 19532)
    assert set(opening.sources) == {plan.hosts[name].host.address for name in FLEET}
    assert plan.hosts["web1"].endpoints["logs"] == {"host": plan.hosts["watch"].host.address, "port": 19532}
    assert "logs" not in plan.hosts["watch"].endpoints
    assert not [flow for flow in flows(plan_fleet(watched)) if flow["port"] == 19532]


def test_a_box_that_watches_itself_sends_its_logs_nowhere(plan_box):
    plan = plan_box(groups={"metrics": ["box"]}, settings={"mastodon_central_logs_enabled": True})
    assert "logs" not in plan.hosts["box"].endpoints
    assert 19532 not in {entry.port for entry in plan.hosts["box"].firewall}


def test_each_application_host_uses_one_pooler(plan_fleet):
    hosts = FLEET | {"pool1": (2, 3972, "pgbouncer"), "pool2": (2, 3972, "pgbouncer")}
    used = Counter(flow["from"] for flow in flows(plan_fleet(hosts)) if flow["port"] == 6432)
    assert used == {"edge": 1, "web1": 1, "web2": 1, "work1": 1}


def test_nothing_is_opened_that_does_not_listen(plan_fleet):
    plan = plan_fleet(FLEET).as_mapping()
    for flow in plan["flows"]:
        part = {3000: "web", 5432: "postgres", 6432: "pgbouncer", 6379: "redis"}.get(flow["port"])
        if part:
            target = plan["hosts"][flow["to"]]
            assert target["host"]["address"] in target[part]["bind"]
