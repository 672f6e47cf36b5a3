# SPDX-License-Identifier: GPL-3.0-or-later
"""A load under which a living fleet is changed: open loop, many people, writes among it, and slow requests in flight.

What is due is sent, whatever became of what was sent before, and never again. A timeout, a refused connection, an
answer that is not the right one with the right body: each is a failure. Every status that was taken is looked for by
its id, and so is every job. The load ends by itself after its time; what it saw is a :class:`Seen`.
"""

from __future__ import annotations

import math
import queue
import random
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from typing import Any

import requests
import websocket
from e2e.client import http_session
from e2e.instance import Instance, wait_until
from e2e.jobs import Inbox, Jobs
from e2e.load import Sent
from e2e.people import people
from e2e.picture import picture
from turns import alone

# Requests a second: more of them would be more than two processors can do that also carry the fleet and Ansible. `slow`
# deletes a status that somebody holds for seconds, so Puma waits; `upload` sends its body for as long, so nginx does.
RATES: Mapping[str, float] = {
    "file": 24, "page": 8, "home": 6, "status": 5, "post": 5, "notifications": 2, "inbox": 1, "instance": 0.5,
    "slow": 0.25, "upload": 0.1,
}  # fmt: skip
HELD_SECONDS, HOLDERS = 5, 4
SLOW = ("slow", "upload")
TIMEOUT_SECONDS, SLOW_TIMEOUT_SECONDS = 30, 45
# Of the API each token may ask once a second, each person five times; in three hours a person may post 300 times.
TOKENS, PEOPLE, POSTS_OF_ONE = 5, 8, 270
LISTENERS, RECONNECT_SECONDS, LOOK_SECONDS = 3, 0.5, 0.1
SWEEP_SECONDS, SETTLE_SECONDS, PAGE = 60, 60, 40
JOBS_EVERY_SECONDS = 1.0
WORKERS = 200
HOLD = """
BEGIN;
SELECT id FROM statuses WHERE id = {} FOR UPDATE;
SELECT pg_sleep({});
COMMIT;
SELECT 'over';
"""
MESSAGES_SHOWN = 3


@dataclass(frozen=True)
class Seen:
    """What was sent and what people noticed; numbers of statuses and jobs where none may be."""

    seconds: float
    requests: dict[str, int]
    failures: dict[str, int]
    messages: dict[str, list[str]]
    longest_seconds: float
    statuses: int
    lost_statuses: list[str]
    not_deleted: list[str]
    streams: int
    reconnects: int
    refused_streams: int
    missed_while_reconnecting: int
    longest_pause_seconds: float
    jobs: int
    refused_jobs: list[str]
    lost_jobs: list[str]
    repeated_jobs: list[str]
    failed_jobs: list[str]
    cpu_percent: float

    def record(self) -> dict[str, Any]:
        """For tests/results: lists as their lengths, and how many requests there were in all."""
        told = {name: len(value) if isinstance(value, list) else value for name, value in vars(self).items()}
        return told | {"total_requests": sum(self.requests.values()), "total_failures": sum(self.failures.values())}

    def assert_nobody_noticed(self, reconnects: int = 0, refused_streams: int = 0) -> None:
        """Nothing failed, nothing was lost or done twice, and streams ended, or were refused, at most so often."""
        sent, told = self.requests, self.messages
        wrong = [f"{count} of {sent[kind]} {kind}: {told[kind]}" for kind, count in self.failures.items()]
        lists = {
            "statuses were taken and are nowhere": self.lost_statuses,
            "statuses were deleted and are there": self.not_deleted,
            "jobs were refused by Redis": self.refused_jobs,
            "jobs were lost": self.lost_jobs,
            "jobs were done twice, or begun again": self.repeated_jobs,
            "jobs failed": self.failed_jobs,
        }
        wrong += [f"{len(found)} {what}: {found[:MESSAGES_SHOWN]}" for what, found in lists.items() if found]
        if self.reconnects > reconnects:
            wrong.append(f"{self.reconnects} times a stream had to be opened again; allowed were {reconnects}")
        if self.refused_streams > refused_streams:
            wrong.append(f"{self.refused_streams} times nobody took a stream; allowed were {refused_streams}")
        of = f"of {sum(sent.values())} requests, {self.statuses} statuses, {self.jobs} jobs"
        assert not wrong, "\n".join([of, *wrong])


@dataclass
class Stream:
    """One stream of the reader's, opened again whenever it ends: when each status came, in order."""

    client: Any
    came: dict[str, float] = field(default_factory=dict)
    ended: int = 0
    refused: int = 0
    open: bool = False

    def listen(self, over: threading.Event) -> None:
        """Listen until it is over."""
        while not over.is_set():
            try:
                with self.client.listen() as listener:
                    self.open = True
                    seen = 0
                    while not listener.closed and not over.is_set():
                        for event in listener.events[seen:]:
                            seen += 1
                            if event.event == "update":
                                self.came[str(event.payload["id"])] = event.received
                        time.sleep(LOOK_SECONDS)
            except (OSError, websocket.WebSocketException):
                self.refused += not self.open
            self.ended += self.open and not over.is_set()
            self.open = False
            over.wait(RECONNECT_SECONDS)

    def longest_pause(self) -> float:
        """Between two arrivals, in seconds."""
        return max((late - early for early, late in pairwise(self.came.values())), default=0.0)


def shown(messages: Iterable[str]) -> list[str]:
    """The first few of them, each once."""
    return list(dict.fromkeys(messages))[:MESSAGES_SHOWN]


@contextmanager
def running(target: Callable[[], None], over: threading.Event) -> Iterator[None]:
    """Run that beside the rest; at the end say that it is over, and wait for it."""
    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Trickle:
    """A body that takes its time: `requests` asks for its length, and then reads it piece by piece."""

    def __init__(self, body: bytes, seconds: float, pieces: int = 20) -> None:
        self._body, self._at = body, 0
        self._size, self._pause = math.ceil(len(body) / pieces), seconds / pieces

    def __len__(self) -> int:
        return len(self._body)

    def read(self, _size: int = -1) -> bytes:
        """The next piece, after a pause."""
        piece = self._body[self._at : self._at + self._size]
        if piece:
            time.sleep(self._pause)
        self._at += len(piece)
        return piece


class HeavyLoad:
    """The load, for at most so many seconds. `instance` may be changed when the fleet has grown.

    with HeavyLoad(instance, 240) as load:
        ...
    load.seen.assert_nobody_noticed()
    """

    def __init__(self, instance: Instance, seconds: float) -> None:
        self.instance, self.seconds = instance, seconds
        self.sent: list[Sent] = []
        self.posted: list[str] = []
        self.deleted: list[str] = []

    def __enter__(self) -> HeavyLoad:
        summary = self.instance.summary
        posts = self.seconds * (RATES["post"] + RATES["slow"])
        *authors, self._reader = people(self.instance, max(PEOPLE, math.ceil(posts / POSTS_OF_ONE)) + 1, TOKENS)
        for author in authors:
            followed = self._reader.client.request("POST", f"/api/v1/accounts/{author.number}/follow")
            assert followed.status_code == 200, followed.text
        self._authors = cycle(authors)
        strangers = [http_session(summary["ca_file"], summary["resolve"]) for _number in range(4)]
        self._strangers = cycle(strangers)
        # nginx may close a kept connection at any time, and at every reload it does: clients send again what crossed
        # with that. Here nothing is sent again, so each request has a connection of its own.
        for session in [*strangers, *(client.session for author in authors for client in author.clients)]:
            session.headers["Connection"] = "close"
        self._streams = [Stream(client) for client in self._reader.clients[:LISTENERS]]
        self._found_at_home: set[str] = set()
        self._holders: queue.SimpleQueue[subprocess.Popen] = queue.SimpleQueue()
        self._stop, self._over = threading.Event(), threading.Event()
        with ExitStack() as held, ExitStack() as pacing:
            held.enter_context(alone())
            for _number in range(HOLDERS):
                self._holders.put(held.enter_context(self._holder()))
            inbox = held.enter_context(Inbox(self.instance.web.address.rpartition(".")[0] + ".1"))
            self.jobs = held.enter_context(Jobs(self.instance, inbox, authors[0].number))
            for stream in self._streams:
                held.enter_context(running(lambda stream=stream: stream.listen(self._over), self._over))
            wait_until(lambda: all(stream.open for stream in self._streams), 20, "open streams")
            self._post()
            self._began, self._cpu_seconds = time.monotonic(), time.process_time()
            for target in (self._send_what_is_due, self._push_jobs, self._sweep):
                pacing.enter_context(running(target, self._stop))
            self._held, self._pacing = held.pop_all(), pacing.pop_all()
        return self

    def __exit__(self, kind: type | None, *_exception: object) -> None:
        with self._held:
            took, cpu_seconds = time.monotonic() - self._began, time.process_time() - self._cpu_seconds
            self._pacing.close()
            if kind is None:
                assert took < self.seconds, f"the load was over after {self.seconds} s of the {took:.0f} s it was for"
                self.seen = self._settle(took, cpu_seconds)

    # what is sent

    def _send_what_is_due(self) -> None:
        due = {kind: self._began + number / len(RATES) / rate for number, (kind, rate) in enumerate(RATES.items())}
        with ThreadPoolExecutor(WORKERS) as pool:
            while (now := time.monotonic()) < self._began + self.seconds:
                kind = min(due, key=due.__getitem__)
                if self._stop.wait(max(0.0, due[kind] - now)):
                    return
                pool.submit(self._send, kind, due[kind])
                due[kind] += 1 / RATES[kind]

    def _send(self, kind: str, due: float) -> None:
        wrong = ""
        try:
            getattr(self, f"_{kind}")()
        except Exception as error:  # whatever it is, it is what a person saw
            wrong = f"{type(error).__name__}: {str(error)[-120:]}"
        self.sent.append(Sent(kind, due, time.monotonic() - due, wrong))

    @staticmethod
    def _answer(answer: requests.Response, status: int = 200) -> requests.Response:
        assert answer.status_code == status, f"{answer.status_code}: {answer.text[:100]}"
        return answer

    def _ask(self, path: str, method: str = "GET", **options: Any) -> Any:
        """What the API answers to somebody, each in their turn."""
        client = next(self._authors).client
        return self._answer(client.request(method, path, **{"timeout": TIMEOUT_SECONDS, **options})).json()

    def _ask_as_stranger(self, path: str, status: int = 200, **options: Any) -> requests.Response:
        url = self.instance.summary["url"] + path
        session = next(self._strangers)
        answer = session.request(options.pop("method", "GET"), url, timeout=TIMEOUT_SECONDS, **options)
        return self._answer(answer, status)

    def _page(self) -> None:
        name = self.instance.owner["username"]
        assert name in self._ask_as_stranger(f"/@{name}").text

    def _file(self) -> None:
        assert "User-agent" in self._ask_as_stranger("/robots.txt").text

    def _instance(self) -> None:
        assert self._ask_as_stranger("/api/v2/instance").json()["domain"]

    def _inbox(self) -> None:
        """Nobody has signed it, and it is the application that must say so."""
        self._ask_as_stranger("/inbox", 401, method="POST", data=b"{}")

    def _home(self) -> None:
        assert isinstance(self._ask("/api/v1/timelines/home"), list)

    def _notifications(self) -> None:
        assert isinstance(self._ask("/api/v1/notifications"), list)

    def _status(self) -> None:
        number = random.choice(self.posted[-50:])
        assert self._ask(f"/api/v1/statuses/{number}")["id"] == number

    def _post(self) -> None:
        text = f"Under load {uuid.uuid4()}"
        status = self._ask("/api/v1/statuses", "POST", json={"status": text})
        self.posted.append(str(status["id"]))
        assert text in status["content"]

    def _slow(self) -> None:
        """Delete a status while its row is locked."""
        client = next(self._authors).client
        path, timeout = "/api/v1/statuses", {"timeout": SLOW_TIMEOUT_SECONDS}
        posted = self._answer(client.request("POST", path, json={"status": f"For a moment {uuid.uuid4()}"}, **timeout))
        number = str(posted.json()["id"])
        with self._held_row(number) as holder:
            began = time.monotonic()
            self._answer(client.request("DELETE", f"{path}/{number}", **timeout))
            waited = time.monotonic() - began > HELD_SECONDS - 1
            # Where PostgreSQL was restarted, who held the row has gone.
            assert waited or holder.poll() is not None, "nobody waited for the lock"
            self.deleted.append(number)

    @contextmanager
    def _held_row(self, number: str) -> Iterator[subprocess.Popen]:
        """Hold the row of a status for seconds; at the end wait until nobody does. A session that died is replaced."""
        holder = self._holders.get(timeout=SLOW_TIMEOUT_SECONDS)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        try:
            while not self._holds(holder, number):
                assert time.monotonic() < deadline, "the row could not be locked"
                time.sleep(LOOK_SECONDS)
                holder = self._held.enter_context(self._holder())
            yield holder
            for line in holder.stdout:
                if line.strip() == "over":
                    break
        finally:
            self._holders.put(holder)

    @staticmethod
    def _holds(holder: subprocess.Popen, number: str) -> bool:
        with suppress(BrokenPipeError):
            holder.stdin.write(HOLD.format(number, HELD_SECONDS))
            holder.stdin.flush()
            return holder.stdout.readline().strip() == number
        return False

    def _upload(self) -> None:
        client = next(self._authors).client
        form = requests.Request("POST", client.url, files={"file": ("one.png", picture(), "image/png")}).prepare()
        media = self._answer(
            client.request(
                "POST", "/api/v2/media", data=Trickle(form.body, HELD_SECONDS), timeout=SLOW_TIMEOUT_SECONDS,
                headers={"Content-Type": form.headers["Content-Type"]},
            )
        ).json()  # fmt: skip
        assert media["type"] == "image"

    @contextmanager
    def _holder(self) -> Iterator[subprocess.Popen]:
        """A session of PostgreSQL's administrator, that holds rows."""
        session = self.instance.primary.begin("runuser", "-u", "postgres", "--", "psql", "-XAtq", "mastodon_production")
        try:
            yield session
        finally:
            with suppress(BrokenPipeError):
                session.stdin.close()
            session.wait(timeout=30)

    def _push_jobs(self) -> None:
        while not self._stop.wait(JOBS_EVERY_SECONDS):
            self.jobs.push_one_of_each()
            self.jobs.push_slow()

    # what became of it

    def _sweep(self) -> None:
        """Look for what did not come over a stream while the timeline still reaches back so far."""
        while not self._stop.wait(SWEEP_SECONDS):
            self._look_at_home(self._missing(self.posted[: -int(15 * RATES["post"])]))

    def _missing(self, posted: list[str]) -> set[str]:
        """What one stream or another did not bring, and was not found in the timeline yet."""
        came = set.intersection(*(set(stream.came) for stream in self._streams))
        return set(posted) - came - self._found_at_home

    def _look_at_home(self, missing: set[str]) -> None:
        """Page back through the reader's timeline until everything that is missing was passed."""
        query = f"/api/v1/timelines/home?limit={PAGE}"
        while missing - self._found_at_home:
            found = [str(status["id"]) for status in self._answer(self._reader.clients[-1].get(query)).json()]
            self._found_at_home |= missing & set(found)
            if not found or min(map(int, found)) <= min(map(int, missing)):
                return
            query = f"/api/v1/timelines/home?limit={PAGE}&max_id={found[-1]}"

    def _all_came(self) -> bool:
        missing = self._missing(self.posted)
        self._look_at_home(missing)
        return not self._missing(self.posted)

    def _settle(self, took: float, cpu_seconds: float) -> Seen:
        """Wait for what is still on its way, and tell what was seen."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (jobs := self.jobs.count(self.instance.hosts_of("sidekiq"))).lost or not self._all_came():
            if time.monotonic() > deadline:
                break
            time.sleep(3)
        wrong = [it for it in sorted(self.sent, key=lambda it: it.due) if it.wrong]
        failures = Counter(it.kind for it in wrong)
        missed = {number for stream in self._streams for number in set(self.posted) - set(stream.came)}
        lost = self._missing(self.posted)
        posted, deleted = ", ".join(self.posted), ", ".join(self.deleted) or "0"
        there = set(self.instance.sql(f"SELECT id FROM statuses WHERE id IN ({posted}) AND deleted_at IS NULL"))
        still = self.instance.sql(f"SELECT id FROM statuses WHERE id IN ({deleted}) AND deleted_at IS NULL")
        return Seen(
            seconds=round(took, 1),
            requests=dict(Counter(it.kind for it in self.sent)),
            failures=dict(failures),
            messages={kind: shown(it.wrong for it in wrong if it.kind == kind) for kind in failures},
            longest_seconds=round(max(it.took for it in self.sent if it.kind not in SLOW), 2),
            statuses=len(self.posted),
            lost_statuses=sorted(lost | (set(self.posted) - there)),
            not_deleted=still,
            streams=len(self._streams),
            reconnects=sum(stream.ended for stream in self._streams),
            refused_streams=sum(stream.refused for stream in self._streams),
            missed_while_reconnecting=len(missed - lost),
            longest_pause_seconds=round(max(stream.longest_pause() for stream in self._streams), 2),
            jobs=len(self.jobs.pushed),
            refused_jobs=sorted(self.jobs.refused),
            lost_jobs=jobs.lost,
            repeated_jobs=jobs.repeated,
            failed_jobs=jobs.failed,
            cpu_percent=round(100 * cpu_seconds / took, 1),
        )
