# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are alike, taken together: what a table and a picture of 200 hosts are made of.

Reads a plan as plain data, as `Plan.as_mapping` makes it and as a file of JSON keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .words import COMPONENTS, listed, span

# What a person looks for first, by component: its name beside the number, and where it stands in the plan.
_FIGURES = {
    "nginx": (("connections a worker", "worker_connections"),),
    "web": (("workers", "workers"), ("threads each", "threads")),
    "streaming": (("processes", "processes"), ("connections each", "db_pool")),
    "sidekiq": (("processes", "processes"), ("threads", "processes.concurrency")),
    "pgbouncer": (
        ("primary", "pools.pool_size for primary"),
        ("replicas", "pools.pool_size for replica"),
        ("reserve", "pools.reserve_pool_size"),
        ("clients", "max_client_conn"),
    ),
    "haproxy": (("connections", "maxconn"),),
    "postgres": (("connections", "settings.max_connections"), ("buffers", "settings.shared_buffers")),
    "redis": (("at most", "settings.maxmemory"),),
}
_ONE = {"workers": "worker", "processes": "process"}
_ROLES = ("", "primary", "core", "replica", "cache", "sidekiq")
# Names in a path that say nothing to a person who sees the component.
_BETWEEN = re.compile(r"^(settings|sysctl|pools|listeners|processes|budget)\.")
# What comes in is in the table of flows.
_NOT_SIZES = ("host", "endpoints", "firewall", "reasons")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a component, with its reason; value is text, "4 to 8" where the hosts of a stack differ."""

    what: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One value of the plan as a table shows it; hosts are those that have it, empty for all of the stack."""

    component: str
    what: str
    value: str
    reason: str
    hosts: str


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What one consumer takes of a host's memory; the most of all hosts of a stack."""

    what: str
    mb: int
    reason: str

    @property
    def component(self) -> str:
        """The component that takes it; "system" for what belongs to none."""
        return self.what if self.what in COMPONENTS else "system"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Hosts of one size on which the same runs. plans: their parts of the plan, in the order of their names."""

    plans: tuple[Mapping[str, Any], ...]

    @property
    def names(self) -> list[str]:
        """The names of the hosts."""
        return [plan["host"]["name"] for plan in self.plans]

    @property
    def title(self) -> str:
        """The names of the hosts, as short as can be."""
        return listed(self.names)

    @property
    def first(self) -> Mapping[str, Any]:
        """The first host; what holds for all may be read from it."""
        return self.plans[0]

    @property
    def components(self) -> list[str]:
        """What runs here, in the order in which a request meets it."""
        return [part for part in COMPONENTS if part in self.first["host"]["components"]]

    @property
    def provisional(self) -> bool:
        """True if the size or address of a host is assumed."""
        return any(plan["host"].get("provisional") for plan in self.plans)

    def role(self, component: str) -> str:
        """What a data host is among its kind: "primary", "replica", "cache"; empty for all others."""
        return self.first["host"].get(f"{component}_role") or ""

    def figures(self, component: str) -> list[Figure]:
        """The numbers of a component that a person looks for first."""
        found = []
        for what, path in _FIGURES.get(component, ()):
            numbers = [_number(plan.get(component, {}), path) for plan in self.plans]
            present = [number for number in numbers if number is not None]
            if present:
                reason = _reason_of_figure(self.first, component, path)
                differs = f" On {self.names[0]}; the hosts of this kind differ." if len(set(present)) > 1 else ""
                value = _text(present)
                what = _ONE.get(what, what) if value == "1" else what
                found.append(Figure(what=what, value=value, reason=f"{reason}{differs}"))
        return found

    @property
    def budget(self) -> list[Budget]:
        """The rows of the memory budget, the largest of each over all hosts."""
        most: dict[str, tuple[int, str]] = {}
        for plan in self.plans:
            for row in plan["memory"]["budget"]:
                reason = plan["reasons"].get(f"memory.budget.{row['what']}", "")
                most[row["what"]] = max(most.get(row["what"], (0, "")), (row["mb"], reason))
        return [Budget(what=what, mb=mb, reason=reason) for what, (mb, reason) in most.items()]

    @property
    def used_mb(self) -> int:
        """What is planned of the memory of a host, the most of all hosts."""
        return max(plan["memory"]["used_mb"] for plan in self.plans)

    @property
    def memory_mb(self) -> int:
        """The memory of each host."""
        return self.first["host"]["memory_mb"]

    @property
    def vcpus(self) -> int:
        """The processors of each host."""
        return self.first["host"]["vcpus"]

    def sizes(self) -> list[tuple[str, list[Row]]]:
        """Every size with its reason by component, then memory and kernel; what is alike on all hosts once."""
        rows: dict[str, list[Row]] = {part: [] for part in (*COMPONENTS, "memory", "kernel")}
        for row in self._rows():
            rows.setdefault(row.component, []).append(row)
        return [(part, found) for part, found in rows.items() if found]

    def _rows(self) -> list[Row]:
        found: dict[tuple[str, str, str], tuple[str, list[str]]] = {}
        for plan in self.plans:
            for path, value in leaves({key: part for key, part in plan.items() if key not in _NOT_SIZES}):
                part, _dot, rest = path.partition(".")
                what = _BETWEEN.sub("", rest)
                entry = found.setdefault((part, what, value), (reason_of(path, plan["reasons"]), []))
                entry[1].append(plan["host"]["name"])
        return [
            Row(
                component=part,
                what=what,
                value=value,
                reason=without_value(reason),
                hosts="" if len(hosts) == len(self.plans) else listed(hosts),
            )
            for (part, what, value), (reason, hosts) in found.items()
        ]


def stacks_of(hosts: Mapping[str, Mapping[str, Any]]) -> list[Stack]:
    """The hosts of a plan, those alike together: same size, same components, same number of processes.

    They are in the order in which a request meets them, then by name.
    """
    alike: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for name in sorted(hosts, key=_natural):
        alike.setdefault(_kind(hosts[name]), []).append(hosts[name])
    order = list(COMPONENTS)
    stacks = [Stack(plans=tuple(plans)) for plans in alike.values()]
    return sorted(stacks, key=lambda stack: ([order.index(part) for part in stack.components], _rank(stack.first)))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each value below a path as text. Entries of a list that have a name go by it; other lists are one value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and _name(item) for item in value):
        for item in value:
            rest = {key: inner for key, inner in item.items() if key not in ("name", "what")}
            yield from leaves(rest, f"{path}.{_name(item)}")
    elif isinstance(value, list):
        yield path, " ".join(map(_entry, value))
    elif value is not None:
        yield path, str(value)


def reason_of(path: str, reasons: Mapping[str, str]) -> str:
    """The reason of a value, else of the nearest thing that it is part of."""
    while path and path not in reasons:
        path = path.rpartition(".")[0]
    return reasons.get(path, "")


def without_value(reason: str) -> str:
    """A reason where the value that it begins with is shown beside it: "one a vCPU" of "4 = one a vCPU"."""
    return reason.split(" = ", 1)[-1]


def _kind(plan: Mapping[str, Any]) -> tuple[Any, ...]:
    host, web = plan["host"], plan.get("web", {})
    counts = [len(plan.get(part, {}).get("processes", ())) for part in ("streaming", "sidekiq")]
    size = (host["vcpus"], host["memory_mb"], bool(host.get("provisional")))
    return (tuple(host["components"]), *size, *_roles(plan), web.get("workers"), web.get("threads"), *counts)


def _roles(plan: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(plan["host"].get(key) or "") for key in ("postgres_role", "redis_role", "sidekiq_group"))


def _rank(plan: Mapping[str, Any]) -> tuple[Any, ...]:
    postgres, redis, group = _roles(plan)
    return (_ROLES.index(postgres), _ROLES.index(redis), group, _natural(plan["host"]["name"]))


def _number(part: Mapping[str, Any], path: str) -> int | str | None:
    """A number of a component: of a list its length, of a key of a list's entries their sum.

    "pools.pool_size for primary" is the sum over the entries of which `for` is primary; None where there is none.
    """
    path, _for, purpose = path.partition(" for ")
    head, _dot, key = path.partition(".")
    value: Any = part.get(head)
    if isinstance(value, list):
        entries = [entry for entry in value if not purpose or entry["for"] == purpose]
        return (sum(entry[key] for entry in entries) if key else len(entries)) if entries else None
    return value.get(key) if key and isinstance(value, Mapping) else value


def _reason_of_figure(plan: Mapping[str, Any], component: str, path: str) -> str:
    """The reason of a figure; of a sum the reasons of what is added up."""
    path, _for, purpose = path.partition(" for ")
    head, _dot, key = path.partition(".")
    entries = plan[component].get(head)
    if not isinstance(entries, list) or not key:
        return without_value(reason_of(f"{component}.{path}", plan["reasons"]))
    names = [entry["name"] for entry in entries if not purpose or entry["for"] == purpose]
    reasons = [reason_of(f"{component}.{head}.{name}.{key}", plan["reasons"]) for name in names]
    return "\n".join(f"{name}: {reason}" for name, reason in zip(names, reasons, strict=True))


def _text(values: Sequence[int | str]) -> str:
    numbers = [value for value in values if isinstance(value, int)]
    return span(numbers) if len(numbers) == len(values) else " or ".join(dict.fromkeys(map(str, values)))


def _name(item: Mapping[str, Any]) -> str:
    return item.get("name") or item.get("what") or ""


def _entry(item: Any) -> str:
    """An entry of a list that has no name: an address with its port, whom it lets in, or the value itself."""
    if not isinstance(item, Mapping):
        return str(item)
    if "sources" in item:
        return " ".join(f"{item['port']}<-{source}" for source in item["sources"])
    if "user" in item:
        return f"{item['user']}@{item['address']}"
    return f"{item.get('host', item.get('bind', ''))}:{item.get('port', '')}"


def _natural(name: str) -> tuple[Any, ...]:
    """A key by which web9 comes before web10."""
    digits = "".join(letter if letter.isdigit() else " " for letter in name).split()
    return ("".join(letter for letter in name if not letter.isdigit()), tuple(map(int, digits)), name)


def total(stacks: Iterable[Stack], component: str) -> int:
    """How many hosts run a component."""
    return sum(len(stack.plans) for stack in stacks if component in stack.components)
