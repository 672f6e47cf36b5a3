# SPDX-License-Identifier: GPL-3.0-or-later
"""Timelines are read from replicas while these are up and up to date, and from the primary while none is."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager

import pytest
from e2e.instance import wait_until
from e2e.readers import (
    BACK_SECONDS,
    CLUSTER,
    COUNTED_SECONDS,
    OUT_SECONDS,
    READS,
    at_home,
    nothing_is_noticed,
    post,
    scans,
    wait_until_read_on,
)

# HAProxy notices within four seconds, PgBouncer tries again each fourth: no read waits for both twice.
WAIT_SECONDS = 7
# Of 16 MB each, more than the primary is told to keep.
WAL_FILES = 4
# How many replicas that follow lack so much of what was written that they would be given up too.
TOO_FAR = "SELECT count(*) FROM pg_replication_slots WHERE active AND pg_current_wal_lsn() - restart_lsn > 2^20"


@pytest.fixture
def client(instance):
    """A client that has not asked for anything yet: how often each may ask is limited."""
    return instance.another_client()


def test_home_is_read_on_the_replicas_and_not_on_the_primary(client, clients, instance, replicas):
    wait_until(lambda: post(client) in at_home(client), 30, "something to read")
    before = scans(instance.primary)
    wait_until_read_on(replicas, clients, BACK_SECONDS)
    time.sleep(COUNTED_SECONDS)
    assert scans(instance.primary) - before < READS


def test_replicas_repeat_the_primary(instance, replicas):
    assert [host.sql("SELECT pg_is_in_recovery()") for host in replicas] == [["t"] for _host in replicas]
    assert instance.sql("SELECT state FROM pg_stat_replication") == ["streaming" for _host in replicas]
    slots = "SELECT active FROM pg_replication_slots WHERE slot_type = 'physical'"
    assert instance.sql(slots) == ["t" for _host in replicas]


def test_replicas_stop_and_nobody_notices(client, clients, instance, replicas):
    with nothing_is_noticed(instance):
        for host in replicas:
            host.output("systemctl", "stop", CLUSTER)
        try:
            time.sleep(10)
            number = post(client)
            wait_until(lambda: number in at_home(client), 10, "a status that only the primary has")
            wait_until_read_on([instance.primary], clients, OUT_SECONDS)
        finally:
            for host in replicas:
                host.output("systemctl", "start", CLUSTER)
        time.sleep(3)
    wait_until_read_on(replicas, clients, BACK_SECONDS)


@contextmanager
def off_the_network(hosts):
    """Cut hosts off for a while, as when a switch dies: nobody is told that connections ended."""
    shown = subprocess.run(
        ["docker", "inspect", "--format", "{{json .NetworkSettings.Networks}}", hosts[0].container],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (network,) = json.loads(shown.stdout)
    for host in hosts:
        subprocess.run(["docker", "network", "disconnect", network, host.container], check=True)
    try:
        yield
    finally:
        for host in hosts:
            as_before = ["--ip", host.address, "--alias", host.name]
            subprocess.run(["docker", "network", "connect", *as_before, network, host.container], check=True)


def test_replicas_go_silent_and_reads_wait_a_moment(clients, instance, replicas):
    with nothing_is_noticed(instance) as answers, off_the_network(replicas):
        time.sleep(3 * WAIT_SECONDS)
    assert len(answers) > 2 * WAIT_SECONDS
    assert max(took for _asked, took, *_rest in answers) < WAIT_SECONDS
    wait_until_read_on(replicas, clients, BACK_SECONDS)


def test_replicas_that_lag_are_taken_out(client, instance, replicas):
    with nothing_is_noticed(instance):
        for host in replicas:
            host.sql("SELECT pg_wal_replay_pause()")
        try:
            number = post(client)
            # Connections that are there are left alone at first; in the end it is out for all.
            wait_until(
                lambda: all(number in at_home(client) for _number in range(READS)) or time.sleep(1),
                OUT_SECONDS,
                "what no replica knows yet, every time",
            )
        finally:
            for host in replicas:
                host.sql("SELECT pg_wal_replay_resume()")


@pytest.fixture(scope="module")
def behind(instance, replicas):
    """A replica after an absence for which the primary did not keep enough."""
    replica = replicas[-1]
    replica.output("systemctl", "stop", CLUSTER)
    instance.primary.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    instance.primary.sql("SELECT pg_reload_conf()")
    for _number in range(WAL_FILES):
        # A file of WAL that holds something, and the next one.
        instance.primary.sql("SELECT pg_logical_emit_message(true, 'test', 'x'); SELECT pg_switch_wal()")
    wait_until(lambda: instance.sql(TOO_FAR) == ["0"], OUT_SECONDS, "replicas that have it all, but for one")
    instance.primary.sql("CHECKPOINT")
    instance.primary.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
    instance.primary.sql("SELECT pg_reload_conf()")
    assert instance.sql("SELECT wal_status FROM pg_replication_slots WHERE NOT active") == ["lost"]
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

    def test_is_made_anew_by_a_command(self, named, behind, clients, instance, replicas, fleet, run_site):
        with nothing_is_noticed(instance):
            fleet.command("run", "playbooks/rebuild_replica.yml", "-e", f"host={behind.name}")
        slots = "SELECT wal_status, active FROM pg_replication_slots"
        assert instance.sql(slots) == ["reserved|t" for _host in replicas]
        wait_until_read_on([behind], clients, BACK_SECONDS)
        assert run_site("--tags", "postgres").changed == []
