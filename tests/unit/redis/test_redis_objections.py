# SPDX-License-Identifier: GPL-3.0-or-later
"""Data of Redis never move by editing the inventory: what is refused, and that procedures lead out of it."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.redis_objections import redis_objections as the_filter
from ansible_collections.fediops.mastodon.plugins.plugin_utils.redis import redis_objections
from collection_tree import ROOT


def host(role=None, queues=False, data=None, release=None):
    """What is found on a host: by default, data where there is a record."""
    record = {"role": role, "queues": queues} if role else None
    redis = {"installed": True, "data": bool(role) if data is None else data, "record": record}
    return {"components": {"redis": redis}, "current_release": release}


EMPTY, CORE, REPLICA = host(), host("core", True), host("replica", True)
BARE_CORE, QUEUES, CACHE = host("core"), host("sidekiq", True), host("cache", data=False)
GIVEN, FOREIGN, WEB = host("core", "given"), host(data=True), host(release="v1")
CASES = {
    "a new fleet": ({"a": EMPTY, "w": EMPTY}, "core", True, None),
    "a new fleet with its queues apart": ({"a": EMPTY, "b": EMPTY}, "core", False, None),
    "nothing changed": ({"a": CORE, "b": REPLICA, "w": WEB}, "core", True, None),
    "a replica as before": ({"a": REPLICA, "b": CORE, "w": WEB}, "replica", True, None),
    "queues apart as before": ({"a": QUEUES, "b": BARE_CORE, "w": WEB}, "sidekiq", True, None),
    "their core": ({"a": BARE_CORE, "b": QUEUES, "w": WEB}, "core", False, None),
    "a new replica": ({"a": EMPTY, "b": CORE, "w": WEB}, "replica", True, None),
    "a new cache": ({"a": EMPTY, "b": CORE, "w": WEB}, "cache", False, None),
    "a Redis brought along": ({"a": FOREIGN, "w": WEB}, "core", True, None),
    "core elsewhere": ({"a": EMPTY, "b": CORE}, "core", True, 'its data are on b. See "Move the core'),
    "core out of the inventory": ({"a": EMPTY, "w": WEB}, "core", True, "w runs its release"),
    "two cores": ({"a": CORE, "b": CORE, "w": WEB}, "core", True, "a and b both hold the data of redis_core"),
    "replica as core": ({"a": REPLICA, "b": CORE}, "core", True, "Make a replica the core"),
    "promoted replica": ({"a": CORE, "w": WEB}, "core", True, None),
    "core as replica": ({"a": CORE, "b": EMPTY}, "replica", True, 'holds. See "Move the core'),
    "a core that was replaced": ({"a": CORE, "b": CORE}, "replica", True, "Give a host another Redis"),
    "cache as core": ({"a": CACHE, "w": WEB}, "core", True, "was set up as redis_cache"),
    "foreign data as replica": ({"a": FOREIGN, "b": CORE}, "replica", True, "did not set up"),
    "queues added": ({"a": CORE, "b": EMPTY, "w": WEB}, "core", False, "The queues are in Redis on a"),
    "queues added, asked there": ({"a": EMPTY, "b": CORE, "w": WEB}, "sidekiq", True, "w runs its release"),
    "queues added to a Redis brought along": ({"a": FOREIGN, "w": WEB}, "core", False, "The queues are in Redis on a"),
    "queues given": ({"a": GIVEN, "b": EMPTY, "w": WEB}, "core", False, None),
    "queues given, asked there": ({"a": EMPTY, "b": GIVEN, "w": WEB}, "sidekiq", True, None),
    "queues given back": ({"a": GIVEN, "w": WEB}, "core", True, None),
    "queues removed": ({"a": BARE_CORE, "b": QUEUES, "w": WEB}, "core", True, "The queues are not in Redis on a"),
    "queues on another host": ({"a": EMPTY, "b": QUEUES, "c": BARE_CORE}, "sidekiq", True, "its data are on b"),
    "given by the host before": (
        {"a": EMPTY, "b": host("sidekiq", "given"), "c": BARE_CORE, "w": WEB}, "sidekiq", True, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("states", "role", "holds_queues", "words"), CASES.values(), ids=CASES)
def test_what_is_refused(states, role, holds_queues, words):
    found = redis_objections(states, "a", role, holds_queues)
    assert [words in text for text in found] == ([] if words is None else [True]), found


def test_each_refusal_names_a_procedure_that_is_written():
    headings = [line.lstrip("# ") for line in (ROOT / "docs/redis.md").read_text().splitlines() if line[:1] == "#"]
    texts = {text for states, *role, _words in CASES.values() for text in redis_objections(states, "a", *role)}
    named = [re.findall('"([^"]+)"', text) for text in texts]
    assert all(named)
    assert {name for names in named for name in names} <= set(headings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], "a", "core", True), "the states must be a mapping"),
        (({"b": EMPTY}, "a", "core", True), "a, which is asked about, is not among those that were looked at: b"),
    ],
)
def test_filter_refuses(arguments, words):
    with pytest.raises(AnsibleFilterError, match=rf"fediops\.mastodon\.redis_objections: {words}"):
        the_filter(*arguments)


def test_filter_asks_the_library():
    assert the_filter({"a": CORE}, "a", "core", True) == []
