# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters that give one part of the plan: alike but for their names, and for the part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .filters import named, require_fleet
from .plan.parts import part_of


def part_filter(name: str, path: str) -> Callable[..., dict[str, Any]]:
    """The filter `name`, which gives the part of the plan at `path`, such as "web", of each host that has it."""

    def part(
        hosts: Mapping[str, Mapping[str, Any]],
        groups: Mapping[str, Sequence[str]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Check types, call the library, name the filter in what it raises."""
        with named(name):
            require_fleet(hosts, groups, settings)
            return part_of(path, hosts, groups, settings)

    return part
