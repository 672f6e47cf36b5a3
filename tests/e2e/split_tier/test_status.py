# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a fleet is said, each by the name of its host, and a host that is away makes nobody wait."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from e2e.instance import wait_until

# Of a machine that has nothing else to do; of one that has, a host may take long to answer.
SECONDS = 15
PATIENT = ("-e", "status_connect_timeout_seconds=30")
BEAT_SECONDS = 25
OWED = "restart systemd-journald.service"
# What is owed to a unit that the host does not have is nothing.
OWED_TO_NOBODY = "restart fediops-nobody.service"
OWED_FOLDER = "/var/lib/fediops/owed"
UNIT = "fediops-replica-health.socket"
JOBS = 3
LOOK = """---
- hosts: sidekiq[0]
  gather_facts: false
  become: true
  vars:
    endpoints: "{{ fleet.plan.hosts[inventory_hostname].endpoints }}"
    at: "{{ endpoints.redis_sidekiq | default(endpoints.redis) }}"
  tasks:
    - fediops.mastodon.plan:
        provisional: true
      register: fleet
    - fediops.mastodon.sidekiq_state:
        host: "{{ at.host }}"
        port: "{{ at.port }}"
        password: "{{ mastodon_redis_password }}"
        tls: "{{ mastodon_internal_tls_enabled | default(false) }}"
        ca_file: /etc/ssl/mastodon/ca.pem
      register: state
    - ansible.builtin.copy:
        content: "{{ state | to_json }}"
        dest: "{{ playbook_dir }}/state.json"
        mode: "0600"
      delegate_to: localhost
      become: false
"""


def status(fleet, tmp_path, *arguments):
    """A run of status.yml: how it ended, what it wrote, and how long it took."""
    file, began = tmp_path / "status.json", time.monotonic()
    run = fleet.command("run", "playbooks/status.yml", "-e", f"status_file={file}", *arguments, check=False)
    return run, json.loads(file.read_text()), time.monotonic() - began


def told(document, host, component):
    """All that is said of a component of a host."""
    found = document["findings"]
    return " ".join(one["message"] for one in found if (one["host"], one["component"]) == (host.name, component))


def put_jobs(instance, queue, number):
    instance.queues("SADD", "queues", queue)
    for job in range(number):
        about = {"class": "NobodysWorker", "jid": f"{job:024}", "queue": queue, "enqueued_at": time.time() - 90}
        instance.queues("LPUSH", f"queue:{queue}", json.dumps(about))


@pytest.fixture(scope="module")
def quiet(instance):
    """A process of Sidekiq that was told to begin no more jobs: its host, its unit, its number."""
    host = instance.hosts_of("sidekiq")[-1]
    unit, pid = list(host.processes("mastodon-sidekiq@*").items())[-1]
    host.output("systemctl", "kill", "--kill-whom=main", "--signal=TSTP", unit)
    yield host, unit, pid
    host.output("systemctl", "restart", unit)


@pytest.fixture(scope="module")
def broken(instance, replicas, quiet, fleet, tmp_path_factory):
    """A fleet with which several things are wrong at once, as status.yml and sidekiq_state see it."""
    folder, web, replica = tmp_path_factory.mktemp("broken"), instance.web, replicas[0]
    (folder / "look.yml").write_text(LOOK)
    try:
        replica.sql("SELECT pg_wal_replay_pause()")
        replica.output("systemctl", "stop", UNIT)
        web.output("touch", f"{OWED_FOLDER}/{OWED}", f"{OWED_FOLDER}/{OWED_TO_NOBODY}")
        put_jobs(instance, "nobodys", JOBS)
        identity = f"{quiet[0].output('hostname')}:{quiet[2]}:"

        def is_told():
            (name,) = [name for name in instance.queues("SMEMBERS", "processes") if name.startswith(identity)]
            return instance.queues("HGET", name, "quiet") == ["true"]

        wait_until(is_told, BEAT_SECONDS, "the process tells that it is quiet")
        instance.host_of("nginx").output("systemctl", "stop", "nginx.service")
        run, document, _seconds = status(fleet, folder, *PATIENT)
        instance.host_of("nginx").output("systemctl", "start", "nginx.service")
        fleet.command("run", folder / "look.yml")
        return run, document, json.loads((folder / "state.json").read_text())
    finally:
        instance.host_of("nginx").output("systemctl", "start", "nginx.service")
        instance.queues("DEL", "queue:nobodys")
        instance.queues("SREM", "queues", "nobodys")
        web.output("rm", "-f", f"{OWED_FOLDER}/{OWED}", f"{OWED_FOLDER}/{OWED_TO_NOBODY}")
        replica.output("systemctl", "start", UNIT)
        replica.sql("SELECT pg_wal_replay_resume()")


def test_a_problem_fails_the_run(broken):
    run, document, _state = broken
    assert run.status != 0
    assert document["state"] == "problem"
    assert "see above" in run.output


def test_a_unit_that_is_stopped_is_told(broken, instance):
    run, document, _state = broken
    assert "nginx.service is stopped" in told(document, instance.host_of("nginx"), "nginx")
    assert "nginx.service is stopped" in run.output


def test_a_replica_that_does_not_replay_is_told(broken, replicas):
    assert "replay is paused" in told(broken[1], replicas[0], "postgres")
    assert f"{UNIT} is stopped" in told(broken[1], replicas[0], "postgres")


def test_what_is_owed_is_told(broken, instance):
    said = told(broken[1], instance.web, "host")
    assert OWED in said
    assert OWED_TO_NOBODY not in said


def test_jobs_that_nobody_serves_are_counted(broken):
    _run, document, state = broken
    queue = state["queues"]["nobodys"]
    assert queue["size"] == JOBS
    assert 90 <= queue["latency_seconds"] < 180
    (found,) = [one for one in document["findings"] if "nobodys" in one["message"]]
    assert found["severity"] == "problem"


def test_a_quiet_process_reads_as_quiet(broken, quiet):
    _run, document, state = broken
    host, _unit, pid = quiet
    told_quiet = {one["identity"].split(":")[1] for one in state["processes"] if one["quiet"]}
    assert told_quiet == {pid}
    assert "is quiet" in told(document, host, "sidekiq")


@pytest.fixture(scope="module")
def paused(instance, fleet, replicas, tmp_path_factory):
    """A run while a host neither answers nor refuses; a connection to it was open."""
    host = replicas[-1]
    subprocess.run(["docker", "pause", host.container], check=True, capture_output=True)
    try:
        return host, *status(fleet, tmp_path_factory.mktemp("paused"))
    finally:
        subprocess.run(["docker", "unpause", host.container], check=True, capture_output=True)


def test_a_host_that_is_away_is_told_and_not_waited_for(paused, fleet, shown):
    host, run, document, seconds = paused
    with shown():
        print(f"\nstatus.yml without {host.name}: {seconds:.1f} s")
    assert run.status != 0
    assert document["hosts"][host.name] == {"state": "silent"}
    assert sorted(document["hosts"]) == fleet.hosts()
    assert "does not answer" in told(document, host, "host")
    assert seconds < SECONDS * max(1, os.getloadavg()[0] / os.cpu_count())
