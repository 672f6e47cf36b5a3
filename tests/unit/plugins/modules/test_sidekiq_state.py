# SPDX-License-Identifier: GPL-3.0-or-later
"""sidekiq_state against a Redis that is played: it keeps what a test puts in, and answers the commands that read it."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from ansible_collections.fediops.mastodon.plugins.module_utils import redis_client, sidekiq
from ansible_collections.fediops.mastodon.plugins.modules import sidekiq_state
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import queues

PASSWORD = "a-password-of-a-test"
NOW = 1_795_877_660.5
ONE = "worker1:4530:50a5df3c9087"
OTHER = "worker2:31:21527c604fc5"
GONE = "worker1:7:dead00000000"


def encoded(value):
    """An answer as Redis writes it."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, Exception):
        return f"-{value}\r\n".encode()
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(encoded, value))
    return b"$%d\r\n%b\r\n" % (len(value.encode()), value.encode())


class PlayedRedis:
    """Sets, lists and hashes by their keys, and what is wrong with it."""

    def __init__(self):
        self.keys = {}
        self.password = PASSWORD
        self.loading = False
        self.breaks_off = False
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection = self.listening.accept()[0]
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                while (head := stream.readline()).startswith(b"*"):
                    lengths = (int(stream.readline()[1:]) for _word in range(int(head[1:])))
                    words = [stream.read(length + 2)[:-2].decode() for length in lengths]
                    if self.breaks_off and words[0] != "AUTH":
                        break
                    stream.write(encoded(self.answer(*words)))
                    stream.flush()

    def answer(self, verb, key=None, *rest):
        if verb == "AUTH":
            return "OK" if key == self.password else ValueError("WRONGPASS invalid username-password pair")
        if self.loading:
            return ValueError("LOADING Redis is loading the dataset in memory")
        value = self.keys.get(key)
        return {
            "TIME": lambda: [str(int(NOW)), "500000"],
            "GET": lambda: value,
            "SMEMBERS": lambda: list(value or []),
            "ZCARD": lambda: len(value or []),
            "LLEN": lambda: len(value or []),
            "LINDEX": lambda: value[-1] if value else None,
            "HMGET": lambda: [(value or {}).get(field) for field in rest],
            "HVALS": lambda: list((value or {}).values()),
        }[verb]()


@pytest.fixture
def redis():
    played = PlayedRedis()
    yield played
    played.listening.close()


@pytest.fixture
def look(redis):
    """The module's answer; arguments as a person gives them."""

    def look(**given):
        spec = sidekiq_state.arguments()
        params = {name: about.get("default") for name, about in spec.items()}
        return sidekiq_state.look(params | {"port": redis.port, "password": PASSWORD, "timeout": 2} | given)

    return look


def process(hostname="worker1", **more):
    info = {"hostname": hostname, "tag": "v1", "concurrency": 15, "queues": ["default"], "started_at": NOW - 60} | more
    return {"info": json.dumps(info), "busy": "3", "quiet": "false", "beat": str(NOW - 4)}


def test_a_new_instance_has_seven_empty_queues(look):
    state = look()
    assert state.pop("hostname") == socket.gethostname()
    assert state == {
        "queues": {name: {"size": 0, "latency_seconds": 0.0} for name in queues.QUEUES},
        "processes": [], "jobs": [], "scheduled": 0, "retries": 0, "dead": 0, "processed": 0, "failures": 0,
    }  # fmt: skip


def test_the_queues_are_those_of_the_plan():
    assert sidekiq.QUEUES == queues.QUEUES


@pytest.mark.parametrize("enqueued_at", [NOW - 90, round((NOW - 90) * 1000)], ids=["sidekiq 7", "sidekiq 8"])
def test_queues_are_counted_though_nobody_serves_them(look, redis, enqueued_at):
    old, new = json.dumps({"enqueued_at": enqueued_at}), json.dumps({"enqueued_at": NOW})
    redis.keys |= {"queues": ["pull", "of_a_fork"], "queue:pull": [new, new, old], "queue:of_a_fork": [new]}
    found = look()["queues"]
    assert found["pull"] == {"size": 3, "latency_seconds": 90.0}
    assert found["of_a_fork"] == {"size": 1, "latency_seconds": 0.0}
    assert len(found) == len(queues.QUEUES) + 1


def test_a_queue_that_is_not_listed_is_counted(look, redis):
    redis.keys["queue:push"] = [json.dumps({"created_at": NOW - 5})]
    assert look()["queues"]["push"] == {"size": 1, "latency_seconds": 5.0}


def test_a_spoiled_job_hides_nothing(look, redis):
    redis.keys["queue:push"] = ["no json", "[1]"]
    assert look()["queues"]["push"] == {"size": 2, "latency_seconds": 0.0}


def test_processes_tell_of_themselves(look, redis):
    calm = process("worker2") | {"quiet": "true", "busy": "0"}
    redis.keys |= {"processes": [OTHER, ONE], ONE: process(), OTHER: calm}
    one, other = look()["processes"]
    assert one == {
        "identity": ONE, "hostname": "worker1", "tag": "v1", "queues": ["default"], "concurrency": 15, "busy": 3,
        "quiet": False, "started_at": NOW - 60, "beat_age_seconds": 4.0,
    }  # fmt: skip
    assert (other["hostname"], other["quiet"], other["busy"]) == ("worker2", True, 0)


def test_a_process_of_which_only_the_name_is_left_is_none(look, redis):
    redis.keys |= {"processes": [GONE, ONE], ONE: process()}
    assert [found["identity"] for found in look()["processes"]] == [ONE]


@pytest.mark.parametrize(
    ("run_at", "payload"),
    [
        (int(NOW) - 7, json.dumps({"class": "PushWorker", "jid": "abc"})),
        (round((NOW - 7.5) * 1000), {"class": "Wrapper", "wrapped": "PushWorker", "jid": "abc"}),
    ],
    ids=["sidekiq 7", "milliseconds, and a job of Rails"],
)
def test_running_jobs_are_named(look, redis, run_at, payload):
    work = {"queue": "push", "run_at": run_at, "payload": payload}
    redis.keys |= {"processes": [ONE], ONE: process(), f"{ONE}:work": {"thread": json.dumps(work)}}
    (job,) = look()["jobs"]
    assert job == {
        "identity": ONE, "hostname": "worker1", "queue": "push", "class": "PushWorker", "jid": "abc",
        "running_seconds": 7.5,
    }  # fmt: skip


def test_one_host_can_be_looked_at(look, redis):
    work = {"thread": json.dumps({"queue": "push", "run_at": NOW, "payload": "{}"})}
    redis.keys |= {"processes": [ONE, OTHER], ONE: process(), OTHER: process("worker2")}
    redis.keys |= {f"{ONE}:work": work, f"{OTHER}:work": work}
    state = look(hostname="worker2")
    assert {one["identity"] for one in state["processes"] + state["jobs"]} == {OTHER}
    assert look(hostname="nobody")["processes"] == []


def test_what_waits_elsewhere_is_counted(look, redis):
    redis.keys |= {"schedule": ["a", "b"], "retry": ["a"], "dead": ["a", "b", "c"]}
    redis.keys |= {"stat:processed": "70", "stat:failed": "5"}
    state = look()
    assert [state[name] for name in ("scheduled", "retries", "dead", "processed", "failures")] == [2, 1, 3, 70, 5]


def failure(look, **given):
    with pytest.raises(redis_client.RedisError) as raised:
        look(**given)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


def test_another_password_is_said(look, redis):
    redis.password = "another"
    said = failure(look)
    assert f"Redis at 127.0.0.1:{redis.port} says: WRONGPASS" in said
    assert "mastodon_redis_password" in said


def test_one_that_is_loading_is_said(look, redis):
    redis.loading = True
    assert "LOADING" in (said := failure(look))
    assert "try again in a moment" in said


def test_one_that_is_away_is_said(look, redis):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    said = failure(look, port=port)
    assert f"Redis at 127.0.0.1:{port} cannot be reached" in said
    assert "systemctl status redis-server" in said


def test_one_that_breaks_off_is_said(look, redis):
    redis.breaks_off = True
    assert f"Redis at 127.0.0.1:{redis.port} broke off (it closed the connection)" in failure(look)


def test_one_that_says_nothing_is_not_waited_for(look):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert f"Redis at 127.0.0.1:{port} broke off (timed out)" in failure(look, port=port, timeout=0.2)


def test_one_without_tls_is_said(look, redis):
    assert "does not speak TLS" in failure(look, tls=True, timeout=0.5)


def test_what_speaks_otherwise_is_said(look):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve():
            connection = other.accept()[0]
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(1000)

        threading.Thread(target=serve, daemon=True).start()
        assert "is it the right port" in failure(look, port=other.getsockname()[1])
