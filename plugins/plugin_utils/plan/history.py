# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs already, as an earlier plan says it: whatever need not move when hosts join stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .components import pgbouncer

Served = dict[str, tuple[tuple[str, ...], ...]]


def served_in(earlier: Mapping[str, Mapping[str, Any]]) -> Served:
    """The queues of each Sidekiq process of each host, in their order. earlier: the hosts of a plan as plain data."""
    parts = {name: part["sidekiq"]["processes"] for name, part in earlier.items() if "sidekiq" in part}
    return {name: tuple(tuple(process["queues"]) for process in processes) for name, processes in parts.items()}


def poolers_in(earlier: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The address of the pooler of each host that has one on another. earlier: the hosts of a plan as plain data."""
    ends = {name: part.get("endpoints", {}).get("database", {}) for name, part in earlier.items()}
    return {name: end["host"] for name, end in ends.items() if end.get("port") == pgbouncer.PORT}
