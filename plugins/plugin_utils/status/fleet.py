# SPDX-License-Identifier: GPL-3.0-or-later
"""What only several hosts together tell: who is silent, queues and their processes, replicas, the release."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..plan.queues import QUEUES
from ..plan.words import joined, listed
from .hosts import SITE, Host, _look, _span
from .model import Finding

APPLICATION = ("web", "streaming", "sidekiq")


def silent(names: Mapping[str, str]) -> Iterator[Finding]:
    """Hosts that did not answer, each with what Ansible said of it."""
    for name, why in names.items():
        yield Finding(
            severity="problem",
            host=name,
            component="host",
            message=f"It does not answer: {why}",
            advice="See with your provider whether it runs, and `ssh` to it.",
        )


def sidekiq_state(hosts: Sequence[Host]) -> tuple[Host, Mapping[str, Any]] | None:
    """The host whose Redis has the queues, and what is in it; None where nobody could tell."""
    return next(((host, host.reading["sidekiq"]) for host in hosts if host.reading["sidekiq"]), None)


def sidekiq(hosts: Sequence[Host]) -> Iterator[Finding]:
    """Queues that wait or that nobody serves; processes that are missing, silent or quiet."""
    if (found := sidekiq_state(hosts)) is None:
        return
    keeper, state = found
    limits = (keeper.thresholds.latency_warning_seconds, keeper.thresholds.latency_problem_seconds)
    working = [process for process in state["processes"] if not process["quiet"]]
    served = {queue for process in working for queue in process["queues"]}
    unserved = [name for name, queue in state["queues"].items() if name not in served and name in QUEUES]
    unserved += [name for name, queue in state["queues"].items() if name not in [*served, *QUEUES] and queue["size"]]
    for name, queue in state["queues"].items():
        if name in served:
            message = f"The oldest of {queue['size']} jobs in {name} waits since {_span(queue['latency_seconds'])}."
            advice = "If it grows: more hosts or processes in `sidekiq` for this queue. docs/sizing.md has their sizes."
            yield from keeper.measured("sidekiq", queue["latency_seconds"], limits, message, advice)
    if unserved:
        waiting = [f"{state['queues'][name]['size']} in {name}" for name in unserved if state["queues"][name]["size"]]
        message = f"No process serves {joined(unserved)}; jobs that wait: {joined(waiting) or 'none'}."
        yield keeper.finding(
            "problem", "sidekiq", message, f"See why its processes are away; if none is planned, {SITE}."
        )
    by_hostname = Counter(process["hostname"] for process in state["processes"])
    for host in hosts:
        yield from _processes(host, by_hostname)
    names = {host.reading["hostname"]: host for host in hosts}
    for process in state["processes"]:
        # One that is on no host of the fleet that answers is told of by where its jobs go.
        host = names.get(process["hostname"], keeper)
        if process["quiet"]:
            message = f"The process {process['identity']} is quiet: it begins no job, and {process['busy']} run."
            advice = f"If no playbook is at work, `systemctl restart 'mastodon-sidekiq@*'` on {process['hostname']}."
            yield host.finding("warning", "sidekiq", message, advice)
        elif process["beat_age_seconds"] >= keeper.thresholds.beat_warning_seconds:
            message = (
                f"The process {process['identity']} has told nothing of itself for {process['beat_age_seconds']:.0f} s."
            )
            yield host.finding("warning", "sidekiq", message, _look("mastodon-sidekiq@*"))


def _processes(host: Host, by_hostname: Mapping[str, int]) -> Iterator[Finding]:
    """Processes that run, and are not at work: a unit that is down is told of with the units."""
    up = [
        name
        for name, unit in host.reading["units"].items()
        if name.startswith("mastodon-sidekiq@")
        and unit["active"] == "active"
        and (unit["since_seconds"] or 0) > host.thresholds.beat_warning_seconds
    ]
    there = by_hostname.get(host.reading["hostname"], 0)
    if host.runs("sidekiq") and there < len(up):
        message = f"{len(up)} processes of Sidekiq run, and {there} of them have told Redis of themselves."
        yield host.finding("problem", "sidekiq", message, _look("mastodon-sidekiq@*"))


def firing_alerts(hosts: Sequence[Host]) -> list[Mapping[str, Any]] | None:
    """What the Alertmanager of the fleet says fires, oldest first; None where nobody could tell."""
    told = (host.reading["alerts"] for host in hosts if host.runs("metrics"))
    return next((about["firing"] for about in told if about and "firing" in about), None)


def alerts(hosts: Sequence[Host]) -> Iterator[Finding]:
    """Alerts that fire, each with its page, and an Alertmanager that does not answer."""
    names = {host.name for host in hosts}
    for host in hosts:
        told = host.reading["alerts"]
        if not host.runs("metrics"):
            continue
        if told is None:
            yield host.finding(
                "problem", "metrics", "Alertmanager is planned here and not set up.", f"To set it up, {SITE}."
            )
        elif "error" in told:
            message = f"Alertmanager does not answer: {told['error']}"
            yield host.finding("warning", "metrics", message, _look("prometheus-alertmanager"))
        else:
            for alert in told["firing"]:
                yield Finding(
                    severity="problem" if alert["severity"] == "critical" else "warning",
                    host=alert["instance"] if alert["instance"] in names else host.name,
                    component="metrics",
                    message=f"The alert {alert['name']} fires: {alert['summary']}.",
                    advice=f"See {alert['runbook'] or 'docs/runbooks/' + alert['name'] + '.md'}",
                )


def replication(hosts: Sequence[Host]) -> Iterator[Finding]:
    """What the primary says of its replicas, and of what it keeps for them."""
    primary = next((host for host in hosts if host.plan.get("postgres", {}).get("role") == "primary"), None)
    told = primary.reading["postgres"] if primary else None
    if primary is None or told is None or "error" in told or told["standby"]:
        return
    replicas = {re.sub(r"[^a-z0-9_]", "_", name.lower()): name for name in primary.plan["postgres"]["replicas"]}
    for slot, name in replicas.items():
        wal = told["slots"].get(slot, {}).get("wal")
        if wal == "lost":
            message = f"It no longer has what its replica {name} needs to catch up."
            advice = f"Make the replica anew: ansible-playbook fediops.mastodon.rebuild_replica -e host={name}"
        elif told["replicas"].get(slot, {}).get("state") != "streaming":
            message = f"Its replica {name} does not follow it."
            advice = f"See `journalctl -u 'postgresql@*'` on {name}. Else {SITE}."
        elif wal == "unreserved":
            message = f"It will soon no longer have what its replica {name} needs to catch up."
            advice = f"See the load and the disk of {name}."
        else:
            continue
        yield primary.finding("problem", "postgres", message, advice)
    for slot, about in told["slots"].items():
        if slot not in replicas and not about["active"] and about["kept_mb"]:
            message = f"It keeps {about['kept_mb']} MB for {slot}, which is no replica of the inventory and not there."
            advice = f"If it is gone for good: `SELECT pg_drop_replication_slot('{slot}')` as postgres on this host."
            yield primary.finding("warning", "postgres", message, advice)


def releases(hosts: Sequence[Host]) -> dict[str, list[str]]:
    """The hosts on which each release is in force."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        if host.reading["release"]:
            found.setdefault(host.reading["release"], []).append(host.name)
    return found


def release(hosts: Sequence[Host]) -> Iterator[Finding]:
    """Hosts with another release than most, and such as have none."""
    found = releases(hosts)
    if found:
        most = max(found, key=lambda name: len(found[name]))
        for host in hosts:
            has = host.reading["release"]
            if has != most and (has or host.runs("nginx") or any(map(host.runs, APPLICATION))):
                message = f"{has or 'No release'} is in force here, and {most} on {listed(found[most])}."
                advice = f"If no upgrade is at work, {SITE}: it brings all hosts to the same."
                yield host.finding("warning", "release", message, advice)
