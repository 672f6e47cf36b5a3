# SPDX-License-Identifier: GPL-3.0-or-later
"""How the processes start, stop and bear the loss of what they need.

Most is asked of processes of our own, beside the instance: with another port, or without a service that they need.
"""

from __future__ import annotations

import json
import re

import pytest
from e2e.instance import BOOT_SECONDS, LOOPBACK, STREAMING_PORT, plain, wait_until

PORT = 3999
AWAY = {"HOST": "127.0.0.1", "PORT": "1"}
NO_POSTGRES = {f"DB_{name}": value for name, value in AWAY.items()}
NO_REDIS = dict.fromkeys(("REDIS_URL", "CACHE_REDIS_URL", "SIDEKIQ_REDIS_URL"), "redis://127.0.0.1:1/0")
NO_READER = {f"REPLICA_DB_{name}": value for name, value in AWAY.items()}

PUMA = ("bundle", "exec", "puma", "-C", "config/puma.rb")
SMALL = {"BIND": "127.0.0.1", "PORT": str(PORT), "WEB_CONCURRENCY": "0", "MAX_THREADS": "2", "DB_POOL": "2"}


@pytest.fixture
def puma(instance):
    """Start a Puma of our own, in single mode."""
    return lambda *argv, **environment: instance.process("mastodon-web.service", *(argv or PUMA), **SMALL | environment)


@pytest.fixture
def statuses(instance):
    """The status of each path, asked with the owner's token as a proxy does."""

    def ask(*requests):
        headers = instance.proxied(Authorization=f"Bearer {instance.summary['token']}", Content_Type="application/json")
        return [
            answer.status
            for answer in instance.ask(*((*request[:2], headers, *request[2:]) for request in requests), port=PORT)
        ]

    return ask


HEALTH, PUBLIC = ("GET", "/health"), ("GET", "/api/v1/timelines/public")
HOME, NOTIFICATIONS = ("GET", "/api/v1/timelines/home"), ("GET", "/api/v1/notifications")


class TestWeb:
    def test_says_where_it_listens_restarts_in_place_and_leaves_with_143(self, puma, statuses):
        with puma() as process:
            log = process.wait_for_log(f"* Listening on http://127.0.0.1:{PORT}")
            assert plain(log).count("[dotenv] Loaded .env.production") == 1
            before = process.show("MainPID")
            # It listens before its server's thread runs, and forgets a signal that comes in between.
            assert statuses(HEALTH) == [200]
            process.signal("USR2")
            process.wait_for_log(f"Inherited tcp://127.0.0.1:{PORT}")
            assert process.show("MainPID") == before
            # Told to stop before it serves, it would end otherwise, or not at all. It says so once for each start.
            wait_until(lambda: process.log().count("Use Ctrl-C to stop") == 2, BOOT_SECONDS, "the end of the restart")
            assert statuses(HEALTH) == [200]
            process.signal("TERM")
            assert process.wait() == 143

    def test_workers(self, puma):
        with puma(WEB_CONCURRENCY="2") as process:
            process.wait_for_log("- Worker 1 (PID: ")

    def test_does_not_start_without_postgresql(self, puma):
        with puma(**NO_POSTGRES) as process:
            assert process.wait() == 1
            assert "Unable to load application" in process.log()

    def test_without_redis_nothing_is_written(self, puma, statuses, instance, tag):
        with puma(**NO_REDIS) as process:
            process.wait_for_log("* Listening on")
            post = ("POST", "/api/v1/statuses", json.dumps({"status": tag, "visibility": "direct"}))
            assert statuses(HEALTH, PUBLIC, NOTIFICATIONS) == [200, 200, 200]
            assert statuses(HOME, post) == [500, 500]
        assert instance.sql(f"SELECT count(*) FROM statuses WHERE text = '{tag}'") == ["0"]

    def test_without_the_reader(self, puma, statuses, client, tag):
        status = client.post(tag, visibility="direct")
        wait_until(lambda: status["id"] in [item["id"] for item in client.home()], 15, "something to read at home")
        with puma(**NO_READER) as process:
            process.wait_for_log("* Listening on")
            assert statuses(HEALTH, PUBLIC, HOME, NOTIFICATIONS) == [200, 200, 500, 500]
        client.api.status_delete(status["id"])

    def test_an_address_forwarded_by_a_stranger(self, puma, instance):
        with puma(TRUSTED_PROXY_IP="192.0.2.1") as process:
            process.wait_for_log("* Listening on")
            forwarded = instance.proxied(X_Forwarded_For="198.51.100.7")
            answers = instance.ask(*(("GET", path, forwarded) for path in ("/health", "/auth/sign_in")), port=PORT)
            assert [answer.status for answer in answers] == [500, 500]

    def test_losing_postgresql(self, instance):
        postgres = "postgresql@17-main.service"
        data = ("GET", "/api/v1/timelines/public", instance.proxied())
        health = ("GET", "/health", instance.proxied())
        assert [answer.status for answer in instance.ask(health, data)] == [200, 200]
        instance.primary.output("systemctl", "stop", postgres)
        try:
            assert [answer.status for answer in instance.ask(health, data)] == [200, 500], "health knows nothing of it"
        finally:
            instance.primary.output("systemctl", "start", postgres)
        wait_until(lambda: instance.ask(data)[0].status == 200, 30, "the timeline again")


class TestSidekiq:
    QUEUE = "contract"

    @pytest.fixture
    def sidekiq(self, instance):
        """Start a Sidekiq of our own, on a queue of its own."""

        def start(**environment):
            argv = ("bundle", "exec", "sidekiq", "-c", "2", "-q", f"{self.QUEUE},2", "-q", f"{self.QUEUE}2")
            return instance.process("mastodon-sidekiq*.service", *argv, **environment)

        return start

    def entry(self, instance, process):
        """What a Sidekiq process says of itself in Redis: {info, quiet, beat, busy}."""
        here = process.host.output("hostname"), int(process.show("MainPID"))
        for identity in instance.queues("SMEMBERS", "processes"):
            values = instance.queues("HGETALL", identity)
            fields = dict(zip(values[::2], values[1::2], strict=True))
            info = json.loads(fields.get("info", "{}"))
            if (info.get("hostname"), info.get("pid")) == here:
                return {**fields, "info": info}
        return None

    @pytest.mark.parametrize("away", [NO_POSTGRES, NO_REDIS], ids=["PostgreSQL", "Redis"])
    def test_does_not_start_without(self, sidekiq, away):
        with sidekiq(**away) as process:
            assert process.wait() == 1

    def test_from_start_to_end(self, sidekiq, instance):
        ready = "tmp/contract_ready"
        with sidekiq(MASTODON_SIDEKIQ_READY_FILENAME="contract_ready") as process:
            entry = wait_until(lambda: self.entry(instance, process), BOOT_SECONDS, "an entry in `processes`")
            assert sorted(set(entry["info"]["queues"])) == [self.QUEUE, f"{self.QUEUE}2"], "-q replaces the queues"
            # Sidekiq 8 says it for each of its capsules.
            capsules = entry["info"].get("capsules", {"all": entry["info"]})
            assert sum(capsule["concurrency"] for capsule in capsules.values()) == 2
            assert {"info", "busy", "beat", "quiet"} <= entry.keys()
            assert instance.app("test", "-e", ready, host=process.host).status == 0

            process.signal("TSTP")
            wait_until(lambda: self.entry(instance, process)["quiet"] == "true", 15, "quiet at the next beat")
            process.signal("TERM")
            assert process.wait() == 0
            assert "Bye!" in process.log()
            assert instance.app("test", "-e", ready, host=process.host).status == 1

    def test_a_job_of_an_unknown_class_is_kept(self, instance, tag):
        """As when an older release meets a job of a newer one."""
        job = {
            "class": tag.capitalize(),
            "args": [],
            "retry": True,
            "queue": "default",
            "jid": tag,
            "created_at": 0,
            "enqueued_at": 0,
        }
        instance.queues("LPUSH", "queue:default", json.dumps(job))

        def kept():
            return next((entry for entry in instance.queues("ZRANGE", "retry", "0", "-1") if tag in entry), None)

        entry = wait_until(kept, 15, "the job among the retries")
        instance.queues("ZREM", "retry", entry)
        assert "uninitialized constant" in json.loads(entry)["error_message"]

    def test_every_queue_has_a_process(self, instance):
        listened = set()
        for identity in instance.queues("SMEMBERS", "processes"):
            listened |= set(json.loads(instance.queues("HGET", identity, "info")[0])["queues"])
        assert {"default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"} <= listened

    def test_jobs_are_logged(self, instance, client, tag):
        client.api.status_delete(client.post(tag, visibility="direct")["id"])

        def logged():
            unit = "--unit=mastodon-sidekiq*.service"
            logs = [
                host.output("journalctl", unit, "--lines", "100", "--output", "cat", "--no-pager")
                for host in instance.hosts_of("sidekiq")
            ]
            return re.search(r"^.*class=RemovalWorker .*: done$", "\n".join(logs), re.MULTILINE)

        wait_until(logged, 15, "a job that is done, in the log")


class TestStreaming:
    PORT = 4999

    @pytest.fixture
    def streaming(self, instance):
        """Start a streaming process of our own."""

        def start(port=self.PORT, bind=LOOPBACK, **environment):
            return instance.process(
                "mastodon-streaming*.service", "node", "./streaming", BIND=bind, PORT=str(port), **environment
            )

        return start

    def test_starts_and_is_well_without_postgresql_and_redis(self, streaming, instance):
        with streaming(**NO_POSTGRES, **NO_REDIS) as process:
            process.wait_for_log(f"Streaming API now listening on 127.0.0.1:{self.PORT}")
            (answer,) = instance.ask(("GET", "/api/v1/streaming/health"), port=self.PORT)
            assert (answer.status, answer.body) == (200, "OK")

    def test_leaves_with_0_when_told_to(self, streaming):
        with streaming() as process:
            process.wait_for_log("now listening")
            process.signal("TERM")
            assert process.wait() == 0

    def test_leaves_with_0_when_it_crashes(self, streaming):
        with streaming(port=STREAMING_PORT, bind="0.0.0.0") as process:
            assert process.wait() == 0
