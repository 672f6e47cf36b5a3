# SPDX-License-Identifier: GPL-3.0-or-later
"""What people ask of a fleet, which tier is short of it, and the layouts that are proposed."""

from __future__ import annotations

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import Coefficients, from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.demand import load_of
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.prices import EXAMPLE, read_prices
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.propose import ALL_IN_ONE, propose_for

C = Coefficients()
SMALL = {"name": "small", "vcpus": 2, "memory_mb": 4096, "monthly": 14.0}


def box(vcpus=2, memory_mb=4096, **settings):
    host = {"vm_vcpus": vcpus, "vm_memory_mb": memory_mb, "vm_address": "192.0.2.1"}
    return from_inventory({"box1": host}, {group: ["box1"] for group in ALL_IN_ONE}, settings)


def short(plan):
    return {(need["tier"], need["what"]): need["short"] for need in plan.demand["needs"] if need["short"]}


def proposal(users, **settings):
    return propose_for({"mastodon_monthly_active_users": users, **settings})


@pytest.mark.parametrize(
    ("users", "requests", "load"),
    [(1000, None, (1000, 10.0, 10.0)), (None, 50.0, (5000, 50.0, 50.0)), (1000, 80.0, (1000, 80.0, 10.0))],
    ids=["people", "requests", "both"],
)
def test_load(users, requests, load):
    found = load_of(users, requests, C)
    assert (found.monthly_active_users, found.requests_per_second, found.jobs_per_second) == load


def test_nothing_is_said_of_people_whom_nobody_named():
    assert load_of(None, None, C) is None
    plan = box()
    assert plan.demand is None
    assert "demand" not in {finding.constraint for finding in plan.findings}
    assert propose_for({}) is None


def test_a_small_box_carries_a_small_community():
    plan = box(mastodon_monthly_active_users=500)
    assert plan.demand["carried"]
    assert short(plan) == {}


def test_what_is_short_is_named_with_its_numbers():
    # 5,000 people: 50 requests/s x 0.25 s / 0.7 = 18 threads; a box of 2 vCPU and 4 GB has one worker with 3.
    plan = box(mastodon_monthly_active_users=5000)
    assert short(plan)["web", "Puma threads"] == 18 - 3
    (finding,) = [finding for finding in plan.findings if "Puma threads" in finding.message]
    assert (finding.constraint, finding.severity) == ("demand", "warning")
    assert "web is too small for 5000 active users a month at the busiest time: 3 of 18 Puma threads" in finding.message
    assert "Missing: 15 Puma threads and 2 Puma workers." in finding.advice
    assert plan.hosts, "an instance that is slow at its busiest is planned all the same"


def test_what_is_short_by_requests_alone():
    assert ("web", "Puma threads") in short(box(mastodon_requests_per_second=50))


def test_more_people_never_need_less():
    before = None
    for users in (100, 1000, 5000, 20000, 100000):
        needed = [need["needed"] for need in box(mastodon_monthly_active_users=users).demand["needs"]]
        assert before is None or all(more >= less for more, less in zip(needed, before, strict=True))
        before = needed


def test_a_coefficient_of_ones_own_counts():
    plan = box(
        mastodon_monthly_active_users=5000,
        mastodon_plan_coefficients={"demand_requests_per_second_per_1000_users": 1.0},
    )
    assert ("web", "Puma threads") not in short(plan)


@pytest.mark.parametrize("users", [200, 2000, 9000, 27000, 50000])
def test_proposed_layout_carries_the_load_when_it_is_planned_as_an_inventory(users):
    chosen = proposal(users).chosen
    plan = from_inventory(*chosen.inventory(), {"mastodon_monthly_active_users": users, "mastodon_s3_enabled": True})
    assert plan.errors == ()
    assert plan.demand["carried"]
    assert chosen.monthly == sum(part.machine.monthly * part.count for part in chosen.parts)


def test_more_people_never_cost_less():
    costs = [proposal(users).chosen.monthly for users in (100, 1000, 3000, 10000, 30000, 60000)]
    assert costs == sorted(costs)


def test_a_few_people_get_one_box_and_many_a_split_tier():
    assert proposal(200).chosen.shape == "one box"
    assert proposal(60000).chosen.shape == "split tier"


def test_all_shapes_are_shown_with_what_they_lack():
    considered = {layout.shape: layout for layout in proposal(60000).considered}
    assert set(considered) == {"one box", "two boxes", "split tier"}
    assert considered["one box"].short
    assert not considered["split tier"].short


def test_nothing_is_proposed_where_nothing_carries():
    found = proposal(1_000_000)
    assert found.chosen is None
    assert all(layout.short for layout in found.considered)


def test_text_names_hosts_prices_and_what_the_others_lack():
    text = proposal(60000).text
    assert "60000 monthly active users, who cause 600 requests/s" in text
    assert f"{proposal(60000).chosen.monthly:.2f} a month" in text
    assert " x worker   8 vCPU, 16 GB      sidekiq " in text
    assert "Also looked at: one box" in text
    assert "which lacks web:" in text


def test_prices_of_ones_own_are_used():
    found = proposal(300, mastodon_price_table=[SMALL, {**SMALL, "name": "dear", "monthly": 99}])
    assert [part.machine.name for part in found.chosen.parts] == ["small"]
    assert found.chosen.monthly == 14.0


def test_prices_come_cheapest_first():
    assert list(read_prices(None)) == sorted(EXAMPLE, key=lambda machine: machine.monthly)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([], "allowed: a list of machines"),
        ("cheap", "allowed: a list of machines"),
        ([SMALL, {"name": "x"}], "machine 2 is .* allowed: exactly name, vcpus, memory_mb and monthly"),
        ([{**SMALL, "vcpus": "two"}], "machine 1: vcpus is 'two'; allowed: a whole number from 1 to 1024"),
        ([{**SMALL, "vcpus": 1.5}], "vcpus is 1.5; allowed: a whole number"),
        ([{**SMALL, "memory_mb": "4GB"}], "memory_mb is '4GB'"),
        ([{**SMALL, "monthly": -1}], "monthly is -1; allowed: a number from 0"),
        ([{**SMALL, "monthly": True}], "monthly is True"),
    ],
)
def test_price_tables_that_cannot_be_read(table, words):
    with pytest.raises(ValueError, match=rf"^mastodon_price_table.*{words}"):
        read_prices(table)
