# SPDX-License-Identifier: GPL-3.0-or-later
"""A light load from outside, open loop: what is due is sent, whatever became of what was sent before; no retries."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import websocket
from e2e.client import Client
from e2e.instance import Instance

TIMEOUT_SECONDS = 8
DELIVERY_SECONDS = 10
RECONNECT_SECONDS = 0.5
# Of the API an application lets each client ask once a second.
EVERY_SECONDS = {"post": 4.0, "home": 1.25, "page": 1.0}


@dataclass(frozen=True)
class Sent:
    """A request: when it was due (monotonic, seconds), how long it took, and what was wrong with it, or nothing."""

    kind: str
    due: float
    took: float
    wrong: str


@dataclass
class Load:
    """Posts, home timelines and a page at their rates, and one stream that is opened again when it ends."""

    instance: Instance
    sent: list[Sent] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._over = threading.Event()
        self._kinds: Mapping[str, Callable[[], str | None]] = {
            "post": self._post,
            "home": self._home,
            "page": self._page,
        }
        # Each has connections of its own, and a token, since how often one may ask is limited.
        self._clients = {kind: self.instance.another_client() for kind in [*self._kinds, "stream"]}
        self._arrived: dict[str, float] = {}
        self._threads = [threading.Thread(target=self._listen)]
        self._threads += [threading.Thread(target=self._pace, args=[kind]) for kind in self._kinds]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def failures(self, kind: str, since: float) -> list[Sent]:
        """What was due since then and failed, in its order."""
        return sorted(
            (it for it in self.sent if it.kind == kind and it.due >= since and it.wrong), key=lambda it: it.due
        )

    def well_for(self, seconds: float) -> bool:
        """Whether everything that was due in the last seconds, and has had its time, went well, each kind of it."""
        now = time.monotonic()
        late = [it for it in self.sent if it.due >= now - seconds]
        return {it.kind for it in late} >= {"home", "page", "stream"} and not any(it.wrong for it in late)

    def _pace(self, kind: str) -> None:
        due, every, threads = time.monotonic(), EVERY_SECONDS[kind], []
        while not self._over.is_set():
            thread = threading.Thread(target=self._send, args=[kind, due])
            thread.start()
            threads.append(thread)
            due += every
            time.sleep(max(0.0, due - time.monotonic()))
        for thread in threads:
            thread.join()

    def _send(self, kind: str, due: float) -> None:
        began, wrong, number = time.monotonic(), "", None
        try:
            number = self._kinds[kind]()
        except Exception as error:  # whatever it is, it is what a person saw
            wrong = f"{type(error).__name__}: {str(error)[:120]}"
        self.sent.append(Sent(kind, due, time.monotonic() - began, wrong))
        if number:
            self._await(number)

    def _ask(self, kind: str, method: str, path: str, **options) -> dict:
        client: Client = self._clients[kind]
        answer = client.request(method, path, timeout=TIMEOUT_SECONDS, **options)
        assert answer.status_code == 200, f"{answer.status_code}"
        return answer.json() if "json" in answer.headers["Content-Type"] else {}

    def _post(self) -> str:
        status = {"status": f"Under load {uuid.uuid4()}"}
        number = str(self._ask("post", "POST", "/api/v1/statuses", json=status)["id"])
        self.posted.append(number)
        return number

    def _await(self, number: str) -> None:
        """Note whether a status that was taken comes over the stream."""
        posted = time.monotonic()
        while number not in self._arrived and time.monotonic() - posted < DELIVERY_SECONDS:
            time.sleep(0.05)
        wrong = "" if number in self._arrived else f"not delivered in {DELIVERY_SECONDS} s"
        self.sent.append(Sent("delivery", posted, time.monotonic() - posted, wrong))

    def _home(self) -> None:
        self._ask("home", "GET", "/api/v1/timelines/home")

    def _page(self) -> None:
        self._ask("page", "GET", f"/@{self.instance.owner['username']}")

    def _listen(self) -> None:
        """Keep a stream open, and note every second whether it is."""
        while not self._over.is_set():
            try:
                with self._clients["stream"].listen() as listener:
                    seen = 0
                    while not listener.closed and not self._over.is_set():
                        for event in listener.events[seen:]:
                            seen += 1
                            if event.event == "update":
                                self._arrived[str(event.payload["id"])] = event.received
                        self.sent.append(Sent("stream", time.monotonic(), 0, ""))
                        time.sleep(0.25)
                if not self._over.is_set():
                    self.sent.append(Sent("stream", time.monotonic(), 0, "closed"))
            except (OSError, websocket.WebSocketException) as error:
                self.sent.append(Sent("stream", time.monotonic(), 0, type(error).__name__))
            time.sleep(RECONNECT_SECONDS)
