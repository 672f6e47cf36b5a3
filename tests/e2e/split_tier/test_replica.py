# SPDX-License-Identifier: GPL-3.0-or-later
"""Timelines are read from the replica while it is up and up to date, and from the primary while it is not."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager

import pytest
from e2e.instance import wait_until

CLUSTER = "postgresql@17-main.service"
READS = 20
# Counters reach the views when a connection is idle for ten seconds.
COUNTED_SECONDS = 25
OUT_SECONDS, BACK_SECONDS = 45, 90
PATHS = ["/api/v1/timelines/home", "/api/v1/notifications"]
SCANS = "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'statuses'"


@pytest.fixture(scope="module")
def client(instance):
    client = instance.client()
    post(client)
    return client


@pytest.fixture(scope="module")
def replica(instance):
    (host,) = instance.hosts_of("postgres_replica")
    return host


def post(client):
    """Post, and return the number."""
    return str(client.post(f"Read from the replica? {uuid.uuid4()}")["id"])


def at_home(client):
    """The newest statuses of the home timeline; anything but 200 is a failure."""
    answer = client.get("/api/v1/timelines/home")
    assert answer.status_code == 200, answer.text
    return [status["id"] for status in answer.json()]


def scans(host):
    return int(host.sql(SCANS)[0])


def read_on(host, client):
    """Whether home timelines are read on this host now."""
    before = scans(host)
    for _number in range(READS):
        at_home(client)
    deadline = time.monotonic() + COUNTED_SECONDS
    while time.monotonic() < deadline:
        if scans(host) - before >= READS:
            return True
        time.sleep(0.5)
    return False


@contextmanager
def nothing_is_noticed(client):
    """Ask for timelines until the end; every answer must be 200."""
    answers, over = [], threading.Event()

    def ask():
        while not over.is_set():
            for path in PATHS:
                asked = time.monotonic()
                try:
                    said = client.get(path).status_code
                except OSError as error:
                    said = str(error)
                answers.append((round(time.monotonic() - began, 1), round(time.monotonic() - asked, 1), path, said))
            time.sleep(0.1)

    began = time.monotonic()
    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answers
    finally:
        over.set()
        asker.join()
    assert len(answers) > 50
    assert [answer for answer in answers if answer[-1] != 200] == []


def test_home_is_read_on_the_replica_and_not_on_the_primary(client, instance, replica):
    wait_until(lambda: post(client) in at_home(client), 30, "something to read")
    before = scans(instance.primary)
    assert read_on(replica, client)
    assert scans(instance.primary) - before < READS


def test_replica_repeats_the_primary(instance, replica):
    assert replica.sql("SELECT pg_is_in_recovery()") == ["t"]
    (row,) = instance.sql("SELECT count(*) || ' ' || min(state) FROM pg_stat_replication")
    assert row == "1 streaming"
    assert instance.sql("SELECT active FROM pg_replication_slots WHERE slot_type = 'physical'") == ["t"]


def test_replica_stops_and_nobody_notices(client, replica):
    with nothing_is_noticed(client):
        replica.output("systemctl", "stop", CLUSTER)
        try:
            time.sleep(10)
            number = post(client)
            wait_until(lambda: number in at_home(client), 10, "a status that only the primary has")
        finally:
            replica.output("systemctl", "start", CLUSTER)
        time.sleep(3)
    wait_until(lambda: read_on(replica, client), BACK_SECONDS, "reads on the replica again")


def test_replica_that_lags_is_taken_out_and_comes_back(client, replica):
    with nothing_is_noticed(client):
        replica.sql("SELECT pg_wal_replay_pause()")
        try:
            number = post(client)
            wait_until(lambda: number in at_home(client), OUT_SECONDS, "what the replica does not know yet")
            # It is out for all connections, not for some.
            for _number in range(READS):
                assert number in at_home(client)
                time.sleep(0.1)
        finally:
            replica.sql("SELECT pg_wal_replay_resume()")
    wait_until(lambda: read_on(replica, client), BACK_SECONDS, "reads on the replica again")
