# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fleet is doing: what was read of its hosts, compared with their plan. Pure Python, no Ansible in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from . import fleet, hosts, show
from .model import Finding, Thresholds

__all__ = ["Finding", "Thresholds", "fleet_status"]

# What Ansible adds to whatever a module returns.
_OF_ANSIBLE = ("changed", "failed", "invocation", "warnings", "deprecations")


def fleet_status(
    readings: Mapping[str, Mapping[str, Any]],
    plan: Mapping[str, Mapping[str, Any]],
    now: datetime,
    silent: Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
    refusal: str = "",
) -> dict[str, Any]:
    """How the hosts are, as plain data: {state, findings, hosts, sidekiq, releases, alerts, text}; problems come first.

    readings: what the module status returned, for each host that answered. plan: the plans of the hosts, by name. now:
    with a time zone. silent: why each of the others did not answer. refusal: why the inventory cannot be planned, so
    that there is nothing to compare with. A problem is what people notice, or will soon; a warning can wait for a day.
    """
    silent, limits = silent or {}, thresholds or Thresholds()
    answered = [
        hosts.Host(name=name, reading=reading, plan=plan.get(name, {}), thresholds=limits, now=now)
        for name, reading in readings.items()
    ]
    of_fleet = [what(answered) for what in (fleet.sidekiq, fleet.replication, fleet.release, fleet.alerts)]
    found = sorted(
        chain(_unplanned(refusal), fleet.silent(silent), *map(hosts.judge, answered), *of_fleet),
        key=lambda finding: finding.severity != "problem",
    )
    names = sorted({*readings, *silent})
    parts = [show.table(names, answered, found), show.about_the_fleet(answered), show.described(found)]
    return {
        "state": show.state_of(found),
        "findings": [finding.as_mapping() for finding in found],
        "hosts": {name: {"state": "silent"} for name in silent} | {host.name: _row(host, found) for host in answered},
        "sidekiq": state[1] if (state := fleet.sidekiq_state(answered)) else None,
        "releases": fleet.releases(answered),
        "alerts": fleet.firing_alerts(answered),
        "text": "\n\n".join(filter(None, parts)),
    }


def _unplanned(refusal: str) -> list[Finding]:
    if not refusal:
        return []
    return [
        Finding(
            severity="problem",
            host="the inventory",
            component="plan",
            message=f"It describes no fleet that can be planned, so there is nothing to compare with. {refusal}",
            advice="See the playbook fediops.mastodon.plan.",
        )
    ]


def _row(host: hosts.Host, findings: Sequence[Finding]) -> dict[str, Any]:
    """One host: its state, and what was read there; of certificates the days that are left, and no queues again."""
    days = {path: round(left, 1) for path, (left, _life) in hosts.certificates_left(host).items()}
    told = {key: value for key, value in host.reading.items() if key not in ("sidekiq", *_OF_ANSIBLE)}
    return {"state": show.state_of([one for one in findings if one.host == host.name]), **told, "certificates": days}
