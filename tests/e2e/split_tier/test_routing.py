# SPDX-License-Identifier: GPL-3.0-or-later
"""Every job runs on a host of its queue's group, as Sidekiq itself says."""

from __future__ import annotations

import json
import re
import secrets
import time

import pytest
from e2e.instance import wait_until

QUEUES = {"default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"}
JOBS = 5


@pytest.fixture(scope="module")
def wanted(fleet):
    """{host: its queues}, as the inventory has them."""
    variables = fleet.variables()
    return {
        host: {
            word.split(",")[0]
            for entry in variables[host]["sidekiq_queues"]
            for word in ([entry] if isinstance(entry, str) else entry)
        }
        for host in fleet.groups()["sidekiq"]
    }


@pytest.fixture(scope="module")
def processes(instance):
    """What each Sidekiq process says of itself in Redis."""
    return [
        json.loads(instance.queues("HGET", identity, "info")[0])
        for identity in instance.queues("SMEMBERS", "processes")
    ]


def test_every_queue_has_a_group(wanted):
    assert set().union(*wanted.values()) == QUEUES


def test_processes_listen_to_the_queues_of_their_host_alone(processes, wanted, instance):
    names = {host.output("hostname"): host.name for host in instance.hosts_of("sidekiq")}
    heard = {host: set() for host in wanted}
    for process in processes:
        heard[names[process["hostname"]]] |= set(process["queues"])
    assert heard == wanted


def test_scheduler_has_one_process(processes):
    assert sum("scheduler" in process["queues"] for process in processes) == 1


def test_each_job_ran_on_a_host_of_its_queue(instance, wanted):
    jobs = {secrets.token_hex(12): queue for queue in sorted(QUEUES) for _number in range(JOBS)}
    for jid, queue in jobs.items():
        now = int(time.time() * 1000)
        job = {"class": "FeedInsertWorker", "args": [0, 0], "queue": queue, "jid": jid, "retry": False}
        instance.queues("LPUSH", f"queue:{queue}", json.dumps({**job, "created_at": now, "enqueued_at": now}))

    def done():
        ran = {}
        for host in instance.hosts_of("sidekiq"):
            log = host.shell("journalctl --unit 'mastodon-sidekiq*' --lines 2000 --output cat --no-pager | grep done")
            ran |= dict.fromkeys(jobs.keys() & set(re.findall(r"jid=(\w+)", log)), host.name)
        return ran if ran.keys() == jobs.keys() else None

    ran = wait_until(done, 60, "all jobs in the log of one host or another")
    strayed = {jid: host for jid, host in ran.items() if jobs[jid] not in wanted[host]}
    assert strayed == {}
