# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate takes for an answer, and what not."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.fediops.mastodon.plugins.modules.gate import (
    ASSET,
    Instance,
    PartError,
    culprit,
    keep,
    proof_in,
)

TOKEN = "0123456789abcdef"


class Puma:
    """Answers each GET with the next of its answers: (status, body); the last one for ever. It takes any status."""

    def __init__(self, *answers, taken=(200, b'{"id": "7", "visibility": "direct"}')):
        self.answers, self.seen, self.written = list(answers), [], []
        puma = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                puma.seen.append((self.path, dict(self.headers)))
                self.answer(*(puma.answers.pop(0) if len(puma.answers) > 1 else puma.answers[0]))

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                puma.written.append(f"POST {self.path}")
                self.answer(*taken)

            def do_DELETE(self):
                puma.written.append(f"DELETE {self.path}")
                self.answer(200, b"{}")

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def ask(request):
    def asked(*answers, seconds=0, **options):
        puma = Puma(*answers, **options)
        request.addfinalizer(puma.server.shutdown)
        host, port = puma.server.server_address
        params = {
            "web_domain": "social.example", "token": TOKEN, "ca_file": None, "ca_certificate": None,
            "timeout_seconds": seconds,
        }  # fmt: skip
        instance = Instance(params)
        return instance.insist(instance.check_puma, {"host": host, "port": port}), puma

    return asked


def test_comes_as_nginx_would(ask):
    _passed, puma = ask((200, b"[]"))
    assert [path for path, _headers in puma.seen] == ["/api/v1/timelines/home", "/api/v1/notifications"]
    assert all(headers["Host"] == "social.example" for _path, headers in puma.seen)
    assert all(headers["X-Forwarded-Proto"] == "https" for _path, headers in puma.seen)
    # What it posted is not left there.
    assert puma.written == ["POST /api/v1/statuses", "DELETE /api/v1/statuses/7"]


@pytest.mark.parametrize("taken", [(503, b""), (200, b'{"id": "7", "visibility": "public"}')])
def test_is_not_content_with_a_puma_that_takes_no_status(ask, taken):
    with pytest.raises(PartError, match="status") as raised:
        ask((200, b"[]"), taken=taken)
    assert raised.value.part == "web"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((301, b""), "301 Moved Permanently, not 200"),
        ((204, b""), "204 No Content, not 200"),
        ((500, b"[]"), "500 Internal Server Error, not 200"),
        ((206, b"[]"), "still being put together"),
        ((200, b"<html>"), "something else"),
        ((200, b"{}"), "something else"),
        ((200, b""), "something else"),
    ],
)
def test_is_not_content_with(ask, answer, words):
    with pytest.raises(PartError, match=words) as raised:
        ask(answer)
    assert raised.value.part == "web"
    assert TOKEN not in raised.value.what


def test_waits_for_a_timeline_that_is_being_put_together(ask):
    _passed, puma = ask((206, b"[]"), (200, b"[]"), seconds=10)
    assert len(puma.seen) == 3


def test_waits_for_a_process_that_just_started(ask):
    _passed, puma = ask((502, b""), (200, b"[]"), seconds=10)
    assert len(puma.seen) == 3


@pytest.mark.parametrize(
    ("part", "path", "status", "blamed"),
    [
        ("nginx", "/api/v2/instance", 503, "web"),
        ("nginx", "/api/v1/streaming/health", 503, "streaming"),
        ("nginx", "/packs/a.js", 404, "nginx"),
        ("nginx", "/api/v1/statuses", 401, "web"),
        ("nginx", "/api/v1/statuses", 429, "nginx"),
        ("nginx", "/api/v2/instance", 301, "nginx"),
        ("web", "/api/v1/timelines/home", 500, "web"),
    ],
)
def test_blames(part, path, status, blamed):
    assert culprit(part, path, status) == blamed


@pytest.mark.parametrize(
    ("page", "path"),
    [
        ('<link rel="stylesheet" href="/packs/assets/default-Ab_1.css" media="all">', "/packs/assets/default-Ab_1.css"),
        ('<script src="https://cdn.example/packs/application-x.js" type="module">', "/packs/application-x.js"),
        ("<link href='/assets/mailer.css?v=1'>", "/assets/mailer.css"),
    ],
)
def test_finds_what_a_page_refers_to(page, path):
    assert ASSET.search(page)[1] == path


@pytest.mark.parametrize("page", ['<a href="/packs/">', '<img src="/packs/logo.svg">', '<script src="/other/a.js">'])
def test_is_not_misled(page):
    assert ASSET.search(page) is None


def test_remembers_what_was_proven(tmp_path):
    proof = {"web1": "0a", "worker1": "1b"}
    keep(proof, str(tmp_path / "fediops/proof"))
    assert proof_in(str(tmp_path / "fediops/proof")) == proof


@pytest.mark.parametrize("text", [None, "", "0a\n", "[]", '{"web1": '])
def test_what_cannot_be_read_proves_nothing(tmp_path, text):
    if text is not None:
        (tmp_path / "proof").write_text(text)
    assert proof_in(str(tmp_path / "proof")) == {}


class Streaming:
    """Takes the place of nginx with two streaming processes behind it: a status goes to those named, no others."""

    def __init__(self, processes, reached):
        self.reached, self.opened, self.posted, self.over = reached, [], threading.Event(), threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, text, kind="application/json"):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self):
                if self.path != "/api/v1/streaming/user":
                    return self.answer('[{"id": "7"}]')
                process = len(fake.opened) % processes
                fake.opened.append(process)
                self.answer(":)\n", "text/event-stream")
                if process in fake.reached and fake.posted.wait(10):
                    self.wfile.write(b'event: update\ndata: {"id": "7"}\n\n')
                return fake.over.wait(10)

            def do_POST(self):
                self.answer('{"id": "7", "visibility": "direct"}')
                fake.posted.set()

            def do_DELETE(self):
                self.answer("{}")

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def deliver(self, monkeypatch, streams):
        monkeypatch.setattr("time.sleep", lambda _seconds: None)
        params = {
            "web_domain": "social.example", "token": TOKEN, "ca_file": None, "ca_certificate": None,
            "timeout_seconds": 3, "streaming": [], "streams": streams,
        }  # fmt: skip
        instance = Instance(params)
        plain = type(instance).connect
        monkeypatch.setattr(instance, "connect", lambda _part, endpoint: plain(instance, "web", endpoint))
        host, port = self.server.server_address
        try:
            return instance.check_delivery({"host": host, "port": port})
        finally:
            self.over.set()
            self.server.shutdown()


def test_a_status_must_arrive_on_every_stream_that_nginx_spreads(monkeypatch):
    fleet = Streaming(processes=2, reached={0, 1})
    fleet.deliver(monkeypatch, streams=2)
    assert fleet.opened == [0, 1]


def test_one_deaf_streaming_process_of_several_is_found(monkeypatch):
    with pytest.raises(PartError, match="not the stream of") as raised:
        Streaming(processes=2, reached={0}).deliver(monkeypatch, streams=2)
    assert raised.value.part == "streaming"
