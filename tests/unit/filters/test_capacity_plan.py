# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter is thin: types, the library, plain data."""

from __future__ import annotations

import json

from ansible_collections.fediops.mastodon.plugins.filter.capacity_plan import capacity_plan

TIERS = ("nginx", "web", "streaming", "sidekiq", "postgres", "postgres_primary", "redis", "redis_core")
GROUPS = {tier: ["box"] for tier in TIERS}
HOSTS = {"box": {"vm_vcpus": 4, "vm_memory_mb": 8192, "vm_address": "192.0.2.10"}}


def test_a_fleet_is_planned_as_plain_data():
    plan = capacity_plan(HOSTS, GROUPS)
    assert plan["hosts"]["box"]["web"]["workers"] == 3
    assert plan["findings"] == []
    assert json.loads(json.dumps(plan)) == plan


def test_settings_reach_the_library():
    plan = capacity_plan(HOSTS, GROUPS, {"mastodon_plan_coefficients": {"web_workers_per_vcpu_shared": 0.5}})
    assert plan["hosts"]["box"]["web"]["workers"] == 2


def test_what_does_not_hold_is_in_the_findings():
    plan = capacity_plan({"box": {**HOSTS["box"], "web_workers": 40}}, GROUPS)
    assert {"C16", "workers"} <= {finding["constraint"] for finding in plan["findings"]}
