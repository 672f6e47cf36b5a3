# SPDX-License-Identifier: GPL-3.0-or-later
"""Every thread of Puma and Sidekiq in a transaction at the same time: PostgreSQL has what the plan says, for all."""

from __future__ import annotations

import json
import secrets
import time

from e2e.instance import wait_until
from e2e.locked import processed, table_locked

# Runs inside the host: so many requests at once, and the status of each.
REQUESTS = """
import concurrent.futures, http.client, json, sys
count, path, headers = json.loads(sys.stdin.read())
def ask(_number):
    connection = http.client.HTTPConnection("127.0.0.1", 3000, timeout=90)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status
with concurrent.futures.ThreadPoolExecutor(count) as pool:
    print(json.dumps(list(pool.map(ask, range(count)))))
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mastodon' AND wait_event_type = 'Lock'"
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mastodon'"
LOG = "cat /var/log/postgresql/*.log"


def push_jobs(instance, plan):
    """Give every process more jobs that read a status than all have threads, since some share queues; count them."""
    pushed = 0
    threads = sum(process["concurrency"] for process in plan["sidekiq"]["processes"])
    for process in plan["sidekiq"]["processes"]:
        queue = process["queues"][0].split(",")[0]
        jobs = [
            json.dumps(
                {
                    "class": "FeedInsertWorker",
                    "args": [0, 0],
                    "queue": queue,
                    "jid": secrets.token_hex(12),
                    "retry": False,
                    "created_at": int(time.time() * 1000),
                    "enqueued_at": int(time.time() * 1000),
                }
            )
            for _number in range(2 * threads)
        ]
        instance.queues("lpush", f"queue:{queue}", *jobs)
        pushed += len(jobs)
    return pushed


def begin_requests(instance, count):
    headers = instance.proxied(Authorization=f"Bearer {instance.summary['token']}")
    requests = instance.web.begin("python3", "-c", REQUESTS)
    requests.stdin.write(json.dumps([count, "/api/v1/timelines/public", headers]))
    requests.stdin.close()
    return requests


def test_all_threads_at_once_find_a_connection(instance, plan, host):
    web, processes = plan["web"], plan["sidekiq"]["processes"]
    puma_threads = max(1, web["workers"]) * web["threads"]
    sidekiq_threads = sum(process["concurrency"] for process in processes)
    planned = (
        max(1, web["workers"]) * web["db_pool"]
        + sum(process["db_pool"] for process in processes)
        + len(plan["streaming"]["processes"]) * plan["streaming"]["db_pool"]
    )
    # Once without the lock: a process that sees a table for the first time asks for its columns, one thread for all.
    before, requests = processed(instance), begin_requests(instance, 4 * puma_threads)
    pushed = push_jobs(instance, plan)
    assert set(json.loads(requests.stdout.read())) == {200}
    wait_until(lambda: processed(instance) >= before + pushed, 60, f"the end of {pushed} jobs")

    # PostgreSQL writes there whom it refuses.
    fatal = host.check_output(LOG).count("FATAL")
    failed, before = instance.queues("get", "stat:failed"), processed(instance)

    with table_locked(instance):
        requests = begin_requests(instance, puma_threads + 4)
        pushed = push_jobs(instance, plan)
        busy = puma_threads + sidekiq_threads
        wait_until(lambda: int(instance.sql(WAITING)[0]) >= busy, 45, f"{busy} threads that wait for the table")
        assert int(instance.sql(WAITING)[0]) == busy
        connected = int(instance.sql(CONNECTED)[0])
        assert busy <= connected <= planned <= plan["postgres"]["app_connection_limit"]
        # A person, and an administrator's tool, still get in.
        assert instance.sql("SHOW max_connections") == [str(plan["postgres"]["settings"]["max_connections"])]

    statuses = json.loads(requests.stdout.read())
    assert statuses == [200] * (puma_threads + 4)
    wait_until(lambda: processed(instance) >= before + pushed, 60, f"the end of {pushed} jobs")
    assert instance.queues("get", "stat:failed") == failed
    assert host.check_output(LOG).count("FATAL") == fatal
