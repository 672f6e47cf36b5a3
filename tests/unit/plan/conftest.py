# SPDX-License-Identifier: GPL-3.0-or-later
"""One box, as an inventory says it."""

from __future__ import annotations

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory

GROUPS = {
    group: ["box"]
    for group in (
        "all",
        "nginx",
        "web",
        "streaming",
        "sidekiq",
        "postgres",
        "postgres_primary",
        "redis",
        "redis_core",
    )
}


@pytest.fixture
def plan_box():
    """A function: variables of the box, groups and settings of the fleet in, the plan out."""

    def plan(groups=None, settings=None, **variables):
        box = {"vm_vcpus": 2, "vm_memory_mb": 4096, "vm_address": "192.0.2.10", **variables}
        return from_inventory({"box": box}, GROUPS | (groups or {}), settings)

    return plan
