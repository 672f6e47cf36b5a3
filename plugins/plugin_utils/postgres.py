# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet's PostgreSQL hosts may become, given the data that each of them holds. Pure: states of hosts in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What PostgreSQL has where nothing is set, of the settings that a standby must not have less of than its primary.
# Source: PostgreSQL 17 documentation, "Hot Standby", 26.4.3.
STANDBY_DEFAULTS = {
    "max_connections": 100,
    "max_locks_per_transaction": 64,
    "max_prepared_transactions": 0,
    "max_wal_senders": 10,
    "max_worker_processes": 8,
}
_DIRECTORY = "/var/lib/postgresql"
_MOVE = "the README of the role postgres says how ('Moving the primary')"


def standby_settings(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings that standbys share with their primary: `rising`, `falling` (sorted names), `highest` (values).

    there, wanted: settings by name; of a setting that one of them lacks PostgreSQL's default counts. Of a setting that
    both of them lack there is no highest value.
    Raises ValueError for a value that is no whole number.
    """
    now = {name: _whole(name, there.get(name, default)) for name, default in STANDBY_DEFAULTS.items()}
    then = {name: _whole(name, wanted.get(name, default)) for name, default in STANDBY_DEFAULTS.items()}
    return {
        "rising": [name for name in now if then[name] > now[name]],
        "falling": [name for name in now if then[name] < now[name]],
        "highest": {name: max(now[name], then[name]) for name in now if name in there or name in wanted},
    }


def _whole(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a whole number, not {value!r}") from None


def postgres_objections(
    states: Mapping[str, Mapping[str, Any]], host: str, role: str, primary: str, version: int
) -> list[str]:
    """Sentences that say why a host must not become what the inventory names it; none where it may.

    states: what host_state returned, by name; hosts that did not answer are missing, and nothing is said of them.
    host: the host in question; role: "primary" or "replica"; primary: name of the primary of the inventory.
    version: the major version that is to run. Raises ValueError for another role.
    """
    if role not in ("primary", "replica"):
        raise ValueError(f"postgres_role of {host} is {role!r}; it must be primary or replica")
    clusters = {name: state["components"]["postgres"] for name, state in states.items()}
    mine = clusters.get(host)
    if mine is None:
        return []
    others = sorted(set(map(int, mine["versions"])) - {version})
    if others:
        return [_other_version(host, others, version)]
    if role == "primary":
        return _against_primary(states, clusters, host)
    return _against_replica(clusters, host, primary, version)


def _leads(cluster: Mapping[str, Any]) -> bool:
    """Whether the data are those of a primary; a cluster that nobody ever used does not count."""
    return bool(cluster["data"] and not cluster["standby"] and not cluster["untouched"])


def _against_primary(
    states: Mapping[str, Mapping[str, Any]], clusters: Mapping[str, Mapping[str, Any]], host: str
) -> list[str]:
    holders = sorted(name for name in clusters if name != host and _leads(clusters[name]) and states[name]["instance"])
    held = f"on {', '.join(holders)}" if holders else "on a host that did not answer or is not in the inventory"
    if clusters[host]["standby"]:
        system = clusters[host]["system_identifier"]
        return [
            f"{host} is named primary, and its data are a standby's (system {system}); the primary's data are {held}. "
            f"Name that host in postgres_primary again, or promote {host} first: {_MOVE}."
        ]
    if holders and not (_leads(clusters[host]) and states[host]["instance"]):
        return [
            f"{host} is named primary, and the data of the instance are {held}. Editing the inventory does not move "
            f"data: name {holders[0]} in postgres_primary again, or make {host} its replica and promote it; {_MOVE}."
        ]
    copies = sorted(name for name in clusters if name != host and clusters[name]["data"] and clusters[name]["standby"])
    if copies and not _leads(clusters[host]):
        return [
            f"{host} is named primary and holds no data, while {', '.join(copies)} holds a standby's, which may be "
            f"the only copy. Promote {copies[0]} and name it in postgres_primary, or restore a backup on {host}; "
            f"{_MOVE}."
        ]
    return []


def _against_replica(clusters: Mapping[str, Mapping[str, Any]], host: str, primary: str, version: int) -> list[str]:
    mine, leader = clusters[host], clusters.get(primary)
    away = (
        f"If nothing of it is missed, on {host}: `systemctl stop postgresql@{version}-main && "
        f"mv {_DIRECTORY}/{version}/main {_DIRECTORY}/{version}-main.old`, and run this again"
    )
    if _leads(mine):
        named = f"{host} is named replica of {primary} and holds a primary's data (system {mine['system_identifier']})"
        # Only where the primary has data may those here be spared.
        if leader is None or not _leads(leader):
            return [f"{named}, while {primary} {_lacks(leader)}. Name {host} in postgres_primary again."]
        if leader["system_identifier"] != mine["system_identifier"]:
            return [f"{named}, other than those of {primary}. {away}; or name {host} in postgres_primary."]
        return [
            f"{named}, as {primary} does: one of them was promoted. {host} is on timeline {mine['timeline']}, "
            f"{primary} on {leader['timeline']}; the higher one was promoted last. {away}; or name {host} in "
            "postgres_primary."
        ]
    if mine["standby"] and leader is not None and _leads(leader):
        here, there = mine["system_identifier"], leader["system_identifier"]
        if here != there:
            return [
                f"{host} is named replica of {primary} and holds a standby of another primary (system {here}; that of "
                f"{primary} is {there}). {away}; or name its own primary in postgres_primary."
            ]
    return []


def _lacks(leader: Mapping[str, Any] | None) -> str:
    if leader is None:
        return "did not answer"
    return "holds those of a standby" if leader["standby"] else "holds none"


def _other_version(host: str, found: list[int], version: int) -> str:
    return (
        f"{host} holds data of PostgreSQL {', '.join(map(str, found))} in {_DIRECTORY}, and this role runs {version}. "
        "Move the data with `pg_upgradecluster`, and remove the old cluster with `pg_dropcluster` once the new one is "
        "proven; or set `postgres_version` to the version of the data, if a repository of this host has it."
    )
