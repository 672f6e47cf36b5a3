# SPDX-License-Identifier: GPL-3.0-or-later
"""Every number has its reason, and the plan is plain data."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.explain import refusal
from collection_tree import ROOT
from unit.plan.samples import TEN, TWO_HUNDRED, planned

# What a person or the host gave, what is made from flows, which say what for, and from reasons themselves.
GIVEN = ("host.", "endpoints.", "firewall.", "reasons.")


def leaves(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            name = item.get("name") or item.get("what") if isinstance(item, dict) else None
            yield from leaves(item, f"{path}.{name}" if name else path)
    else:
        yield path


def reason_of(path, reasons):
    """The reason of a path, or of the nearest thing that it is part of; a whole component is not near."""
    parts = path.split(".")
    for length in range(len(parts), 1, -1):
        if ".".join(parts[:length]) in reasons:
            return ".".join(parts[:length])
    return None


@pytest.mark.parametrize(("vcpus", "memory_mb"), [(1, 1986), (2, 4096), (4, 8192), (16, 65536)])
def test_every_size_has_a_reason_and_every_reason_a_size(plan_box, vcpus, memory_mb):
    box = plan_box(vm_vcpus=vcpus, vm_memory_mb=memory_mb).as_mapping()["hosts"]["box"]
    reasons = box["reasons"]
    paths = [path for path in leaves(box) if not path.startswith(GIVEN)]
    assert [path for path in paths if reason_of(path, reasons) is None] == []
    assert set(reasons) - {reason_of(path, reasons) for path in paths} == set()


def test_the_reasons_repeat_the_numbers_in_force(plan_box):
    box = plan_box().as_mapping()["hosts"]["box"]
    for name, value in box["postgres"]["settings"].items():
        assert box["reasons"][f"postgres.settings.{name}"].startswith(f"{value} = ")
    for name in ("workers", "threads", "db_pool", "memory_max_mb", "limit_nofile"):
        assert box["reasons"][f"web.{name}"].startswith(f"{box['web'][name]} = ")


def test_the_plan_is_plain_data(plan_box):
    plan = plan_box(web_workers=3).as_mapping()
    assert json.loads(json.dumps(plan)) == plan
    assert set(plan) == {
        "builder", "demand", "findings", "flows", "groups", "hosts", "leaving", "metrics", "table", "totals",
    }  # fmt: skip


def test_the_table_shows_sizes_reasons_and_memory(plan_box):
    table = plan_box().table
    assert "box: 2 vCPU, 4096 MB, 192.0.2.10" in table
    assert "Puma workers                 1 " in table
    assert "federation threads         15 " in table
    assert "memory: 4035 of 4096 MB" in table
    assert max(map(len, table.splitlines())) < 200


def test_a_host_without_a_component_has_no_such_key(plan_box):
    plan = plan_box().hosts["box"]
    from dataclasses import replace

    assert "nginx" in plan.as_mapping()
    assert "nginx" not in replace(plan, nginx=None).as_mapping()


@pytest.fixture(scope="module", params=[TEN, TWO_HUNDRED], ids=["ten", "two_hundred"])
def fleet(request):
    return planned(request.param).as_mapping()


def test_every_size_of_a_fleet_has_a_reason_and_every_reason_a_size(fleet):
    for host in fleet["hosts"].values():
        paths = [path for path in leaves(host) if not path.startswith(GIVEN)]
        assert [path for path in paths if reason_of(path, host["reasons"]) is None] == []
        assert set(host["reasons"]) - {reason_of(path, host["reasons"]) for path in paths} == set()


def test_the_table_of_a_fleet_has_a_row_for_hosts_that_are_alike(fleet):
    lines = fleet["table"].splitlines()
    assert lines[0].split() == ["hosts", "vCPU", "memory", "planned", "runs"]
    assert len(lines) < 20
    assert max(map(len, lines)) < 135
    named = " ".join(line[: lines[0].index("vCPU")] for line in lines)
    assert "db1" in named
    assert "web1, web2" in named or "web1 to web90 (90)" in named


def test_the_table_of_a_fleet_shows_sizes_pools_and_memory():
    table = planned(TEN).table
    assert "web1, web2         4     8 GB  ###.......  29%  Puma                4 workers, 5 threads each" in table
    assert re.search(r"pool1 .* PgBouncer +\d+ primary, \d+ replicas, \d+ reserve, \d+ clients", table)
    assert re.search(r"db1 .* PostgreSQL primary +\d+ connections, \d+MB buffers", table)
    assert re.search(r"feeds1 .* Redis core +\d+mb at most", table)


def test_numbers_that_differ_between_hosts_that_are_alike_are_a_span():
    assert re.search(r"push1 to push30 \(30\) .* Sidekiq +4 processes, \d+ to \d+ threads", planned(TWO_HUNDRED).table)


def test_an_assumed_size_is_marked(plan_fleet):
    tiers = "nginx web streaming sidekiq postgres_primary redis_core"
    alone = plan_fleet({"box1": (None, None, tiers)}, provisional=True)
    assert "box1: 2 vCPU, 4096 MB, 10.0.0.1, assumed" in alone.table
    web, rest = (4, 8192, "web"), (None, None, "nginx streaming sidekiq postgres_primary redis_core")
    assert "all1, assumed" in plan_fleet({"web1": web, "all1": rest}, provisional=True).table


def test_without_a_plan_there_is_no_table(plan_box):
    assert plan_box(vm_memory_mb="4GB").table == ""


def test_a_refusal_holds_all_errors_with_what_to_do(plan_box):
    assert refusal(()) == ""
    assert refusal(plan_box(vm_memory_mb="4GB").errors).startswith("One constraint does not hold, and nothing was")
    text = refusal(plan_box(vm_memory_mb="4GB", web_workers="many").errors)
    assert text.startswith("2 constraints do not hold, and nothing was changed:\n1. [input] box: ")
    assert "\n   Type vm_memory_mb: 4096" in text


def test_the_table_in_the_documentation_is_what_is_shown():
    page = (ROOT / "docs/plan.md").read_text(encoding="utf-8")
    assert planned(TEN).table in page, "docs/plan.md shows another table of a split tier than the plan does now"
