# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a page: one file of HTML that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .flows import HEALTH, LOGS, OF_RUNS
from .picture import CONTROL, METRICS, WORLD, draw
from .stacks import Stack, leaves, stacks_of
from .words import COMPONENTS, listed, ports, size_of, span

_TEMPLATES = Path(__file__).with_name("templates")
# Two drawings of the same picture: the reader's window decides which of them is shown.
_DRAWINGS = {"wide": {"width": 1080, "columns": 4}, "narrow": {"width": 358, "columns": 2}}
# Where the plan says how many connections a component takes.
_LIMIT_PATHS = {"pgbouncer": "pgbouncer.max_client_conn", "postgres": "postgres.settings.max_connections"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a bar: how much, of what, and why."""

    component: str
    what: str
    count: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """How much of something that is limited is taken."""

    title: str
    limit: int
    limit_reason: str
    parts: tuple[Part, ...]

    @property
    def taken(self) -> int:
        """The sum of all parts."""
        return sum(part.count for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Flows between two stacks that serve the same purpose."""

    source: str
    target: str
    ports: str
    purpose: str
    pool: str


def page(plan: Mapping[str, Any], *, title: str) -> str:
    """The page of a plan, always the same for the same plan.

    plan: plain data, as `Plan.as_mapping` makes it. title: what the fleet is called, such as the instance's domain.
    """
    stacks = stacks_of(plan["hosts"])
    findings = sorted(plan["findings"], key=lambda finding: finding["severity"] != "error")
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size_of": size_of}
    return environment.get_template("plan.html.j2").render(
        title=title,
        plan=plan,
        names=COMPONENTS,
        present=[part for part in COMPONENTS if any(part in stack.components for stack in stacks)],
        stacks=stacks,
        errors=[finding for finding in findings if finding["severity"] == "error"],
        findings=findings,
        pictures={name: draw(stacks, plan["flows"], **size) for name, size in _DRAWINGS.items()} if stacks else {},
        not_drawn=_not_drawn(stacks, plan["flows"]),
        tiles=_tiles(plan, stacks),
        bars=_bars(plan["hosts"]),
        passages=_passages(stacks, plan["flows"]),
    )


def _tiles(plan: Mapping[str, Any], stacks: Sequence[Stack]) -> list[tuple[str, str]]:
    """What the fleet is, in a handful of numbers."""
    if not stacks:
        return []
    totals = plan["totals"]
    hosts = len(plan["hosts"])
    planned_mb = sum(part["memory"]["used_mb"] for part in plan["hosts"].values())
    tiles = [
        (f"{hosts} host{'s' if hosts > 1 else ''}", f"{totals['vcpus']} vCPU, {size_of(totals['memory_mb'])}"),
        (f"{totals['puma_threads']} threads", "of Puma answer people"),
        (f"{totals['sidekiq_threads']} threads", f"of Sidekiq work, in {_of(totals['sidekiq_processes'], 'process')}"),
        (f"{totals['database_clients']} clients", "of PostgreSQL at most"),
    ]
    if totals["pool_size"]:
        tiles.append((f"{totals['pool_size']} connections", "to PostgreSQL carry them, through PgBouncer"))
    tiles.append((f"{round(100 * planned_mb / totals['memory_mb'])} %", "of all memory is planned"))
    return tiles


def _not_drawn(stacks: Sequence[Stack], flows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a picture leaves out because it would reach every card, or never leave one."""
    at = {name: number for number, stack in enumerate(stacks) for name in stack.names}
    kinds = {
        "SSH from the control machine to every host": lambda flow: flow["from"] == CONTROL,
        "metrics, which are read from every host": lambda flow: flow["what"].startswith(METRICS),
        "logs, which every host sends to the metrics host": lambda flow: flow["what"] == LOGS,
        "what a run itself asks: releases from where they are built, and answers of each edge": lambda flow: (
            flow["what"] in OF_RUNS
        ),
        "the health of replicas, which HAProxy beside a pooler asks": lambda flow: flow["what"] == HEALTH,
        "what hosts of one card say to each other": lambda flow: at.get(flow["from"], "") == at.get(flow["to"]),
    }
    found = {what for flow in flows for what, is_meant in kinds.items() if is_meant(flow)}
    return [what for what in kinds if what in found]


def _of(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}es"


def _bars(hosts: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    """Who may hold how many connections to each pooler and each PostgreSQL."""
    at = {plan["host"]["address"]: name for name, plan in hosts.items()}
    asked: dict[tuple[str, int], dict[str, tuple[int, list[str]]]] = {}
    for name, plan in hosts.items():
        for component, endpoint, count in _clients(plan):
            # An address that no host of the fleet has is the loopback of the client's own.
            key = (at.get(endpoint["host"], name), endpoint["port"])
            before, names = asked.setdefault(key, {}).get(component, (0, []))
            asked[key][component] = (before + count, [*names, name])
    bars = []
    for component, path in _LIMIT_PATHS.items():
        for name, plan in hosts.items():
            if component not in plan:
                continue
            parts = asked.get((name, plan[component]["port"]), {})
            bars.append(
                Bar(
                    title=f"{COMPONENTS[component]} on {name}",
                    limit=int(dict(leaves(plan))[path]),
                    limit_reason=plan["reasons"].get(path, ""),
                    parts=tuple(_part(client, count, names) for client, (count, names) in parts.items()),
                )
            )
    return bars


def _part(client: str, count: int, names: Sequence[str]) -> Part:
    """What all hosts of a kind may take of a limit."""
    reason = f"{COMPONENTS[client]} on {listed(names)}: at most {count} connections at once"
    return Part(component=client, what=COMPONENTS[client], count=count, reason=reason)


def _clients(plan: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any], int]]:
    """For each component of a host that asks a database: itself, whom it asks, and its connections at most."""
    endpoints = plan["endpoints"]
    ruby = [endpoints.get("database", endpoints.get("postgres"))]
    ruby += [endpoints["database_replica"]] if "database_replica" in endpoints else []
    if "web" in plan:
        web = max(1, plan["web"]["workers"]) * plan["web"]["db_pool"]
        yield from (("web", endpoint, web) for endpoint in ruby)
    if "sidekiq" in plan:
        sidekiq = sum(process["db_pool"] for process in plan["sidekiq"]["processes"])
        yield from (("sidekiq", endpoint, sidekiq) for endpoint in ruby)
    if "streaming" in plan:
        yield "streaming", ruby[0], plan["streaming"]["db_pool"] * len(plan["streaming"]["processes"])
    for pool in plan.get("pgbouncer", {}).get("pools", ()):
        for end in _servers(plan, pool):
            yield "pgbouncer", end, pool["pool_size"] + pool["reserve_pool_size"]


def _servers(plan: Mapping[str, Any], pool: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Where the connections of a pool may end: at PostgreSQL itself, or at each that HAProxy of the host leads to."""
    for listener in plan.get("haproxy", {}).get("listeners", ()):
        if pool["host"] in listener["bind"] and pool["port"] == listener["port"]:
            return listener["servers"]
    return [pool]


def _passages(stacks: Sequence[Stack], flows: Iterable[Mapping[str, Any]]) -> list[Passage]:
    """All flows, those between the same stacks for the same purpose together."""
    at = {name: stack.title for stack in stacks for name in stack.names}
    at |= {WORLD: "the world", CONTROL: "the control machine"}
    found: dict[tuple[str, str, str], tuple[set[int], set[int]]] = {}
    for flow in flows:
        key = (at.get(flow["from"], flow["from"]), at.get(flow["to"], flow["to"]), flow["purpose"])
        numbers, pools = found.setdefault(key, (set(), set()))
        numbers.add(flow["port"])
        if flow.get("pool"):
            pools.add(flow["pool"])
    return [
        Passage(source=source, target=target, ports=ports(numbers), purpose=purpose, pool=span(pools) if pools else "")
        for (source, target, purpose), (numbers, pools) in found.items()
    ]
