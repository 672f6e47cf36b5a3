# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with Sidekiq ends in each way while its threads work: which jobs are lost, and which are done twice?

By name only: it measures, and what it finds is written to tests/results/sidekiq_killed.jsonl. Jobs are deliveries to
an inbox of the tests' own, which takes seconds to answer; one half of them runs, the other waits in the queue.
"""

from __future__ import annotations

import subprocess
import time

import pytest
from bench.record import record
from e2e.instance import wait_until
from e2e.jobs import Inbox, Jobs

pytestmark = pytest.mark.by_name

UNITS = "mastodon-sidekiq@*"
JOB_SECONDS, DOWN_SECONDS, RETURN_SECONDS, BACK_SECONDS, DONE_SECONDS = 8, 5, 45, 120, 120


@pytest.fixture(scope="module")
def worker(hosts_of):
    """The only host that serves `push`."""
    (host,) = hosts_of("sidekiq_federation")
    return host


@pytest.fixture
def threads(plan_of, worker):
    """How many jobs of `push` run at a time."""
    return sum(process["concurrency"] for process in plan_of(worker.name)["sidekiq"]["processes"])


def host_is_killed(worker):
    """As by its provider: everything ends at once."""
    subprocess.run(["docker", "kill", worker.container], check=True, capture_output=True)
    time.sleep(DOWN_SECONDS)
    subprocess.run(["docker", "start", worker.container], check=True, capture_output=True)


def processes_are_killed(worker):
    """As by the kernel, for want of memory; systemd starts them again."""
    worker.shell(f"systemctl kill --kill-whom=main --signal=KILL '{UNITS}'")


def units_are_restarted(worker):
    """As by a person, and by a reboot: TERM, and time to end what runs."""
    worker.shell(f"systemctl restart '{UNITS}'")


@pytest.mark.parametrize("ends", [host_is_killed, processes_are_killed, units_are_restarted])
def test_how_a_host_with_sidekiq_ends(instance, worker, threads, ends):
    username, gateway = instance.owner["username"], instance.web.address.rpartition(".")[0] + ".1"
    (owner,) = instance.sql(f"SELECT id FROM accounts WHERE username = '{username}' AND domain IS NULL")
    units = worker.active(UNITS)
    with Inbox(gateway, JOB_SECONDS) as inbox, Jobs(instance, inbox, owner) as jobs:
        for _number in range(2 * threads):
            jobs.push_slow()
        wait_until(lambda: len(inbox.came) >= threads, 30, f"{threads} jobs that run")
        running = set(inbox.came)
        began = time.monotonic()
        ends(worker)
        wait_until(lambda: len(inbox.came) > len(running), BACK_SECONDS, "a job that runs again")
        back_seconds = time.monotonic() - began
        wait_until(lambda: worker.active(UNITS) == units, BACK_SECONDS, f"{units}")
        # What was waiting is done; what was running has had the time to come back, if it ever does.
        wait_until(lambda: instance.queues("LLEN", "queue:push") == ["0"], DONE_SECONDS, "an empty queue")
        time.sleep(RETURN_SECONDS)
        counted = jobs.count([worker])
    lost, repeated = set(counted.lost) & jobs.slow, {jid for jid, times in inbox.came.items() if times > 1}
    measured = {
        "ends": ends.__name__, "job_seconds": JOB_SECONDS, "running": len(running), "waiting": len(jobs.slow - running),
        "lost_of_running": len(lost & running), "lost_of_waiting": len(lost - running),
        "begun_twice": len(repeated), "back_seconds": round(back_seconds, 1),
    }  # fmt: skip
    record("sidekiq_killed", measured)
    assert lost <= running, f"jobs that only waited were lost: {lost - running}"
