# SPDX-License-Identifier: GPL-3.0-or-later
"""All threads of Puma and Sidekiq of the fleet in a transaction at once: the pooler and the databases have room."""

from __future__ import annotations

import json
import secrets
import time
from collections import defaultdict
from contextlib import ExitStack

import pytest
from e2e.instance import wait_until
from e2e.locked import processed, table_locked
from e2e.pooler import Pooler

# Runs inside a host: so many requests at once for each path, and the status of each.
REQUESTS = """
import concurrent.futures, http.client, json, sys
address, count, paths, headers = json.loads(sys.stdin.read())
def ask(path):
    connection = http.client.HTTPConnection(address, 3000, timeout=150)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status
with concurrent.futures.ThreadPoolExecutor(count * len(paths)) as pool:
    print(json.dumps(list(pool.map(ask, paths * count))))
"""
# The one reads from the primary, the other from the replica.
PATHS = ["/api/v1/timelines/public", "/api/v1/timelines/home"]
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mastodon' AND backend_type = 'client backend'"
FATAL = "cat /var/log/postgresql/*.log | grep -c FATAL || true"
COMPLAINTS = (
    "journalctl --unit pgbouncer --output cat --no-pager | grep -cE 'no more connections|timeout|refus' || true"
)


@pytest.fixture(scope="module")
def poolers(hosts_of):
    return [Pooler(host) for host in hosts_of("pgbouncer")]


def threads(hosts, plan_of, what):
    """How many threads each host has."""
    if what == "sidekiq":
        return {h.name: sum(it["concurrency"] for it in plan_of(h.name)["sidekiq"]["processes"]) for h in hosts}
    return {h.name: max(1, plan_of(h.name)["web"]["workers"]) * plan_of(h.name)["web"]["threads"] for h in hosts}


def push_jobs(instance, plan_of):
    """Give every queue more jobs that read a status than all processes that work on it have threads; count them."""
    busy = defaultdict(int)
    for host in instance.hosts_of("sidekiq"):
        for process in plan_of(host.name)["sidekiq"]["processes"]:
            for queue in {entry.split(",")[0] for entry in process["queues"]}:
                busy[queue] += process["concurrency"]
    for queue, count in busy.items():
        now = int(time.time() * 1000)
        job = {"class": "FeedInsertWorker", "args": [0, 0], "queue": queue, "retry": False}
        job |= {"created_at": now, "enqueued_at": now}
        jobs = [json.dumps({**job, "jid": secrets.token_hex(12)}) for _number in range(2 * count)]
        instance.queues("LPUSH", f"queue:{queue}", *jobs)
    return 2 * sum(busy.values())


def begin_requests(instance, host, count, token):
    requests = host.begin("python3", "-c", REQUESTS)
    headers = instance.proxied(Authorization=f"Bearer {token}")
    requests.stdin.write(json.dumps([host.address, count, PATHS, headers]))
    requests.stdin.close()
    return requests


def busy(poolers):
    """Clients in a transaction and clients that wait for one, over all pools."""
    pools = [row for pooler in poolers for row in pooler.pools().values()]
    return sum(int(row["sv_active"]) + int(row["cl_waiting"]) for row in pools)


def test_all_threads_of_the_fleet_at_once(instance, plan_of, hosts_of, poolers):
    puma, sidekiq = (threads(hosts_of(group), plan_of, group) for group in ("web", "sidekiq"))
    total = sum(puma.values()) + sum(sidekiq.values())
    # How often one may ask is limited.
    token = instance.another_client().token
    databases = [*hosts_of("postgres_primary"), *hosts_of("postgres_replica")]

    # Once without the lock: a process that sees a table for the first time asks for its columns, one thread for all.
    before = processed(instance)
    requests = [begin_requests(instance, host, 2 * puma[host.name], token) for host in hosts_of("web")]
    pushed = push_jobs(instance, plan_of)
    assert {status for it in requests for status in json.loads(it.stdout.read())} == {200}
    wait_until(lambda: processed(instance) >= before + pushed, 90, f"the end of {pushed} jobs")

    refused = {host.name: host.shell(FATAL) for host in databases}
    complaints = [pooler.host.shell(COMPLAINTS) for pooler in poolers]
    failed, before = instance.queues("GET", "stat:failed"), processed(instance)

    with ExitStack() as held:
        held.enter_context(table_locked(instance))
        requests = [begin_requests(instance, host, puma[host.name], token) for host in hosts_of("web")]
        pushed = push_jobs(instance, plan_of)
        wait_until(lambda: busy(poolers) >= total, 45, f"{total} threads in a transaction or waiting for one")
        for pooler in poolers:
            planned = {pool["name"]: pool for pool in plan_of(pooler.host.name)["pgbouncer"]["pools"]}
            pools = pooler.pools()
            for name, row in pools.items():
                servers = sum(int(row[f"sv_{state}"]) for state in ("active", "idle", "used", "tested", "login"))
                assert servers <= planned[name]["pool_size"] + planned[name]["reserve_pool_size"], row
                assert int(row["maxwait"]) <= int(pooler.config("query_wait_timeout"))
            # Whoever has no transaction has a connection to the pooler all the same, and nobody is sent away.
            clients = sum(int(row["cl_active"]) + int(row["cl_waiting"]) for row in pools.values())
            assert clients <= plan_of(pooler.host.name)["pgbouncer"]["max_client_conn"]
        for host in databases:
            postgres = plan_of(host.name)["postgres"]
            (connected,) = host.sql(CONNECTED, "postgres")
            assert int(connected) <= postgres["app_connection_limit"], host.name
            # A person, and an administrator's tool, still get in.
            assert host.sql("SHOW max_connections", "postgres") == [str(postgres["settings"]["max_connections"])]

    for it in requests:
        assert set(json.loads(it.stdout.read())) == {200}
    wait_until(lambda: processed(instance) >= before + pushed, 90, f"the end of {pushed} jobs")
    assert instance.queues("GET", "stat:failed") == failed
    assert {host.name: host.shell(FATAL) for host in databases} == refused
    assert [pooler.host.shell(COMPLAINTS) for pooler in poolers] == complaints


def test_pooler_has_the_pools_of_the_plan(poolers, plan_of):
    for pooler in poolers:
        planned = {
            pool["name"]: (pool["pool_size"], pool["reserve_pool_size"], pool["host"])
            for pool in plan_of(pooler.host.name)["pgbouncer"]["pools"]
        }
        found = {
            row["name"]: (int(row["pool_size"]), int(row["reserve_pool_size"]), row["host"])
            for row in pooler.show("DATABASES")
            if row["name"] != "pgbouncer"
        }
        assert found == planned
