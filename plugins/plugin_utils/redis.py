# SPDX-License-Identifier: GPL-3.0-or-later
"""What speaks against a Redis having its role in the inventory: data never move by editing it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# There is one of each in a fleet, and nothing else has its data.
_MOVES = {"core": "Move the core to another host", "sidekiq": "Give the queues a Redis of their own"}
_ASIDE = "Give a host another Redis"
_EMPTY = "Begin with an empty Redis"
_GIVEN = "given"


def redis_objections(states: Mapping[str, Mapping[str, Any]], host: str, role: str, holds_queues: bool) -> list[str]:
    """Say why a host must not run Redis in this role: a text for each reason, none if it may.

    states: what the module host_state found, by the names of the hosts that were looked at; host is one of them.
    role: core, replica, cache or sidekiq. holds_queues: whether by the inventory the queues are in this Redis (of a
    replica: in its core). A Redis without a record was not set up by this collection. Raises ValueError where the
    host was not looked at.
    """
    if host not in states:
        raise ValueError(f"{host}, which is asked about, is not among those that were looked at: {', '.join(states)}")
    found = {name: state["components"]["redis"] for name, state in states.items()}
    record, data = found[host]["record"], found[host]["data"]
    was = record["role"] if record else role
    if was != role:
        others = [name for name, other in found.items() if name != host and (other["record"] or {}).get("role") == was]
        return [_other_role(host, was, role, bool(others))]
    if data and not record and role != "core":
        return [
            f"{host} is named redis_{role} and holds the data of a Redis that this collection did not set up, "
            f'in /var/lib/redis. See "{_ASIDE}" in docs/redis.md.'
        ]
    if role in _MOVES and (elsewhere := _elsewhere(states, host, role)):
        return [elsewhere]
    if role != "core" or not (record or data):
        return []
    here = record["queues"] if record else True
    if here in (_GIVEN, holds_queues):
        return []
    if here:
        return [
            f"The queues are in Redis on {host}, and the inventory has a host in redis_sidekiq now, where Sidekiq "
            f'would not find them. See "{_MOVES["sidekiq"]}" in docs/redis.md.'
        ]
    return [
        f"The queues are not in Redis on {host} but in one of redis_sidekiq, and the inventory has no host in that "
        'group any more. See "Bring the queues back into the core" in docs/redis.md.'
    ]


def _other_role(host: str, was: str, role: str, replaced: bool) -> str:
    if (was, role) == ("replica", "core"):
        return (
            f"{host} is named redis_core, and its Redis is a replica, which takes no writes. "
            'See "Make a replica the core" in docs/redis.md.'
        )
    return (
        f"{host} is named redis_{role}, and its Redis was set up as redis_{was}, whose data it holds. "
        f'See "{_ASIDE if replaced or was not in _MOVES else _MOVES[was]}" in docs/redis.md.'
    )


def _elsewhere(states: Mapping[str, Mapping[str, Any]], host: str, role: str) -> str:
    """Return where the data of a role are that is there once in a fleet; nothing where they are on its host."""
    found = {name: state["components"]["redis"] for name, state in states.items()}
    records = {name: redis["record"] for name, redis in found.items() if redis["record"]}
    see = f'See "{_MOVES[role]}" in docs/redis.md.'
    others = [
        name
        for name, record in records.items()
        if name != host and record["role"] == role and found[name]["data"] and record["queues"] != _GIVEN
    ]
    if others and host in records:
        return (
            f"{host} and {', '.join(others)} both hold the data of redis_{role}: one of them is out of date. "
            f'See "{_ASIDE}" in docs/redis.md.'
        )
    if others:
        return f"{host} is named redis_{role}, and its data are on {', '.join(others)}. {see}"
    if host in records or (found[host]["data"] and role == "core"):
        return ""
    given = role == "sidekiq" and any(record["queues"] == _GIVEN for record in records.values())
    living = [name for name, state in states.items() if state["current_release"]]
    if living and not given:
        return (
            f"{host} is named redis_{role} and holds no data, but this is no new instance: {', '.join(living)} runs "
            f'its release, and has its data elsewhere. {see} Where they are lost for good: "{_EMPTY}".'
        )
    return ""
