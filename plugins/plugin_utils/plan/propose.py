# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest layout that carries a number of people: a search over a few dozen shapes, each planned and checked.

Three shapes are tried, each in the sizes of the price table: one box, two boxes, and a split tier that grows by hosts.
Every candidate is a fleet like one that a person writes; the same plan and the same checks decide. It is no optimiser:
what it finds is a start, which costs about what it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal

from . import from_inventory
from .coefficients import Coefficients, read_coefficients
from .demand import Load, load_of
from .model import TIERS, Plan
from .prices import Machine, read_prices

ALL_IN_ONE = ("nginx", "web", "streaming", "sidekiq", "postgres", "postgres_primary", "redis", "redis_core")
APPLICATION = ("nginx", "web", "streaming", "sidekiq")
DATA = ("postgres", "postgres_primary", "redis", "redis_core")
# More hosts of a tier than this are a matter for a person.
HOSTS_OF_A_TIER = 12
# Sizes of web and Sidekiq hosts of a split tier; larger ones gain nothing over more of these.
TIER_VCPUS = (2, 4, 8)

Planner = Callable[[dict[str, dict[str, Any]], dict[str, list[str]]], Plan]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Equal hosts of a layout: the groups they are in, what machine each is, how many; and how they can grow."""

    name: str
    groups: tuple[str, ...]
    machine: Machine
    count: int = 1
    grows_by: Literal["hosts", "machine"] | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A shape with its machines; `short` says what a plan of it lacks, nothing where it carries the load."""

    shape: str
    parts: tuple[Part, ...]
    short: tuple[str, ...] = ()

    @property
    def monthly(self) -> float:
        """What all machines cost in a month, in the currency of the price table."""
        return sum(part.machine.monthly * part.count for part in self.parts)

    @property
    def hosts(self) -> int:
        """How many machines there are."""
        return sum(part.count for part in self.parts)

    def inventory(self) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
        """The layout as hosts and groups of an inventory; the addresses are made up."""
        hosts: dict[str, dict[str, Any]] = {}
        groups: dict[str, list[str]] = {}
        for part in self.parts:
            for number in range(1, part.count + 1):
                name = f"{part.name}{number}"
                hosts[name] = {
                    "vm_vcpus": part.machine.vcpus,
                    "vm_memory_mb": part.machine.memory_mb,
                    "vm_address": f"10.0.{len(hosts) // 250}.{len(hosts) % 250 + 1}",
                }
                for group in part.groups:
                    groups.setdefault(group, []).append(name)
        return hosts, groups

    def as_mapping(self) -> dict[str, Any]:
        """The layout as plain data."""
        return {
            "shape": self.shape,
            "monthly": round(self.monthly, 2),
            "hosts": [
                {
                    "name": part.name,
                    "count": part.count,
                    "groups": list(part.groups),
                    "machine": part.machine.name,
                    "vcpus": part.machine.vcpus,
                    "memory_mb": part.machine.memory_mb,
                    "monthly": part.machine.monthly,
                }
                for part in self.parts
            ],
            "short": list(self.short),
        }


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The cheapest layout that carries the load, or None; and the best of each shape that was looked at."""

    load: Load
    chosen: Layout | None
    considered: tuple[Layout, ...]
    tried: int

    def as_mapping(self) -> dict[str, Any]:
        """The proposal as plain data."""
        return {
            "load": asdict(self.load),
            "chosen": self.chosen.as_mapping() if self.chosen else None,
            "considered": [layout.as_mapping() for layout in self.considered],
            "tried": self.tried,
            "text": self.text,
        }

    @property
    def text(self) -> str:
        """The proposal for a terminal: the layout chosen, host by host, then what else was looked at."""
        load = self.load
        asked = (
            f"{load.monthly_active_users} monthly active users, who cause {load.requests_per_second:g} requests/s and "
            f"{load.jobs_per_second:g} jobs/s at the busiest time"
        )
        if self.chosen is None:
            lines = [f"None of {self.tried} layouts carries {asked}."]
        else:
            lines = [f"The cheapest of {self.tried} layouts that carries {asked}: {self.chosen.shape}."]
            lines += [
                f"  {part.count:>3} x {part.name:<8} {part.machine.name:<18} {_groups(part):<44} "
                f"{part.machine.monthly * part.count:>9.2f}"
                for part in self.chosen.parts
            ]
            lines.append(f"  {'in all, ' + _count(self.chosen.hosts):<77} {self.chosen.monthly:>9.2f} a month")
        lines.append("  Prices are those of mastodon_price_table; without it an example's, of no provider.")
        lines += [
            f"  Also looked at: {layout.shape}, {_count(layout.hosts)}, {layout.monthly:.2f} a month"
            + (f", which lacks {'; '.join(layout.short)}" if layout.short else ", which carries it too")
            for layout in self.considered
            if layout is not self.chosen
        ]
        return "\n".join(lines)


def propose_for(settings: Mapping[str, Any]) -> Proposal | None:
    """Find the cheapest layout for the people, or the requests, that an inventory's settings name; None without them.

    settings: mastodon_monthly_active_users, mastodon_requests_per_second, mastodon_price_table,
    mastodon_plan_coefficients; those of the plan that are about hosts are left out of account.
    Raises ValueError for a price table or a coefficient that cannot be read.
    """
    c = read_coefficients(settings.get("mastodon_plan_coefficients"))
    people, requests = settings.get("mastodon_monthly_active_users"), settings.get("mastodon_requests_per_second")
    load = load_of(None if people is None else int(str(people)), None if requests is None else float(str(requests)), c)
    if load is None:
        return None
    wanted = {
        "mastodon_monthly_active_users": load.monthly_active_users,
        "mastodon_requests_per_second": load.requests_per_second,
        "mastodon_plan_coefficients": settings.get("mastodon_plan_coefficients"),
        # Several hosts need it, and one may have it.
        "mastodon_s3_enabled": True,
    }
    machines = read_prices(settings.get("mastodon_price_table"))
    return propose(load, machines, lambda hosts, groups: from_inventory(hosts, groups, wanted), c)


def propose(load: Load, machines: Sequence[Machine], planner: Planner, c: Coefficients) -> Proposal:
    """Find the cheapest layout of the machines that carries the load.

    planner: gives the plan, with the demand of that load, of hosts and groups such as an inventory names.
    """

    def rank(layout: Layout) -> tuple[bool, int, float, int]:
        """What carries the load comes first, then what lacks least, costs least, has fewest hosts."""
        cost = layout.monthly * (1 + c.demand_cost_share_per_host * layout.hosts)
        return bool(layout.short), len(layout.short), cost, layout.hosts

    tried = 0
    best: dict[str, Layout] = {}
    for candidates in (_one_box(machines), _two_boxes(machines), _split_tiers(machines, load, c)):
        for start in candidates:
            layout, tries = _grown(start, machines, planner)
            tried += tries
            before = best.get(layout.shape)
            if before is None or rank(layout) < rank(before):
                best[layout.shape] = layout
    carrying = [layout for layout in best.values() if not layout.short]
    return Proposal(
        load=load, chosen=min(carrying, key=rank, default=None), considered=tuple(best.values()), tried=tried
    )


def _count(hosts: int) -> str:
    return "1 host" if hosts == 1 else f"{hosts} hosts"


def _groups(part: Part) -> str:
    return ", ".join(group for group in part.groups if group in TIERS)


def _one_box(machines: Sequence[Machine]) -> Iterator[Layout]:
    for machine in machines:
        yield Layout(shape="one box", parts=(Part(name="box", groups=ALL_IN_ONE, machine=machine),))


def _two_boxes(machines: Sequence[Machine]) -> Iterator[Layout]:
    for application, data in product(machines, repeat=2):
        if application.vcpus >= 2 <= data.vcpus <= application.vcpus:
            yield Layout(
                shape="two boxes",
                parts=(
                    Part(name="app", groups=APPLICATION, machine=application),
                    Part(name="data", groups=DATA, machine=data),
                ),
            )


def _split_tiers(machines: Sequence[Machine], load: Load, c: Coefficients) -> Iterator[Layout]:
    """Small beginnings, one for each size of the hosts that are there many times; `_grown` makes them large enough."""
    edges = 2 if load.monthly_active_users >= c.demand_two_edges_from_users else 1
    small = min(machines, key=lambda machine: (machine.vcpus < 2, machine))
    for many in machines:
        if many.vcpus in TIER_VCPUS:
            yield Layout(
                shape="split tier",
                parts=(
                    Part(name="edge", groups=("nginx", "streaming"), machine=small, count=edges, grows_by="machine"),
                    Part(name="web", groups=("web",), machine=many, count=2, grows_by="hosts"),
                    Part(name="worker", groups=("sidekiq",), machine=many, grows_by="hosts"),
                    Part(
                        name="db",
                        groups=("postgres", "postgres_primary", "pgbouncer"),
                        machine=small,
                        grows_by="machine",
                    ),
                    Part(name="redis", groups=("redis", "redis_core"), machine=small, grows_by="machine"),
                ),
            )


def _grown(layout: Layout, machines: Sequence[Machine], planner: Planner) -> tuple[Layout, int]:
    """Plan the layout; while a part is short that can grow, make it larger and plan again. Returns the plans made."""
    tries = 0
    while True:
        tries += 1
        lacking = _lacking(planner(*layout.inventory()))
        larger = _larger(layout, set(lacking), machines) if lacking else None
        if larger is None:
            return replace(layout, short=tuple(lacking.values())), tries
        layout = larger


def _lacking(plan: Plan) -> dict[str, str]:
    """{name of the part: what it lacks} of a layout whose plan is short of something or refused."""
    lacking = {}
    if plan.demand is not None:
        for need in plan.demand["needs"]:
            if need["short"]:
                lacking[_PART_OF[need["tier"]]] = f"{need['tier']}: {need['have']} of {need['needed']} {need['what']}"
    for finding in plan.errors:
        part = next((name.rstrip("0123456789") for name in finding.hosts), "db")
        lacking.setdefault(part, f"[{finding.constraint}] {finding.message}")
    return lacking


_PART_OF = {
    "web": "web",
    "sidekiq": "worker",
    "streaming": "edge",
    "postgres": "db",
    "redis": "redis",
    "the fleet": "worker",
}


def _larger(layout: Layout, lacking: set[str], machines: Sequence[Machine]) -> Layout | None:
    """The layout with one step more of every part that lacks something; None where one of them cannot grow."""
    parts = [_step(part, machines) if part.name in lacking else part for part in layout.parts]
    if None in parts or tuple(parts) == layout.parts:
        return None
    return replace(layout, parts=tuple(parts))


def _step(part: Part, machines: Sequence[Machine]) -> Part | None:
    """The part with one host more, or a larger machine, as it grows; None at its end."""
    if part.grows_by == "hosts" and part.count < HOSTS_OF_A_TIER:
        return replace(part, count=part.count + 1)
    if part.grows_by == "machine":
        larger = next((machine for machine in machines if _is_more(machine, part.machine)), None)
        return replace(part, machine=larger) if larger else None
    return None


def _is_more(machine: Machine, than: Machine) -> bool:
    return (
        machine.vcpus >= than.vcpus
        and machine.memory_mb >= than.memory_mb
        and (machine.vcpus, machine.memory_mb) != (than.vcpus, than.memory_mb)
    )
