# SPDX-License-Identifier: GPL-3.0-or-later
"""Random boxes: planned so that every constraint holds, recomputed here without the library, or refused by name."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUEUES = {"default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"}

sizes = st.fixed_dictionaries(
    {"vm_vcpus": st.integers(1, 64), "vm_memory_mb": st.integers(512, 262144)},
)
sensible_sizes = st.fixed_dictionaries(
    {"vm_vcpus": st.integers(1, 32), "vm_memory_mb": st.integers(1900, 131072)},
)
overrides = st.fixed_dictionaries(
    {},
    optional={
        "web_workers": st.integers(0, 64),
        "web_threads": st.integers(1, 64),
        "streaming_processes": st.integers(1, 32),
        "sidekiq_processes": st.integers(1, 64),
        "sidekiq_concurrency": st.integers(1, 50),
        "postgres_max_connections": st.integers(20, 10000),
        "sidekiq_queues": st.lists(
            st.lists(st.sampled_from(sorted(QUEUES)), min_size=1, unique=True), min_size=1, max_size=5
        ),
    },
)
many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def violations(box):
    """The constraints that a plan of one box does not satisfy, computed from its numbers alone."""
    found = set()
    processes = box["sidekiq"]["processes"]
    queues = [{entry.split(",")[0] for entry in process["queues"]} for process in processes]
    if set().union(*queues) != QUEUES:
        found.add("C1")
    if sum("scheduler" in names for names in queues) > 1:
        found.add("C2")
    web, streaming, postgres, redis = box["web"], box["streaming"], box["postgres"], box["redis"]
    if web["db_pool"] < web["threads"] or any(p["db_pool"] < p["concurrency"] for p in processes):
        found.add("C3")
    workers = web["workers"] or 1
    clients = workers * web["db_pool"] + sum(p["db_pool"] for p in processes)
    clients += streaming["db_pool"] * len(streaming["processes"])
    max_connections = postgres["settings"]["max_connections"]
    # 6 for tootctl, 5 for people, 5 for exporters, 3 for superusers.
    if max_connections < math.ceil(clients * 1.1) + 19 or clients > 0.9 * max_connections:
        found.add("C6")
    rows = {row["what"]: row["mb"] for row in box["memory"]["budget"]}
    spare_mb = rows["postgres"] - int(postgres["settings"]["shared_buffers"][:-2])
    if max_connections * 2 > spare_mb:
        found.add("C6")
    threads = web["threads"]
    redis_clients = workers * (3 * threads + 1 if threads <= 10 else 2 * threads + 11)
    redis_clients += sum(3 * p["concurrency"] + 11 for p in processes) + 2 * len(streaming["processes"]) + 6
    maxclients = redis["settings"]["maxclients"]
    if maxclients < 1.5 * redis_clients or redis["limit_nofile"] < maxclients + 32:
        found.add("C12")
    total_mb = box["host"]["memory_mb"]
    used_mb = 300 + 400 * web["workers"] if web["workers"] else 450
    used_mb += sum(400 + 24 * p["concurrency"] for p in processes)
    used_mb += sum(mb for what, mb in rows.items() if what not in ("web", "sidekiq"))
    swap_share = 0.1 * min(1, max(0, (3000 - total_mb) / 1000))
    if used_mb > total_mb * (1 + swap_share):
        found.add("C16")
    ports = [3000, 5432, 6379, *(process["port"] for process in streaming["processes"])]
    if len(ports) != len(set(ports)):
        found.add("C17")
    if not 60 <= box["nginx"]["proxy_read_timeout_seconds"] <= 300:
        found.add("C18")
    return found


@many
@given(size=sizes, given_overrides=overrides)
def test_planned_boxes_hold_and_refused_ones_name_what_does_not(plan_box, size, given_overrides):
    plan = plan_box(**size, **given_overrides)
    named = {finding.constraint for finding in plan.errors}
    if named & {"input", "inventory"}:
        assert plan.hosts == {}
        return
    broken = violations(plan.as_mapping()["hosts"]["box"])
    # Many idle backends are refused with the memory rule of C6; everything else is found by both, exactly.
    assert broken == named


@many
@given(size=sensible_sizes)
def test_sensible_boxes_are_planned(plan_box, size):
    assert plan_box(**size).errors == ()


@many
@given(size=sizes, more_mb=st.integers(1, 65536), given_overrides=overrides)
def test_more_memory_never_means_fewer_workers(plan_box, size, more_mb, given_overrides):
    smaller = plan_box(**size, **given_overrides)
    larger = plan_box(**{**size, "vm_memory_mb": size["vm_memory_mb"] + more_mb}, **given_overrides)
    if smaller.hosts:
        before, after = smaller.hosts["box"], larger.hosts["box"]
        assert after.web.workers >= before.web.workers
        assert len(after.sidekiq.processes) >= len(before.sidekiq.processes)


@many
@given(size=sizes)
def test_workers_and_processes_never_exceed_the_cores(plan_box, size):
    box = plan_box(**size).hosts["box"]
    assert box.web.workers <= size["vm_vcpus"]
    assert len(box.sidekiq.processes) <= size["vm_vcpus"]


@many
@given(size=sizes, given_overrides=overrides)
def test_the_remedies_of_all_errors_together_bring_the_box_inside(plan_box, size, given_overrides):
    plan = plan_box(**size, **given_overrides)
    if not plan.hosts or any(not finding.remedy for finding in plan.errors):
        return
    variables = {**size, **given_overrides}
    for finding in plan.errors:
        variables |= finding.remedy
    assert plan_box(**variables).errors == ()


@pytest.mark.parametrize("total", range(1, 40))
def test_every_split_serves_all_queues_and_scheduler_once(total):
    from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.queues import split

    slots = split(total)
    served = [entry.split(",")[0] for slot in slots for entry in slot.queues]
    assert set(served) == QUEUES
    assert served.count("scheduler") == 1
    assert len({slot.name for slot in slots}) == total
