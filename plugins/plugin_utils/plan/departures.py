# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that leave a fleet: the fleet without them, who may not leave, and what still passes until they are gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from .findings import error, names
from .flows import CONTROL
from .model import REQUIRED_TIERS, Finding, Fleet, Flow, Host, HostPlan
from .queues import QUEUES, queue_name

# Whose data nobody else has: what it is, and what to do instead of retiring it.
_HOLDS_DATA = {
    ("postgres_role", "primary"): (
        "the primary of PostgreSQL (postgres_primary), which holds the data of the instance",
        'Make a replica the primary first, as the README of the role postgres says under "Moving the primary".',
    ),
    ("redis_role", "core"): (
        "the core of Redis (redis_core), which holds feeds and jobs",
        'Move the core first, as docs/redis.md says under "Move the core to another host".',
    ),
    ("redis_role", "sidekiq"): (
        "the Redis of the queues (redis_sidekiq), whose jobs would be lost",
        'Move the jobs first, as docs/redis.md says under "Bring the queues back into the core".',
    ),
}


def without(fleet: Fleet, leaving: Iterable[str], gone: Iterable[str], builders: Iterable[str]) -> Fleet:
    """The fleet of the hosts that stay, which knows those that leave; names of hosts that it has not are ignored.

    builders: who may build releases, in the order of preference.
    """
    left = set(gone)
    leaves = set(leaving) - left
    away = leaves | left
    return replace(
        fleet,
        hosts=tuple(host for host in fleet.hosts if host.name not in away),
        leaving=tuple(host for host in fleet.hosts if host.name in leaves),
        gone=tuple(host for host in fleet.hosts if host.name in left),
        builder=next((name for name in builders if name not in away), None),
    )


def refused(fleet: Fleet, asked: Iterable[str]) -> list[Finding]:
    """Who may not leave, by what it is. fleet: that of the hosts that stay; asked: the names of those that leave."""
    hosts = fleet.whole.hosts
    known = sorted(host.name for host in hosts)
    found = [_unknown(name, known) for name in sorted(set(asked) - set(known))]
    away = (*fleet.leaving, *fleet.gone)
    for host in away:
        for (role, part), (what, instead) in _HOLDS_DATA.items():
            if getattr(host, role) == part:
                message = f"{host.name} cannot be retired: it is {what}."
                found.append(error("retire", (host.name,), message, instead))
    for tier in REQUIRED_TIERS:
        last = [host.name for host in away if host.runs(tier)]
        if last and not fleet.running(tier) and not _told(tier, away):
            found.append(_last(tier, last))
    return found


def cannot_be_planned(fleet: Fleet) -> bool:
    """True if the hosts that stay lack what every size depends on."""
    led = any(host.postgres_role == "primary" for host in fleet.hosts)
    led = led and any(host.redis_role == "core" for host in fleet.hosts)
    return not led or not all(fleet.running(tier) for tier in REQUIRED_TIERS)


def explained(
    findings: Iterable[Finding], fleet: Fleet, hosts: Mapping[str, HostPlan], whole: Mapping[str, HostPlan]
) -> tuple[Finding, ...]:
    """The findings on a fleet without some hosts, the errors as what they are: reasons not to retire these.

    hosts, whole: the plans of the hosts that stay, and of all.
    """
    away = [host.name for host in (*fleet.leaving, *fleet.gone)]
    lost = [queue for queue in QUEUES if queue in _served(whole) and queue not in _served(hosts)]
    told = []
    for finding in findings:
        if finding.severity != "error":
            told.append(finding)
        elif finding.constraint == "C1" and lost:
            told.append(_only_consumer(lost, away, whole))
        else:
            message = f"The fleet without {names(away)} cannot work: {finding.message}"
            told.append(replace(finding, message=message, advice=f"Before you retire {names(away)}: {finding.advice}"))
    return tuple(told)


def until_gone(fleet: Fleet, flows: Iterable[Flow]) -> set[Flow]:
    """What still passes, of the flows of the whole fleet: all of a host that leaves; to one that is gone Ansible."""
    leaving, gone = ({host.name for host in hosts} for hosts in (fleet.leaving, fleet.gone))

    def passes(flow: Flow) -> bool:
        ends = {flow.from_, flow.to}
        return flow.from_ == CONTROL if gone & ends else bool(leaving & ends)

    return {flow for flow in flows if passes(flow)}


def _unknown(name: str, known: Sequence[str]) -> Finding:
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    message = f"{name} cannot be retired: the inventory has no host of that name."
    return error("retire", (), message, f"{hint}Its hosts: {names(known)}.")


def _told(tier: str, away: Sequence[Host]) -> bool:
    """True if the host that leads a data tier is among them, which says more than that it is the last."""
    return any((f"{tier}_role", getattr(host, f"{tier}_role", None)) in _HOLDS_DATA for host in away)


def _last(tier: str, last: Sequence[str]) -> Finding:
    one = len(last) == 1
    are = "is the only host" if one else "are all hosts"
    message = f"{names(last)} cannot be retired{'' if one else ' together'}: {'it' if one else 'they'} {are} of {tier}."
    advice = f"Put another host into {tier}, run site.yml, then retire {names(last)}."
    return error("retire", last, message, advice)


def _only_consumer(queues: Sequence[str], away: Sequence[str], whole: Mapping[str, HostPlan]) -> Finding:
    served = [name for name in away if set(queues) & _served({name: whole[name]})]
    message = f"{names(served)} cannot be retired: nobody else serves {names(queues)}, whose jobs would wait for ever."
    advice = f"Add {names(queues)} to sidekiq_queues of a host that stays, run site.yml, then retire {names(served)}."
    return error("retire", served, message, advice)


def _served(hosts: Mapping[str, HostPlan]) -> set[str]:
    """The queues that some process of these hosts serves."""
    processes = [process for plan in hosts.values() if plan.sidekiq for process in plan.sidekiq.processes]
    return {queue_name(entry) for process in processes for entry in process.queues}
