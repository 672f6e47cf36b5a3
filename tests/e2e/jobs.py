# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs counted by their ids: pushed into every queue while something happens, and looked for afterwards.

What became of a job its own process says, in the journal of its host: `start`, then `done` or `fail`. Slow ones are
deliveries to an inbox of the tests' own, which counts what it is given and takes its time.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from e2e.instance import Host, Instance

QUEUES = ("default", "push", "ingress", "mailers", "pull", "scheduler", "fasp")
SAID = re.compile(r"jid=(\w+).*: (start|done|fail)$", re.MULTILINE)
SLOW_SECONDS = 3


class Inbox:
    """An inbox on this machine, on the fleet's own network: counts deliveries by their ids, each takes seconds."""

    def __init__(self, address: str, seconds: float = SLOW_SECONDS) -> None:
        self.came: Counter[str] = Counter()
        self.seconds = seconds
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                delivery = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                inbox.came[delivery["id"]] += 1
                time.sleep(inbox.seconds)
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self._server.server_port}/inbox"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Inbox:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass(frozen=True)
class Counted:
    """Ids of jobs: not done (yet), done twice or begun again without having failed, and failed."""

    lost: list[str]
    repeated: list[str]
    failed: list[str]


@dataclass
class Jobs:
    """Jobs that were pushed, and those that Redis did not take: {jid: queue}; the slow ones are among them."""

    instance: Instance
    inbox: Inbox
    sender: str
    pushed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)

    def __enter__(self) -> Jobs:
        self._began = int(time.time())
        self._redis = self.instance.queues_console()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._redis.stdin.close()
        self._redis.wait(timeout=30)

    def push_one_of_each(self) -> None:
        """A job into every queue that finds nothing to do; it is not tried again, so whoever loses it is found out."""
        for queue in QUEUES:
            self._push(queue, "FeedInsertWorker", [0, 0])

    def push_slow(self) -> None:
        """A delivery that takes seconds; its id is that of the job."""
        jid = secrets.token_hex(12)
        self.slow.add(jid)
        self._push("push", "DeliveryWorker", [json.dumps({"id": jid}), int(self.sender), self.inbox.url], jid)

    def _push(self, queue: str, kind: str, arguments: list, jid: str | None = None) -> None:
        jid, now = jid or secrets.token_hex(12), int(time.time() * 1000)
        job = {"class": kind, "args": arguments, "queue": queue, "jid": jid, "retry": False}
        job |= {"created_at": now, "enqueued_at": now}
        self._redis.stdin.write(f"LPUSH queue:{queue} '{json.dumps(job)}'\n")
        self._redis.stdin.flush()
        taken = self._redis.stdout.readline().strip().isdecimal()
        (self.pushed if taken else self.refused)[jid] = queue

    def count(self, hosts: Iterable[Host]) -> Counted:
        """What became of them so far, by what the processes of all hosts that ever ran some have said."""
        said: dict[str, Counter[str]] = {"start": Counter(), "done": Counter(), "fail": Counter()}
        journal = f"journalctl --unit 'mastodon-sidekiq*' --since @{self._began} --output cat --no-pager"
        for host in hosts:
            for jid, what in SAID.findall(host.shell(f"{journal} | grep jid= || true")):
                said[what][jid] += 1
        begun, done, failed = said["start"], said["done"], said["fail"]
        lost = {jid for jid in self.pushed if not done[jid] + failed[jid]}
        # A job of the application's own has no id that is known before, and is lost when it ends with its process.
        lost |= {jid for jid in begun if not done[jid] + failed[jid]}
        repeated = {jid for jid, times in done.items() if times > 1}
        repeated |= {jid for jid, times in begun.items() if times > failed[jid] + 1}
        repeated |= {jid for jid, times in self.inbox.came.items() if times > 1}
        return Counted(sorted(lost), sorted(repeated), sorted(self.pushed.keys() & failed.keys()))
