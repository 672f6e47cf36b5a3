# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan in words: a table of sizes for the terminal, and findings as text."""

from __future__ import annotations

from collections.abc import Iterable

from .model import Finding, HostPlan

_BAR_WIDTH = 40


def table(hosts: Iterable[HostPlan]) -> str:
    """The sizes of all hosts as text, each with its reason, and the memory budget as bars."""
    return "\n\n".join(_host_table(plan) for plan in hosts)


def describe(findings: Iterable[Finding]) -> str:
    """Findings as a numbered list: the constraint, what is wrong, what to do."""
    return "\n".join(
        f"{number}. [{finding.constraint}] {finding.message}\n   {finding.advice}"
        for number, finding in enumerate(findings, start=1)
    )


def _host_table(plan: HostPlan) -> str:
    host, memory = plan.host, plan.memory
    rows = [_row(plan, *row) for row in _sizes(plan)]
    lines = [f"{host.name}: {host.vcpus} vCPU, {host.memory_mb} MB, {host.address}"]
    lines += [f"  {name:<28} {value:<14} {reason}".rstrip() for name, value, reason in rows]
    lines.append(f"  memory: {memory.used_mb} of {memory.total_mb} MB")
    widest = max(memory.used_mb, memory.total_mb)
    lines += [
        f"    {row.what:<10} {row.mb:>7} MB  {'#' * max(1, round(_BAR_WIDTH * row.mb / widest))}"
        for row in memory.budget
    ]
    free_mb = memory.total_mb - memory.used_mb
    if free_mb > 0:
        lines.append(f"    {'free':<10} {free_mb:>7} MB  {'.' * max(1, round(_BAR_WIDTH * free_mb / widest))}")
    return "\n".join(lines)


def _row(plan: HostPlan, name: str, value: object, path: str) -> tuple[str, str, str]:
    """One line: the reason is shown without the value that it repeats."""
    reason = plan.reasons.get(path, "")
    return name, str(value), reason.removeprefix(f"{value} = ")


def _sizes(plan: HostPlan) -> Iterable[tuple[str, object, str]]:
    if plan.web:
        yield "Puma workers", plan.web.workers, "web.workers"
        yield "Puma threads", plan.web.threads, "web.threads"
    if plan.sidekiq:
        yield "Sidekiq processes", len(plan.sidekiq.processes), "sidekiq.processes"
        for process in plan.sidekiq.processes:
            yield f"  {process.name} threads", process.concurrency, f"sidekiq.processes.{process.name}.concurrency"
            yield "    queues", " ".join(process.queues), ""
    if plan.streaming:
        yield "streaming processes", len(plan.streaming.processes), "streaming.processes"
    if plan.postgres:
        for setting in ("max_connections", "shared_buffers", "work_mem"):
            yield f"PostgreSQL {setting}", plan.postgres.settings[setting], f"postgres.settings.{setting}"
    if plan.redis:
        yield "Redis maxmemory", plan.redis.settings["maxmemory"], "redis.settings.maxmemory"
    if plan.nginx:
        yield "nginx worker_connections", plan.nginx.worker_connections, "nginx.worker_connections"
