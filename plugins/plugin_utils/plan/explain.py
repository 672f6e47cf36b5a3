# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan in words: a table of sizes for the terminal, and findings as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .stacks import Stack, stacks_of
from .words import COMPONENTS, size_of

if TYPE_CHECKING:
    from .model import Finding

_BAR_WIDTH, _SHORT_BAR_WIDTH = 40, 10
_NAMES_WIDTH = 34


def table(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """The sizes of all hosts as text.

    hosts: the hosts of a plan as plain data. One host: each size with its reason, and the memory budget as bars.
    Several: those that are alike in one row, since the reasons of 200 hosts help nobody in a terminal.
    """
    if len(hosts) == 1:
        return _host_table(next(iter(hosts.values())))
    return _fleet_table(stacks_of(hosts)) if hosts else ""


def describe(findings: Iterable[Finding]) -> str:
    """Findings as a numbered list: the constraint, what is wrong, what to do."""
    return "\n".join(
        f"{number}. [{finding.constraint}] {finding.message}\n   {finding.advice}"
        for number, finding in enumerate(findings, start=1)
    )


def refusal(errors: Sequence[Finding]) -> str:
    """Why a run is refused, all of it; empty where nothing is wrong."""
    if not errors:
        return ""
    count = "One constraint does" if len(errors) == 1 else f"{len(errors)} constraints do"
    return f"{count} not hold, and nothing was changed:\n{describe(errors)}"


def _fleet_table(stacks: list[Stack]) -> str:
    """Hosts that are alike, their size and how much of their memory is planned; then a line for each component."""
    names = [_names(stack) for stack in stacks]
    width = min(_NAMES_WIDTH, max(map(len, names)))
    heading = f"{'hosts':<{width}}  {'vCPU':>4}  {'memory':>7}  {'planned':<{_SHORT_BAR_WIDTH + 5}}  runs"
    lines = [heading.rstrip()]
    for stack, name in zip(stacks, names, strict=True):
        percent = round(100 * stack.used_mb / stack.memory_mb)
        meter = _bar(stack.used_mb, stack.memory_mb, _SHORT_BAR_WIDTH)
        if len(name) > width:
            lines.append(name)
            name = ""
        left = f"{name:<{width}}  {stack.vcpus:>4}  {size_of(stack.memory_mb):>7}  {meter} {percent:>3}%"
        for component in stack.components:
            lines.append(f"{left}  {_component(stack, component)}".rstrip())
            left = " " * len(left)
    return "\n".join(lines)


def _names(stack: Stack) -> str:
    """The names of a stack; how many they are, and that a size is assumed, where that is so."""
    count = f" ({len(stack.plans)})" if len(stack.plans) > 2 else ""
    return f"{stack.title}{count}{', assumed' if stack.provisional else ''}"


def _component(stack: Stack, component: str) -> str:
    title = f"{COMPONENTS[component]} {stack.role(component)}".rstrip()
    return f"{title:<20}" + ", ".join(f"{figure.value} {figure.what}" for figure in stack.figures(component))


def _bar(used: int, total: int, width: int) -> str:
    filled = min(width, max(1, round(width * used / total)))
    return "#" * filled + "." * (width - filled)


def _host_table(plan: Mapping[str, Any]) -> str:
    host, memory = plan["host"], plan["memory"]
    rows = [_row(plan, *row) for row in _sizes(plan)]
    assumed = ", assumed" if host.get("provisional") else ""
    lines = [f"{host['name']}: {host['vcpus']} vCPU, {host['memory_mb']} MB, {host['address']}{assumed}"]
    lines += [f"  {name:<28} {value:<14} {reason}".rstrip() for name, value, reason in rows]
    lines.append(f"  memory: {memory['used_mb']} of {memory['total_mb']} MB")
    widest = max(memory["used_mb"], memory["total_mb"])
    lines += [
        f"    {row['what']:<10} {row['mb']:>7} MB  {'#' * max(1, round(_BAR_WIDTH * row['mb'] / widest))}"
        for row in memory["budget"]
    ]
    free_mb = memory["total_mb"] - memory["used_mb"]
    if free_mb > 0:
        lines.append(f"    {'free':<10} {free_mb:>7} MB  {'.' * max(1, round(_BAR_WIDTH * free_mb / widest))}")
    return "\n".join(lines)


def _row(plan: Mapping[str, Any], name: str, value: object, path: str) -> tuple[str, str, str]:
    """One line: the reason is shown without the value that it repeats."""
    reason = plan["reasons"].get(path, "")
    return name, str(value), reason.removeprefix(f"{value} = ")


def _sizes(plan: Mapping[str, Any]) -> Iterator[tuple[str, object, str]]:
    if "web" in plan:
        yield "Puma workers", plan["web"]["workers"], "web.workers"
        yield "Puma threads", plan["web"]["threads"], "web.threads"
    if "sidekiq" in plan:
        processes = plan["sidekiq"]["processes"]
        yield "Sidekiq processes", len(processes), "sidekiq.processes"
        for process in processes:
            name = process["name"]
            yield f"  {name} threads", process["concurrency"], f"sidekiq.processes.{name}.concurrency"
            yield "    queues", " ".join(process["queues"]), ""
    if "streaming" in plan:
        yield "streaming processes", len(plan["streaming"]["processes"]), "streaming.processes"
    if "pgbouncer" in plan:
        for pool in plan["pgbouncer"]["pools"]:
            yield f"PgBouncer pool {pool['name']}", pool["pool_size"], f"pgbouncer.pools.{pool['name']}.pool_size"
    if "haproxy" in plan:
        yield "HAProxy connections", plan["haproxy"]["maxconn"], "haproxy.maxconn"
    if "postgres" in plan:
        for setting in ("max_connections", "shared_buffers", "work_mem"):
            yield f"PostgreSQL {setting}", plan["postgres"]["settings"][setting], f"postgres.settings.{setting}"
    if "redis" in plan:
        yield "Redis maxmemory", plan["redis"]["settings"]["maxmemory"], "redis.settings.maxmemory"
    if "nginx" in plan:
        yield "nginx worker_connections", plan["nginx"]["worker_connections"], "nginx.worker_connections"
