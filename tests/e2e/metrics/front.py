# SPDX-License-Identifier: GPL-3.0-or-later
"""A metrics host that is played: the overview page behind a password, and a Prometheus that answers as it is told."""

from __future__ import annotations

import base64
import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from e2e.fleet import CHECKOUT

WWW = CHECKOUT / "roles/metrics/files/www"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".json": "application/json"}
# What a front that trusts nobody sends: the page has to do with it.
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'"
API = "/prometheus/api/v1/"

Answer = tuple[int, object]


class Prometheus:
    """Answers each query of the source with series that have the labels of its legend."""

    def __init__(self, source: list[dict]):
        """source: the dashboards."""
        panels = [panel for dashboard in source for row in dashboard["rows"] for panel in row["panels"]]
        self._queries = {
            (query["expr"], panel["kind"] == "graph"): (panel, query) for panel in panels for query in panel["queries"]
        }
        self.alerts: list[dict] = []
        # What is answered instead, by words of a query or by "alerts".
        self.instead: dict[str, Callable[[], Answer]] = {}
        self.series = 3
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def answer(self, what: str, parameters: Mapping[str, str]) -> Answer:
        """The status and the body of an answer; what is asked, and how much at once, is kept."""
        with self._lock:
            self.asked.append((what, dict(parameters)))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            # As long as a real one takes at least: so what is asked at once is seen.
            time.sleep(0.01)
            for words, instead in self.instead.items():
                if words in parameters.get("query", what):
                    return instead()
            if what == "alerts":
                return 200, {"status": "success", "data": {"alerts": self.alerts}}
            return self._values(what == "query_range", parameters)
        finally:
            with self._lock:
                self.at_once -= 1

    def _values(self, graph: bool, parameters: Mapping[str, str]) -> Answer:
        expr = re.sub(r"\[\d+s\]", "[$window]", parameters["query"])
        if (expr, graph) not in self._queries:
            return 400, {"status": "error", "errorType": "bad_data", "error": f"no such query: {expr}"}
        panel, query = self._queries[expr, graph]
        wanted = re.findall(r"\{(\w+)\}", query["legend"]) or ["instance"] * (panel["kind"] == "table")
        number = self.series if wanted else 1
        metrics = [{label: f"{label}{index + 1}" for label in wanted} for index in range(number)]
        if not graph:
            return 200, _result("vector", [{"metric": each, "value": [time.time(), "0.25"]} for each in metrics])
        step = int(parameters["step"])
        times = range(int(parameters["start"]), int(parameters["end"]) + 1, step)
        return 200, _result(
            "matrix",
            [
                {
                    "metric": each,
                    "values": [[at, f"{index + 1 + math.sin(at / step / 9 + index):.4f}"] for at in times],
                }
                for index, each in enumerate(metrics)
            ],
        )


def _result(kind: str, result: list) -> dict:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def nothing() -> Answer:
    """No series at all."""
    return 200, _result("vector", [])


def no_number() -> Answer:
    """A value that is no number: 0 / 0."""
    return 200, _result("vector", [{"metric": {}, "value": [time.time(), "NaN"]}])


def refused() -> Answer:
    """What Prometheus says to a query that it cannot do."""
    return 422, {"status": "error", "errorType": "execution", "error": "too many samples"}


def gone() -> Answer:
    """What the front says when Prometheus is down."""
    return 502, "<html>Bad Gateway</html>"


@contextmanager
def front(page: dict, answer: Callable[[str, Mapping[str, str]], Answer], login: tuple[str, str]):
    """The address of the page, on loopback, for as long as the block runs."""
    expected = "Basic " + base64.b64encode(":".join(login).encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        """The front."""

        protocol_version = "HTTP/1.1"

        def do_GET(self):
            """Files, and the API."""
            if self.headers.get("Authorization") != expected:
                return self._send(401, "text/plain", b"", **{"WWW-Authenticate": 'Basic realm="metrics"'})
            asked = urlsplit(self.path)
            if asked.path.startswith(API):
                status, body = answer(asked.path.removeprefix(API), dict(parse_qsl(asked.query)))
                content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                return self._send(status, "text/html" if isinstance(body, str) else "application/json", content)
            if asked.path == "/dashboards.json":
                return self._send(200, TYPES[".json"], json.dumps(page).encode())
            path = WWW / Path(asked.path.lstrip("/") or "index.html").name
            if not path.is_file():
                return self._send(404, "text/plain", b"")
            return self._send(200, TYPES[path.suffix], path.read_bytes())

        def _send(self, status: int, kind: str, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Type": kind,
                "Content-Length": str(len(content)),
                "Content-Security-Policy": POLICY,
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
