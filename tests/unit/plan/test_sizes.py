# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of known boxes, worked out by hand from the published formulas and the measurements."""

from __future__ import annotations

import pytest


def summary(plan):
    box = plan.as_mapping()["hosts"]["box"]
    return {
        "web": (box["web"]["workers"], box["web"]["threads"]),
        "sidekiq": {process["name"]: process["concurrency"] for process in box["sidekiq"]["processes"]},
        "streaming": [process["port"] for process in box["streaming"]["processes"]],
        "postgres": (
            box["postgres"]["settings"]["max_connections"],
            box["postgres"]["settings"]["shared_buffers"],
            box["postgres"]["settings"]["work_mem"],
        ),
        "redis": box["redis"]["settings"]["maxmemory"],
    }


@pytest.mark.parametrize(
    ("vcpus", "memory_mb", "web", "sidekiq", "streaming", "postgres", "redis"),
    [
        pytest.param(1, 1986, (0, 3), {"all": 5}, [4000], (50, "128MB", "2MB"), "198mb", id="1-vcpu-2-gb"),
        pytest.param(
            2,
            3973,
            (1, 3),
            {"core": 5, "federation": 10},
            [4000],
            (100, "248MB", "4MB"),
            "397mb",
            id="2-vcpu-4-gb",
        ),
        pytest.param(
            4,
            7946,
            (3, 3),
            {"scheduler": 5, "default": 5, "ingress_pull": 10, "push": 15},
            [4000, 4001],
            (100, "496MB", "4MB"),
            "794mb",
            id="4-vcpu-8-gb",
        ),
        pytest.param(
            8,
            31784,
            (6, 3),
            {
                "scheduler": 5,
                "default": 5,
                "ingress": 5,
                "push": 25,
                "pull": 25,
                "default_2": 5,
                "ingress_2": 5,
                "push_2": 25,
            },
            [4000, 4001],
            (160, "1986MB", "5MB"),
            "2048mb",
            id="8-vcpu-32-gb",
        ),
    ],
)
def test_box(plan_box, vcpus, memory_mb, web, sidekiq, streaming, postgres, redis):
    plan = plan_box(vm_vcpus=vcpus, vm_memory_mb=memory_mb)
    assert plan.errors == ()
    assert summary(plan) == {
        "web": web,
        "sidekiq": sidekiq,
        "streaming": streaming,
        "postgres": postgres,
        "redis": redis,
    }


def test_a_second_sidekiq_process_comes_before_a_second_worker(plan_box):
    smaller, larger = plan_box(vm_memory_mb=3900), plan_box(vm_memory_mb=4300)
    assert (summary(smaller)["web"][0], len(summary(smaller)["sidekiq"])) == (1, 2)
    assert (summary(larger)["web"][0], len(summary(larger)["sidekiq"])) == (2, 2)


def test_the_plan_says_from_which_memory_on_there_would_be_one_worker_more(plan_box):
    reason = plan_box().hosts["box"].reasons["web.workers"]
    promised_mb = int(reason.partition("from ")[2].split()[0])
    assert summary(plan_box(vm_memory_mb=promised_mb))["web"][0] == 2
    assert summary(plan_box(vm_memory_mb=promised_mb - 16))["web"][0] == 1


@pytest.mark.parametrize(
    ("overrides", "web", "sidekiq"),
    [
        ({"web_workers": 1, "web_threads": 5}, (1, 5), {"core": 5, "federation": 20}),
        ({"web_workers": 0}, (0, 3), {"core": 5, "federation": 25}),
        ({"sidekiq_processes": 1}, (2, 3), {"all": 15}),
        ({"sidekiq_concurrency": 8}, (1, 3), {"core": 8, "federation": 8}),
        ({"web_workers": "2"}, (2, 3), {"all": 15}),
    ],
)
def test_what_a_person_sets_takes_part_in_the_budget(plan_box, overrides, web, sidekiq):
    plan = plan_box(vm_memory_mb=4200, **overrides)
    assert plan.errors == ()
    assert (summary(plan)["web"], summary(plan)["sidekiq"]) == (web, sidekiq)


@pytest.mark.parametrize(
    ("queues", "processes", "expected"),
    [
        pytest.param(
            [["default,8", "mailers"], ["push", "pull", "ingress"], ["scheduler", "fasp"]],
            None,
            {
                "default_mailers": ["default,8", "mailers"],
                "push_pull_ingress": ["push", "pull", "ingress"],
                "scheduler_fasp": ["scheduler", "fasp"],
            },
            id="one-list-a-process",
        ),
        pytest.param(
            ["default", "push", "ingress", "mailers", "pull", "fasp", "scheduler"],
            2,
            {
                "all": ["default", "push", "ingress", "mailers", "pull", "fasp", "scheduler"],
                "default_push_ingress_mailers_pull_fasp": ["default", "push", "ingress", "mailers", "pull", "fasp"],
            },
            id="strict-order-and-one-scheduler",
        ),
    ],
)
def test_queues_by_hand(plan_box, queues, processes, expected):
    given = {} if processes is None else {"sidekiq_processes": processes}
    plan = plan_box(vm_memory_mb=8192, sidekiq_queues=queues, **given)
    assert plan.errors == ()
    box = plan.as_mapping()["hosts"]["box"]
    assert {process["name"]: process["queues"] for process in box["sidekiq"]["processes"]} == expected


def test_coefficients_are_inputs(plan_box):
    plan = plan_box(settings={"mastodon_plan_coefficients": {"web_threads_beside_postgres": 5, "redis_share": "0.05"}})
    assert plan.errors == ()
    assert (summary(plan)["web"][1], summary(plan)["redis"]) == (5, "204mb")


def test_everything_of_one_box_stays_on_loopback(plan_box):
    box = plan_box().as_mapping()["hosts"]["box"]
    assert box["endpoints"] == {
        "postgres": {"host": "127.0.0.1", "port": 5432},
        "database": {"host": "127.0.0.1", "port": 5432},
        "redis": {"host": "127.0.0.1", "port": 6379},
        "web": [{"host": "127.0.0.1", "port": 3000}],
        "streaming": [{"host": "127.0.0.1", "port": 4000}],
        "tls": False,
    }
    binds = {box["web"]["bind"], *box["postgres"]["bind"], *box["redis"]["bind"]}
    assert binds | {process["bind"] for process in box["streaming"]["processes"]} == {"127.0.0.1"}


def test_one_box_with_a_pooler_and_metrics(plan_box):
    plan = plan_box(groups={"pgbouncer": ["box"], "metrics": ["box"]}, vm_vcpus=4, vm_memory_mb=8192)
    assert plan.errors == ()
    box = plan.as_mapping()["hosts"]["box"]
    assert box["endpoints"]["database"] == {"host": "127.0.0.1", "port": 6432}
    assert box["endpoints"]["postgres"] == {"host": "127.0.0.1", "port": 5432}
    assert (box["pgbouncer"]["bind"], box["postgres"]["bind"]) == (["127.0.0.1"], ["127.0.0.1"])
    rows = {row["what"]: row["mb"] for row in box["memory"]["budget"]}
    assert (rows["pgbouncer"], rows["metrics"], rows["exporter"]) == (32, 520, 150)
