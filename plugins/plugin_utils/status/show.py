# SPDX-License-Identifier: GPL-3.0-or-later
"""The status for people: a table of hosts, a few lines about the fleet, and what to do."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..plan.words import COMPONENTS, listed
from .fleet import releases, sidekiq_state
from .hosts import Host, certificates_left, planned_units, puma_state
from .model import Finding

_SILENT = "silent"


def state_of(findings: Sequence[Finding]) -> str:
    """The worst of what was found: ok, warning or problem."""
    severities = {finding.severity for finding in findings}
    return "problem" if "problem" in severities else "warning" if severities else "ok"


def table(names: Sequence[str], hosts: Sequence[Host], findings: Sequence[Finding]) -> str:
    """The table, in the order of names; hosts are those that answered."""
    answered = {host.name: host for host in hosts}
    queues = sidekiq_state(hosts)
    processes = queues[1]["processes"] if queues else ()
    rows = [("host", "state", "units", "disk", "certificate", "runs")]
    for name in names:
        state = state_of([finding for finding in findings if finding.host == name])
        if name not in answered:
            rows.append((name, _SILENT, "-", "-", "-", "-"))
            continue
        host = answered[name]
        first, *more = list(_runs(host, processes)) or ["-"]
        rows.append((name, state, _units(host), _disk(host), _certificate(host), first))
        rows += [("", "", "", "", "", line) for line in more]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def about_the_fleet(hosts: Sequence[Host]) -> str:
    """Queues and release, a line each; what nobody could tell is left out."""
    lines = []
    if (found := sidekiq_state(hosts)) is not None:
        state = found[1]
        queues = ", ".join(
            f"{name} {queue['size']}" + (f" ({queue['latency_seconds']:.0f} s)" if queue["size"] else "")
            for name, queue in state["queues"].items()
        )
        busy = sum(process["busy"] for process in state["processes"])
        threads = sum(process["concurrency"] for process in state["processes"])
        lines.append(f"Queues: {queues}")
        lines.append(
            f"Jobs: {busy} of {threads} threads busy; {state['retries']} will be tried again, {state['scheduled']} are "
            f"for later, {state['dead']} are given up"
        )
    for name, there in releases(hosts).items():
        lines.append(f"Release: {name} on {listed(there)}")
    return "\n".join(lines)


def described(findings: Sequence[Finding]) -> str:
    """Findings as numbered lists, problems first: where, what, and what to do. The same on several hosts is one."""
    hosts: dict[tuple[str, ...], list[str]] = {}
    for finding in findings:
        what = (finding.severity, finding.component, finding.message, finding.advice)
        hosts.setdefault(what, []).append(finding.host)
    parts = []
    for severity in ("problem", "warning"):
        of_it = [(listed(names), *what[1:]) for what, names in hosts.items() if what[0] == severity]
        if of_it:
            heading = f"{len(of_it)} {severity}{'' if len(of_it) == 1 else 's'}:"
            parts.append("\n".join([heading, *map(_numbered, range(1, len(of_it) + 1), of_it)]))
    return "\n".join(parts) or "All is well."


def _numbered(number: int, found: tuple[str, ...]) -> str:
    where, component, message, advice = found
    about = f", {COMPONENTS[component]}" if component in COMPONENTS else ""
    return f"{number:>3}. {where}{about}: {message}\n     {advice}"


def _units(host: Host) -> str:
    """How many of the planned units run."""
    planned = planned_units(host.plan)
    names = [name for name, unit in host.reading["units"].items() if unit["active"] in ("active", "reloading")]
    up = [pattern for pattern in planned if fnmatch.filter(names, pattern)]
    return f"{len(up)}/{len(planned)}" if planned else "-"


def _disk(host: Host) -> str:
    """The fullest file system."""
    disks = host.reading["filesystems"]
    if not disks:
        return "-"
    place = max(disks, key=lambda name: disks[name]["used_percent"])
    return f"{disks[place]['used_percent']}%" + ("" if place == "/" else f" {place}")


def _certificate(host: Host) -> str:
    """The certificate that ends first."""
    left = [days for days, _life in certificates_left(host).values()]
    return f"{min(left):.0f} d" if left else "-"


def _runs(host: Host, processes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each component with what it is doing; processes are all that Redis knows of Sidekiq."""
    reading, plan = host.reading, host.plan
    here = [process for process in processes if process["hostname"] == reading["hostname"]]
    lines = {
        "nginx": lambda: _version(reading, "nginx"),
        "web": lambda: _puma(reading),
        "streaming": lambda: _streaming(reading, plan),
        "sidekiq": lambda: _sidekiq(plan, here),
        "pgbouncer": lambda: _pgbouncer(reading, plan),
        "haproxy": lambda: _version(reading, "haproxy"),
        "postgres": lambda: _postgres(reading),
        "redis": lambda: _redis(reading, plan),
        "metrics": lambda: _metrics(reading),
    }
    for component in COMPONENTS:
        if component in lines and host.runs(component):
            yield f"{COMPONENTS[component]:<11}{lines[component]()}".rstrip()


def _version(reading: Mapping[str, Any], component: str) -> str:
    """The version of its package, without what Debian adds."""
    version = reading["packages"].get(component, "")
    return version.partition(":")[2].partition("-")[0] if ":" in version else version.partition("-")[0]


def _puma(reading: Mapping[str, Any]) -> str:
    state = puma_state(reading)
    return f"{state['busy']}/{state['threads']} threads busy, {state['backlog']} waiting" if state else "says nothing"


def _streaming(reading: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    units = [unit for name, unit in reading["units"].items() if name.startswith("mastodon-streaming@")]
    return f"{sum(unit['active'] == 'active' for unit in units)}/{len(plan['streaming']['processes'])} processes"


def _sidekiq(plan: Mapping[str, Any], processes: Sequence[Mapping[str, Any]]) -> str:
    busy, threads = (sum(process[what] for process in processes) for what in ("busy", "concurrency"))
    return f"{len(processes)}/{len(plan['sidekiq']['processes'])} processes, {busy}/{threads} threads busy"


def _pgbouncer(reading: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    told = reading["pgbouncer"]
    if not told or "error" in told:
        return "does not answer"
    uses = {pool["name"]: pool["for"] for pool in plan["pgbouncer"]["pools"]}
    pools = [
        f"{uses[name]} {pool['connections']}/{pool['pool_size']}, {pool['waiting']} waiting"
        for name, pool in told["pools"].items()
        if name in uses
    ]
    return f"{told['clients']}/{plan['pgbouncer']['max_client_conn']} clients; {'; '.join(pools)}"


def _postgres(reading: Mapping[str, Any]) -> str:
    told = reading["postgres"]
    if not told or "error" in told:
        return "does not answer"
    lag = f"replica, {told['lag_seconds'] or 0:.0f} s behind" if told["standby"] else "primary"
    return f"{told['version']} {lag}, {told['connections']}/{told['max_connections']} connections"


def _redis(reading: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    told = reading["redis"]
    if not told or "error" in told:
        return "does not answer"
    most = f"/{told['maxmemory'] >> 20}" if told["maxmemory"] else ""
    memory = f"{told['used_memory'] >> 20}{most} MB"
    return f"{told['version']} {plan['redis']['role']}, {memory}, {told['connected_clients']} clients"


def _metrics(reading: Mapping[str, Any]) -> str:
    told = reading["alerts"]
    if not told or "error" in told:
        return "does not answer"
    critical = sum(alert["severity"] == "critical" for alert in told["firing"])
    return f"Prometheus {_version(reading, 'prometheus')}, {len(told['firing'])} alerts, {critical} of them critical"
