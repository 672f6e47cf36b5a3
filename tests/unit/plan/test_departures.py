# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that leave: the plan is that of the fleet without them, and what runs there works to its end."""

from __future__ import annotations

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.compare import as_record, compare, from_record
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.stacks import leaves
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from unit.plan import fleets

# What stays as it is until a host is gone, by the last part of its path.
KEPT = {"firewall", "clients", "replicas", "bind", "trusted_proxies"}
# What the primary has for those who still ask for the last replica.
OF_READERS = {"app_connection_limit", "max_connections", "work_mem"}
TIERS = {
    "edge1": (2, 3972, "nginx streaming"),
    "edge2": (2, 3972, "nginx streaming"),
    "web1": (4, 7946, "web"),
    "web2": (4, 7946, "web"),
    "work1": (4, 7946, "sidekiq"),
    "work2": (4, 7946, "sidekiq"),
    "pool1": (2, 3972, "pgbouncer"),
    "pool2": (2, 3972, "pgbouncer"),
    "db1": (8, 31784, "postgres_primary"),
    "db2": (8, 31784, "postgres_replica"),
    "db3": (8, 31784, "postgres_replica"),
    "feeds1": (2, 7946, "redis_core"),
    "feeds2": (2, 7946, "redis_replica"),
    "cache1": (2, 3972, "redis_cache"),
}
ADDRESSES = {name: f"10.0.0.{number}" for number, name in enumerate(TIERS, start=1)}


def without(inventory, *names):
    """The inventory as it is when somebody has taken the hosts out of it."""
    return fleets.Inventory(
        hosts={name: given for name, given in inventory.hosts.items() if name not in names},
        groups={group: [name for name in hosts if name not in names] for group, hosts in inventory.groups.items()},
        settings=inventory.settings,
    )


def tiers(**more):
    return fleets.fleet({name: (vcpus, mb / 993, groups) for name, (vcpus, mb, groups) in (TIERS | more).items()})


def planned(inventory, **options):
    return from_inventory(*inventory.arguments(), **options).as_mapping()


def refused(inventory, *names):
    """What is said of each refusal: {hosts: [message and advice]}."""
    findings = planned(inventory, leaving=names)["findings"]
    return [finding for finding in findings if finding["severity"] == "error"]


def sizes_of(plan):
    """Every value of the hosts of a plan, by its path; of reasons and findings nothing."""
    return {
        path: value
        for name, host in plan["hosts"].items()
        for path, value in leaves({part: of for part, of in host.items() if part != "reasons"}, name)
    }


def draw_departures(inventory, data):
    """One or two hosts of the fleet, the plan with them gone, and the hosts of the plan before that, if it is known."""
    names = data.draw(st.lists(st.sampled_from(sorted(inventory.hosts)), min_size=1, max_size=2, unique=True))
    earlier = planned(inventory)["hosts"] if data.draw(st.booleans()) else {}
    plan = planned(inventory, gone=names, earlier=earlier)
    assume(plan["hosts"] and not any(finding["severity"] == "error" for finding in plan["findings"]))
    return names, plan, earlier


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(inventory=st.one_of(fleets.sensible_fleets(most_hosts=30), fleets.random_fleets(most_hosts=20)), data=st.data())
def test_the_fleet_that_stays_is_planned_as_if_the_inventory_had_not_got_the_host(inventory, data):
    names, gone, earlier = draw_departures(inventory, data)
    rest = planned(without(inventory, *names), earlier=earlier)
    about = {"leaving", "findings"}
    assert {key: value for key, value in gone.items() if key not in about} == {
        key: value for key, value in rest.items() if key not in about
    }
    leaving = planned(inventory, leaving=names, earlier=earlier)
    assert sorted(leaving["leaving"]) == sorted(names) == sorted(gone["leaving"])
    assert [leaving[key] for key in ("groups", "builder", "totals", "demand")] == [
        rest[key] for key in ("groups", "builder", "totals", "demand")
    ]
    event(f"{len(inventory.groups['nginx'])} edges")
    if inventory.settings.get("mastodon_internal_tls_enabled"):
        # Where one host remains for nginx and the application, TLS between them goes with the other.
        return
    kept, wanted = sizes_of(leaving), sizes_of(rest)
    # Whoever was told of a replica reads, from the primary, until he is told that there is none.
    told = [path for path in kept if ".pools.mastodon_production_read" in path and path not in wanted]
    kept = {path: value for path, value in kept.items() if path not in told}
    differ = {path for path in kept.keys() | wanted.keys() if kept.get(path) != wanted.get(path)}
    # Puma and streaming listen in one place: on their address, as long as another edge comes to them.
    own = {path for path in differ if "127.0.0.1" in wanted.get(path, "")}
    assert {path.rpartition(".")[2] for path in own} <= {"bind", "processes", "web", "streaming"}
    assert {path.rpartition(".")[2] for path in differ - own} <= KEPT | (OF_READERS if told else set())


def opened(plan, name, port):
    """Who may reach a port of a host."""
    host = plan["hosts"].get(name) or plan["leaving"][name]
    return {source for rule in host["firewall"] if rule["port"] == port for source in rule["sources"]}


class TestUntilItIsGone:
    def test_who_still_asks_for_the_last_replica_reads_from_the_primary(self):
        last = without(tiers(), "db3")
        plan, gone = planned(last, leaving=["db2"]), planned(last, gone=["db2"])
        for pooler in ("pool1", "pool2"):
            pools = {pool["name"]: pool for pool in plan["hosts"][pooler]["pgbouncer"]["pools"]}
            assert pools["mastodon_production_read"]["host"] == ADDRESSES["db1"]
            assert [pool["name"] for pool in gone["hosts"][pooler]["pgbouncer"]["pools"]] == ["mastodon_production"]
        assert "database_replica" not in plan["hosts"]["web1"]["endpoints"]
        opened = sum(
            pool["pool_size"] + pool["reserve_pool_size"]
            for pooler in ("pool1", "pool2")
            for pool in plan["hosts"][pooler]["pgbouncer"]["pools"]
        )
        assert opened < plan["hosts"]["db1"]["postgres"]["settings"]["max_connections"]

    def test_a_leaving_worker_reaches_what_it_uses_and_nobody_plans_with_it(self):
        plan, gone = planned(tiers(), leaving=["work2"]), planned(tiers(), gone=["work2"])
        address = ADDRESSES["work2"]
        pooler = next(
            flow["to"] for flow in planned(tiers())["flows"] if flow["from"] == "work2" and flow["port"] == 6432
        )
        for name, port in ((pooler, 6432), ("feeds1", 6379), ("cache1", 6379), ("web1", 8640)):
            assert address in opened(plan, name, port)
            assert address not in opened(gone, name, port)
        assert "work2" not in plan["hosts"]
        assert plan["groups"]["sidekiq"] == ["work1"]
        assert plan["leaving"]["work2"]["host"]["address"] == address
        assert plan["leaving"]["work2"]["sidekiq"]["processes"]

    def test_a_leaving_edge_still_brings_people_to_the_application(self):
        plan, gone = planned(tiers(), leaving=["edge2"]), planned(tiers(), gone=["edge2"])
        assert ADDRESSES["edge2"] in opened(plan, "web1", 3000)
        assert ADDRESSES["edge2"] not in opened(gone, "web1", 3000)
        assert opened(plan, "edge2", 443) == {"world"}
        # Who was sent to its streaming still is, and nobody new.
        assert ADDRESSES["edge1"] in opened(plan, "edge2", 4000)
        assert [end["host"] for end in plan["hosts"]["edge1"]["endpoints"]["streaming"]] == [ADDRESSES["edge1"]]

    def test_one_that_is_gone_lets_in_ansible_alone(self):
        gone = planned(tiers(), gone=["edge2"])["leaving"]["edge2"]
        assert [(rule["port"], rule["sources"]) for rule in gone["firewall"]] == [(22, ["control"])]

    def test_a_replica_has_its_slot_and_its_entry_to_the_end(self):
        plan, gone = planned(tiers(), leaving=["db3"]), planned(tiers(), gone=["db3"])
        assert plan["hosts"]["db1"]["postgres"]["replicas"] == ["db2", "db3"]
        assert gone["hosts"]["db1"]["postgres"]["replicas"] == ["db2"]
        client = {"database": "replication", "user": "mastodon_replication", "address": ADDRESSES["db3"]}
        assert client in plan["hosts"]["db1"]["postgres"]["clients"]
        assert client not in gone["hosts"]["db1"]["postgres"]["clients"]
        readers = {server["name"] for server in plan["hosts"]["pool1"]["haproxy"]["listeners"][0]["servers"]}
        assert readers == {"db2", "db1"}

    def test_the_cache_may_leave_and_the_core_takes_its_keys(self):
        plan = planned(tiers(), leaving=["cache1"])
        assert "redis_cache" not in plan["hosts"]["web1"]["endpoints"]
        assert ADDRESSES["web1"] in opened(plan, "cache1", 6379)

    def test_a_box_is_open_for_its_second_worker_until_that_is_gone(self):
        inventory = fleets.fleet(
            {"box": (4, 8, "nginx web streaming sidekiq postgres redis"), "work": (2, 4, "sidekiq")}
        )
        plan, gone = planned(inventory, leaving=["work"]), planned(inventory, gone=["work"])
        for part in ("redis", "postgres"):
            assert plan["hosts"]["box"][part]["bind"] == ["127.0.0.1", "10.0.0.1"]
            assert gone["hosts"]["box"][part]["bind"] == ["127.0.0.1"]

    def test_an_edge_with_an_address_of_its_own_is_trusted_until_it_is_gone(self):
        inventory = tiers().with_settings(mastodon_internal_tls_enabled=True)
        inventory = inventory.with_variables("edge2", vm_address="11.0.0.2")
        for phase, trusted in (("leaving", True), ("gone", False)):
            plan = planned(inventory, **{phase: ["edge2"]})
            assert ("11.0.0.2/32" in plan["hosts"]["web1"]["endpoints"]["trusted_proxies"]) is trusted

    def test_releases_are_built_by_the_next_when_the_builder_leaves(self):
        plan = planned(tiers(), leaving=["web1"])
        assert plan["builder"] == "web2"
        assert plan["hosts"]["work1"]["endpoints"]["releases"]["host"] == ADDRESSES["web2"]
        named = tiers().with_group("builder", "work1")
        assert planned(named)["builder"] == "work1"
        assert planned(named, leaving=["work1"])["builder"] == "web1"
        assert planned(named, leaving=["work1"])["groups"]["builder"] == []


class TestTheRecord:
    """What the next run compares with."""

    @pytest.fixture
    def kept(self):
        before = planned(tiers())
        leaving = planned(tiers(), leaving=["work2"])
        assert compare(before, leaving).removed == ("work2",)
        between = from_record(as_record(leaving, before, []))
        return from_record(as_record(planned(tiers(), gone=["work2"]), between, []))

    def test_nothing_differs_once_the_host_is_taken_out_of_the_inventory(self, kept):
        assert not compare(kept, planned(without(tiers(), "work2")))

    def test_a_host_that_is_left_in_the_inventory_is_new_again(self, kept):
        assert compare(kept, planned(tiers())).added == ("work2",)


@pytest.mark.parametrize("pooler", ["pool1", "pool2"])
def test_one_that_leaves_keeps_its_pooler_also_when_that_is_begun_again(pooler):
    inventory = tiers(work3=(4, 7946, "sidekiq"))
    before = planned(inventory, scheduler="work3")
    before["hosts"]["work3"]["endpoints"]["database"]["host"] = ADDRESSES[pooler]
    first = planned(inventory, scheduler="work3", leaving=["work3"], earlier=before["hosts"])
    kept = from_record(as_record(first, before, []))
    again = planned(inventory, scheduler="work2", leaving=["work3"], earlier=kept["hosts"] | kept["leaving"])
    assert again["hosts"] == first["hosts"]
    assert again["leaving"]["work3"]["endpoints"]["database"]["host"] == ADDRESSES[pooler]


class TestWhoMayNotLeave:
    @pytest.mark.parametrize(
        ("host", "what", "instead"),
        [
            ("db1", "the primary of PostgreSQL", "Make a replica the primary first"),
            ("feeds1", "the core of Redis", "Move the core first"),
            ("jobs1", "the Redis of the queues", "Bring the queues back into the core"),
        ],
    )
    def test_who_holds_data(self, host, what, instead):
        [finding] = refused(tiers(jobs1=(2, 3972, "redis_sidekiq")), host)
        assert finding["message"].startswith(f"{host} cannot be retired: it is {what}")
        assert instead in finding["advice"]

    def test_a_host_that_is_none(self):
        [finding] = refused(tiers(), "work3")
        assert finding["message"] == "work3 cannot be retired: the inventory has no host of that name."
        assert finding["advice"].startswith("Did you mean work")

    def test_the_last_of_a_tier(self):
        [finding] = refused(tiers(), "web1", "web2")
        assert finding["message"] == "web1 and web2 cannot be retired together: they are all hosts of web."
        [finding] = refused(without(tiers(), "web2"), "web1")
        assert finding["message"] == "web1 cannot be retired: it is the only host of web."
        assert finding["advice"] == "Put another host into web, run site.yml, then retire web1."

    def test_the_only_one_that_serves_a_queue(self):
        inventory = tiers().with_variables("work1", sidekiq_queues=["push", "pull", "scheduler"])
        inventory = inventory.with_variables("work2", sidekiq_queues=["default", "ingress", "mailers", "fasp"])
        [finding] = refused(inventory, "work1")
        assert "work1 cannot be retired: nobody else serves push, pull and scheduler" in finding["message"]
        assert finding["advice"].startswith("Add push, pull and scheduler to sidekiq_queues of a host that stays")

    def test_scheduler_goes_to_who_has_no_queues_by_hand(self):
        inventory = tiers().with_variables("work1", sidekiq_queues=["scheduler", "mailers"])
        assert refused(inventory, "work1") == []
        served = planned(inventory, leaving=["work1"])["hosts"]["work2"]["sidekiq"]["processes"][0]["queues"]
        assert any(entry.startswith("scheduler") for entry in served)

    def test_a_fleet_that_cannot_work_without(self):
        inventory = tiers().with_variables("work1", "web1", "web2", web_workers=40, sidekiq_processes=40)
        messages = [finding["message"] for finding in refused(inventory, "web2")]
        assert messages
        assert all(message.startswith("The fleet without web2 cannot work: ") for message in messages)

    def test_all_of_it_at_once(self):
        findings = refused(tiers(), "db1", "feeds1", "web1", "web2", "nobody")
        assert {finding["hosts"][0] if finding["hosts"] else None for finding in findings} == {
            "db1", "feeds1", "web1", None
        }  # fmt: skip
        assert planned(tiers(), leaving=["db1"])["hosts"] == {}
