# SPDX-License-Identifier: GPL-3.0-or-later
"""Talks to the Redis of this host as root, over its socket and with its password, whatever it offers to others.

  mastodon-redis cli [ARGUMENTS]     redis-cli, signed in
  mastodon-redis count               keys, and what waits in the queues
  mastodon-redis give-queues FILE    move what Sidekiq keeps from Redis into a file
  mastodon-redis take-queues FILE    move it from the file into Redis; a second time changes nothing
  mastodon-redis load-dump           make a dump.rdb what Redis starts with; where it has no append-only file yet
  mastodon-redis promote             make a replica the core
  mastodon-redis retire              stop Redis for good and put its data aside

The service itself uses `reload`, and Ansible `keep`. docs/redis.md says when each of the others is called for.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SOCKET = "/run/redis/redis-server.sock"
ETC = Path("/etc/redis")
DATA = Path("/var/lib/redis")
RECORD = Path("/var/lib/fediops/redis.json")
UNIT = "redis-server.service"
SECONDS = 600  # a large queue is one answer
# What Sidekiq keeps, with its scheduler and its locks on unique jobs. Processes make their own keys anew.
QUEUES = ("queues", "queue:*", "schedule", "retry", "dead", "stat:*", "schedules", "schedules_changed")
QUEUES += ("sidekiq-scheduler:*", "uniquejobs:*", "unique:*", "it-*")
TAKEN_SECONDS = 30 * 86400
# Sidekiq takes from the right end, so what is older goes there. KEYS: key as it came, key, keys that came already.
MERGE = """
local came, key, before = KEYS[1], KEYS[2], KEYS[3]
if redis.call('SADD', before, key) == 0 then return redis.call('DEL', came) end
redis.call('EXPIRE', before, ARGV[1])
local kind = redis.call('TYPE', came).ok
if redis.call('EXISTS', key) == 0 then redis.call('RENAME', came, key)
elseif kind == 'list' then while redis.call('LMOVE', came, key, 'LEFT', 'RIGHT') do end
elseif kind == 'zset' then redis.call('ZUNIONSTORE', key, 2, key, came, 'AGGREGATE', 'MIN')
elseif kind == 'set' then redis.call('SUNIONSTORE', key, key, came)
elseif string.sub(key, 1, 5) == 'stat:' then redis.call('INCRBY', key, redis.call('GET', came)) end
return redis.call('DEL', came)
"""


class RefusedError(Exception):
    """What was asked for cannot be done, for the reason given."""


class Redis:
    """A connection. Answers are bytes, whole numbers, nothing, or lists of these."""

    def __init__(self, connection: socket.socket, password: str) -> None:
        connection.settimeout(SECONDS)
        self.stream = connection.makefile("rwb")
        try:
            self.ask("AUTH", password)
        except RefusedError as error:
            # One that was never given a password takes none.
            if "without any password" not in str(error):
                raise

    @classmethod
    def here(cls) -> Redis | None:
        """Return the Redis of this host, or nothing when none runs. Raises RefusedError for another password."""
        # One that this collection did not start has no socket, but the usual port.
        tries = ((socket.AF_UNIX, SOCKET), (socket.AF_INET, ("127.0.0.1", 6379)))
        for family, address in tries:
            with contextlib.suppress(OSError):
                return cls.at(family, address)
        return None

    @classmethod
    def at(cls, family: int, address: str | tuple[str, int]) -> Redis:
        """Return the Redis that listens at an address. Raises OSError where none does."""
        connection = socket.socket(family)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return cls(connection, settings()["requirepass"])

    def ask(self, *words: str | bytes | int) -> object:
        """Return the answer to a command. Raises RefusedError where Redis answers with an error, or not at all."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.stream.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
        self.stream.flush()
        return self._answer()

    def _answer(self) -> object:
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise RefusedError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RefusedError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self._answer() for _number in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self.stream.read(int(rest) + 2)[:-2]
        return rest

    def matching(self, *patterns: str) -> Iterator[bytes]:
        """Yield the keys that match, each once."""
        seen = set()
        for pattern in patterns:
            cursor = b"0"
            while True:
                cursor, keys = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
                yield from set(keys) - seen
                seen.update(keys)
                if cursor == b"0":
                    break

    def info(self, section: str) -> dict[str, str]:
        """Return a section of INFO."""
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def settings(*names: str) -> dict[str, str]:
    """Return what the configuration files say; of a setting that stands twice, the last."""
    lines = [line for name in names or ("redis.conf", "live.conf") for line in (ETC / name).read_text().splitlines()]
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return {name: value.strip('"') for name, value in pairs}


def running() -> Redis:
    """Return the Redis of this host. Raises RefusedError when none runs."""
    if (redis := Redis.here()) is None:
        raise RefusedError("Redis does not run on this host")
    return redis


def record() -> dict[str, object]:
    """Return what this host's Redis was set up as."""
    return json.loads(RECORD.read_text())


def write_record(role: str, queues: bool | str) -> None:
    """Put another record in place of this host's."""
    new = RECORD.with_suffix(".new")
    new.touch(0o600)
    new.write_text(json.dumps({"queues": queues, "role": role}, sort_keys=True) + "\n")
    new.replace(RECORD)


def reload() -> None:
    """Put live.conf in force: all of it or nothing, and the certificate too where its file has changed."""
    redis, wanted = running(), settings("live.conf")
    primary = wanted.pop("replicaof", "NO ONE").split()
    redis.ask("CONFIG", "SET", *(word for pair in wanted.items() for word in pair))
    redis.ask("REPLICAOF", *primary)


def keep() -> None:
    """Before a restart: see to it that what a running Redis holds is in an append-only file. Prints whether it runs."""
    try:
        redis = Redis.here()
    except RefusedError as error:
        # Another password: it was changed, and the restart is what puts it in force.
        if (DATA / "appendonlydir").is_dir():
            print("running")
            return
        raise RefusedError(
            f"Redis runs without an append-only file and with a password that this inventory does not know ({error}). "
            "It was not restarted, because it would begin empty. Run `redis-cli --askpass CONFIG SET appendonly yes` "
            "with its old password, wait until `INFO persistence` says aof_rewrite_in_progress:0, and run this again."
        ) from error
    print("running" if redis else "down")
    if redis and settings().get("appendonly") == "yes" and redis.ask("CONFIG", "GET", "appendonly")[1] != b"yes":
        write_append_only_file(redis)


def write_append_only_file(redis: Redis) -> None:
    """Have a running Redis write all that it holds into an append-only file, and wait until it is there."""
    redis.ask("CONFIG", "SET", "appendonly", "yes")
    written = {"aof_rewrite_in_progress": "0", "aof_rewrite_scheduled": "0", "aof_last_bgrewrite_status": "ok"}
    deadline = time.monotonic() + 3 * SECONDS
    while not written.items() <= redis.info("persistence").items():
        if time.monotonic() > deadline:
            raise RefusedError("Redis does not end writing its append-only file; see its journal. It was not restarted")
        time.sleep(0.5)


def load_dump() -> None:
    """Run Redis once as it reads dump.rdb, without an append-only file, and have it write one."""
    # One that fails to start is tried again and again, and must not begin with half a file.
    state = subprocess.run(["systemctl", "is-active", UNIT], capture_output=True, text=True, check=False).stdout.strip()
    if state not in ("inactive", "failed"):
        raise RefusedError(f"Redis is {state}; stop it first: systemctl stop {UNIT}")
    if (DATA / "appendonlydir").exists() or not (DATA / "dump.rdb").exists():
        raise RefusedError(f"{DATA} has no dump.rdb, or an append-only file too, which Redis reads instead")
    user = ["setpriv", "--reuid", "redis", "--regid", "redis", "--clear-groups"]
    with tempfile.TemporaryDirectory(dir="/run") as private:
        shutil.chown(private, "redis")
        path = f"{private}/socket"
        nowhere = ["--port", "0", "--tls-port", "0", "--tls-replication", "no", "--pidfile", "", "--unixsocket", path]
        command = [*user, "redis-server", str(ETC / "redis.conf"), *nowhere, "--appendonly", "no"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, umask=0o077) as server:
            try:
                while not os.path.exists(path) or Redis.at(socket.AF_UNIX, path).info("persistence")["loading"] == "1":
                    if server.poll() is not None:
                        raise RefusedError(f"Redis cannot read it. To see why: {' '.join(command)}")
                    time.sleep(0.5)
                redis = Redis.at(socket.AF_UNIX, path)
                write_append_only_file(redis)
                print(f"{redis.ask('DBSIZE')} keys are in the append-only file. Start Redis: systemctl start {UNIT}")
            finally:
                server.terminate()


def cli(*arguments: str) -> None:
    """Become redis-cli. The password is in its environment, which only root can read."""
    os.environ["REDISCLI_AUTH"] = settings()["requirepass"]
    os.execvp("redis-cli", ["redis-cli", "-s", SOCKET, *arguments])


def count() -> None:
    """Print how many keys there are, and how many jobs wait."""
    redis = running()
    lists = {key: redis.ask("LLEN", key) for key in sorted(redis.matching("queue:*"))}
    later = {key: redis.ask("ZCARD", key) for key in (b"schedule", b"retry", b"dead")}
    print(f"keys {redis.ask('DBSIZE')}")
    for key, number in (lists | later).items():
        print(key.decode(), number)


def give_queues(file: str) -> None:
    """Write what Sidekiq keeps into a file, and only then remove it from Redis."""
    redis, path = running(), Path(file)
    if record()["role"] == "replica":
        raise RefusedError("This is a replica: give the queues of its core")
    alive = [name.decode() for name in redis.ask("SMEMBERS", "processes") if redis.ask("EXISTS", name)]
    if alive:
        raise RefusedError(f"Sidekiq still works on these queues: {', '.join(alive)}. Stop it on every host")
    keys = sorted(redis.matching(*QUEUES))
    values = [(key, redis.ask("DUMP", key), redis.ask("PTTL", key)) for key in keys]
    lines = [[key.hex(), value.hex(), max(left, 0)] for key, value, left in values if value is not None]
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        # The name is for this file alone: the same queues may come and go more than once.
        out.writelines(json.dumps(line) + "\n" for line in [[secrets.token_hex(16), len(lines)], *lines])
        out.flush()
        os.fsync(out.fileno())
    write_record(str(record()["role"]), "given")
    for key in keys:
        redis.ask("UNLINK", key)
    print(f"{len(lines)} keys are in {path} now, and no longer in Redis")


def take_queues(file: str) -> None:
    """Put what a file holds into Redis, beside what is there."""
    redis = running()
    if record()["role"] not in ("core", "sidekiq"):
        raise RefusedError(f"This Redis is a {record()['role']}, which keeps no queues")
    (name, number), *lines = map(json.loads, Path(file).read_text().splitlines())
    if len(lines) != number:
        raise RefusedError(f"{file} is not whole: {len(lines)} keys of {number} are there")
    for line, value, left in lines:
        key = bytes.fromhex(line)
        redis.ask("RESTORE", b"fediops:came:" + key, left, bytes.fromhex(value), "REPLACE")
        redis.ask("EVAL", MERGE, 3, b"fediops:came:" + key, key, f"fediops:taken:{name}", TAKEN_SECONDS)
    write_record(str(record()["role"]), True)
    print(f"{number} keys of {file} are in Redis now")


def promote() -> None:
    """Make a replica the core, with all that has come to it."""
    redis, here = running(), record()
    if here["role"] != "replica":
        raise RefusedError(f"This Redis is no replica: it was set up as {here['role']}")
    if redis.info("replication").get("master_sync_in_progress") == "1":
        raise RefusedError("The copy is not complete yet: its core is still sending it")
    if redis.ask("DBSIZE") == 0:
        raise RefusedError("This replica holds nothing: nothing has come from its core yet")
    # From here on neither a restart nor a reload may make it a replica again.
    live = ETC / "live.conf"
    lines = [line for line in live.read_text().splitlines(keepends=True) if not line.startswith("replicaof ")]
    live.write_text("".join(lines))
    redis.ask("REPLICAOF", "NO", "ONE")
    write_record("core", here["queues"])
    print("This Redis is the core now. Give its host the group redis_core before the playbook runs")


def retire() -> None:
    """Stop Redis, keep it from starting, and put its data where nobody takes them for an instance's."""
    subprocess.run(["systemctl", "disable", "--now", "--quiet", UNIT], check=True)
    aside = DATA / time.strftime("retired-%Y%m%d-%H%M%S", time.gmtime())
    aside.mkdir(0o700)
    for path in sorted(DATA.iterdir()):
        if not path.name.startswith("retired-"):
            shutil.move(path, aside / path.name)
    RECORD.unlink(missing_ok=True)
    print(f"Redis is off, and its data are in {aside}")


VERBS = {
    function.__name__.replace("_", "-"): function
    for function in (cli, count, give_queues, take_queues, load_dump, promote, retire, reload, keep)
}


def main() -> None:
    """Do what the arguments say."""
    verb, *arguments = sys.argv[1:] or ["help"]
    takes_file = verb in ("give-queues", "take-queues")
    if verb not in VERBS or (verb != "cli" and len(arguments) != takes_file):
        sys.exit(__doc__)
    try:
        VERBS[verb](*arguments)
    except (RefusedError, OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
