# SPDX-License-Identifier: GPL-3.0-or-later
"""The capacity plan: every size of a fleet, computed, checked and explained. Pure Python, no Ansible in it.

`compute` takes a `Fleet` of the model; `from_inventory` takes what an inventory says, as text or numbers, and
reports what is wrong with it as findings. Both return a `Plan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import departures, endpoints
from .access import let_in
from .checks import check_fleet, check_plan
from .coefficients import Coefficients, read_coefficients
from .demand import assess
from .demand import findings as demand_findings
from .flows import flows
from .history import poolers_in, served_in
from .inventory import members_of, read_inventory
from .metrics import metrics
from .model import Finding, Fleet, Host, HostPlan, Plan
from .silence import silence
from .sizes import sizes

__all__ = ["Coefficients", "Finding", "Fleet", "Host", "HostPlan", "Plan", "compute", "from_inventory"]


def from_inventory(
    hosts: Mapping[str, Mapping[str, object]],
    groups: Mapping[str, Sequence[str]],
    settings: Mapping[str, object] | None = None,
    *,
    provisional: bool = False,
    children: Mapping[str, Sequence[str]] | None = None,
    scheduler: str | None = None,
    earlier: Mapping[str, Mapping[str, Any]] | None = None,
    leaving: Sequence[str] = (),
    gone: Sequence[str] = (),
) -> Plan:
    """The plan of what an inventory says.

    hosts: for each host its variables (inventory.HOST_VARIABLES); others are ignored.
    groups: for each group the names of its hosts.
    settings: inventory.FLEET_SETTINGS, all optional.
    provisional: plan hosts of unknown size or address with assumed ones, and warn, instead of refusing them.
    children: for each group its child groups, where they are known.
    scheduler: the host whose Sidekiq serves the queue `scheduler` now, where it is known: it stays there.
    earlier: the hosts of the plan that runs, as plain data, where it is known: the queues of a Sidekiq process and the
    pooler of a host stay as they are when hosts join, unless a person or the balance asks for others.
    leaving: hosts that are planned away: all is as if the inventory had not got them, and what still runs there goes
    on reaching what it uses. gone: the same once nothing runs there. What may not leave is refused.
    Nothing is raised for what a person can get wrong: all of it is in the findings, and hosts is then empty.
    """
    settings = settings or {}
    fleet, found = read_inventory(
        hosts, groups, settings, provisional=provisional, children=children, scheduler=scheduler
    )
    fleet = replace(fleet, served=served_in(earlier or {}), poolers=poolers_in(earlier or {}))
    findings = [*found, *check_fleet(fleet)]
    coefficients = None
    try:
        coefficients = read_coefficients(_mapping(settings.get("mastodon_plan_coefficients")))
    except ValueError as exc:
        findings.append(
            Finding(
                constraint="input", severity="error", hosts=(), message=str(exc), advice="Correct it or leave it out."
            )
        )
    silenced = settings.get("mastodon_plan_silenced")
    if _errors(findings):
        return Plan(hosts={}, findings=silence(findings, silenced))
    if leaving or gone:
        builders = (*groups.get("builder", ()), *groups.get("web", ()))
        fleet = departures.without(fleet, leaving, gone, builders)
        findings += departures.refused(fleet, (*leaving, *gone))
        if departures.cannot_be_planned(fleet):
            return Plan(hosts={}, findings=silence(findings, silenced))
    plan = compute(fleet, coefficients)
    return replace(
        plan,
        findings=silence([*findings, *plan.findings], silenced),
        groups=members_of(groups, children, {host.name for host in fleet.hosts}),
    )


def compute(fleet: Fleet, coefficients: Coefficients | None = None) -> Plan:
    """The sizes of every host of the fleet, with all findings.

    A fleet that cannot be planned at all (a tier missing, two hosts with one address) has findings and no sizes.
    """
    c = coefficients or Coefficients()
    findings = check_fleet(fleet)
    if _errors(findings):
        return Plan(hosts={}, findings=findings)
    hosts, totals = sizes(fleet, c)
    demand = assess(fleet, hosts, c)
    found = flows(fleet, hosts)
    findings = (*findings, *check_plan(fleet, hosts, c))
    entering, leaving = set(found), {}
    if fleet.leaving or fleet.gone:
        whole = sizes(fleet.whole, c)[0]
        findings = departures.explained(findings, fleet, hosts, whole)
        leaving = {name: plan for name, plan in whole.items() if name not in hosts}
        entering |= departures.until_gone(fleet, flows(fleet.whole, whole))
    everywhere = let_in({**hosts, **leaving}, entering)
    return Plan(
        hosts={name: everywhere[name] for name in hosts},
        leaving={name: everywhere[name] for name in leaving},
        findings=(*findings, *demand_findings(demand)),
        flows=found,
        metrics=metrics(fleet, hosts),
        totals=totals,
        demand=demand.as_mapping() if demand else None,
        builder=endpoints.builder(fleet),
    )


def _errors(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _mapping(value: object) -> Mapping[str, object] | None:
    if value is None or isinstance(value, Mapping):
        return value
    raise ValueError(f"mastodon_plan_coefficients is {value!r}; allowed: a mapping of names to numbers")
