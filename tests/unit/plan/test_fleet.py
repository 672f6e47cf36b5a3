# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts: who is sized by whose clients, what listens where, and what of it a person hears."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.endpoints import spread

QUEUES = ["default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"]
SPLIT = {
    "edge": (2, 3972, "nginx streaming"),
    "web1": (4, 7946, "web"),
    "web2": (4, 7946, "web"),
    "work1": (6, 15892, "sidekiq"),
    "db1": (4, 15892, "postgres_primary"),
    "redis1": (2, 3972, "redis_core"),
}
POOLED = SPLIT | {"db1": (4, 15892, "postgres_primary pgbouncer")}
REPLICATED = POOLED | {"db2": (4, 15892, "postgres_replica"), "db3": (4, 15892, "postgres_replica")}
# The platform of toot.community in April 2026, before and on the day on which its database had no connections left.
TOOT = {
    "edge": (8, 32000, "nginx streaming"),
    **{f"web{number}": (16, 64000, "web", {"web_workers": 12}) for number in range(1, 5)},
    "work1": (16, 64000, "sidekiq"),
    "work2": (16, 64000, "sidekiq"),
    "db1": (32, 128000, "postgres_primary", {"postgres_max_connections": 200}),
    "pool1": (2, 4000, "pgbouncer", {"pgbouncer_pool_size": 125}),
    "pool2": (2, 4000, "pgbouncer", {"pgbouncer_pool_size": 125}),
    "redis1": (4, 16000, "redis_core"),
}


def sizes(plan, name):
    return plan.as_mapping()["hosts"][name]


def found(plan, severity="error"):
    return [finding.constraint for finding in plan.findings if finding.severity == severity]


def changed(hosts, name, **variables):
    vcpus, memory_mb, groups, *own = hosts[name]
    return hosts | {name: (vcpus, memory_mb, groups, {**(own[0] if own else {}), **variables})}


class TestTheSplitTier:
    def test_it_is_planned_without_a_word(self, plan_fleet):
        assert plan_fleet(POOLED).findings == ()

    def test_web_alone_has_a_worker_a_core_and_five_threads(self, plan_fleet):
        web = sizes(plan_fleet(POOLED), "web1")["web"]
        assert (web["workers"], web["threads"], web["db_pool"]) == (4, 5, 5)

    def test_one_scheduler_and_all_queues_over_six_processes(self, plan_fleet):
        processes = sizes(plan_fleet(POOLED), "work1")["sidekiq"]["processes"]
        threads = {process["name"]: process["concurrency"] for process in processes}
        assert threads == {"scheduler": 5, "default": 5, "ingress": 5, "push": 25, "pull": 25, "default_2": 5}

    def test_the_totals(self, plan_fleet):
        # 2 x 4 x 5 of Puma, 70 of Sidekiq, 10 of streaming; a third of them; 1.25 x (120 + 10).
        totals = plan_fleet(POOLED).as_mapping()["totals"]
        assert totals == {
            "database_clients": 120,
            "pool_size": 32,
            "max_client_conn": 200,
            "puma_threads": 40,
            "sidekiq_threads": 70,
            "sidekiq_processes": 6,
            "streaming_processes": 1,
            # 8 x 16 of Puma, 3 x 70 + 6 x 11 of Sidekiq, 2 of streaming, 6 of tootctl.
            "redis_clients": 412,
            "memory_mb": 55620,
            "vcpus": 22,
        }

    def test_redis_alone_has_sixty_percent_of_what_the_system_leaves(self, plan_fleet):
        assert sizes(plan_fleet(POOLED), "redis1")["redis"]["settings"]["maxmemory"] == "2229mb"

    def test_postgres_alone_has_all_that_is_left(self, plan_fleet):
        # 15892 less 6 % and 32 of PgBouncer, a quarter of it shared.
        postgres = sizes(plan_fleet(POOLED), "db1")["postgres"]["settings"]
        assert postgres["shared_buffers"] == f"{(15892 - 953 - 32) // 4}MB"

    def test_without_a_pooler_it_works_and_one_is_advised(self, plan_fleet):
        plan = plan_fleet(SPLIT)
        assert found(plan) == []
        assert found(plan, "warning") == ["pgbouncer"]
        # 1.1 x 115 + 6 + 5 + 8, in steps of ten.
        assert sizes(plan, "db1")["postgres"]["settings"]["max_connections"] == 150

    def test_a_tiny_web_host_has_few_threads(self, plan_fleet):
        plan = plan_fleet(SPLIT | {"web1": (1, 1986, "web")})
        assert sizes(plan, "web1")["web"]["threads"] == 3

    @pytest.mark.parametrize("hosts", [POOLED, REPLICATED])
    def test_more_memory_never_means_fewer_workers(self, plan_fleet, hosts):
        for name in ("web1", "work1", "edge"):
            last = (0, 0, 0)
            for memory_mb in range(600, 20000, 800):
                vcpus, _memory_mb, groups = hosts[name]
                plan = plan_fleet(hosts | {name: (vcpus, memory_mb, groups)})
                totals = plan.as_mapping()["totals"]
                now = (totals["puma_threads"], totals["sidekiq_processes"], totals["streaming_processes"])
                assert all(after >= before for before, after in zip(last, now, strict=True))
                last = now


class TestPoolers:
    def test_the_pool_and_what_it_leaves_of_the_database(self, plan_fleet):
        plan = plan_fleet(POOLED)
        (pool,) = sizes(plan, "db1")["pgbouncer"]["pools"]
        assert pool == {
            "name": "mastodon_production",
            "database": "mastodon_production",
            "host": "127.0.0.1",
            "port": 5432,
            "pool_size": 32,
            "reserve_pool_size": 7,
            "for": "primary",
        }
        # 39 + 15 direct + 8 reserved = 62.
        assert sizes(plan, "db1")["postgres"]["settings"]["max_connections"] == 100

    def test_two_poolers_share_one_pool(self, plan_fleet):
        plan = plan_fleet(SPLIT | {"pool1": (2, 3972, "pgbouncer"), "pool2": (2, 3972, "pgbouncer")})
        pools = [sizes(plan, name)["pgbouncer"]["pools"][0] for name in ("pool1", "pool2")]
        assert [(pool["pool_size"], pool["reserve_pool_size"]) for pool in pools] == [(16, 4), (16, 4)]
        assert [pool["host"] for pool in pools] == ["10.0.0.5", "10.0.0.5"]

    def test_each_pooler_takes_all_clients(self, plan_fleet):
        hosts = SPLIT | {f"pool{number}": (2, 3972, "pgbouncer") for number in (1, 2)}
        hosts |= {f"web{number}": (8, 15892, "web") for number in range(1, 6)}
        plan = plan_fleet(hosts)
        clients = plan.totals.database_clients
        assert clients == 5 * 8 * 5 + 70 + 10
        for name in ("pool1", "pool2"):
            # 1.25 x (280 + 10) = 362.5, in steps of 100.
            assert sizes(plan, name)["pgbouncer"]["max_client_conn"] == 400

    def test_a_metrics_host_has_a_pool_of_its_own(self, plan_fleet):
        plan = plan_fleet(POOLED | {"watch": (2, 3972, "metrics")})
        pools = {pool["for"]: pool["pool_size"] for pool in sizes(plan, "db1")["pgbouncer"]["pools"]}
        assert pools == {"primary": 32, "monitoring": 2}

    def test_pools_of_two_poolers_beyond_the_connections_of_one_database(self, plan_fleet):
        plan = plan_fleet(TOOT)
        assert found(plan) == ["C4"]
        (finding,) = plan.errors
        assert "all poolers together exceed max_connections of the one database" in finding.message
        assert "2 poolers (pool1 and pool2)" in finding.message
        assert "125 + 25 in reserve" in finding.message
        assert finding.hosts == ("pool1", "pool2")
        # 200 less 15 direct and 8 reserved, a half each, a fifth of the pool in reserve: 73 + 15 <= 88.
        assert finding.remedy == {"pgbouncer_pool_size": 73}

    def test_the_largest_pool_that_fits_is_the_one_advised(self, plan_fleet):
        def with_pools(size):
            hosts = changed(TOOT, "pool1", pgbouncer_pool_size=size)
            return plan_fleet(changed(hosts, "pool2", pgbouncer_pool_size=size))

        assert found(with_pools(73)) == []
        assert found(with_pools(74)) == ["C4"]

    def test_the_plan_itself_stays_below_connections_set_by_hand(self, plan_fleet):
        hosts = {name: host[:3] if name.startswith("pool") else host for name, host in TOOT.items()}
        plan = plan_fleet(hosts)
        assert found(plan) == []
        opened = sum(
            pool["pool_size"] + pool["reserve_pool_size"]
            for name in ("pool1", "pool2")
            for pool in sizes(plan, name)["pgbouncer"]["pools"]
        )
        assert opened + 15 + 8 <= 200

    def test_a_pooler_that_cannot_take_all_clients(self, plan_fleet):
        plan = plan_fleet(changed(POOLED, "db1", pgbouncer_max_client_conn=149))
        assert found(plan) == ["C5"]
        # 1.25 x 120.
        assert plan.errors[0].remedy == {"pgbouncer_max_client_conn": 150}
        assert found(plan_fleet(changed(POOLED, "db1", pgbouncer_max_client_conn=150))) == []

    def test_growth_rarely_moves_what_only_a_restart_changes(self, plan_fleet):
        hosts, moved = dict(POOLED), 0
        before = sizes(plan_fleet(hosts), "db1")
        for number in range(3, 11):
            hosts[f"web{number}"] = (4, 7946, "web")
            after = sizes(plan_fleet(hosts), "db1")
            kept = [
                (part[name]["settings"] if name == "postgres" else part[name])[key]
                for part in (before, after)
                for name, key in (("postgres", "max_connections"), ("pgbouncer", "limit_nofile"))
            ]
            moved += kept[:2] != kept[2:]
            before = after
        assert moved <= 1


class TestReplicas:
    def test_a_replica_has_what_its_primary_has(self, plan_fleet):
        hosts = REPLICATED | {
            "db1": (16, 15892, "postgres_primary pgbouncer"),
            "db3": (4, 15892, "postgres_replica", {"postgres_max_connections": 170}),
        }
        plan = plan_fleet(hosts)
        assert found(plan) == []
        primary, second, third = (sizes(plan, name)["postgres"] for name in ("db1", "db2", "db3"))
        assert (primary["role"], second["role"]) == ("primary", "replica")
        assert second["settings"]["max_connections"] == primary["settings"]["max_connections"]
        assert third["settings"]["max_connections"] == 170
        assert second["settings"]["max_worker_processes"] == 16
        assert second["settings"]["hot_standby_feedback"] == "on"
        assert "hot_standby_feedback" not in primary["settings"]

    def test_a_replica_with_less_than_its_primary_would_not_start(self, plan_fleet):
        plan = plan_fleet(changed(REPLICATED, "db3", postgres_max_connections=90))
        assert found(plan) == ["C10"]
        assert plan.errors[0].hosts == ("db3",)
        assert plan.errors[0].remedy == {"postgres_max_connections": 150}

    def test_every_pooler_has_one_pool_for_all_replicas_and_takes_their_readers(self, plan_fleet):
        plan = plan_fleet(REPLICATED)
        pooler = sizes(plan, "db1")["pgbouncer"]
        assert [(pool["name"], pool["host"], pool["port"], pool["for"]) for pool in pooler["pools"]] == [
            ("mastodon_production", "127.0.0.1", 5432, "primary"),
            ("mastodon_production_read", "127.0.0.1", 6433, "replica"),
        ]
        # 110 clients of Ruby / 3; what two replicas of 4 vCPU may have is more.
        assert [pool["pool_size"] for pool in pooler["pools"]] == [32, 37]
        # 1.25 x (120 and 110 of Ruby again + 10), in steps of 100.
        assert pooler["max_client_conn"] == 300

    def test_readers_go_to_their_pooler(self, plan_fleet):
        plan = plan_fleet(REPLICATED)
        reads = {name: sizes(plan, name)["endpoints"].get("database_replica") for name in REPLICATED}
        end = {"host": "10.0.0.5", "port": 6432, "name": "mastodon_production_read"}
        assert {name: found for name, found in reads.items() if found} == dict.fromkeys(("web1", "web2", "work1"), end)

    def test_without_a_pooler_nobody_reads(self, plan_fleet):
        plan = plan_fleet(SPLIT | {"db2": (4, 15892, "postgres_replica")})
        assert found(plan, "warning") == ["pgbouncer", "reads"]
        assert "database_replica" not in sizes(plan, "web1")["endpoints"]
        replica = sizes(plan, "db2")
        assert (replica["postgres"]["bind"], replica["postgres"]["clients"]) == (["127.0.0.1"], [])
        assert [entry["port"] for entry in replica["firewall"]] == [22]

    def test_the_way_to_the_replicas_ends_at_the_primary(self, plan_fleet):
        pooler = sizes(plan_fleet(REPLICATED), "db1")
        (reader,) = pooler["haproxy"]["listeners"]
        assert {key: reader[key] for key in ("name", "bind", "port", "tls")} == {
            "name": "reader",
            "bind": ["127.0.0.1"],
            "port": 6433,
            "tls": False,
        }
        assert reader["servers"] == [
            {"name": "db2", "host": "10.0.0.7", "port": 5432, "check_port": 6434, "backup": False},
            {"name": "db3", "host": "10.0.0.8", "port": 5432, "check_port": 6434, "backup": False},
            {"name": "db1", "host": "127.0.0.1", "port": 5432, "check_port": None, "backup": True},
        ]
        assert (pooler["haproxy"]["maxconn"], pooler["haproxy"]["limit_nofile"]) == (1000, 4096)
        assert "haproxy" in pooler["host"]["components"]
        assert {row["what"]: row["mb"] for row in pooler["memory"]["budget"]}["haproxy"] == 32
        assert "haproxy" not in sizes(plan_fleet(POOLED), "db1")

    def test_every_database_has_room_for_all_who_read(self, plan_fleet):
        plan = plan_fleet(REPLICATED)
        # 32 + 7 and 37 + 8 of the pools, 23 that go round them: 107; a replica has as many as its primary.
        counts = {name: sizes(plan, name)["postgres"]["settings"]["max_connections"] for name in ("db1", "db2", "db3")}
        assert counts == {"db1": 150, "db2": 150, "db3": 150}

    def test_the_smallest_database_decides_how_many_read(self, plan_fleet):
        small = REPLICATED | {"db3": (4, 15892, "postgres_replica", {"postgres_max_connections": 60})}
        plan = plan_fleet(changed(small, "db1", postgres_max_connections=60))
        pool = sizes(plan, "db1")["pgbouncer"]["pools"][1]
        # 60 - 23 are for both kinds, which want 39 and 45: the share of those who read is 19.
        assert (pool["pool_size"], pool["reserve_pool_size"]) == (14, 5)
        why = sizes(plan, "db1")["reasons"]["pgbouncer.pools.mastodon_production_read.pool_size"]
        assert why.endswith("and no more than db1 has connections for (19)")
        assert (found(plan), found(plan, "warning")) == ([], ["pools"])

    def test_a_replica_more_changes_no_pool_that_need_not(self, plan_fleet):
        more = REPLICATED | {"db4": (4, 15892, "postgres_replica")}
        before, after = (sizes(plan_fleet(hosts), "db1") for hosts in (REPLICATED, more))
        assert before["pgbouncer"] == after["pgbouncer"]
        assert before["postgres"]["settings"] == after["postgres"]["settings"]

    def test_primary_and_replicas_know_each_other_and_who_may_come(self, plan_fleet):
        plan = plan_fleet(REPLICATED | {"pool1": (2, 3972, "pgbouncer")})
        primary, replica = (sizes(plan, name)["postgres"] for name in ("db1", "db2"))
        assert primary["replicas"] == ["db2", "db3"]
        assert "primary" not in primary
        assert replica["primary"] == {"host": "10.0.0.5", "port": 5432}
        application = {"database": "mastodon_production", "user": "mastodon"}
        replication = {"database": "replication", "user": "mastodon_replication"}
        assert primary["clients"] == [
            {**application, "address": "10.0.0.2"},
            {**application, "address": "10.0.0.9"},
            {**replication, "address": "10.0.0.7"},
            {**replication, "address": "10.0.0.8"},
        ]
        assert replica["clients"] == [{**application, "address": f"10.0.0.{number}"} for number in (5, 9)]

    def test_a_replica_connects_anew_when_it_hears_nothing(self, plan_fleet):
        assert sizes(plan_fleet(REPLICATED), "db2")["postgres"]["settings"]["wal_receiver_timeout"] == "10s"
        patient = plan_fleet(REPLICATED, postgres_replica_max_lag_seconds="60")
        assert sizes(patient, "db2")["postgres"]["settings"]["wal_receiver_timeout"] == "60s"
        assert "wal_receiver_timeout" not in sizes(patient, "db1")["postgres"]["settings"]
        wrong = plan_fleet(changed(REPLICATED, "db2", postgres_replica_max_lag_seconds=0))
        assert "db2: postgres_replica_max_lag_seconds is 0" in wrong.errors[0].message


class TestRedis:
    def test_a_cache_forgets_and_the_queues_do_not(self, plan_fleet):
        plan = plan_fleet(
            POOLED
            | {
                "cache": (2, 3972, "redis_cache"),
                "jobs": (2, 3972, "redis_sidekiq"),
                "spare": (2, 3972, "redis_replica"),
            }
        )
        policies = {
            name: sizes(plan, name)["redis"]["settings"]["maxmemory-policy"] for name in ("cache", "jobs", "spare")
        }
        assert policies == {"cache": "allkeys-lru", "jobs": "noeviction", "spare": "noeviction"}
        assert {sizes(plan, name)["redis"]["role"] for name in policies} == {"cache", "sidekiq", "replica"}
        settings = sizes(plan, "cache")["redis"]["settings"]
        assert (settings["appendonly"], settings["save"]) == ("no", '""')
        ends = sizes(plan, "web1")["endpoints"]
        assert [ends[name]["host"] for name in ("redis", "redis_cache", "redis_sidekiq")] == [
            "10.0.0.6",
            "10.0.0.7",
            "10.0.0.8",
        ]

    def test_beside_postgres_it_has_less_than_alone(self, plan_fleet):
        plan = plan_fleet(
            {"app": (4, 7946, "nginx web streaming sidekiq"), "db": (2, 3973, "postgres_primary redis_core")}
        )
        assert sizes(plan, "db")["redis"]["settings"]["maxmemory"] == "595mb"


class TestWhereThingsListen:
    def test_on_loopback_where_all_clients_are_on_the_host(self, plan_fleet):
        plan = plan_fleet(
            {"app": (4, 7946, "nginx web streaming sidekiq pgbouncer"), "db": (2, 3973, "postgres_primary redis_core")}
        )
        app, database = sizes(plan, "app"), sizes(plan, "db")
        assert (app["web"]["bind"], app["streaming"]["processes"][0]["bind"]) == ("127.0.0.1", "127.0.0.1")
        assert app["pgbouncer"]["bind"] == ["127.0.0.1"]
        assert database["postgres"]["bind"] == ["127.0.0.1", "10.0.0.2"]
        assert database["redis"]["bind"] == ["127.0.0.1", "10.0.0.2"]
        assert app["endpoints"]["database"] == {"host": "127.0.0.1", "port": 6432}
        assert app["endpoints"]["postgres"] == {"host": "10.0.0.2", "port": 5432}

    def test_a_second_edge_moves_puma_to_the_address_for_the_first_too(self, plan_fleet):
        plan = plan_fleet(POOLED | {"web1": (4, 7946, "web nginx")})
        assert sizes(plan, "web1")["web"]["bind"] == "10.0.0.2"
        assert sizes(plan, "web1")["endpoints"]["web"] == [
            {"host": "10.0.0.2", "port": 3000},
            {"host": "10.0.0.3", "port": 3000},
        ]

    def test_hosts_that_others_proxy_for_know_whom_to_trust(self, plan_fleet):
        plan = plan_fleet(POOLED | {"edge2": (2, 3972, "nginx")})
        assert sizes(plan, "web1")["endpoints"]["trusted_proxies"] == ["127.0.0.0/8", "::1/128", "10.0.0.0/8"]
        assert "trusted_proxies" not in sizes(plan_fleet(POOLED), "edge")["endpoints"]

    def test_another_edge_of_the_same_network_changes_nothing_there(self, plan_fleet):
        before, after = (plan_fleet(hosts) for hosts in (POOLED, POOLED | {"edge2": (2, 3972, "nginx")}))
        trusted = [sizes(plan, "web1")["endpoints"]["trusted_proxies"] for plan in (before, after)]
        assert trusted[0] == trusted[1]

    @pytest.mark.parametrize(
        ("address", "network"),
        [
            ("172.31.0.1", "172.16.0.0/12"),
            ("192.168.7.7", "192.168.0.0/16"),
            ("100.64.1.1", "100.64.0.0/10"),
            ("fd12::1", "fc00::/7"),
            ("11.0.0.9", "11.0.0.9/32"),
            ("2a01:4f8::9", "2a01:4f8::9/128"),
        ],
    )
    def test_private_networks_are_trusted_whole_and_public_addresses_one_by_one(self, plan_fleet, address, network):
        hosts = POOLED | {"edge2": (2, 3972, "nginx", {"vm_address": address})}
        plan = plan_fleet(hosts, settings={"mastodon_internal_tls_enabled": True})
        assert network in sizes(plan, "web1")["endpoints"]["trusted_proxies"]
        assert len(sizes(plan, "web1")["endpoints"]["trusted_proxies"]) == 4

    def test_with_tls_inside_haproxy_listens_where_puma_would(self, plan_fleet):
        plan = plan_fleet(
            POOLED | {"edge": (2, 3972, "nginx"), "live": (4, 3972, "streaming", {"streaming_processes": 2})},
            settings={"mastodon_internal_tls_enabled": True},
        )
        assert found(plan) == []
        web, live, edge = (sizes(plan, name) for name in ("web1", "live", "edge"))
        assert web["web"]["bind"] == "127.0.0.1"
        assert {process["bind"] for process in live["streaming"]["processes"]} == {"127.0.0.1"}
        assert web["haproxy"]["listeners"] == [
            {
                "name": "web",
                "bind": ["10.0.0.2"],
                "port": 3000,
                "tls": True,
                "servers": [{"name": "web", "host": "127.0.0.1", "port": 3000, "check_port": None, "backup": False}],
            }
        ]
        doors = [(door["name"], door["bind"], door["port"]) for door in live["haproxy"]["listeners"]]
        assert doors == [("streaming_4000", ["10.0.0.7"], 4000), ("streaming_4001", ["10.0.0.7"], 4001)]
        assert (edge["endpoints"]["tls"], web["endpoints"]["tls"]) == (True, False)
        assert [end["host"] for end in edge["endpoints"]["web"]] == ["10.0.0.2", "10.0.0.3"]
        assert web["endpoints"]["web"] == [{"host": "127.0.0.1", "port": 3000}]
        assert "haproxy" not in edge

    def test_an_edge_speaks_tls_to_all_or_to_none(self, plan_fleet):
        tls = {"mastodon_internal_tls_enabled": True}
        beside = plan_fleet(POOLED | {"edge": (4, 7946, "nginx streaming web")}, settings=tls)
        assert found(beside) == []
        edge = sizes(beside, "edge")
        assert [end["host"] for end in edge["endpoints"]["web"]] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        assert [door["name"] for door in edge["haproxy"]["listeners"]] == ["web", "streaming_4000", "streaming_4001"]
        alone = {"app": (4, 7946, "nginx web streaming sidekiq"), "db": (2, 3973, "postgres_primary redis_core")}
        app = sizes(plan_fleet(alone, settings=tls), "app")
        assert (app["endpoints"]["tls"], "haproxy" in app) == (False, False)

    def test_a_release_is_fetched_from_its_builder(self, plan_fleet):
        plan = plan_fleet(POOLED)
        fetching = {name: sizes(plan, name)["endpoints"].get("releases") for name in POOLED}
        end = {"host": "10.0.0.2", "port": 8640}
        assert fetching == {"edge": end, "web1": None, "web2": end, "work1": end, "db1": None, "redis1": None}
        (opening,) = (entry for entry in sizes(plan, "web1")["firewall"] if entry["port"] == 8640)
        assert opening == {"port": 8640, "protocol": "tcp", "sources": ["10.0.0.1", "10.0.0.3", "10.0.0.4"]}

    def test_what_comes_in_is_in_the_order_of_ports_and_addresses(self, plan_fleet):
        hosts = POOLED | {f"web{number}": (4, 7946, "web") for number in range(1, 9)} | {"edge2": (2, 3972, "nginx")}
        plan = plan_fleet(hosts)
        assert sizes(plan, "edge")["firewall"] == [
            {"port": 22, "protocol": "tcp", "sources": ["control"]},
            {"port": 80, "protocol": "tcp", "sources": ["world"]},
            {"port": 443, "protocol": "tcp", "sources": ["world"]},
            {"port": 4000, "protocol": "tcp", "sources": ["10.0.0.13"]},
        ]
        (redis,) = (entry for entry in sizes(plan, "redis1")["firewall"] if entry["port"] == 6379)
        assert redis["sources"] == [f"10.0.0.{number}" for number in (1, 2, 3, 4, 7, 8, 9, 10, 11, 12)]

    def test_the_database_is_open_to_the_builder_where_poolers_serve_all_others(self, plan_fleet):
        plan = plan_fleet(POOLED)
        assert sizes(plan, "db1")["postgres"]["bind"] == ["127.0.0.1", "10.0.0.5"]

    def test_addresses_of_version_six(self, plan_fleet):
        plan = plan_fleet(
            {name: (*host, {"vm_address": f"fd00::{number}"}) for number, (name, host) in enumerate(SPLIT.items(), 1)}
        )
        assert found(plan) == []
        assert sizes(plan, "web1")["endpoints"]["database"]["host"] == "fd00::5"

    def test_prepared_statements_are_off_behind_a_pooler_unless_asked_for(self, plan_fleet):
        assert sizes(plan_fleet(POOLED), "web1")["endpoints"]["prepared_statements"] is False
        asked = plan_fleet(POOLED, mastodon_env={"PREPARED_STATEMENTS": True})
        assert sizes(asked, "web1")["endpoints"]["prepared_statements"] is True
        assert "prepared_statements" not in sizes(plan_fleet(SPLIT), "web1")["endpoints"]


class TestSpread:
    @pytest.mark.parametrize(("count", "places"), [(1, 1), (2, 3), (7, 3), (30, 7), (100, 8)])
    def test_evenly(self, count, places):
        names = [f"web{number}" for number in range(count)]
        chosen = spread([names], [f"pool{number}" for number in range(places)])
        loads = [list(chosen.values()).count(f"pool{number}") for number in range(places)]
        assert (sum(loads), max(loads) - min(loads) <= 1) == (count, True)

    @pytest.mark.parametrize("places", [2, 3, 5])
    @pytest.mark.parametrize("counts", [(2, 1, 2), (1, 1, 1, 1), (2, 3, 1, 4, 2), (7, 3, 11)])
    def test_evenly_of_each_kind_and_in_all(self, counts, places):
        kinds = [[f"kind{kind}-{number}" for number in range(count)] for kind, count in enumerate(counts)]
        pools = [f"pool{number}" for number in range(places)]
        chosen = spread(kinds, pools)
        for names in [*kinds, [*chain(*kinds)]]:
            loads = Counter(chosen[name] for name in names)
            assert max(loads[pool] for pool in pools) - min(loads[pool] for pool in pools) <= 1

    @pytest.mark.parametrize("workers", range(1, 6))
    def test_no_pooler_has_all_web_hosts(self, plan_fleet, workers):
        hosts = {"web1": "web", "web2": "web", "pool1": "pgbouncer", "pool2": "pgbouncer"}
        hosts |= {f"work{number}": "sidekiq" for number in range(1, workers + 1)}
        plan = plan_fleet(SPLIT | {name: (2, 7946, part) for name, part in hosts.items()})
        used = {sizes(plan, name)["endpoints"]["database"]["host"] for name in ("web1", "web2")}
        assert len(used) == 2

    def test_few_move_when_one_joins(self):
        names, places = [f"web{number:02}" for number in range(40)], ["pool1", "pool2", "pool3"]
        before = spread([names], places)
        moved = 0
        for number in range(40):
            after = spread([sorted([*names, f"web{number:02}b"])], places)
            moved += sum(after[name] != before[name] for name in names)
        assert moved / 40 < 8

    def test_a_host_with_a_pooler_uses_its_own(self, plan_fleet):
        plan = plan_fleet(POOLED | {"web1": (4, 7946, "web pgbouncer")})
        assert sizes(plan, "web1")["endpoints"]["database"]["host"] == "127.0.0.1"
        others = [sizes(plan, name)["endpoints"]["database"]["host"] for name in ("edge", "web2", "work1")]
        assert sorted(others.count(host) for host in ("10.0.0.2", "10.0.0.5")) == [1, 2]


class TestQueues:
    def test_the_split_goes_over_all_free_hosts(self, plan_fleet):
        plan = plan_fleet(POOLED | {"work1": (2, 7946, "sidekiq"), "work2": (4, 7946, "sidekiq")})
        names = [
            process["name"] for name in ("work1", "work2") for process in sizes(plan, name)["sidekiq"]["processes"]
        ]
        assert names == ["scheduler", "default", "ingress", "push", "pull", "default"]

    def test_the_scheduler_stays_where_it_is_when_a_host_joins(self, plan_fleet):
        hosts = POOLED | {"work1": (2, 7946, "sidekiq"), "early": (2, 7946, "sidekiq")}
        for scheduler in ("early", "work1"):
            plan = plan_fleet(hosts, scheduler=scheduler)
            assert found(plan) == []
            queues = [process["queues"] for process in sizes(plan, scheduler)["sidekiq"]["processes"]]
            assert any("scheduler" in entry for entries in queues for entry in entries)

    def test_a_scheduler_that_is_gone_goes_to_another(self, plan_fleet):
        assert found(plan_fleet(POOLED | {"work2": (2, 7946, "sidekiq")}, scheduler="gone")) == []

    def test_a_scheduler_by_hand_leaves_the_split_without(self, plan_fleet):
        hosts = POOLED | {"work2": (1, 3972, "sidekiq sidekiq_cron", {"sidekiq_queues": ["scheduler", "mailers"]})}
        plan = plan_fleet(hosts)
        assert found(plan) == []
        assert sizes(plan, "work2")["host"]["sidekiq_group"] == "sidekiq_cron"
        first = sizes(plan, "work1")["sidekiq"]["processes"][0]
        assert (first["name"], first["queues"]) == ("mailers_fasp", ["mailers,1", "fasp,1"])

    def test_hosts_of_queues_that_compute_have_few_threads(self, plan_fleet):
        lists = {"work1": QUEUES, "work2": ["ingress"], "work3": ["push", "pull"]}
        hosts = POOLED | {name: (2, 7946, "sidekiq", {"sidekiq_queues": queues}) for name, queues in lists.items()}
        plan = plan_fleet(hosts)
        assert found(plan) == []
        threads = {
            name: {process["concurrency"] for process in sizes(plan, name)["sidekiq"]["processes"]} for name in lists
        }
        assert threads == {"work1": {15}, "work2": {5}, "work3": {25}}

    def test_a_scheduler_on_a_group_of_several_hosts(self, plan_fleet):
        group = {f"work{number}": (1, 3972, "sidekiq sidekiq_all", {"sidekiq_queues": QUEUES}) for number in (1, 2, 3)}
        plan = plan_fleet(POOLED | group)
        assert found(plan) == ["C2"]
        assert plan.errors[0].hosts == ("work1", "work2", "work3")
        assert "Group sidekiq_all, whose sidekiq_queues serve it, has 3 hosts" in plan.errors[0].message
        assert "keep it on work1" in plan.errors[0].advice

    def test_a_queue_that_nobody_serves(self, plan_fleet):
        plan = plan_fleet(changed(POOLED, "work1", sidekiq_queues=[queue for queue in QUEUES if queue != "fasp"]))
        assert found(plan) == ["C1"]
        assert "serves fasp" in plan.errors[0].message

    def test_a_child_group_of_any_name(self, plan_fleet):
        hosts = POOLED | {"work2": (2, 3972, "sidekiq busy")}
        plan = plan_fleet(hosts, children={"sidekiq": ["busy"]})
        assert sizes(plan, "work2")["host"]["sidekiq_group"] == "busy"
        twice = POOLED | {"work2": (2, 3972, "sidekiq busy sidekiq_push")}
        plan = plan_fleet(twice, children={"sidekiq": ["busy", "sidekiq_push"]})
        assert "work2 is in busy and sidekiq_push" in plan.errors[0].message


class TestStreaming:
    @pytest.mark.parametrize(
        ("users", "hosts", "each"),
        [
            (None, {"edge": (4, 7946, "nginx streaming")}, 4),
            (None, {"edge": (2, 7946, "nginx streaming")}, 1),
            (None, {"edge": (4, 7946, "nginx streaming web")}, 2),
            (12500, {"edge": (4, 7946, "nginx streaming")}, 1),
            (12501, {"edge": (4, 7946, "nginx streaming")}, 2),
            (30000, {"edge": (8, 7946, "nginx streaming"), "edge2": (8, 7946, "nginx streaming")}, 2),
            (1_000_000, {"edge": (4, 7946, "nginx streaming")}, 2),
        ],
    )
    def test_processes_of_an_edge(self, plan_fleet, users, hosts, each):
        plan = plan_fleet(POOLED | hosts, settings={"mastodon_monthly_active_users": users})
        assert found(plan) == []
        assert [len(sizes(plan, name)["streaming"]["processes"]) for name in hosts] == [each] * len(hosts)


class TestMetrics:
    def test_they_take_memory_where_they_are_and_where_ruby_is_watched(self, plan_fleet):
        plan = plan_fleet(POOLED | {"watch": (2, 3972, "metrics")})
        rows = {
            name: {row["what"]: row["mb"] for row in sizes(plan, name)["memory"]["budget"]}
            for name in ("watch", "web1", "db1")
        }
        assert rows["watch"]["metrics"] == 512 + 8 * 7
        assert rows["web1"]["exporter"] == 150
        assert "exporter" not in rows["db1"]


class TestNotYetKnown:
    HOSTS = POOLED | {"web3": (None, None, "web", {"vm_address": None})}

    def test_it_is_refused_by_name(self, plan_fleet):
        plan = plan_fleet(self.HOSTS)
        assert plan.hosts == {}
        assert "web3: vm_vcpus and vm_memory_mb and vm_address are not known" in plan.errors[0].message

    def test_or_assumed_and_marked(self, plan_fleet):
        plan = plan_fleet(self.HOSTS, provisional=True)
        assert (found(plan), found(plan, "warning")) == ([], ["provisional"])
        assert plan.warnings[0].hosts == ("web3",)
        host = sizes(plan, "web3")["host"]
        assert (host["vcpus"], host["memory_mb"], host["provisional"]) == (2, 4096, True)
        assert host["address"].startswith("198.18.")
        assert sizes(plan, "web1")["host"]["provisional"] is False


class TestSilence:
    def test_a_warning(self, plan_fleet):
        plan = plan_fleet(SPLIT, settings={"mastodon_plan_silenced": ["pgbouncer", "C16"]})
        assert plan.findings == ()

    def test_never_an_error(self, plan_fleet):
        hosts = changed(POOLED, "db1", pgbouncer_max_client_conn=100)
        plan = plan_fleet(hosts, settings={"mastodon_plan_silenced": ["C5"]})
        assert sorted(found(plan)) == ["C5", "input"]
        assert "C5 is an error here, and errors cannot be silenced" in str(plan.errors)

    @pytest.mark.parametrize(
        ("silenced", "told"),
        [
            (["C21"], "there is no constraint C21"),
            (["worker"], "Did you mean workers?"),
            ("C16", "allowed: a list"),
            ({"C16": True}, "allowed: a list"),
        ],
    )
    def test_wrong_names(self, plan_fleet, silenced, told):
        plan = plan_fleet(POOLED, settings={"mastodon_plan_silenced": silenced})
        assert found(plan) == ["input"]
        assert told in plan.errors[0].message + plan.errors[0].advice


class TestBetweenHosts:
    @pytest.mark.parametrize(
        ("hosts", "told"),
        [
            ({"db2": (2, 3972, "postgres_primary")}, "postgres_primary has 2 hosts (db1, db2)"),
            ({"db1": (2, 3972, "postgres_replica")}, "postgres_primary has no host"),
            ({"db2": (2, 3972, "postgres")}, "db2 in group postgres is in none of postgres_primary, postgres_replica"),
            (
                {"db1": (2, 3972, "postgres_primary postgres_replica")},
                "db1 is in postgres_primary and postgres_replica",
            ),
            ({"redis1": (2, 3972, "redis_core redis_cache")}, "redis1 is in redis_core and redis_cache"),
            (dict.fromkeys(("c1", "c2"), (2, 3972, "redis_cache")), "redis_cache has 2 hosts (c1, c2)"),
            (dict.fromkeys(("m1", "m2"), (2, 3972, "metrics")), "metrics has 2 hosts (m1, m2)"),
            (dict.fromkeys(("b1", "b2"), (2, 3972, "builder")), "builder has 2 hosts (b1, b2)"),
            ({"idle": (2, 3972, "europe")}, "idle is in none of the groups nginx, web"),
            ({"work2": (2, 3972, "sidekiq sidekiq_a sidekiq_b")}, "work2 is in sidekiq_a and sidekiq_b"),
            ({"web2": (4, 7946, "web", {"vm_address": "10.0.0.2"})}, "web1 and web2 have the same vm_address 10.0.0.2"),
            ({"web2": (4, 7946, "web", {"vm_address": "127.0.0.1"})}, "web2: vm_address is 127.0.0.1"),
        ],
    )
    def test_an_inventory_that_cannot_be(self, plan_fleet, hosts, told):
        plan = plan_fleet(POOLED | hosts)
        assert (plan.hosts, set(found(plan))) == ({}, {"inventory"})
        assert told in str(plan.errors)

    def test_everything_at_once(self, plan_fleet):
        hosts = POOLED | {
            "db2": (2, 3972, "postgres_primary"),
            "web3": (2, "4GB", "web"),
            "idle": (2, 3972, "europe"),
            "edge": (2, 3972, "nginx"),
        }
        plan = plan_fleet(hosts, settings={"mastodon_plan_silenced": ["C21"], "mastodon_s3_enabled": "perhaps"})
        told = str(plan.errors)
        for words in ("postgres_primary has 2", "Type vm_memory_mb: 4096", "idle is in", "streaming", "C21", "perhaps"):
            assert words in told

    def test_a_builder_need_run_nothing(self, plan_fleet):
        plan = plan_fleet(POOLED | {"mill": (8, 15892, "builder")})
        assert plan.findings == ()
        assert sizes(plan, "mill")["host"]["components"] == []

    @pytest.mark.parametrize(("tls", "constraints"), [(False, ["C15"]), (True, [])])
    def test_a_public_address_asks_for_tls_inside(self, plan_fleet, tls, constraints):
        hosts = changed(POOLED, "web2", vm_address="11.0.0.9")
        plan = plan_fleet(hosts, settings={"mastodon_internal_tls_enabled": tls})
        assert found(plan) == constraints

    def test_media_on_the_disks_of_several_hosts(self, plan_fleet):
        plan = plan_fleet(POOLED, settings={"mastodon_s3_enabled": False})
        assert found(plan) == ["C14"]

    def test_media_on_a_disk_that_nginx_does_not_see(self, plan_fleet):
        hosts = {
            "edge": (2, 3972, "nginx streaming"),
            "app": (4, 7946, "web sidekiq"),
            "db": (2, 3972, "postgres_primary redis_core"),
        }
        plan = plan_fleet(hosts, settings={"mastodon_s3_enabled": False})
        assert found(plan) == ["C14"]
        assert plan.errors[0].hosts == ("app", "edge")
        assert "mastodon_s3_bucket" in plan.errors[0].advice


class TestEnvironment:
    @pytest.mark.parametrize(
        ("environment", "constraint"),
        [
            ({"DB_POOL": 25}, "C3"),
            ({"PGAPPNAME": "mastodon"}, "C9"),
            ({"DATABASE_URL": "postgresql://x/y?application_name=z"}, "C9"),
            ({"DB_SSLMODE": "prefer"}, "C11"),
            ({"TRUSTED_PROXY_IP": "10.0.0.9, 10.0.0.10/32"}, "C15"),
            ({"SIDEKIQ_REDIS_HOST": "10.0.0.6"}, "C19"),
            ({"CACHE_REDIS_URL": "10.0.0.6:6379"}, "C19"),
            ({"SELF_DESTRUCT": "x"}, "C20"),
        ],
    )
    def test_what_breaks_a_fleet(self, plan_fleet, environment, constraint):
        assert found(plan_fleet(POOLED, mastodon_env=environment)) == [constraint]
        assert found(plan_fleet(POOLED, mastodon_env={"DEFAULT_LOCALE": "de"})) == []

    @pytest.mark.parametrize(
        "environment",
        [
            {"DB_SSLMODE": "disable"},
            {"TRUSTED_PROXY_IP": "10.0.0.0/24"},
            {"CACHE_REDIS_URL": "redis://:secret@10.0.0.6:6379/1"},
            {"PREPARED_STATEMENTS": "true"},
        ],
    )
    def test_what_does_not(self, plan_fleet, environment):
        assert found(plan_fleet(POOLED, mastodon_env=environment)) == []

    def test_prepared_statements_through_a_pooler_that_forgets_them(self, plan_fleet):
        forgetful = {"mastodon_plan_coefficients": {"pgbouncer_max_prepared_statements": 0}}
        asked = {"PREPARED_STATEMENTS": "true"}
        assert found(plan_fleet(POOLED, settings=forgetful, mastodon_env=asked)) == ["C7"]
        assert found(plan_fleet(POOLED, settings=forgetful)) == []

    def test_hosts_with_keys_of_their_own_and_no_key_in_the_finding(self, plan_fleet):
        plan = plan_fleet(changed(POOLED, "web2", mastodon_secret_key_base="feed"), mastodon_secret_key_base="beef")
        assert found(plan) == ["C13"]
        assert plan.errors[0].hosts == ("web2",)
        assert "mastodon_secret_key_base on web2 differs" in plan.errors[0].message
        text = str(plan.as_mapping()) + repr(plan)
        assert ("feed" in text.replace("feeds", ""), "beef" in text) == (False, False)

    def test_queues_in_two_places(self, plan_fleet):
        elsewhere = {"mastodon_env": {"SIDEKIQ_REDIS_URL": "redis://:secret@10.0.0.9:6379/0"}}
        plan = plan_fleet(changed(POOLED, "web2", **elsewhere))
        assert found(plan) == ["C19"]
        assert "secret" not in str(plan.errors)
