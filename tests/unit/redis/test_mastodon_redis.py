# SPDX-License-Identifier: GPL-3.0-or-later
"""The program on hosts with Redis, against one that is played: what goes over the socket, and what stays on disk."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading

import pytest
from collection_tree import ROOT

PASSWORD = "a-password-of-a-test"


@pytest.fixture
def program(tmp_path):
    """The program, with its files below a directory that stands for a host."""
    spec = importlib.util.spec_from_file_location("mastodon_redis", ROOT / "roles/redis/files/mastodon_redis.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ETC, module.DATA, module.RECORD = tmp_path, tmp_path / "data", tmp_path / "redis.json"
    module.SOCKET = str(tmp_path / "socket")
    (tmp_path / "redis.conf").write_text(f"# a comment\nport 0\nrequirepass {PASSWORD}\nappendonly yes\n")
    (tmp_path / "live.conf").write_text('bind 127.0.0.1\nreplicaof 10.0.0.5 6379\nsave ""\nreplica-read-only yes\n')
    return module


@pytest.fixture
def redis(program):
    """Answers what a test puts in, in turn; keeps what it was asked."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(program.SOCKET)
    server.listen()
    asked, answers = [], []

    def serve():
        stream = server.accept()[0].makefile("rwb")
        for answer in answers:
            if not (head := stream.readline()):
                return
            words = [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _number in range(int(head[1:]))]
            asked.append(words)
            stream.write(answer)
            stream.flush()

    def play(*more, auth=b"+OK\r\n"):
        answers.extend([auth, *more])
        threading.Thread(target=serve, daemon=True).start()

    yield play, asked
    server.close()


def test_answers_of_every_kind(program, redis):
    play, asked = redis
    play(b"*4\r\n:7\r\n$-1\r\n$4\r\na\r\nb\r\n*1\r\n+fine\r\n", b"-ERR not so\r\n")
    here = program.Redis.here()
    assert here.ask("SOMETHING", 5, b"\x00\r\n") == [7, None, b"a\r\nb", [b"fine"]]
    with pytest.raises(program.RefusedError, match="ERR not so"):
        here.ask("MORE")
    assert asked == [[b"AUTH", PASSWORD.encode()], [b"SOMETHING", b"5", b"\x00\r\n"], [b"MORE"]]


def test_another_password_is_said(program, redis):
    play, _asked = redis
    play(auth=b"-WRONGPASS invalid username-password pair\r\n")
    with pytest.raises(program.RefusedError, match="WRONGPASS"):
        program.Redis.here()


def test_one_that_never_had_a_password_takes_none(program, redis):
    play, _asked = redis
    play(b"+PONG\r\n", auth=b"-ERR AUTH <password> called without any password configured for the default user.\r\n")
    assert program.Redis.here().ask("PING") == b"PONG"


def test_keys_are_seen_once(program, redis):
    play, _asked = redis
    page = b"*2\r\n$%d\r\n%s\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
    play(page % (1, b"7"), page % (1, b"0"))
    assert sorted(program.Redis.here().matching("*")) == [b"a", b"b"]


def test_a_reload_puts_all_in_force_at_once(program, redis):
    play, asked = redis
    play(b"+OK\r\n", b"+OK\r\n")
    program.reload()
    assert asked[1:] == [
        [b"CONFIG", b"SET", b"bind", b"127.0.0.1", b"save", b"", b"replica-read-only", b"yes"],
        [b"REPLICAOF", b"10.0.0.5", b"6379"],
    ]


def test_a_promoted_replica_stays_the_core(program, redis):
    play, asked = redis
    program.write_record("replica", True)
    play(b"$10\r\nrole:slave\r\n", b":5\r\n", b"+OK\r\n")
    program.promote()
    assert asked[-1] == [b"REPLICAOF", b"NO", b"ONE"]
    assert "replicaof" not in (program.ETC / "live.conf").read_text()
    assert program.record() == {"role": "core", "queues": True}


@pytest.mark.parametrize(
    "answers",
    [(b"$25\r\nmaster_sync_in_progress:1\r\n",), (b"$10\r\nrole:slave\r\n", b":0\r\n")],
    ids=["on its way", "nothing"],
)
def test_a_replica_that_has_not_got_its_copy_is_not_promoted(program, redis, answers):
    play, _asked = redis
    program.write_record("replica", True)
    play(*answers)
    with pytest.raises(program.RefusedError, match=r"not complete|holds nothing"):
        program.promote()
    assert program.record()["role"] == "replica"


def test_only_a_replica_is_promoted(program, redis):
    play, _asked = redis
    play()
    program.write_record("core", True)
    with pytest.raises(program.RefusedError, match="set up as core"):
        program.promote()


def test_half_a_file_is_not_taken(program, redis, tmp_path):
    play, _asked = redis
    play()
    program.write_record("core", False)
    (tmp_path / "queues").write_text(json.dumps(["abc", 2]) + "\n" + json.dumps(["6b", "00", 0]) + "\n")
    with pytest.raises(program.RefusedError, match="1 keys of 2"):
        program.take_queues(str(tmp_path / "queues"))


def test_the_record_is_what_the_role_writes(program):
    program.write_record("core", True)
    assert program.RECORD.read_text() == '{"queues": true, "role": "core"}\n'
    assert program.RECORD.stat().st_mode & 0o777 == 0o600
