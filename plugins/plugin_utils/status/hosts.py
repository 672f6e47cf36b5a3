# SPDX-License-Identifier: GPL-3.0-or-later
"""What one host says of itself, judged: its units, disks, certificates and debts, and each component that it runs.

Each function takes a host as `Host`, and yields findings. Numbers that several hosts give together are in `fleet`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from ..certificates import validity
from ..plan.words import joined
from .model import Finding, Severity, Thresholds

EXPORTERS = "exporters"
SITE = "run the playbook fediops.mastodon.site"
_PUMA = re.compile(r"\{ (\d+)/(\d+) threads, (\d+) available, (\d+) backlog \}")
_PUMA_WORKERS = re.compile(r"cluster: (\d+)/(\d+)")
_DAY = 86400


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host: what the module status read there, and what the plan has for it; empty where nobody knows."""

    name: str
    reading: Mapping[str, Any]
    plan: Mapping[str, Any]
    thresholds: Thresholds
    now: datetime

    def finding(self, severity: Severity, component: str, message: str, advice: str) -> Finding:
        """A finding of this host."""
        return Finding(severity=severity, host=self.name, component=component, message=message, advice=advice)

    def measured(
        self, component: str, value: float, limits: tuple[float, float], message: str, advice: str
    ) -> Iterator[Finding]:
        """A finding where a value reaches the limit of a warning, or of a problem."""
        if value >= limits[0]:
            yield self.finding("problem" if value >= limits[1] else "warning", component, message, advice)

    def is_kept_from(self, component: str) -> bool:
        """Whether requests to a component go to other hosts, because a run closed its ports here."""
        ports = {"nginx": {80, 443}, "web": {self.plan.get("web", {}).get("port")}}
        return not ports.get(component, set()).isdisjoint(self.reading["drained"])

    def runs(self, component: str) -> bool:
        """Whether the plan has a component here."""
        return component in self.plan or component in self.plan.get("host", {}).get("components", ())


def planned_units(plan: Mapping[str, Any]) -> dict[str, str]:
    """The units that the plan of a host asks for, as names or patterns, each with its component."""
    units = {}
    if "nginx" in plan:
        units["nginx.service"] = "nginx"
    if "web" in plan:
        units |= {PUMA: "web", SOCKET: "web"}
    for process in plan.get("streaming", {}).get("processes", ()):
        units[f"mastodon-streaming@{process['port']}.service"] = "streaming"
    for process in plan.get("sidekiq", {}).get("processes", ()):
        units[f"mastodon-sidekiq@{process['name']}.service"] = "sidekiq"
    if "pgbouncer" in plan:
        units["pgbouncer.service"] = "pgbouncer"
    if "haproxy" in plan:
        units["haproxy.service"] = "haproxy"
    if "postgres" in plan:
        units["postgresql@*.service"] = "postgres"
        if plan["postgres"]["role"] == "replica":
            units["fediops-replica-health.socket"] = "postgres"
    if "redis" in plan:
        units["redis-server.service"] = "redis"
    for exporter in plan.get("exporters", {}):
        first = "mastodon-prometheus" if exporter == "mastodon" else f"prometheus-{exporter}"
        units[f"{first}-exporter.service"] = EXPORTERS
    if "metrics" in plan.get("host", {}).get("components", ()):
        units |= {"nginx.service": units.get("nginx.service", "metrics"), **dict.fromkeys(METRICS, "metrics")}
    return units


def judge(host: Host) -> Iterator[Finding]:
    """All findings of one host that answered."""
    yield from units(host)
    for what in (puma, pgbouncer, postgres, redis, filesystems, certificates, debts):
        yield from what(host)


def units(host: Host) -> Iterator[Finding]:
    """Units that do not run, or not for long; those that failed or run although the plan has none such."""
    found = host.reading["units"]
    planned = planned_units(host.plan)
    known = set()
    for pattern, component in planned.items():
        matching = [name for name in found if fnmatchcase(name, pattern)]
        known |= set(matching)
        if not matching:
            severity: Severity = "warning" if component in (EXPORTERS, "metrics") else "problem"
            yield host.finding(severity, component, f"{pattern} is not there.", f"To set it up, {SITE}.")
        for name in matching:
            if name == SOCKET and found[name]["active"] == "inactive" and _runs(found.get(PUMA)):
                message = "Puma listens by itself, because it had failed before."
                yield host.finding("warning", component, message, "Its next restart lets systemd listen for it again.")
                continue
            for finding in _unit(host, component, name, found[name]):
                # Nobody notices it where nobody is sent, or who only tells how others are doing.
                unnoticed = component in (EXPORTERS, "metrics") or host.is_kept_from(component)
                yield replace(finding, severity="warning") if unnoticed else finding
    for name, unit in found.items():
        if name in known:
            continue
        component = next((part for pattern, part in _PATTERNS.items() if fnmatchcase(name, pattern)), "host")
        if unit["active"] == "failed":
            yield host.finding("problem", component, f"{name} has failed{_since(unit)}.", _look(name))
        elif host.plan and component != "host" and unit["active"] == "active":
            yield host.finding(
                "warning", component, f"{name} runs, and the plan has none such here.", f"To stop it, {SITE}."
            )


def _runs(unit: Mapping[str, Any] | None) -> bool:
    return unit is not None and unit["active"] == "active"


PUMA, SOCKET = "mastodon-web.service", "mastodon-web.socket"
METRICS = ("prometheus.service", "prometheus-alertmanager.service", "prometheus-blackbox-exporter.service")
_PATTERNS = {"mastodon-sidekiq@*.service": "sidekiq", "mastodon-streaming@*.service": "streaming"}


def _unit(host: Host, component: str, name: str, unit: Mapping[str, Any]) -> Iterator[Finding]:
    restarts = f"started anew {unit['restarts']} time{'' if unit['restarts'] == 1 else 's'}"
    settled = unit["since_seconds"] is None or unit["since_seconds"] >= host.thresholds.settled_seconds
    if unit["active"] in ("active", "reloading", "refreshing"):
        if unit["restarts"] and not settled:
            message = f"{name} ended by itself and was {restarts}, the last time {_span(unit['since_seconds'])} ago."
            yield host.finding("warning", component, message, _look(name))
        release = host.reading["release"]
        if name.startswith("mastodon-") and unit["folder"] and release and unit["folder"] != release:
            message = f"{name} still runs {unit['folder']}, and {release} is in force."
            yield host.finding("warning", component, message, f"To restart it, {SITE}.")
    elif unit["active"] == "activating" and unit["sub"] != "auto-restart" and not unit["restarts"]:
        yield host.finding("warning", component, f"{name} is starting{_since(unit)}.", _look(name))
    elif unit["active"] == "activating":
        yield host.finding("problem", component, f"{name} does not stay up: it was {restarts}.", _look(name))
    elif unit["active"] == "deactivating":
        yield host.finding("warning", component, f"{name} is stopping{_since(unit)}.", _look(name))
    else:
        state = {"inactive": "is stopped", "failed": "has failed"}.get(unit["active"], f"is {unit['active']}")
        advice = f"{_look(name)} To start it, {SITE}, or `systemctl start {name}`."
        yield host.finding("problem", component, f"{name} {state}{_since(unit)}.", advice)


def _look(unit: str) -> str:
    return f"See `journalctl -u {unit}`."


def _since(unit: Mapping[str, Any]) -> str:
    return "" if unit["since_seconds"] is None else f" since {_span(unit['since_seconds'])}"


def _span(seconds: float) -> str:
    """A time in its largest fitting unit: "40 s", "12 min", "3 h", "5 d"."""
    for size, name in ((_DAY, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def puma_state(reading: Mapping[str, Any]) -> dict[str, int] | None:
    """What Puma says of itself: workers, threads, busy, backlog; None where it says nothing."""
    text = reading["units"].get("mastodon-web.service", {}).get("text", "")
    workers = [tuple(map(int, found)) for found in _PUMA.findall(text)]
    if not workers:
        return None
    booted = _PUMA_WORKERS.search(text)
    return {
        "booted": int(booted[1]) if booted else 1,
        "workers": int(booted[2]) if booted else 0,
        "threads": sum(most for _there, most, _free, _waiting in workers),
        "busy": sum(most - free for _there, most, free, _waiting in workers),
        "backlog": sum(waiting for *_others, waiting in workers),
    }


def puma(host: Host) -> Iterator[Finding]:
    """Requests that wait for a thread, workers that are missing."""
    state = puma_state(host.reading)
    if state is None or not host.runs("web"):
        return
    message = f"All {state['threads']} threads of Puma are busy, and {state['backlog']} requests wait."
    advice = "If it stays so: more hosts in `web`, or see which pages are slow: docs/sizing.md."
    if state["busy"] >= state["threads"]:
        yield from host.measured("web", state["backlog"], (1, state["threads"]), message, advice)
    if state["booted"] < state["workers"]:
        message = f"{state['booted']} of {state['workers']} workers of Puma are up."
        yield host.finding("warning", "web", message, _look("mastodon-web.service"))
    if state["workers"] != host.plan["web"]["workers"]:
        message = f"Puma runs with {state['workers']} workers, and {host.plan['web']['workers']} are planned."
        yield host.finding("warning", "web", message, f"To restart it so, {SITE}.")


def pgbouncer(host: Host) -> Iterator[Finding]:
    """Pools: clients that wait, what is paused, missing, or of another size than planned; clients in all."""
    told = host.reading["pgbouncer"]
    if not host.runs("pgbouncer"):
        return
    if told is None or "error" in told:
        yield _silent(host, "pgbouncer", "PgBouncer", "pgbouncer.service", told)
        return
    limits = (host.thresholds.pool_wait_warning_seconds, host.thresholds.pool_wait_problem_seconds)
    for planned in host.plan["pgbouncer"]["pools"]:
        pool = told["pools"].get(planned["name"])
        if pool is None:
            yield host.finding("problem", "pgbouncer", f"It has no pool {planned['name']}.", f"To make it, {SITE}.")
            continue
        if pool["paused"]:
            message = f"The pool {planned['name']} is paused, and all its clients wait."
            advice = f"If no playbook is at work, {SITE}, or `systemctl restart pgbouncer`."
            yield host.finding("problem", "pgbouncer", message, advice)
        elif pool["waiting"]:
            message = (
                f"{pool['waiting']} clients wait for the pool {planned['name']}, the first for "
                f"{pool['waiting_seconds']} s; {pool['working']} of its {pool['pool_size']} connections work."
            )
            advice = "See what they do: `SELECT * FROM pg_stat_activity` on the primary; and docs/sizing.md."
            yield from host.measured("pgbouncer", pool["waiting_seconds"], limits, message, advice)
        if pool["pool_size"] != (wanted := planned["pool_size"]):
            message = f"The pool {planned['name']} has {pool['pool_size']} connections, and {wanted} are planned."
            yield host.finding("warning", "pgbouncer", message, f"To change it, {SITE}.")
    yield from _share(host, "pgbouncer", told["clients"], host.plan["pgbouncer"]["max_client_conn"], "clients")


def postgres(host: Host) -> Iterator[Finding]:
    """Connections, and what a replica says of itself. What its primary says of it is the fleet's matter."""
    told = host.reading["postgres"]
    if not host.runs("postgres"):
        return
    plan = host.plan["postgres"]
    if told is None or "error" in told:
        yield _silent(host, "postgres", "PostgreSQL", "postgresql@*", told)
        return
    yield from _share(host, "postgres", told["connections"], told["max_connections"], "connections")
    if told["max_connections"] != (wanted := int(plan["settings"]["max_connections"])):
        message = f"It takes {told['max_connections']} connections, and {wanted} are planned."
        yield host.finding("warning", "postgres", message, f"To restart it so, {SITE}.")
    if told["standby"] != (plan["role"] == "replica"):
        is_now = "a standby" if told["standby"] else "no standby"
        message = f"It is {is_now}, and the inventory has it as the {plan['role']}."
        yield host.finding("problem", "postgres", message, 'See "PostgreSQL" in docs/fleet.md before anything is run.')
        return
    if not told["standby"]:
        return
    if not told["receiving"]:
        message = "It receives nothing from its primary."
        advice = f"{_look('postgresql@*')} If its primary no longer has what it needs, {SITE} says what to do."
        yield host.finding("problem", "postgres", message, advice)
    if told["replay"] != "not paused":
        message = "It receives what its primary writes and does not replay it: replay is paused."
        advice = "`SELECT pg_wal_replay_resume()` as postgres on this host goes on."
        yield host.finding("warning", "postgres", message, advice)
    lag = host.thresholds
    yield from host.measured(
        "postgres", told["lag_seconds"] or 0, (lag.lag_warning_seconds, lag.lag_problem_seconds),
        f"It is {_span(told['lag_seconds'] or 0)} behind its primary.",
        "Nobody reads from it until it has caught up. If it does not, see its load and its disk.",
    )  # fmt: skip


def redis(host: Host) -> Iterator[Finding]:
    """Memory, clients, its file, and a replica's link to its core."""
    told = host.reading["redis"]
    if not host.runs("redis"):
        return
    if told is None or "error" in told:
        yield _silent(host, "redis", "Redis", "redis-server", told)
        return
    limits = host.thresholds
    if told["loading"]:
        yield host.finding("warning", "redis", "It is reading its data from disk.", "Wait until it has.")
    if told["maxmemory"] and told["maxmemory_policy"] == "noeviction":
        percent = 100 * told["used_memory"] // told["maxmemory"]
        message = (
            f"It holds {told['used_memory'] >> 20} of at most {told['maxmemory'] >> 20} MB ({percent} %). "
            "When it is full it takes no more writes."
        )
        advice = "Give its host more memory, or the cache a Redis of its own: docs/redis.md."
        at = (limits.memory_warning_percent, limits.memory_problem_percent)
        yield from host.measured("redis", percent, at, message, advice)
    yield from _share(host, "redis", told["connected_clients"], told["maxclients"], "clients")
    if told["aof_enabled"] and told["aof_last_write_status"] != "ok":
        message = "It could not write to its append-only file, and takes no writes."
        yield host.finding("problem", "redis", message, f"See the disk, and {_look('redis-server')}")
    if told["rdb_last_bgsave_status"] != "ok":
        message = "Its last attempt to write a dump failed."
        yield host.finding("warning", "redis", message, f"See memory and disk, and {_look('redis-server')}")
    replica = host.plan["redis"]["role"] == "replica"
    if replica != (told["role"] == "slave"):
        message = f"It is {'no' if replica else 'a'} replica, and the inventory has it as {host.plan['redis']['role']}."
        yield host.finding("problem", "redis", message, "See docs/redis.md before anything is run.")
    elif replica and told["master_link_status"] != "up":
        yield host.finding("problem", "redis", "It does not reach its core.", f"{_look('redis-server')} Else {SITE}.")


def filesystems(host: Host) -> Iterator[Finding]:
    """Disks that are nearly full, of bytes or of files."""
    limits = (host.thresholds.disk_warning_percent, host.thresholds.disk_problem_percent)
    for place, disk in host.reading["filesystems"].items():
        message = f"{place} is {disk['used_percent']} % full: {disk['free_mb'] / 1024:.1f} GB are free."
        advice = f"See what it is: `du -xh --max-depth=2 {place} | sort -h | tail`."
        yield from host.measured("host", disk["used_percent"], limits, message, advice)
        message = f"{place} has used {disk['inodes_percent']} % of the files that it can have."
        yield from host.measured("host", disk["inodes_percent"], limits, message, f"See `df -i {place}`.")


def certificates_left(host: Host) -> dict[str, tuple[float, float]]:
    """Days that each certificate is still valid, and for how many it was made; those that can be read, by path."""
    found = {}
    for path, pem in host.reading["certificates"].items():
        if (valid := validity(pem)) is not None:
            begins, ends = valid
            found[path] = ((ends - host.now).total_seconds() / _DAY, (ends - begins).total_seconds() / _DAY)
    return found


def certificates(host: Host) -> Iterator[Finding]:
    """Certificates that should have been made anew by now."""
    limits = host.thresholds
    for path, (left, life) in certificates_left(host).items():
        warning = min(limits.certificate_warning_days, life * limits.certificate_warning_percent / 100)
        problem = min(limits.certificate_problem_days, life * limits.certificate_problem_percent / 100)
        if left > warning:
            continue
        message = f"{path} is valid for {left:.0f} more days." if left > 0 else f"{path} has expired."
        advice = f"To have it made anew, {SITE}; `journalctl -u certbot` says why it was not, where certbot keeps it."
        yield host.finding("problem" if left <= problem else "warning", "host", message, advice)


def debts(host: Host) -> Iterator[Finding]:
    """Ports that a run closed, restarts and reloads that it left behind, and a start of the host that is due."""
    if ports := host.reading["drained"]:
        message = f"Requests go elsewhere: new connections to {joined([str(port) for port in ports])} are refused here."
        yield host.finding("warning", "host", message, f"If no playbook is at work, {SITE}, which opens what works.")
    if owed := host.reading["owed"]:
        message = f"A run has left this to be done: {', '.join(owed)}."
        yield host.finding("warning", "host", message, f"If none is at work, {SITE}, which does it.")
    if host.reading["reboot"]:
        message = f"It wants to be started anew: {host.reading['reboot']}."
        yield host.finding("warning", "host", message, "The playbook reboot does it, one host after the other.")


def _silent(host: Host, component: str, name: str, unit: str, told: Mapping[str, Any] | None) -> Finding:
    """What is said of a component that should answer and does not."""
    if told is None:
        return host.finding("problem", component, f"{name} is planned here and not set up.", f"To set it up, {SITE}.")
    return host.finding("problem", component, f"{name} does not answer: {told['error']}", _look(unit))


def _share(host: Host, component: str, there: int, most: int, what: str) -> Iterator[Finding]:
    """A finding where nearly all that a component takes of clients are there."""
    limits = (host.thresholds.connections_warning_percent, host.thresholds.connections_problem_percent)
    message = f"{there} of at most {most} {what} are there; what comes beyond is refused."
    advice = "See who they are, and docs/sizing.md for what each host may open."
    yield from host.measured(component, 100 * there / max(1, most), limits, message, advice)
