# SPDX-License-Identifier: GPL-3.0-or-later
"""Every number has its reason, and the plan is plain data."""

from __future__ import annotations

import json

import pytest

# What a person or the host gave, and what is made from reasons themselves.
GIVEN = ("host.", "endpoints.", "reasons.")


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
    assert set(plan) == {"hosts", "findings", "table", "flows", "totals", "demand"}


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
