# SPDX-License-Identifier: GPL-3.0-or-later
"""What another host costs the others: which of their services a run restarts or reloads for it."""

from __future__ import annotations

from collections import Counter

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.compare import compare
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.endpoints import spread
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.queues import serves_scheduler, share_out
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from unit.plan import fleets, oracle
from unit.plan.samples import shipped

# Everything that a run restarts elsewhere for a host like one that is there, on any inventory of the table.
RESTARTS = {
    ("split_tier", "web"): {},
    ("split_tier", "sidekiq"): {},
    ("split_tier", "sidekiq_federation"): {},
    ("split_tier", "nginx"): {},
    ("split_tier", "streaming"): {},
    ("split_tier", "postgres_replica"): {},
    # Half of the clients go over to the new pooler, and everybody to the cache; both are read at the start.
    ("split_tier", "pgbouncer"): {"Puma": ["web1"], "streaming": ["streaming1"]},
    ("split_tier", "redis_cache"): {
        "Puma": ["web1", "web2"],
        "Sidekiq": ["worker1", "worker2"],
        "streaming": ["streaming1"],
    },
    ("prod", "web"): {},
    ("prod", "sidekiq"): {},
    ("prod", "sidekiq_ingress"): {},
    ("prod", "sidekiq_push"): {},
    ("prod", "sidekiq_pull"): {},
    ("prod", "nginx"): {},
    ("prod", "streaming"): {},
    # Twice as many who may read at once: the next step of max_connections.
    ("prod", "postgres_replica"): {"PostgreSQL": ["db1", "db2"]},
    ("prod", "pgbouncer"): {"Puma": ["web1"], "streaming": ["streaming1"]},
}
RELOADS = {
    "web": {"nginx", "PgBouncer", "Redis"},
    "sidekiq": {"PgBouncer", "Redis"},
    "nginx": {"nginx"},
    "streaming": {"nginx"},
    "postgres_replica": {"PostgreSQL", "PgBouncer", "HAProxy"},
    "pgbouncer": {"PostgreSQL", "PgBouncer"},
    "redis_cache": set(),
}
LIKE = {"sidekiq": "worker1", "redis_cache": "redis1"}


def grown(name, group):
    """The plans before and after a host joins a group of an inventory, first by name, like one that is there."""
    hosts, groups, fleet = shipped(name)
    before = from_inventory(hosts, groups, fleet).as_mapping()
    more = {**hosts[LIKE.get(group) or groups[group][0]], "vm_address": "10.0.0.9"}
    if group == "sidekiq":
        more = {key: value for key, value in more.items() if not key.startswith("sidekiq_")}
    joined = {part: ["another", *groups.get(part, [])] for part in ("all", group, group.partition("_")[0])}
    groups = {**groups, **joined, "builder": ["web1"]}
    after = from_inventory({**hosts, "another": more}, groups, fleet, earlier=before["hosts"]).as_mapping()
    return before, after


@pytest.mark.parametrize(("name", "group"), RESTARTS)
def test_a_host_more_restarts_only_what_has_to(name, group):
    before, after = grown(name, group)
    assert [finding for finding in after["findings"] if finding["severity"] == "error"] == []
    comparison = compare(before, after)
    assert comparison.added == ("another",)
    happens = [(entry["effect"], entry["service"], entry["hosts"]) for entry in comparison.services]
    assert {service: on for effect, service, on in happens if effect == "restart"} == RESTARTS[name, group]
    assert {effect for effect, *dummy in happens} <= {"restart", "reload"}
    tier = "sidekiq" if group.startswith("sidekiq") else group
    assert {service for effect, service, dummy in happens if effect == "reload"} <= RELOADS[tier]


def planned(inventory, **options):
    return from_inventory(*inventory.arguments(), **options).as_mapping()


def refused(plan):
    return [finding["constraint"] for finding in plan["findings"] if finding["severity"] == "error"]


def part_of(plan, path, but=()):
    """One part of each host's plan that has it: {name: part}."""
    found = {}
    for name, host in plan["hosts"].items():
        part = host
        for key in path.split("."):
            part = part.get(key, {})
        if part and name not in but:
            found[name] = part
    return found


ANY = st.one_of(fleets.sensible_fleets(most_hosts=30), fleets.random_fleets(most_hosts=20))


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    inventory=ANY,
    name=st.sampled_from(("a0", "more", "zebra")),
    group=st.sampled_from(("sidekiq", "sidekiq", "web", "streaming")),
    size=st.sampled_from((fleets.sold(1, 2), fleets.sold(4, 8), fleets.sold(8, 32))),
    own=st.sampled_from(({}, {}, {"sidekiq_queues": ["push", "pull"]})),
)
def test_a_host_more_leaves_what_others_read_at_their_start_as_it_is(inventory, name, group, size, own):
    before = planned(inventory)
    assume(before["hosts"] and not refused(before))
    more = inventory.with_host(name, group, **size, **own, vm_address="10.254.0.1")
    more = more.with_group("builder", before["builder"])
    after = planned(more, earlier=before["hosts"])
    assert part_of(after, "sidekiq", but=[name]) == part_of(before, "sidekiq")
    assert part_of(after, "streaming.db_pool", but=[name]) == part_of(before, "streaming.db_pool")
    assert part_of(after, "endpoints.database", but=[name]).items() >= part_of(before, "endpoints.database").items()
    assert oracle.broken(after, *more.arguments()) == set(refused(after))
    assert oracle.inconsistent(after, *more.arguments(), grown=True) == []
    assert planned(more, earlier=after["hosts"]) == after


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(inventory=ANY, data=st.data())
def test_a_host_less_moves_only_what_it_alone_served(inventory, data):
    before = planned(inventory)
    assume(before["hosts"] and not refused(before) and len(inventory.groups["sidekiq"]) > 1)
    name = data.draw(st.sampled_from(sorted(inventory.groups["sidekiq"])))
    after = planned(inventory, earlier=before["hosts"], gone=[name])
    assume(after["hosts"] and not refused(after))
    rest = part_of(before, "sidekiq", but=[name])
    served = {
        entry.partition(",")[0]
        for part in rest.values()
        for process in part["processes"]
        for entry in process["queues"]
    }
    moved = [host for host, part in part_of(after, "sidekiq").items() if part != rest[host]]
    event(f"{len(set(moved))} of {len(rest)} move" if served < oracle.QUEUES else "nothing to move")
    if served == oracle.QUEUES:
        assert moved == []


class TestSplitThatGoesOn:
    def test_a_queue_by_hand_is_not_kept_when_the_hand_is_gone(self):
        served = {"a": [("push",)], "b": [("default,8", "mailers,1")]}
        names = {host: [slot.name for slot in slots] for host, slots in share_out({"a": 1, "b": 1}, served).items()}
        assert names["a"] != ["push"]
        assert names == {host: [slot.name for slot in slots] for host, slots in share_out({"a": 1, "b": 1}, {}).items()}

    def test_one_process_grows_into_many_and_keeps_all_queues(self):
        first = share_out({"a": 1}, {})
        second = share_out({"a": 1, "b": 2, "c": 6}, {"a": [first["a"][0].queues]})
        assert second["a"] == first["a"]
        assert not any(serves_scheduler(slot.queues) for host in "bc" for slot in second[host])
        assert {"push", "ingress", "default"} <= {slot.name for host in "bc" for slot in second[host]}

    def test_the_lost_scheduler_goes_to_a_process_whose_queues_others_serve_too(self):
        first = share_out({"a": 1, "b": 8}, {})
        served = {"b": [slot.queues for slot in first["b"]]}
        second = share_out({"b": 8}, served)
        moved = [new.name for new, old in zip(second["b"], first["b"], strict=True) if new.queues != old.queues]
        assert moved == ["scheduler"]

    def test_a_list_by_hand_takes_the_scheduler_from_the_split(self):
        first = share_out({"a": 6}, {})
        second = share_out({"a": 6}, {"a": [slot.queues for slot in first["a"]]}, scheduler=False)
        assert [slot.queues for slot in second["a"]][1:] == [slot.queues for slot in first["a"]][1:]
        assert not any(serves_scheduler(slot.queues) for slot in second["a"])


def test_clients_stay_with_their_pooler_and_half_of_them_go_to_a_second():
    kinds = [["web1", "web2"], ["work1", "work2"], ["live1"]]
    first = spread(kinds, ["pool1"])
    second = spread(kinds, ["pool1", "pool2"], first)
    assert sorted(Counter(second.values()).values()) == [2, 3]
    assert spread(kinds, ["pool1", "pool2"], second) == second
    assert {name for name, place in spread(kinds, ["pool2"], second).items() if place == "pool2"} == set(first)
