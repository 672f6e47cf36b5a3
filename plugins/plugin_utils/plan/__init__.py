# SPDX-License-Identifier: GPL-3.0-or-later
"""The capacity plan: every size of a fleet, computed, checked and explained. Pure Python, no Ansible in it.

`compute` takes a `Fleet` of the model; `from_inventory` takes what an inventory says, as text or numbers, and
reports what is wrong with it as findings. Both return a `Plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .checks import check_fleet, check_plan
from .coefficients import Coefficients, read_coefficients
from .components import kernel, memory, nginx, postgres, puma, redis, sidekiq, streaming
from .explain import table
from .inventory import read_inventory
from .model import LOOPBACK, Finding, Fleet, Host, HostPlan, Plan, Reasons, Streaming, Web
from .queues import Slot, slots_of, split

__all__ = ["Coefficients", "Finding", "Fleet", "Host", "HostPlan", "Plan", "compute", "from_inventory"]


def from_inventory(
    hosts: Mapping[str, Mapping[str, object]],
    groups: Mapping[str, Sequence[str]],
    settings: Mapping[str, object] | None = None,
) -> Plan:
    """The plan of what an inventory says.

    hosts: for each host its variables (vm_vcpus, vm_memory_mb, vm_address and the overrides); others are ignored.
    groups: for each group the names of its hosts.
    settings: mastodon_s3_enabled, mastodon_plan_coefficients; both optional.
    Nothing is raised for what a person can get wrong: all of it is in the findings, and hosts is then empty.
    """
    settings = settings or {}
    fleet, findings = read_inventory(hosts, groups, settings)
    try:
        coefficients = read_coefficients(_mapping(settings.get("mastodon_plan_coefficients")))
    except ValueError as exc:
        wrong = Finding(
            constraint="input", severity="error", hosts=(), message=str(exc), advice="Correct it or leave it out."
        )
        return Plan(hosts={}, findings=(*findings, wrong))
    if any(finding.severity == "error" for finding in findings):
        return Plan(hosts={}, findings=findings)
    plan = compute(fleet, coefficients)
    return replace(plan, findings=(*findings, *plan.findings))


def compute(fleet: Fleet, coefficients: Coefficients | None = None) -> Plan:
    """The sizes of every host of the fleet, with all findings.

    A fleet that cannot be planned at all (a tier missing, several hosts) has findings and no sizes.
    """
    c = coefficients or Coefficients()
    findings = check_fleet(fleet)
    if any(finding.severity == "error" for finding in findings):
        return Plan(hosts={}, findings=findings)
    hosts = {plan.host.name: plan for plan in _sizes(fleet, c)}
    return Plan(hosts=hosts, findings=(*findings, *check_plan(fleet, hosts, c)), table=table(hosts.values()))


def _sizes(fleet: Fleet, c: Coefficients) -> list[HostPlan]:
    """First what needs only the host (Puma, Sidekiq), then what needs the sum of all their clients."""
    shares = {host.name: memory.share_out(host, c) for host in fleet.hosts}
    slots = _slots(fleet, {name: share.processes for name, share in shares.items()})
    webs = {
        host.name: puma.size(host, shares[host.name], _bind(fleet, host, "nginx"), c) for host in fleet.running("web")
    }
    sidekiqs = {
        host.name: sidekiq.size(host, slots[host.name], shares[host.name], c) for host in fleet.running("sidekiq")
    }
    puma_threads = sum(max(1, web.workers) * web.threads for web, dummy in webs.values())
    sidekiq_threads = sum(process.concurrency for part, dummy in sidekiqs.values() for process in part.processes)
    streamings = {
        host.name: streaming.size(
            host, shares[host.name], puma_threads + sidekiq_threads, _bind(fleet, host, "nginx"), c
        )
        for host in fleet.running("streaming")
    }
    streaming_clients = sum(part.db_pool * len(part.processes) for part, dummy in streamings.values())
    database_clients = puma_threads + sidekiq_threads + streaming_clients
    redis_clients = redis.clients(
        [web for web, dummy in webs.values()],
        [part for part, dummy in sidekiqs.values()],
        [part for part, dummy in streamings.values()],
        c,
    )
    plans = []
    for host in fleet.hosts:
        set_aside = memory.reserve(host, shares[host.name].streaming_processes, c)
        parts: dict[str, Any] = {}
        for tier, sized in (("web", webs), ("sidekiq", sidekiqs), ("streaming", streamings)):
            if host.runs(tier):
                parts[tier] = sized[host.name]
        if host.runs("postgres"):
            parts["postgres"] = postgres.size(host, set_aside, database_clients, _binds(fleet, host), c)
        if host.runs("redis"):
            parts["redis"] = redis.size(set_aside, redis_clients, _binds(fleet, host), c)
        if host.runs("nginx"):
            parts["nginx"] = nginx.size(host, puma_threads, c)
        parts["kernel"] = kernel.size(host)
        parts["memory"] = memory.budget(
            host,
            set_aside,
            webs[host.name][0] if host.runs("web") else None,
            sidekiqs[host.name][0] if host.runs("sidekiq") else None,
            c,
        )
        reasons = {path: reason for dummy, why in parts.values() for path, reason in why.items()}
        sizes = {name: part for name, (part, dummy) in parts.items()}
        plans.append(HostPlan(host=host, endpoints=_endpoints(fleet, host, webs, streamings), reasons=reasons, **sizes))
    return plans


def _slots(fleet: Fleet, processes: Mapping[str, int]) -> dict[str, list[Slot]]:
    """What each Sidekiq process serves: as a person said, else the split over all other processes of the fleet."""
    free = [host for host in fleet.running("sidekiq") if not host.overrides.sidekiq_queues]
    shared = split(sum(processes[host.name] for host in free)) if free else []
    slots: dict[str, list[Slot]] = {}
    for host in fleet.running("sidekiq"):
        count = processes[host.name]
        if host.overrides.sidekiq_queues:
            slots[host.name] = slots_of(host.overrides.sidekiq_queues, count)
        else:
            slots[host.name], shared = shared[:count], shared[count:]
    return slots


def _bind(fleet: Fleet, host: Host, client_tier: str) -> str:
    """Loopback where all clients of a component are on its host, else the address for neighbours."""
    return LOOPBACK if all(client == host for client in fleet.running(client_tier)) else host.address


def _binds(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Where a data component listens: always on loopback, for neighbours on their address too."""
    clients = {client for tier in ("web", "streaming", "sidekiq") for client in fleet.running(tier)}
    return (LOOPBACK,) if clients <= {host} else (LOOPBACK, host.address)


def _endpoints(
    fleet: Fleet,
    host: Host,
    webs: Mapping[str, tuple[Web, Reasons]],
    streamings: Mapping[str, tuple[Streaming, Reasons]],
) -> dict[str, Any]:
    """Where the host reaches each component: over loopback if it runs it itself, else at the address of the other."""

    def at(other: Host) -> str:
        return LOOPBACK if other == host else other.address

    return {
        "postgres": {"host": at(fleet.running("postgres")[0]), "port": postgres.PORT},
        "redis": {"host": at(fleet.running("redis")[0]), "port": redis.PORT},
        "web": [{"host": at(other), "port": webs[other.name][0].port} for other in fleet.running("web")],
        "streaming": [
            {"host": at(other), "port": process.port}
            for other in fleet.running("streaming")
            for process in streamings[other.name][0].processes
        ],
    }


def _mapping(value: object) -> Mapping[str, object] | None:
    if value is None or isinstance(value, Mapping):
        return value
    raise ValueError(f"mastodon_plan_coefficients is {value!r}; allowed: a mapping of names to numbers")
