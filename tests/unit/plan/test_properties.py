# SPDX-License-Identifier: GPL-3.0-or-later
"""Random fleets: planned so that every constraint holds by the oracle's own arithmetic, or refused by its name."""

from __future__ import annotations

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.queues import numbered, split
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from unit.plan import fleets, oracle

# Of the sensible fleets at least this share is planned.
SENSIBLE_SHARE = 0.6

HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

# A replica that lacks the memory for what its primary is advised to have.
BIG, SMALL = {"vm_vcpus": 8, "vm_memory_mb": 15892}, {"vm_vcpus": 1, "vm_memory_mb": 1986}
SMALL_REPLICA = fleets.Inventory(
    hosts={
        "b1": {**BIG, "vm_address": "10.0.0.2"},
        "b2": {**BIG, "vm_address": "10.0.0.3"},
        "c1": {**SMALL, "vm_address": "10.0.0.4"},
    },
    groups={
        **{group: ["b1", "b2", "c1"] for group in ("all", "nginx", "web", "streaming", "sidekiq", "postgres", "redis")},
        "postgres_primary": ["b1"],
        "postgres_replica": ["b2", "c1"],
        "pgbouncer": ["b1", "b2"],
        "redis_core": ["b1"],
        "redis_replica": ["b2", "c1"],
    },
    settings={"mastodon_s3_enabled": True},
)


def examples(count):
    return settings(max_examples=count, deadline=None, suppress_health_check=HEALTH)


def planned(inventory):
    """The plan as plain data, and the names of the constraints that its errors name."""
    plan = from_inventory(*inventory.arguments()).as_mapping()
    return plan, {finding["constraint"] for finding in plan["findings"] if finding["severity"] == "error"}


def is_error(finding, constraint):
    return (finding["constraint"], finding["severity"]) == (constraint, "error")


def holds(inventory):
    """Plan a fleet and hold the plan against the oracle: refused for exactly what is broken, or right in all."""
    plan, named = planned(inventory)
    if plan["hosts"]:
        assert oracle.broken(plan, *inventory.arguments()) == named
        assert oracle.inconsistent(plan, *inventory.arguments()) == []
        too_small = {name for finding in plan["findings"] if is_error(finding, "C16") for name in finding["hosts"]}
        assert too_small == oracle.overfull(plan["hosts"], inventory.groups)
    else:
        # An inventory that cannot be read is not looked at any further.
        assert named
        assert named <= oracle.broken_inventory(*inventory.arguments())
    return plan, named


@examples(100)
@given(inventory=fleets.random_fleets())
def test_a_random_fleet_is_planned_right_or_refused_for_what_is_broken(inventory):
    _plan, named = holds(inventory)
    event("refused: " + ", ".join(sorted(named)) if named else "planned")


@examples(60)
@given(inventory=fleets.random_fleets(most_hosts=4))
def test_so_is_a_small_one(inventory):
    holds(inventory)


def test_most_sensible_fleets_are_planned():
    counts = {True: 0, False: 0}

    @examples(100)
    @given(inventory=fleets.sensible_fleets())
    def plan_one(inventory):
        _plan, named = holds(inventory)
        counts[not named] += 1

    plan_one()
    assert counts[True] + counts[False] >= 100
    assert counts[True] >= SENSIBLE_SHARE * (counts[True] + counts[False]), counts


def sizes_of(plan):
    return {
        name: (host.get("web", {}).get("workers", 0), len(host.get("sidekiq", {}).get("processes", ())))
        for name, host in plan["hosts"].items()
    }


@examples(100)
@given(inventory=fleets.random_fleets(most_hosts=20), data=st.data(), more_mb=st.integers(1, 65536))
def test_more_memory_never_means_fewer_workers_or_processes(inventory, data, more_mb):
    name = data.draw(st.sampled_from(sorted(inventory.hosts)))
    memory_mb = inventory.hosts[name]["vm_memory_mb"] + more_mb
    before = sizes_of(planned(inventory)[0])
    after = sizes_of(planned(inventory.with_variables(name, vm_memory_mb=memory_mb))[0])
    assert set(before) == set(after)
    for host, (workers, processes) in before.items():
        assert after[host][0] >= workers
        assert after[host][1] >= processes
        if host != name:
            assert after[host] == (workers, processes)


def memory_of_data(plan):
    """For each host what PostgreSQL buffers and what Redis may fill, in MB."""
    return {
        (name, part): int(str(host[part]["settings"][setting]).lower().removesuffix("mb"))
        for name, host in plan["hosts"].items()
        for part, setting in (("postgres", "shared_buffers"), ("redis", "maxmemory"))
        if part in host
    }


@examples(80)
@given(inventory=fleets.sensible_fleets(most_hosts=30), data=st.data(), more_mb=st.integers(1, 65536))
def test_more_memory_never_means_less_for_data(inventory, data, more_mb):
    name = data.draw(st.sampled_from(sorted(inventory.hosts)))
    before = memory_of_data(planned(inventory)[0])
    memory_mb = inventory.hosts[name]["vm_memory_mb"] + more_mb
    after = memory_of_data(planned(inventory.with_variables(name, vm_memory_mb=memory_mb))[0])
    assert {where: (mb, after[where]) for where, mb in before.items() if after[where] < mb} == {}


@examples(80)
@given(
    inventory=st.one_of(fleets.sensible_fleets(most_hosts=40), fleets.random_fleets(most_hosts=24)),
    groups=st.sampled_from(
        (
            ("web",),
            ("sidekiq",),
            ("web", "sidekiq"),
            ("nginx", "streaming"),
            ("pgbouncer",),
            ("postgres", "postgres_replica"),
            ("redis", "redis_replica"),
            ("sidekiq", "sidekiq_push"),
        )
    ),
    overrides=st.sampled_from(({}, {}, {"web_workers": 8}, {"sidekiq_concurrency": 50}, {"sidekiq_queues": ["push"]})),
    size=st.sampled_from((fleets.sold(2, 4), fleets.sold(8, 32))),
)
def test_a_host_more_never_breaks_a_fleet_silently(inventory, groups, overrides, size):
    before, _named = planned(inventory)
    larger = inventory.with_host("more", *groups, **size, **overrides, vm_address="10.254.0.1")
    after, named = holds(larger)
    if before["hosts"] and after["hosts"]:
        # What a host runs depends on its own size: a neighbour more costs it no worker. Only who watches all hosts
        # has one more to watch.
        others = set(inventory.hosts) - set(inventory.groups.get("metrics", ()))
        own, earlier = sizes_of(after), sizes_of(before)
        assert {name: own[name] for name in others} == {name: earlier[name] for name in others}
    event("refused" if named else "planned")


@examples(60)
@given(inventory=fleets.sensible_fleets(most_hosts=40), data=st.data())
def test_the_order_of_an_inventory_changes_nothing(inventory, data):
    # Which host builds releases, and which of a group is the first, is all that the order decides.
    inventory = inventory.with_group("builder", inventory.groups["web"][0])
    names = data.draw(st.permutations(sorted(inventory.hosts)))
    shuffled = fleets.Inventory(
        hosts={name: inventory.hosts[name] for name in names},
        groups={group: sorted(hosts, key=names.index) for group, hosts in reversed(inventory.groups.items())},
        settings=inventory.settings,
    )
    one, other = planned(shuffled), planned(inventory)
    for group, names in one[0].pop("groups").items():
        assert sorted(names) == sorted(other[0]["groups"][group])
    assert one == ({key: part for key, part in other[0].items() if key != "groups"}, other[1])


@examples(100)
@given(inventory=fleets.random_fleets(most_hosts=30))
def test_workers_and_processes_that_nobody_set_never_exceed_the_cores(inventory):
    plan, _named = planned(inventory)
    for name, (workers, processes) in sizes_of(plan).items():
        given_variables = inventory.hosts[name]
        if "web_workers" not in given_variables:
            assert workers <= given_variables["vm_vcpus"]
        if not {"sidekiq_processes", "sidekiq_queues"} & set(given_variables):
            assert processes <= given_variables["vm_vcpus"]


@examples(80)
@given(inventory=fleets.random_fleets(most_hosts=8))
def test_following_the_remedies_ends_in_a_fleet_that_passes(inventory):
    """Never in circles; a box with more memory runs more, so a fleet of boxes that are all too small takes rounds."""
    for _round in range(100):
        plan, named = planned(inventory)
        errors = [finding for finding in plan["findings"] if finding["severity"] == "error"]
        if not errors or any(not finding["remedy"] for finding in errors):
            return
        for finding in errors:
            inventory = inventory.with_variables(*finding["hosts"], **finding["remedy"])
    assert named == set()


@examples(60)
@example(inventory=SMALL_REPLICA, connections=40)
@given(
    inventory=st.one_of(fleets.sensible_fleets(most_hosts=40), fleets.random_fleets(most_hosts=8)),
    connections=st.sampled_from((40, 60, 100, 150)),
)
def test_following_what_is_said_of_pools_makes_them_as_large_as_wanted(inventory, connections):
    databases = [name for name in inventory.groups["postgres"] if name in inventory.hosts]
    inventory = inventory.with_variables(*databases, postgres_max_connections=connections)
    plan, refused = planned(inventory)
    said = [finding for finding in plan["findings"] if finding["constraint"] == "pools"]
    event("pools that shrank" if said and not refused else "others")
    if refused:
        return
    # What gets more memory may run more, which asks for more in turn.
    for _round in range(5 if any("vm_memory_mb" in finding["remedy"] for finding in said) else 1):
        for finding in said:
            inventory = inventory.with_variables(*finding["hosts"], **finding["remedy"])
        plan, refused = planned(inventory)
        assert refused == set()
        said = [finding for finding in plan["findings"] if finding["constraint"] == "pools"]
    assert said == []


@pytest.mark.parametrize("total", range(1, 40))
def test_every_split_serves_all_queues_and_scheduler_once(total):
    slots = split(total)
    served = [entry.split(",")[0] for slot in slots for entry in slot.queues]
    assert set(served) == oracle.QUEUES
    assert served.count("scheduler") == 1
    assert len({slot.name for slot in numbered(slots)}) == total
