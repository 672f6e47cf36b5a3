# SPDX-License-Identifier: GPL-3.0-or-later
"""The capacity plan: every size of a fleet, computed, checked and explained. Pure Python, no Ansible in it.

`compute` takes a `Fleet` of the model; `from_inventory` takes what an inventory says, as text or numbers, and
reports what is wrong with it as findings. Both return a `Plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .access import let_in
from .checks import check_fleet, check_plan
from .coefficients import Coefficients, read_coefficients
from .demand import assess
from .demand import findings as demand_findings
from .flows import flows
from .inventory import read_inventory
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
) -> Plan:
    """The plan of what an inventory says.

    hosts: for each host its variables (inventory.HOST_VARIABLES); others are ignored.
    groups: for each group the names of its hosts.
    settings: inventory.FLEET_SETTINGS, all optional.
    provisional: plan hosts of unknown size or address with assumed ones, and warn, instead of refusing them.
    children: for each group its child groups, where they are known.
    scheduler: the host whose Sidekiq serves the queue `scheduler` now, where it is known: it stays there.
    Nothing is raised for what a person can get wrong: all of it is in the findings, and hosts is then empty.
    """
    settings = settings or {}
    fleet, found = read_inventory(
        hosts, groups, settings, provisional=provisional, children=children, scheduler=scheduler
    )
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
    if any(finding.severity == "error" for finding in findings):
        return Plan(hosts={}, findings=silence(findings, settings.get("mastodon_plan_silenced")))
    plan = compute(fleet, coefficients)
    return replace(plan, findings=silence([*findings, *plan.findings], settings.get("mastodon_plan_silenced")))


def compute(fleet: Fleet, coefficients: Coefficients | None = None) -> Plan:
    """The sizes of every host of the fleet, with all findings.

    A fleet that cannot be planned at all (a tier missing, two hosts with one address) has findings and no sizes.
    """
    c = coefficients or Coefficients()
    findings = check_fleet(fleet)
    if any(finding.severity == "error" for finding in findings):
        return Plan(hosts={}, findings=findings)
    hosts, totals = sizes(fleet, c)
    demand = assess(fleet, hosts, c)
    found = flows(fleet, hosts)
    return Plan(
        hosts=let_in(hosts, found),
        findings=(*findings, *check_plan(fleet, hosts, c), *demand_findings(demand)),
        flows=found,
        totals=totals,
        demand=demand.as_mapping() if demand else None,
    )


def _mapping(value: object) -> Mapping[str, object] | None:
    if value is None or isinstance(value, Mapping):
        return value
    raise ValueError(f"mastodon_plan_coefficients is {value!r}; allowed: a mapping of names to numbers")
