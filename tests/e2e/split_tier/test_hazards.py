# SPDX-License-Identifier: GPL-3.0-or-later
"""How a community of several hosts is silenced or loses jobs, and that it does not."""

from __future__ import annotations

import json
import secrets
import threading
import time
import uuid
from contextlib import contextmanager

import pytest
from e2e.edge import Edge
from e2e.instance import wait_until

WEB = "mastodon-web.socket mastodon-web.service"
BACK_SECONDS = 60
# Runs inside a host: asks a port from an address of its own choice, with these headers, and prints the status.
ASK_AS = """
import http.client, json, sys
source, address, path, headers = json.loads(sys.stdin.read())
connection = http.client.HTTPConnection(address, 3000, timeout=30, source_address=(source, 0))
connection.request("GET", path, headers=headers)
print(connection.getresponse().status)
"""
# A job that only the primary can do, and that is not tried again.
JOB = {"class": "ExpiredGrantsScheduler", "args": [], "queue": "default", "retry": False}
# A standby must never have less of it than its primary; only a restart changes it.
SHARED, MORE = "max_connections", 10
# The queues of the inventory's groups, with `scheduler` on the other host.
MOVED = {
    "sidekiq_default": [["default,8", "mailers,1"], ["default"]],
    "sidekiq_federation": [["scheduler"], ["push,6", "ingress,4", "pull,2", "fasp,1"]],
}


@pytest.fixture(scope="module")
def client(instance):
    return instance.another_client()


@pytest.fixture(scope="module")
def edge(summary, hosts_of):
    return Edge(summary, hosts_of("nginx")[0])


@contextmanager
def without_web(hosts):
    """Stop Puma on hosts for a while."""
    for host in hosts:
        host.shell(f"systemctl stop {WEB}")
    try:
        yield
    finally:
        for host in hosts:
            host.shell(f"systemctl start {WEB}")


class TestANewEdge:
    """H10: an address that Puma does not trust must not speak for others; one it does not know yet must be trusted."""

    @pytest.fixture
    def ask_from(self, instance):
        """Ask Puma as a proxy at some address, which this host has for a moment."""

        def ask(source, path):
            headers = instance.proxied(X_Forwarded_For="198.51.100.7")
            question = json.dumps([source, instance.web.address, path, headers])
            instance.web.output("ip", "address", "add", f"{source}/32", "dev", "lo")
            try:
                return int(instance.web.output("python3", "-c", ASK_AS, stdin=question))
            finally:
                instance.web.output("ip", "address", "delete", f"{source}/32", "dev", "lo")

        return ask

    @pytest.mark.parametrize("path", ["/health", "/auth/sign_in"])
    def test_of_the_private_network_is_trusted_before_it_serves(self, ask_from, instance, path):
        unused = instance.web.address.rpartition(".")[0] + ".251"
        assert unused not in [host.address for host in instance.hosts.values()]
        assert ask_from(unused, path) == 200

    def test_stranger_is_not(self, ask_from):
        assert ask_from("203.0.113.77", "/auth/sign_in") == 500


class TestWebHostsAway:
    def test_one_of_two_is_away_and_nobody_notices(self, instance, client):
        with without_web(instance.hosts_of("web")[:1]):
            answers = [client.get("/api/v1/timelines/home").status_code for _number in range(20)]
            posted = {str(client.post(f"One of two {uuid.uuid4()}")["id"]) for _number in range(10)}
        assert set(answers) == {200}
        numbers = ", ".join(posted)
        assert set(instance.sql(f"SELECT id FROM statuses WHERE id IN ({numbers})")) == posted

    def test_all_are_away_and_inboxes_are_told_to_come_back(self, instance, edge):
        """H6: a sender drops for good what it gets most other answers to."""
        with without_web(instance.hosts_of("web")):
            answers = [edge.ask(path, "POST", data=b"{}") for path in ("/inbox", "/users/owner/inbox")]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        wait_until(edge.answers, BACK_SECONDS, "web and streaming again")


@pytest.mark.by_name
class TestPlannedStops:
    """H14: a job that may not be retried dies when its database is away, so nobody works while PostgreSQL restarts."""

    @contextmanager
    def jobs(self, instance):
        """Push jobs all the time; afterwards every one of them was done, and none failed."""
        pushed, over = [], threading.Event()

        def push():
            while not over.is_set():
                now = int(time.time() * 1000)
                jobs = [
                    {**JOB, "jid": secrets.token_hex(12), "created_at": now, "enqueued_at": now} for _number in range(5)
                ]
                instance.queues("LPUSH", "queue:default", *map(json.dumps, jobs))
                pushed.extend(jobs)
                time.sleep(0.3)

        def count(what):
            return int((instance.queues("GET", f"stat:{what}") or ["0"])[0] or 0)

        failed, done = count("failed"), count("processed")
        pusher = threading.Thread(target=push)
        pusher.start()
        try:
            yield
        finally:
            over.set()
            pusher.join()
        wait_until(lambda: count("processed") - done >= len(pushed), 90, f"the end of {len(pushed)} jobs")
        assert count("failed") == failed

    def in_force(self, instance, planned):
        """All databases have that many connections, replicas follow; when each was started, the primary first."""
        replicas = instance.hosts_of("postgres_replica")
        all_follow = ["streaming" for _host in replicas]
        streams = "SELECT state FROM pg_stat_replication"
        wait_until(lambda: instance.sql(streams) == all_follow, BACK_SECONDS, "replicas that follow")
        asked = f"SELECT current_setting('{SHARED}'), extract(epoch FROM pg_postmaster_start_time())"
        said = {host.name: host.sql(asked)[0].split("|") for host in (instance.primary, *replicas)}
        assert {value for value, _started in said.values()} == {str(planned)}
        return [float(started) for _value, started in said.values()]

    def test_jobs_survive_restarts_of_the_primary(self, instance, run_site, plan_of):
        planned = plan_of(instance.primary.name)["postgres"]["settings"][SHARED]
        more = {"postgres_extra_settings": {SHARED: planned + MORE}}
        before = self.in_force(instance, planned)
        try:
            with self.jobs(instance):
                run_site("--tags", "postgres", "-e", json.dumps(more))
            primary, *replicas = self.in_force(instance, planned + MORE)
            # Raised on the standby first, and lowered there last: otherwise it would not start, or stop.
            assert max(before) < min(replicas)
            assert max(replicas) < primary
        finally:
            with self.jobs(instance):
                run_site("--tags", "postgres")
        primary_again, *replicas_again = self.in_force(instance, planned)
        assert primary < primary_again < min(replicas_again)


@pytest.mark.by_name
class TestTheSchedulerMoves:
    """H19: two processes that serve `scheduler` do scheduled work twice."""

    def last(self, host, unit, said):
        """When systemd last said that of a unit, in seconds."""
        lines = host.output("journalctl", "--quiet", "--output=short-unix", f"--unit={unit}", f"--grep=^{said} ")
        return float(lines.splitlines()[-1].split()[0])

    def test_the_old_one_stops_before_the_new_one_starts(self, instance, inventory, run_site):
        (old,), (new,) = instance.hosts_of("sidekiq_default"), instance.hosts_of("sidekiq_federation")
        here, there = "mastodon-sidekiq@scheduler_mailers.service", "mastodon-sidekiq@scheduler.service"
        files = {inventory / f"group_vars/{group}.yml": lists for group, lists in MOVED.items()}
        before = {path: path.read_text() for path in files}
        try:
            for path, lists in files.items():
                path.write_text(json.dumps({"sidekiq_queues": lists}))
            run_site("--tags", "sidekiq")
            assert self.last(old, here, "Stopped") <= self.last(new, there, "Starting")
        finally:
            for path, text in before.items():
                path.write_text(text)
            run_site("--tags", "sidekiq")
        assert self.last(new, there, "Stopped") <= self.last(old, here, "Starting")
        assert run_site("--tags", "sidekiq").changed == []
