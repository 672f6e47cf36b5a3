# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL hosts may become, and in which order what they share is changed."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.postgres_objections import postgres_objections
from ansible_collections.fediops.mastodon.plugins.filter.standby_settings import standby_settings

OURS, FOREIGN = "7710741844895325545", "7000000000000000001"


def state(kind, system=OURS, timeline=1, record=False, versions=(17,)):
    """What host_state says of a host that holds nothing, an unused cluster, a primary's data or a standby's."""
    empty = kind == "empty"
    cluster = {
        "installed": True,
        "data": not empty,
        "versions": [] if empty else list(versions),
        "standby": kind == "standby",
        "system_identifier": None if empty else system,
        "timeline": None if empty else timeline,
        "untouched": kind == "untouched",
        "settings": {},
    }
    return {"components": {"postgres": cluster}, "instance": {"version": 1} if record else None}


EMPTY, UNTOUCHED = state("empty"), state("untouched", system=FOREIGN)
PRIMARY, STANDBY = state("primary", record=True), state("standby")


def objections(db1, db2):
    """Of a fleet whose primary is db1 and whose replicas are db2 and an empty db3, by name; None: it did not answer."""
    states = {name: it for name, it in (("db1", db1), ("db2", db2), ("db3", EMPTY)) if it}
    found = {
        name: postgres_objections(states, name, "primary" if name == "db1" else "replica", "db1", 17)
        for name in ("db1", "db2", "db3")
    }
    return {name: " ".join(sentences) for name, sentences in found.items() if sentences}


@pytest.mark.parametrize(
    ("db1", "db2"),
    [
        (EMPTY, EMPTY),
        (UNTOUCHED, EMPTY),
        (UNTOUCHED, UNTOUCHED),
        (PRIMARY, EMPTY),
        (PRIMARY, UNTOUCHED),
        (PRIMARY, STANDBY),
        (state("primary"), STANDBY),
        (state("primary"), EMPTY),
        (PRIMARY, state("standby", record=True)),
        (PRIMARY, None),
        (None, STANDBY),
        (None, EMPTY),
    ],
)
def test_what_a_run_may_go_on_with(db1, db2):
    assert objections(db1, db2) == {}


@pytest.mark.parametrize(
    ("db1", "db2", "named", "told"),
    [
        # Groups exchanged in the inventory.
        (
            STANDBY,
            PRIMARY,
            {"db1", "db2"},
            ["its data are a standby's", "on db2", "Name that host", "those of a standby"],
        ),
        # A new host named primary.
        (EMPTY, PRIMARY, {"db1", "db2"}, ["the data of the instance are on db2", "while db1 holds none. Name db2 in"]),
        (UNTOUCHED, PRIMARY, {"db1", "db2"}, ["the data of the instance are on db2"]),
        # The primary was lost and made anew: what is left is the copy.
        (EMPTY, STANDBY, {"db1"}, ["holds no data, while db2 holds a standby's", "Promote db2"]),
        (UNTOUCHED, STANDBY, {"db1"}, ["which may be the only copy"]),
        (STANDBY, None, {"db1"}, ["its data are a standby's", "did not answer or is not in the inventory"]),
        # A replica with data that are no copy.
        (
            PRIMARY,
            state("primary", FOREIGN),
            {"db2"},
            ["other than those of db1", FOREIGN, "mv /var/lib/postgresql"],
        ),
        (
            PRIMARY,
            state("primary", timeline=2),
            {"db2"},
            ["one of them was promoted", "timeline 2, db1 on 1"],
        ),
        (PRIMARY, state("standby", FOREIGN), {"db2"}, ["a standby of another primary", FOREIGN, OURS]),
        (None, state("primary"), {"db2"}, ["db1 did not answer. Name db2 in postgres_primary"]),
        # Another major version, whatever else is there.
        (PRIMARY, state("standby", versions=(15, 17)), {"db2"}, ["data of PostgreSQL 15", "pg_upgradecluster"]),
        (state("primary", record=True, versions=(15,)), EMPTY, {"db1"}, ["runs 17"]),
    ],
)
def test_refusals_name_the_host_what_was_found_and_what_to_do(db1, db2, named, told):
    found = objections(db1, db2)
    assert set(found) == named
    assert [text for text in told if text not in " ".join(found.values())] == []


@pytest.mark.parametrize("db1", [None, EMPTY, UNTOUCHED, STANDBY])
def test_nobody_is_told_to_move_away_the_only_data(db1):
    assert not [sentence for sentence in objections(db1, PRIMARY).values() if "mv /var" in sentence]


@pytest.mark.parametrize(
    ("there", "wanted", "rising", "falling"),
    [
        ({"max_connections": "100"}, {"max_connections": 200}, ["max_connections"], []),
        ({"max_connections": "200"}, {"max_connections": "100"}, [], ["max_connections"]),
        ({}, {"max_connections": 100, "max_wal_senders": 10, "shared_buffers": "1GB"}, [], []),
        ({}, {"max_wal_senders": 20, "max_connections": 50}, ["max_wal_senders"], ["max_connections"]),
        ({"max_worker_processes": 16}, {}, [], ["max_worker_processes"]),
    ],
)
def test_what_rises_and_what_falls(there, wanted, rising, falling):
    compared = standby_settings(there, wanted)
    assert (compared["rising"], compared["falling"]) == (rising, falling)
    both = [{"max_connections": 100, "max_wal_senders": 10, "max_worker_processes": 8} | it for it in (there, wanted)]
    assert set(compared["highest"]) == {*there, *wanted} - {"shared_buffers"}
    for name in compared["highest"]:
        assert compared["highest"][name] == max(int(it[name]) for it in both)


def test_bad_input_is_named():
    with pytest.raises(AnsibleFilterError, match="max_connections must be a whole number, not '1GB'"):
        standby_settings({}, {"max_connections": "1GB"})
    with pytest.raises(AnsibleFilterError, match="postgres_role of db1 is 'master'; it must be primary or replica"):
        postgres_objections({"db1": EMPTY}, "db1", "master", "db1", 17)
    with pytest.raises(AnsibleFilterError, match="version must be a whole number, not str"):
        postgres_objections({"db1": EMPTY}, "db1", "primary", "db1", "17")
