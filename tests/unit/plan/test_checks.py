# SPDX-License-Identifier: GPL-3.0-or-later
"""For each constraint a box just inside and one just outside, and that the advice brings it back inside."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import checks
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.coefficients import Coefficients
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.model import Fleet, Host, StreamingProcess

C = Coefficients()
SIX = ["default", "push", "ingress", "mailers", "pull", "fasp"]


def constraints(plan, severity="error"):
    return [finding.constraint for finding in plan.findings if finding.severity == severity]


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        pytest.param("C1", {"sidekiq_queues": [*SIX, "scheduler"]}, {"sidekiq_queues": SIX}, id="C1-scheduler"),
        pytest.param("C1", {"sidekiq_queues": [[*SIX], ["scheduler"]]}, {"sidekiq_queues": [SIX, SIX]}, id="C1-lists"),
        pytest.param(
            "C2",
            {"sidekiq_queues": [[*SIX, "scheduler"], SIX]},
            {"sidekiq_queues": [[*SIX, "scheduler"], ["scheduler"]]},
            id="C2",
        ),
        pytest.param("C6", {"postgres_max_connections": 43}, {"postgres_max_connections": 42}, id="C6-few"),
        pytest.param("C6", {"postgres_max_connections": 403}, {"postgres_max_connections": 404}, id="C6-many"),
        pytest.param("C16", {"web_workers": 2}, {"web_workers": 4}, id="C16-workers"),
        pytest.param("C16", {"vm_memory_mb": 1800}, {"vm_memory_mb": 1600}, id="C16-memory"),
        pytest.param("C16", {"streaming_processes": 1}, {"streaming_processes": 8}, id="C16-streaming"),
    ],
)
def test_inside_and_outside(plan_box, constraint, inside, outside):
    base = {"vm_memory_mb": 4300}
    assert constraint not in constraints(plan_box(**(base | inside)))
    broken = plan_box(**(base | outside))
    assert constraint in constraints(broken)
    finding = next(finding for finding in broken.errors if finding.constraint == constraint)
    assert finding.hosts == ("box",)
    assert "box" in finding.message + finding.advice


@pytest.mark.parametrize(
    "outside",
    [
        {"postgres_max_connections": 30},
        {"postgres_max_connections": 3000},
        {"web_workers": 12},
        {"sidekiq_concurrency": 50, "sidekiq_processes": 8},
        {"vm_memory_mb": 512},
        {"vm_memory_mb": 1500, "streaming_processes": 5, "web_workers": 3},
        {"vm_vcpus": 1, "web_workers": 2, "vm_memory_mb": 3100},
    ],
)
def test_following_the_advice_makes_the_check_pass(plan_box, outside):
    plan = plan_box(**outside)
    assert plan.errors
    given = dict(outside)
    for finding in plan.errors:
        for variable, value in finding.remedy.items():
            assert f"{variable}: {value}" in finding.advice
            given[variable] = value
    assert plan_box(**given).errors == ()


def test_the_least_memory_that_is_advised_is_the_least(plan_box):
    advised_mb = plan_box(web_workers=4).errors[0].remedy["vm_memory_mb"]
    assert plan_box(web_workers=4, vm_memory_mb=advised_mb).errors == ()
    assert constraints(plan_box(web_workers=4, vm_memory_mb=advised_mb - 16)) == ["C16"]


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("C16", {"vm_memory_mb": 3000}, {"vm_memory_mb": 2999}),
        ("workers", {"web_workers": 2}, {"web_workers": 3}),
        ("threads", {"sidekiq_concurrency": 25}, {"sidekiq_concurrency": 26}),
        ("C6", {"postgres_max_connections": 250}, {"postgres_max_connections": 251}),
    ],
)
def test_warnings(plan_box, constraint, inside, outside):
    base = {"vm_memory_mb": 16384}
    assert constraint not in constraints(plan_box(**(base | inside)), "warning")
    plan = plan_box(**(base | outside))
    assert plan.errors == ()
    assert constraint in constraints(plan, "warning")
    remedy = next(finding.remedy for finding in plan.warnings if finding.constraint == constraint)
    assert constraint not in constraints(plan_box(**(base | outside | remedy)), "warning")


@pytest.fixture
def sized(plan_box):
    """The fleet and the sizes of one box, to be spoilt."""
    hosts = plan_box().hosts
    return Fleet(hosts=(hosts["box"].host,)), hosts["box"]


def spoil(plan, part, **values):
    return {"box": replace(plan, **{part: replace(getattr(plan, part), **values)})}


def test_c3_a_pool_smaller_than_its_threads(sized):
    fleet, plan = sized
    assert checks.pools_hold_all_threads(fleet, {"box": plan}, C) == []
    findings = checks.pools_hold_all_threads(fleet, spoil(plan, "web", db_pool=2), C)
    assert findings[0].message == "box: Puma has 3 threads on a pool of 2 connections."
    process = replace(plan.sidekiq.processes[0], db_pool=1)
    findings = checks.pools_hold_all_threads(fleet, spoil(plan, "sidekiq", processes=(process,)), C)
    assert [finding.constraint for finding in findings] == ["C3"]


def test_c12_redis_with_too_few_clients_or_files(sized):
    fleet, plan = sized
    assert checks.redis_takes_all_clients(fleet, {"box": plan}, C) == []
    few = {**plan.redis.settings, "maxclients": 100}
    assert checks.redis_takes_all_clients(fleet, spoil(plan, "redis", settings=few), C)[0].constraint == "C12"
    assert checks.redis_takes_all_clients(fleet, spoil(plan, "redis", limit_nofile=1024), C)[0].constraint == "C12"


@pytest.mark.parametrize(
    ("in_object_storage", "second", "expected"), [(False, True, ["C14"]), (True, True, []), (False, False, [])]
)
def test_c14_local_media_on_two_hosts(sized, in_object_storage, second, expected):
    fleet, plan = sized
    other = Host(name="other", vcpus=2, memory_mb=4096, address="192.0.2.11", tiers=frozenset({"sidekiq"}))
    hosts = (*fleet.hosts, other) if second else fleet.hosts
    fleet = Fleet(hosts=hosts, media_in_object_storage=in_object_storage)
    findings = checks.media_are_reachable(fleet, {"box": plan}, C)
    assert [finding.constraint for finding in findings] == expected


def test_c17_two_processes_on_one_port(sized):
    fleet, plan = sized
    assert checks.ports_differ(fleet, {"box": plan}, C) == []
    clash = (StreamingProcess(port=3000, bind="127.0.0.1"),)
    findings = checks.ports_differ(fleet, spoil(plan, "streaming", processes=clash), C)
    assert findings[0].message == "box: web and streaming all listen on port 3000."


@pytest.mark.parametrize(("seconds", "constraint"), [(60, []), (300, []), (59, ["C18"]), (301, ["C18"])])
def test_c18_nginx_that_gives_up_early_or_never(plan_box, seconds, constraint):
    plan = plan_box(settings={"mastodon_plan_coefficients": {"nginx_proxy_read_timeout_seconds": seconds}})
    assert constraints(plan) == constraint
