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
READS = 10
COUNTED_SECONDS = 11
OUT_SECONDS, BACK_SECONDS = 60, 90
# Of 16 MB each, more than the primary is told to keep.
WAL_FILES = 4
PATHS = ["/api/v1/timelines/home", "/api/v1/notifications"]
SCANS = "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'statuses'"


@pytest.fixture
def client(instance):
    """A client that has not asked for anything yet: how often each may ask is limited."""
    return instance.another_client()


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


def wait_until_read_on(host, client, seconds):
    """Ask for home timelines twice a second until they are read on this host."""
    before = scans(host)

    def read():
        at_home(client)
        time.sleep(0.3)
        return scans(host) - before >= READS

    wait_until(read, seconds, f"home timelines read on {host.name}")


@contextmanager
def nothing_is_noticed(instance):
    """Ask for timelines until the end; every answer must be 200."""
    client, answers, over = instance.another_client(), [], threading.Event()

    def ask():
        while not over.is_set():
            for path in PATHS:
                asked = time.monotonic()
                try:
                    said = client.get(path).status_code
                except OSError as error:
                    said = str(error)
                answers.append((round(time.monotonic() - began, 1), round(time.monotonic() - asked, 1), path, said))
            time.sleep(0.5)

    began = time.monotonic()
    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answers
    finally:
        over.set()
        asker.join()
    assert len(answers) > 10
    assert [answer for answer in answers if answer[-1] != 200] == []


def test_home_is_read_on_the_replica_and_not_on_the_primary(client, instance, replica):
    wait_until(lambda: post(client) in at_home(client), 30, "something to read")
    before = scans(instance.primary)
    wait_until_read_on(replica, client, BACK_SECONDS)
    # Counters are shown when a connection has been idle for a while.
    time.sleep(COUNTED_SECONDS)
    assert scans(instance.primary) - before < READS


def test_replica_repeats_the_primary(instance, replica):
    assert replica.sql("SELECT pg_is_in_recovery()") == ["t"]
    (row,) = instance.sql("SELECT count(*) || ' ' || min(state) FROM pg_stat_replication")
    assert row == "1 streaming"
    assert instance.sql("SELECT active FROM pg_replication_slots WHERE slot_type = 'physical'") == ["t"]


def test_replica_stops_and_nobody_notices(client, instance, replica):
    with nothing_is_noticed(instance):
        replica.output("systemctl", "stop", CLUSTER)
        try:
            time.sleep(10)
            number = post(client)
            wait_until(lambda: number in at_home(client), 10, "a status that only the primary has")
        finally:
            replica.output("systemctl", "start", CLUSTER)
        time.sleep(3)
    wait_until_read_on(replica, client, BACK_SECONDS)


def test_replica_that_lags_is_taken_out(client, instance, replica):
    with nothing_is_noticed(instance):
        replica.sql("SELECT pg_wal_replay_pause()")
        try:
            number = post(client)
            # Connections that are there are left alone at first; in the end it is out for all.
            wait_until(
                lambda: all(number in at_home(client) for _number in range(READS)) or time.sleep(1),
                OUT_SECONDS,
                "what the replica does not know yet, every time",
            )
        finally:
            replica.sql("SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="module")
def behind(instance, replica):
    """The replica after an absence for which the primary did not keep enough."""
    replica.output("systemctl", "stop", CLUSTER)
    instance.primary.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    instance.primary.sql("SELECT pg_reload_conf()")
    for _number in range(WAL_FILES):
        # A file of WAL that holds something, and the next one.
        instance.primary.sql("SELECT pg_logical_emit_message(true, 'test', 'x'); SELECT pg_switch_wal()")
    instance.primary.sql("CHECKPOINT")
    instance.primary.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
    instance.primary.sql("SELECT pg_reload_conf()")
    assert instance.sql("SELECT wal_status FROM pg_replication_slots") == ["lost"]
    replica.output("systemctl", "start", CLUSTER)
    return replica


@pytest.fixture(scope="module")
def named(behind, run_site):
    """What a run says of a replica that fell behind."""
    return run_site("--tags", "postgres")


class TestFellTooFarBehind:
    """The primary keeps what a replica lacks up to a limit; beyond it the replica's data are made anew by a command."""

    def test_a_run_names_it_and_changes_nothing(self, named, behind):
        assert named.changed == []
        assert f"{behind.name} fell so far behind" in " ".join(named.output.split())
        assert f"rebuild_replica -i INVENTORY -e host={behind.name}" in " ".join(named.output.split())

    def test_nobody_notices(self, named, client, instance, behind):
        with nothing_is_noticed(instance):
            number = post(client)
            wait_until(lambda: number in at_home(client), OUT_SECONDS, "a status that only the primary has")
            time.sleep(10)

    @pytest.mark.parametrize("host", ["", "db9"])
    def test_only_a_replica_is_made_anew(self, named, fleet, host):
        run = fleet.command("run", "playbooks/rebuild_replica.yml", "-e", f"host={host}", check=False)
        assert run.status != 0
        assert run.changed == []
        assert "Name one by `-e host=NAME`" in " ".join(run.output.split())

    def test_is_made_anew_by_a_command(self, named, behind, client, instance, fleet, run_site):
        with nothing_is_noticed(instance):
            fleet.command("run", "playbooks/rebuild_replica.yml", "-e", f"host={behind.name}")
        assert instance.sql("SELECT wal_status, active FROM pg_replication_slots") == ["reserved|t"]
        wait_until_read_on(behind, client, BACK_SECONDS)
        assert run_site("--tags", "postgres").changed == []
