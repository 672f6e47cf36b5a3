# SPDX-License-Identifier: GPL-3.0-or-later
"""What people get wrong, and that they are told host, value, what is allowed and what to type."""

from __future__ import annotations

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.explain import describe

QUEUES = ["default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"vm_memory_mb": "4GB"}, ["box", "'4GB'", "whole number of MB", "Type vm_memory_mb: 4096"]),
        ({"vm_memory_mb": "3.5 GiB"}, ["'3.5 GiB'", "Type vm_memory_mb: 3584"]),
        ({"vm_memory_mb": -1}, ["-1", "from 512", "Type vm_memory_mb: 512"]),
        ({"vm_memory_mb": True}, ["True", "whole number"]),
        ({"vm_memory_mb": 4096.5}, ["4096.5", "whole number"]),
        ({"vm_memory_mb": [4096]}, ["[4096]", "whole number"]),
        ({"vm_memory_mb": None}, ["vm_memory_mb is not known", "vm_memory_mb: 4096"]),
        ({"vm_vcpus": None, "vm_memory_mb": None}, ["vm_vcpus and vm_memory_mb are not known", "vm_vcpus: 2"]),
        ({"vm_vcpus": 0}, ["vm_vcpus is 0", "from 1 to 1024", "Type vm_vcpus: 1"]),
        ({"vm_vcpus": "two"}, ["'two'", "Type vm_vcpus: 2"]),
        ({"vm_address": "box.example.org"}, ["'box.example.org'", "one IPv4 or IPv6 address"]),
        ({"vm_address": "192.0.2.10/24"}, ["'192.0.2.10/24'", "without a prefix length"]),
        ({"web_workers": -1}, ["web_workers is -1", "from 0 to 64", "Type web_workers: 0"]),
        ({"web_workers": "many"}, ["'many'", "from 0 to 64"]),
        ({"web_threads": 0}, ["web_threads is 0", "from 1 to 64"]),
        ({"streaming_processes": 0}, ["streaming_processes is 0", "from 1 to 32"]),
        ({"sidekiq_processes": 0}, ["sidekiq_processes is 0", "from 1 to 64"]),
        ({"sidekiq_concurrency": 51}, ["sidekiq_concurrency is 51", "from 1 to 50", "Type sidekiq_concurrency: 50"]),
        ({"postgres_max_connections": 5}, ["postgres_max_connections is 5", "from 20"]),
        ({"sidekiq_queues": "default"}, ["'default'", "a list of queues"]),
        ({"sidekiq_queues": []}, ["[]", "not empty"]),
        ({"sidekiq_queues": [[], QUEUES]}, ["a list of queues is empty"]),
        ({"sidekiq_queues": ["defualt"]}, ["'defualt' names no queue", "did you mean default?"]),
        ({"sidekiq_queues": ["default;8"]}, ["'default;8' names no queue", "did you mean default?"]),
        ({"sidekiq_queues": ["push,four"]}, ["the weight of 'push,four'", '"push,4"']),
        ({"sidekiq_queues": ["push,0"]}, ["the weight of 'push,0'", "1 to 100"]),
        ({"sidekiq_queues": ["push,"]}, ["the weight of 'push,'"]),
        ({"sidekiq_queues": ["push,4,2"]}, ["the weight of 'push,4,2'"]),
        ({"sidekiq_queues": [["push", 4]]}, ["4 is not a queue", '"push,4"']),
        ({"sidekiq_queues": ["push", "push,2"]}, ["push is listed twice"]),
        (
            {"sidekiq_queues": [QUEUES, ["default"]], "sidekiq_processes": 3},
            ["2 lists", "sidekiq_processes is 3", "sidekiq_processes: 2"],
        ),
    ],
)
def test_a_variable(plan_box, variables, told):
    plan = plan_box(**variables)
    assert plan.hosts == {}
    text = describe(plan.errors)
    assert [word for word in ["[input]", *told] if word not in text] == []


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"sidekik": ["box"]}, ["sidekik", "nearly sidekiq", "Rename it to sidekiq"]),
        ({"ngnix": ["box"]}, ["ngnix", "Rename it to nginx"]),
        ({"postgres_primery": ["box"]}, ["Rename it to postgres_primary"]),
        ({"sidekik_push": ["box"]}, ["Rename it to sidekiq_push"]),
        ({"sidekiq_push": ["other"]}, ["sidekiq_push is not a child of sidekiq", "sidekiq: children:"]),
        ({"web": []}, ["No host is in group web", "Add box to group web"]),
        ({"web": [], "redis": []}, ["the groups web and redis", "Add box to the groups web and redis"]),
        ({"postgres_primary": []}, ["postgres_primary has no host", "exactly one", "postgres: children:"]),
        ({"redis_core": ["box", "other"]}, ["redis_core has 2 hosts (box, other)", "exactly one"]),
        ({"metrics": ["box", "other"]}, ["Group metrics has 2 hosts (box, other)", "at most one"]),
    ],
)
def test_a_group(plan_box, groups, told):
    plan = plan_box(groups=groups)
    assert plan.hosts == {}
    text = describe(plan.errors)
    assert [word for word in ["[inventory]", *told] if word not in text] == []


@pytest.mark.parametrize("group", ["production", "europe", "sidekiq_push", "builder", "ungrouped"])
def test_groups_of_ones_own_are_welcome(plan_box, group):
    assert plan_box(groups={group: ["box"]}).errors == ()


def test_what_is_wrong_between_several_hosts():
    groups = {tier: ["app"] for tier in ("nginx", "web", "streaming", "sidekiq")}
    groups |= {tier: ["data"] for tier in ("postgres", "postgres_primary", "redis", "redis_core")}
    size = {"vm_vcpus": 2, "vm_memory_mb": 4096, "vm_address": "192.0.2.10"}
    plan = from_inventory({"app": size, "data": size, "spare": {**size, "vm_address": "192.0.2.11"}}, groups)
    text = describe(plan.errors)
    assert "app and data have the same vm_address 192.0.2.10" in text
    assert "spare is in none of the groups" in text


def test_no_host_at_all():
    assert "names no host" in describe(from_inventory({}, {}).errors)


def test_all_findings_come_at_once(plan_box):
    plan = plan_box(vm_memory_mb="4GB", web_workers=-1, sidekiq_queues=["x"], groups={"ngnix": ["box"]})
    assert len(plan.errors) == 4


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mastodon_s3_enabled": "maybe"}, ["mastodon_s3_enabled is 'maybe'", "true or false"]),
        ({"mastodon_plan_coefficients": {"web_worker_gb": 1}}, ["no coefficient 'web_worker_gb'", "web_worker_mb"]),
        ({"mastodon_plan_coefficients": {"web_worker_mb": "512M"}}, ["web_worker_mb is '512M'", "web_worker_mb: 400"]),
        ({"mastodon_plan_coefficients": {"redis_share": -0.1}}, ["redis_share is -0.1", "a positive number"]),
        ({"mastodon_plan_coefficients": [1]}, ["mastodon_plan_coefficients is [1]", "a mapping"]),
    ],
)
def test_a_setting_of_the_fleet(plan_box, settings, told):
    plan = plan_box(settings=settings)
    assert plan.hosts == {}
    text = describe(plan.errors)
    assert [word for word in told if word not in text] == []


@pytest.mark.parametrize(
    "variables",
    [
        {"vm_memory_mb": "4GB"},
        {"vm_vcpus": 0},
        {"web_workers": -1},
        {"web_workers": 999, "vm_vcpus": 64, "vm_memory_mb": 65536},
        {"sidekiq_concurrency": 51},
        {"postgres_max_connections": 5},
    ],
)
def test_following_the_advice_makes_the_input_readable(plan_box, variables):
    finding = plan_box(**variables).errors[0]
    assert finding.remedy
    for variable, value in finding.remedy.items():
        assert f"{variable}: {value}" in finding.advice
    after = plan_box(**{**variables, **finding.remedy})
    assert [finding for finding in after.errors if finding.constraint == "input"] == []


def test_more_declared_than_found_is_a_warning(plan_box):
    assert plan_box(found_memory_mb=3900).findings == ()
    warning = plan_box(found_memory_mb=2000).warnings[0]
    assert "declares 4096 MB, and the host has 2000" in warning.message
