# SPDX-License-Identifier: GPL-3.0-or-later
"""Two plans side by side: what differs, on which hosts, and which services a run would restart or reload for it.

Both plans are plain data, as `Plan.as_mapping` makes them and as a file of JSON keeps them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .components.postgres import STANDBY_DEFAULTS
from .stacks import leaves
from .words import COMPONENTS, joined, label, listed, shown

# How a run puts a value in force: each role writes most of them into a file that its service reads again, and some
# only at its start. PostgreSQL: context "postmaster" of pg_settings; Redis: what CONFIG SET refuses; PgBouncer: what
# its manual says cannot change by a reload.
_AT_START = {
    "nginx": {"limit_nofile"},
    "haproxy": {"limit_nofile"},
    "pgbouncer": {"bind", "limit_nofile", "listen_backlog", "port", "so_reuseport"},
    "postgres": {
        "autovacuum_max_workers",
        "bind",
        "hot_standby",
        "huge_pages",
        "max_connections",
        "max_locks_per_transaction",
        "max_prepared_transactions",
        "max_replication_slots",
        "max_wal_senders",
        "max_worker_processes",
        "port",
        "shared_buffers",
        "superuser_reserved_connections",
        "wal_buffers",
        "wal_level",
    },
    "redis": {"bind", "disable-thp", "io-threads", "limit_nofile", "port", "tcp-backlog"},
}
# What PostgreSQL has where nothing is set.
_UNSET = {name: str(value) for name, value in STANDBY_DEFAULTS.items()} | {
    "hot_standby": "on",
    "max_replication_slots": "10",
    "wal_level": "replica",
}
# Put in force by a statement inside PostgreSQL, or told by another value too.
_UNNOTICED = {"postgres.app_connection_limit", "postgres.replicas", "postgres.role", "redis.role"}
# Long lists, of which only what differs is told.
_LISTS = ("firewall", "postgres.clients")
# Where a host goes that no service reads.
_UNREAD = ("releases", "logs")
_APPLICATION = ("web", "streaming", "sidekiq")
_RUBY = ("web", "sidekiq")
# Strongest first: of several effects on a service only one happens.
_EFFECTS = ("start", "stop", "restart", "reload")
_NOT_COMPARED = ("memory", "reasons")
_PROCESS, _FEW, _REASONS = f"{COMPONENTS['sidekiq']} ", 4, 3
# Measured: tests/results/restarting.jsonl, `postgres`; the unit was down for 3 s, and no post came for 42.
_PRIMARY_AWAY_SECONDS, _JOBS_WAIT_SECONDS = 3, 40
_NOTHING_RESTARTS = "No service that runs is restarted or reloaded."


@dataclass(frozen=True, kw_only=True)
class Change:
    """One value that differs, on all hosts on which it differs in the same way.

    before and after are text, None where there was or is nothing. services are those that take notice, in the words
    of `effect`: start, stop, restart or reload; both are empty where no running service does.
    """

    hosts: tuple[str, ...]
    what: str
    before: str | None
    after: str | None
    services: tuple[str, ...]
    effect: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two plans; everything is empty if nothing does."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of the new plan that a run would change."""
        return tuple(sorted({*self.added, *(host for change in self.changes for host in change.hosts)}))

    @property
    def services(self) -> list[dict[str, Any]]:
        """What happens to services that run already: [{service, effect, hosts: [..]}], the strongest effect of each."""
        strongest: dict[tuple[str, str], str] = {}
        for change in sorted(self.changes, key=lambda change: _rank(change.effect), reverse=True):
            for host in change.hosts:
                strongest |= {(service, host): change.effect for service in change.services}
        grouped: dict[tuple[str, str], list[str]] = {}
        for (service, host), effect in strongest.items():
            grouped.setdefault((service, effect), []).append(host)
        return [
            {"service": service, "effect": effect, "hosts": sorted(grouped[service, effect])}
            for service, effect in sorted(grouped, key=lambda key: (_rank(key[1]), key[0]))
        ]

    def as_mapping(self) -> dict[str, Any]:
        """The comparison as plain data: {hosts, added, removed, changes: [..], services: [..]}."""
        changes = [{**asdict(change), "hosts": list(change.hosts)} for change in self.changes]
        return {
            "hosts": list(self.hosts),
            "added": list(self.added),
            "removed": list(self.removed),
            "changes": [{**change, "services": list(change["services"])} for change in changes],
            "services": self.services,
        }

    def __bool__(self) -> bool:
        """True if anything differs."""
        return bool(self.added or self.removed or self.changes)


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """What differs between two plans.

    before, after: {hosts: {name: sizes}, ..}. Reasons and the memory budget are left out: they follow from the rest.
    """
    old, new = before.get("hosts", {}), after.get("hosts", {})
    found: dict[tuple[str, str | None, str | None, tuple[str, ...], str], list[str]] = {}
    for host in sorted(old.keys() & new.keys()):
        for what, *rest in _host_changes(old[host], new[host]):
            found.setdefault((what, *rest), []).append(host)
    return Comparison(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changes=tuple(
            Change(hosts=tuple(hosts), what=what, before=was, after=becomes, services=services, effect=effect)
            for (what, was, becomes, services, effect), hosts in found.items()
        ),
    )


def as_record(plan: Mapping[str, Any], before: Mapping[str, Any], waiting: Sequence[str]) -> dict[str, Any]:
    """The plan as it is kept: where hosts still wait for a run, with what they had until now, under "waiting".

    before: the earlier plan, as `from_record` gives it. waiting: hosts that differ from it and take no part in a run.
    """
    had = {host: before["hosts"].get(host) for host in waiting}
    return {**plan, "waiting": had} if had else dict(plan)


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The earlier plan of what was kept, each host as its last run found it: {hosts, leaving: {name: sizes}}.

    Raises ValueError if that is not what `as_record` makes.
    """
    try:
        parts = {**record["hosts"], **record.get("waiting", {})}
        return {
            "hosts": {str(host): dict(part) for host, part in parts.items() if part is not None},
            "leaving": {str(host): dict(part) for host, part in record.get("leaving", {}).items()},
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"it does not hold a plan ({error})") from error


def describe_changes(comparison: Comparison, plan: Mapping[str, Any] | None = None) -> str:
    """The comparison as text for the terminal; what happens to many processes in the same way is told once.

    plan: the new one, as plain data; with it, what people notice is told too.
    """
    if not comparison:
        return "Nothing differs from the last plan."
    lines = []
    if comparison.added:
        lines.append(f"New: {listed(comparison.added)}")
    if comparison.removed:
        lines.append(f"Gone: {listed(comparison.removed)}")
    changes = _told_once(comparison.changes)
    width = max((len(change.what) for change in changes), default=0)
    hosts: tuple[str, ...] = ()
    for change in sorted(changes, key=lambda change: change.hosts):
        if change.hosts != hosts:
            hosts = change.hosts
            lines.append(listed(hosts))
        effect = f"   ({change.effect} {joined(change.services)})" if change.services else ""
        lines.append(f"  {change.what:<{width}}  {shown(change.before)} -> {shown(change.after)}{effect}")
    lines += [
        f"{entry['service']}: {entry['effect']} on {listed(entry['hosts'])}"
        for entry in _services_told_once(comparison.services)
    ] or [_NOTHING_RESTARTS]
    return "\n".join([*lines, *(costs(comparison, plan) if plan else ())])


def announce(comparison: Comparison, plan: Mapping[str, Any], outside: Container[str] = ()) -> str:
    """What a run does to what runs already, short enough to be read before it begins; empty where nothing differs.

    plan: the new one, as plain data. outside: hosts that take no part in the run.
    """
    changes = [
        replace(change, hosts=tuple(host for host in change.hosts if host not in outside))
        for change in comparison.changes
    ]
    here = replace(
        comparison,
        added=tuple(host for host in comparison.added if host not in outside),
        changes=tuple(change for change in changes if change.hosts),
    )
    if not here:
        return ""
    lines = [f"New: {listed(here.added)}"] if here.added else []
    if here.removed:
        lines.append(f"No longer part of the fleet: {listed(here.removed)}")
    lines += [
        f"{entry['service']}: {entry['effect']} on {listed(entry['hosts'])}{_because(entry, here)}"
        for entry in _services_told_once(here.services)
    ] or [_NOTHING_RESTARTS]
    if opened := [host for change in here.changes if change.what == "firewall" for host in change.hosts]:
        lines.append(f"firewall: other rules on {listed(opened)}")
    return "\n".join([*lines, *costs(here, plan)])


def costs(comparison: Comparison, plan: Mapping[str, Any]) -> list[str]:
    """What people notice of the restarts of a comparison, a sentence each, where it is more than a moment."""
    hosts = plan["hosts"]
    restarted = [
        host
        for entry in comparison.services
        if (entry["service"], entry["effect"]) == (COMPONENTS["postgres"], "restart")
        for host in entry["hosts"]
    ]
    pooled = any("pgbouncer" in part for part in hosts.values())
    told = []
    for host in restarted:
        begin = f"While {COMPONENTS['postgres']} restarts on {host},"
        if hosts[host]["postgres"]["role"] == "primary":
            pages = "pages wait in PgBouncer" if pooled else "pages fail"
            told.append(
                f"{begin} {pages}: {_PRIMARY_AWAY_SECONDS} seconds in a rehearsal. Before it, jobs that run may end, "
                f"and all others wait in their queues: {_JOBS_WAIT_SECONDS} seconds. Nothing that was posted is lost."
            )
        elif pooled:
            told.append(f"{begin} the other replicas or the primary answer those who read; nobody waits.")
    return told


def _because(entry: Mapping[str, Any], comparison: Comparison) -> str:
    """The values for which a service restarts, the first few."""
    if entry["effect"] != "restart":
        return ""
    values = dict.fromkeys(
        f"{change.what} {shown(change.before)} -> {shown(change.after)}"
        for change in comparison.changes
        if change.effect == "restart" and entry["service"] in change.services
    )
    told = [*values][:_REASONS] + ([f"{len(values) - _REASONS} more"] if len(values) > _REASONS else [])
    return f" ({', '.join(told)})" if told else ""


def _told_once(changes: Sequence[Change]) -> list[Change]:
    """The changes, with those of Sidekiq's processes together where the same happens to more than a few."""
    told: list[Change] = []
    alike: dict[tuple[str, str | None, str | None, str], list[Change]] = {}
    for change in changes:
        process = next((service for service in change.services if service.startswith(_PROCESS)), None)
        if process is None:
            told.append(change)
        else:
            what = change.what.removeprefix(process).strip()
            alike.setdefault((what, change.before, change.after, change.effect), []).append(change)
    for (what, *_values), found in alike.items():
        hosts = [host for change in found for host in change.hosts]
        if len(found) == 1 or len(hosts) <= _FEW:
            told += found
        else:
            named = f"{_many(len(hosts))}: {what}"
            told.append(replace(found[0], hosts=tuple(sorted(set(hosts))), what=named, services=("them",)))
    return told


def _services_told_once(services: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What happens to services, with Sidekiq's processes together where it happens to more than a few."""
    processes = [entry for entry in services if entry["service"].startswith(_PROCESS)]
    if sum(len(entry["hosts"]) for entry in processes) <= _FEW:
        return list(services)
    told = [entry for entry in services if entry not in processes]
    for effect in dict.fromkeys(entry["effect"] for entry in processes):
        hosts = [host for entry in processes if entry["effect"] == effect for host in entry["hosts"]]
        told.append({"service": _many(len(hosts)), "effect": effect, "hosts": sorted(set(hosts))})
    return told


def _many(count: int) -> str:
    return f"{count} process{'' if count == 1 else 'es'} of {COMPONENTS['sidekiq']}"


_Difference = tuple[str, str | None, str | None, tuple[str, ...], str]


def _host_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[_Difference]:
    # In the order of the new plan, which begins with what matters most; a file has them by name.
    for part in dict.fromkeys((*new, *old)):
        if part in _NOT_COMPARED:
            continue
        if part in COMPONENTS and (part in old) != (part in new):
            runs = part in new
            before, after = (None, "runs here") if runs else ("ran here", None)
            yield COMPONENTS[part], before, after, (COMPONENTS[part],), "start" if runs else "stop"
            continue
        was, becomes = dict(leaves(old.get(part), part)), dict(leaves(new.get(part), part))
        for path in dict.fromkeys((*becomes, *was)):
            before, after = was.get(path), becomes.get(path)
            if before != after:
                if path in _LISTS:
                    before, after = _only(before, after), _only(after, before)
                yield (label(path), before, after, *_effect(path, before, after, new))


def _effect(path: str, before: str | None, after: str | None, new: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Which services of the host notice that a value differs, and how."""
    part, _dot, rest = path.partition(".")
    key = path.rpartition(".")[2]
    if part == "endpoints":
        return _endpoint_effect(rest, new)
    if path == "exporters.mastodon":
        # Puma and Sidekiq report to it, or to nobody, from their start.
        return tuple(COMPONENTS[part] for part in _RUBY if part in new), "restart"
    if path in _UNNOTICED or part not in COMPONENTS:
        return (), ""
    service = COMPONENTS[part]
    if part == "sidekiq" and rest.startswith("processes."):
        # Each process has a file of its own, so the others go on.
        effect = "start" if before is None else "stop" if after is None else "restart"
        return (f"{service} {rest.split('.')[1]}",), effect
    if part == "streaming" and rest == "processes":
        return (service,), "start" if len(after or "") > len(before or "") else "stop"
    if part in _AT_START and (key not in _AT_START[part] or _read_again(path, key, before, after)):
        return (service,), "reload"
    return (service,), "restart"


def _read_again(path: str, key: str, before: str | None, after: str | None) -> bool:
    """True where what a service takes at its start only is not meant, or is what it has already."""
    if path.startswith("pgbouncer.pools."):
        return True
    default = _UNSET.get(key) if path.startswith("postgres.") else None
    return default is not None and (before or default) == (after or default)


def _only(words: str | None, other: str | None) -> str | None:
    """The words of a list that another has not."""
    others = set((other or "").split())
    return " ".join(word for word in (words or "").split() if word not in others) or None


def _endpoint_effect(which: str, new: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """An address of another component: nginx reads its upstreams again, the application has the others from its start.

    Where poolers stand between, only migrations and dumps use the address of PostgreSQL itself.
    """
    which = which.partition(".")[0]
    if which in _UNREAD:
        return (), ""
    if which in ("web", "streaming", "tls"):
        return ((COMPONENTS["nginx"],), "reload") if "nginx" in new else ((), "")
    if which == "postgres" and "database" in new.get("endpoints", {}):
        return (), ""
    services = tuple(COMPONENTS[part] for part in _APPLICATION if part in new)
    return (services, "restart") if services else ((), "")


def _rank(effect: str) -> int:
    return _EFFECTS.index(effect) if effect in _EFFECTS else len(_EFFECTS)
