# SPDX-License-Identifier: GPL-3.0-or-later
"""One part of the plan, for those who ask for one number: what the filters have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import from_inventory
from .explain import describe
from .model import LOOPBACK, REQUIRED_TIERS, Plan

_LEADERS = ("postgres_primary", "redis_core")


def plan_of(
    hosts: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of hosts as a filter is given them.

    groups: None for a single host, on which everything runs; it needs no address then.
    Raises ValueError for several hosts without groups.
    """
    if groups is None:
        if len(hosts) != 1:
            raise ValueError(f"groups are needed for {len(hosts)} hosts; they may be left out for exactly one")
        groups = {group: list(hosts) for group in (*REQUIRED_TIERS, *_LEADERS)}
        hosts = {name: {"vm_address": LOOPBACK, **variables} for name, variables in hosts.items()}
    return from_inventory(hosts, groups, settings)


def part_of(
    path: str,
    hosts: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One part of the plan of each host that has it, such as "web" or "postgres.settings": {host: part}.

    Raises ValueError with all findings if a constraint does not hold.
    """
    plan = plan_of(hosts, groups, settings)
    if plan.errors:
        raise ValueError(f"this fleet cannot be planned:\n{describe(plan.errors)}")
    component, _dot, key = path.partition(".")
    parts = {name: host.as_mapping().get(component) for name, host in plan.hosts.items()}
    return {name: part[key] if key else part for name, part in parts.items() if part is not None}
