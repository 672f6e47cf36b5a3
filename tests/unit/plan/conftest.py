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


@pytest.fixture
def plan_fleet():
    """A function: {name: (vCPU, MB, "group group", variables)} and settings in, the plan out.

    The last of the four may be left out. Parents of a part (postgres of postgres_primary) are added; addresses are
    10.0.0.1 and upwards in the order of the hosts.
    """

    def plan(hosts, settings=None, provisional=False, children=None, scheduler=None, **common):
        variables, groups = {}, {"all": list(hosts)}
        for number, (name, (vcpus, memory_mb, said, *own)) in enumerate(hosts.items(), start=1):
            size = {"vm_vcpus": vcpus, "vm_memory_mb": memory_mb, "vm_address": f"10.0.0.{number}"}
            variables[name] = {**size, **common, **(own[0] if own else {})}
            words = said.split()
            parents = [word.partition("_")[0] for word in words if "_" in word]
            for group in dict.fromkeys([*words, *parents]):
                groups.setdefault(group, []).append(name)
        settings = {"mastodon_s3_enabled": True, **(settings or {})}
        return from_inventory(
            variables, groups, settings, provisional=provisional, children=children, scheduler=scheduler
        )

    return plan
