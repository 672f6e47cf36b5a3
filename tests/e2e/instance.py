# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployed instance as tests look at it: from outside as a client, and inside the containers of its hosts.

Nothing here knows which application was deployed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from e2e.client import Client, sign_in

CURRENT = "/opt/mastodon/current"
WEB_PORT, STREAMING_PORT = 3000, 4000
BOOT_SECONDS = 90
LOOPBACK = "127.0.0.1"

# Runs inside the host: what a client of the machine itself sees of a port, at the first address that takes it.
ASK = """
import http.client, json, sys
addresses, port, requests = json.loads(sys.stdin.read())
for method, path, headers, body in requests:
    for address in addresses:
        try:
            connection = http.client.HTTPConnection(address, port, timeout=60)
            connection.connect()
            break
        except ConnectionRefusedError:
            pass
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    print(json.dumps([answer.status, {name.lower(): value for name, value in answer.getheaders()}, text]))
    connection.close()
"""


@dataclass(frozen=True)
class Answer:
    """An answer to a request; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str


def plain(text: str) -> str:
    """A text as written, without colours and without what a logger puts before it."""
    return re.sub(r"(?m)^[A-Z], \[[^\]]*\] +[A-Z]+ -- : ", "", re.sub(r"\x1b\[[0-9;]*m", "", text))


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true value of `condition`; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return value


@dataclass(frozen=True)
class Host:
    """A host of the fleet, looked at as root inside its container."""

    name: str
    address: str
    container: str
    groups: list[str]

    def run(self, *argv: str, stdin: str | None = None) -> Done:
        """Run a command."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.container, *argv],
            input=stdin or "", capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def output(self, *argv: str, stdin: str | None = None) -> str:
        """The output of a command that must succeed."""
        done = self.run(*argv, stdin=stdin)
        assert done.status == 0, f"{self.name}: {' '.join(argv)}: {done.stderr}"
        return done.stdout.strip()

    def shell(self, script: str) -> str:
        """The output of a script that must succeed."""
        return self.output("sh", "-c", script)

    def begin(self, *argv: str) -> subprocess.Popen:
        """Start a command and go on; its output can be read."""
        return subprocess.Popen(
            ["docker", "exec", "-i", self.container, *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def units(self, *patterns: str) -> list[str]:
        """The loaded units whose names match."""
        lines = self.output("systemctl", "list-units", "--plain", "--no-legend", *patterns).splitlines()
        return [line.split()[0] for line in lines]

    def active(self, *patterns: str) -> list[str]:
        """The active units whose names match, in their order."""
        lines = self.output("systemctl", "list-units", "--plain", "--no-legend", "--state=active", *patterns)
        return sorted(line.split()[0] for line in lines.splitlines())

    def processes(self, *patterns: str) -> dict[str, str]:
        """{service: its main process} of the active services whose names match."""
        units = [unit for unit in self.active(*patterns) if unit.endswith(".service")]
        if not units:
            return {}
        shown = self.output("systemctl", "show", "--property", "MainPID", "--value", *units)
        return dict(zip(units, shown.split(), strict=True))

    def environment(self, pattern: str) -> dict[str, str]:
        """What a unit puts into the environment of its process."""
        unit = self.units(pattern)[0]
        shown = self.output("systemctl", "show", "--property", "Environment", "--value", unit)
        return dict(word.split("=", 1) for word in shlex.split(shown))

    def sql(self, query: str, database: str = "mastodon_production") -> list[str]:
        """The rows that the PostgreSQL of this host answers to its administrator."""
        return self.output("runuser", "-u", "postgres", "--", "psql", "-XAtqc", query, database).splitlines()


class Instance:
    """The instance that a summary.json describes: {url, ca_file, resolve, owner, token, hosts}."""

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self.summary = summary
        self.domain = summary["url"].removeprefix("https://")
        self.hosts = {name: Host(name, **about) for name, about in summary["hosts"].items()}
        self.owner = summary["owner"]
        self._numbers = count(1)

    def hosts_of(self, group: str) -> list[Host]:
        """The hosts of a group, in the inventory's order."""
        return [host for host in self.hosts.values() if group in host.groups]

    def host_of(self, group: str) -> Host:
        """The first host of a group."""
        return self.hosts_of(group)[0]

    @property
    def web(self) -> Host:
        """The first host that runs Puma."""
        return self.host_of("web")

    @property
    def primary(self) -> Host:
        """The host with the primary of PostgreSQL."""
        return self.host_of("postgres_primary")

    # from outside

    def client(self) -> Client:
        """The owner's client."""
        return Client.from_summary(self.summary)

    def another_client(self) -> Client:
        """Another client of the owner's, with a token of its own."""
        token = sign_in(
            self.summary["url"], self.summary["ca_file"], self.owner["email"], self.owner["password"],
            self.summary["resolve"],
        )  # fmt: skip
        return Client.from_summary(self.summary, token)

    # inside its hosts

    @cached_property
    def settings(self) -> dict[str, str]:
        """The env file that the application reads."""
        words = shlex.split(self.web.output("cat", f"{CURRENT}/.env.production"), comments=True)
        return dict(word.split("=", 1) for word in words if "=" in word)

    def redis(self, *command: str) -> list[str]:
        """The lines that the Redis of feeds and streaming answers."""
        return self._ask_redis(self.settings["REDIS_URL"], "redis_core", command)

    def queues(self, *command: str) -> list[str]:
        """The lines that the Redis of Sidekiq answers, which is that of feeds where it has none of its own."""
        url = self.settings.get("SIDEKIQ_REDIS_URL")
        return self._ask_redis(url, "redis_sidekiq", command) if url else self.redis(*command)

    def queues_console(self) -> subprocess.Popen:
        """The same, for many commands: each a line that is written, and a line that is answered."""
        url = self.settings.get("SIDEKIQ_REDIS_URL")
        group = "redis_sidekiq" if url else "redis_core"
        return self.host_of(group).begin(*self._redis_cli(url or self.settings["REDIS_URL"]))

    def _ask_redis(self, address: str, group: str, command: tuple[str, ...]) -> list[str]:
        return self.host_of(group).output(*self._redis_cli(address), *command).splitlines()

    @staticmethod
    def _redis_cli(address: str) -> list[str]:
        url = urlsplit(address)
        environment = ["env", f"REDISCLI_AUTH={url.password}"] if url.password else []
        tls = ["--tls", "--cacert", "/etc/ssl/mastodon/ca.pem"] if url.scheme == "rediss" else []
        target = ["-h", url.hostname or LOOPBACK, "-p", str(url.port or 6379), *tls]
        return [*environment, "redis-cli", "--no-auth-warning", *target]

    def sql(self, query: str) -> list[str]:
        """The rows that the application's database answers."""
        return self.primary.sql(query)

    def ask(self, *requests: tuple, port: int = WEB_PORT, host: Host | None = None) -> list[Answer]:
        """Ask a port of a host, else of the first with Puma or streaming: (method, path[, headers[, body]]) each."""
        host = host or self.host_of("streaming" if port >= STREAMING_PORT else "web")
        full = [(*request, *({}, None)[len(request) - 2 :]) for request in requests]
        done = host.run("python3", "-c", ASK, stdin=json.dumps([[LOOPBACK, host.address], port, full]))
        assert done.status == 0, done.stderr
        return [Answer(*json.loads(line)) for line in done.stdout.splitlines()]

    def proxied(self, **more: str) -> dict[str, str]:
        """The headers that a proxy sets."""
        headers = {"Host": self.domain, "X-Forwarded-Proto": "https"}
        return headers | {name.replace("_", "-"): value for name, value in more.items()}

    def _transient(self, options: list[str], environment: Mapping[str, str], argv: tuple[str, ...]) -> list[str]:
        settings = [f"--setenv={name}={value}" for name, value in environment.items()]
        return [
            "systemd-run", "--quiet", "--uid=mastodon", f"--working-directory={CURRENT}", "--service-type=exec",
            *options, *settings, "--", *argv,
        ]  # fmt: skip

    def app(self, *argv: str, without: str | None = None, host: Host | None = None, **environment: str) -> Done:
        """Run a command as the application's user, in the release, with the environment of the web unit."""
        whole = self.web.environment("mastodon-web.service") | environment
        whole.pop(without, None)
        argv = tuple(self._transient(["--wait", "--pipe", "--collect"], whole, ("/usr/bin/env", *argv)))
        return (host or self.web).run(*argv)

    @contextmanager
    def process(self, like: str, *argv: str, **environment: str) -> Iterator[Process]:
        """Start a process of our own, with the environment of the units `like`; it is gone afterwards."""
        host = self.host_of(re.match(r"mastodon-(\w+)", like)[1])
        unit = f"contract-{os.getpid()}-{next(self._numbers)}.service"
        whole = host.environment(like) | environment
        started = host.run(
            *self._transient([f"--unit={unit}", "--property=RemainAfterExit=yes"], whole, ("/usr/bin/env", *argv))
        )
        assert started.status == 0, started.stderr
        try:
            yield Process(host, unit)
        finally:
            host.run("systemctl", "kill", "--signal=KILL", unit)
            host.run("systemctl", "stop", unit)
            host.run("systemctl", "reset-failed", unit)


@dataclass(frozen=True)
class Process:
    """A process that a test started."""

    host: Host
    unit: str

    def show(self, name: str) -> str:
        """A property of its unit."""
        return self.host.output("systemctl", "show", "--property", name, "--value", self.unit)

    def signal(self, name: str) -> None:
        """Send it a signal, and nobody else."""
        self.host.output("systemctl", "kill", "--kill-whom=main", f"--signal={name}", self.unit)

    def log(self) -> str:
        """All that it printed."""
        return self.host.output("journalctl", "--unit", self.unit, "--output", "cat", "--no-pager")

    def wait(self, seconds: float = BOOT_SECONDS) -> int:
        """Wait until it ends, and return its status (128 + the signal that killed it)."""
        wait_until(lambda: self.show("SubState") in {"exited", "failed", "dead"}, seconds, f"the end of:\n{self.log()}")
        killed = self.show("ExecMainCode") != "1"
        return int(self.show("ExecMainStatus")) + (128 if killed else 0)

    def wait_for_log(self, text: str, seconds: float = BOOT_SECONDS) -> str:
        """Wait until it prints something, and return all that it printed."""
        return wait_until(lambda: text in (log := self.log()) and log, seconds, f"{text!r} in:\n{self.log()}")
