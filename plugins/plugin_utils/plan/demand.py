# SPDX-License-Identifier: GPL-3.0-or-later
"""What a number of people asks of a fleet at its busiest, beside what the planned fleet has.

Estimates from published instances and from measurements, marked in `coefficients`: good for "which tier is short, and
by how much", not for a promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from .coefficients import Coefficients
from .model import Finding, Fleet, HostPlan
from .words import joined


@dataclass(frozen=True, kw_only=True)
class Load:
    """People, and what they cause per second at the busiest time of a usual day."""

    monthly_active_users: int
    requests_per_second: float
    jobs_per_second: float


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing that a tier must have enough of; needed and have are counts, or MB where `what` says so."""

    tier: str
    what: str
    needed: int
    have: int
    reason: str

    @property
    def short(self) -> int:
        """How much is missing; 0 where there is enough."""
        return max(0, self.needed - self.have)


@dataclass(frozen=True, kw_only=True)
class Demand:
    """The load, and everything that it needs beside what there is."""

    load: Load
    needs: tuple[Need, ...]

    @property
    def carried(self) -> bool:
        """Whether there is enough of everything."""
        return not any(need.short for need in self.needs)

    def as_mapping(self) -> dict[str, Any]:
        """The demand as plain data: {load: {...}, needs: [{tier, what, needed, have, short, reason}], carried}."""
        needs = [{**asdict(need), "short": need.short} for need in self.needs]
        return {"load": asdict(self.load), "needs": needs, "carried": self.carried}


def load_of(monthly_active_users: int | None, requests_per_second: float | None, c: Coefficients) -> Load | None:
    """The load of so many people, of so many requests, or of both as given; None where neither is known."""
    per_user = c.demand_requests_per_second_per_1000_users / 1000
    if monthly_active_users is None and requests_per_second is None:
        return None
    if monthly_active_users is None:
        monthly_active_users = ceil(requests_per_second / per_user)
    if requests_per_second is None:
        requests_per_second = monthly_active_users * per_user
    return Load(
        monthly_active_users=monthly_active_users,
        requests_per_second=round(requests_per_second, 1),
        jobs_per_second=round(monthly_active_users / 1000 * c.demand_jobs_per_second_per_1000_users, 1),
    )


def assess(fleet: Fleet, hosts: Mapping[str, HostPlan], c: Coefficients) -> Demand | None:
    """What the users of the fleet need beside what its plan has; None where the inventory says nothing of users."""
    load = load_of(fleet.monthly_active_users, fleet.requests_per_second, c)
    if load is None:
        return None
    plans = list(hosts.values())
    return Demand(load=load, needs=(*_ruby(plans, load, c), *_streaming(plans, load, c), *_data(plans, load, c)))


def findings(demand: Demand | None) -> tuple[Finding, ...]:
    """One warning for each tier that is short: an instance that is slow at eight in the evening is still one."""
    if demand is None:
        return ()
    tiers = dict.fromkeys(need.tier for need in demand.needs if need.short)
    return tuple(_finding(demand.load, tier, [n for n in demand.needs if n.tier == tier and n.short]) for tier in tiers)


def _finding(load: Load, tier: str, needs: list[Need]) -> Finding:
    users = f"{load.monthly_active_users} active users a month"
    lacks = "; ".join(f"{need.have} of {need.needed} {need.what} ({need.reason})" for need in needs)
    return Finding(
        constraint="demand",
        severity="warning",
        hosts=(),
        message=f"{tier} is too small for {users} at the busiest time: {lacks}.",
        advice=f"Missing: {joined([f'{need.short} {need.what}' for need in needs])}. {_ADVICE[tier]}",
    )


_ADVICE = {
    "web": "Add a host to web, or give those that are there more vCPUs and memory.",
    "sidekiq": "Add a host to sidekiq, or give those that are there more vCPUs and memory.",
    "streaming": "Set streaming_processes, or add a host to streaming.",
    "postgres": "Give the primary more, or put it on a host of its own.",
    "redis": "Give Redis a host with more memory.",
    "the fleet": "Add hosts, or give those that are there more vCPUs.",
}


def _busy(amount: float, c: Coefficients) -> int:
    """So many that they are busy for no more than the share that keeps queues short."""
    return ceil(amount / c.demand_busy_share)


def _ruby(plans: list[HostPlan], load: Load, c: Coefficients) -> list[Need]:
    """Threads by Little's law (arrivals x seconds each); processes by the CPU that each can use, which is one core."""
    requests, jobs = load.requests_per_second, load.jobs_per_second
    webs = [plan.web for plan in plans if plan.web]
    processes = [process for plan in plans if plan.sidekiq for process in plan.sidekiq.processes]
    computing = [plan for plan in plans if plan.web or plan.sidekiq or _is_primary(plan)]
    at_busy = f"busy {c.demand_busy_share:.0%} of the time"
    cpu_seconds = (
        requests * (c.demand_request_cpu_seconds + c.demand_postgres_seconds_per_request)
        + jobs * (c.demand_job_cpu_seconds + c.demand_postgres_seconds_per_job)
    )  # fmt: skip
    return [
        Need(
            tier="web",
            what="Puma threads",
            needed=_busy(requests * c.demand_request_seconds, c),
            have=sum(max(1, web.workers) * web.threads for web in webs),
            reason=f"{requests:g} requests/s x {c.demand_request_seconds:g} s, {at_busy}",
        ),
        Need(
            tier="web",
            what="Puma workers",
            needed=_busy(requests * c.demand_request_cpu_seconds, c),
            have=sum(max(1, web.workers) for web in webs),
            reason=f"{requests:g} requests/s x {c.demand_request_cpu_seconds:g} s of a core, {at_busy}",
        ),
        Need(
            tier="sidekiq",
            what="Sidekiq threads",
            needed=_busy(jobs * c.demand_job_seconds, c),
            have=sum(process.concurrency for process in processes),
            reason=f"{jobs:g} jobs/s x {c.demand_job_seconds:g} s, {at_busy}",
        ),
        Need(
            tier="sidekiq",
            what="Sidekiq processes",
            needed=_busy(jobs * c.demand_job_cpu_seconds, c),
            have=len(processes),
            reason=f"{jobs:g} jobs/s x {c.demand_job_cpu_seconds:g} s of a core, {at_busy}",
        ),
        Need(
            tier="the fleet",
            what="vCPUs",
            needed=_busy(cpu_seconds, c),
            have=sum(plan.host.vcpus for plan in computing),
            reason=f"requests, jobs and their queries take {cpu_seconds:.1f} cores, {at_busy}",
        ),
    ]


def _streaming(plans: list[HostPlan], load: Load, c: Coefficients) -> list[Need]:
    connections = ceil(load.monthly_active_users * c.streaming_connections_per_user)
    return [
        Need(
            tier="streaming",
            what="streaming processes",
            needed=max(1, ceil(connections / c.streaming_connections_per_process)),
            have=sum(len(plan.streaming.processes) for plan in plans if plan.streaming),
            reason=f"{connections} connections, {c.streaming_connections_per_process} a process",
        )
    ]


def _data(plans: list[HostPlan], load: Load, c: Coefficients) -> list[Need]:
    users = load.monthly_active_users
    needs = []
    for plan in plans:
        if _is_primary(plan):
            query_cores = (
                load.requests_per_second * c.demand_postgres_seconds_per_request
                + load.jobs_per_second * c.demand_postgres_seconds_per_job
            )
            needs += [
                Need(
                    tier="postgres",
                    what="vCPUs",
                    needed=_busy(query_cores, c),
                    have=plan.host.vcpus,
                    reason=f"queries take {query_cores:.1f} cores of {plan.host.name}",
                ),
                Need(
                    tier="postgres",
                    what="MB of memory",
                    needed=ceil(c.demand_postgres_base_mb + users * c.demand_postgres_mb_per_user),
                    have=next(row.mb for row in plan.memory.budget if row.what == "postgres"),
                    reason=f"{c.demand_postgres_base_mb} MB and {c.demand_postgres_mb_per_user:g} a user keep in "
                    "memory what is read every day",
                ),
            ]
        if plan.redis and plan.host.redis_role in (None, "core"):
            weekly = ceil(users * c.demand_weekly_share)
            needs.append(
                Need(
                    tier="redis",
                    what="MB of maxmemory",
                    needed=ceil(c.demand_redis_base_mb + weekly * c.demand_feed_mb_per_weekly_user),
                    have=int(str(plan.redis.settings["maxmemory"]).removesuffix("mb")),
                    reason=f"{c.demand_redis_base_mb} MB and {c.demand_feed_mb_per_weekly_user:g} for the home feed of "
                    f"each of {weekly} people of a week",
                )
            )
    return needs


def _is_primary(plan: HostPlan) -> bool:
    return plan.postgres is not None and plan.host.postgres_role != "replica"
