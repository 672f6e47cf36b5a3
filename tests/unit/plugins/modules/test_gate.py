# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate takes for an answer, and what not."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.fediops.mastodon.plugins.modules.gate import ASSET, Instance, PartError, culprit

TOKEN = "0123456789abcdef"


class Puma:
    """Answers each request with the next of its answers: (status, body); the last one for ever."""

    def __init__(self, *answers):
        self.answers, self.seen = list(answers), []
        puma = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                puma.seen.append((self.path, dict(self.headers)))
                status, body = puma.answers.pop(0) if len(puma.answers) > 1 else puma.answers[0]
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
    def asked(*answers, seconds=0):
        puma = Puma(*answers)
        request.addfinalizer(puma.server.shutdown)
        host, port = puma.server.server_address
        params = {
            "web_domain": "social.example", "token": TOKEN, "ca_file": None, "timeout_seconds": seconds,
            "web": {"host": host, "port": port},
        }  # fmt: skip
        instance = Instance(params)
        return instance.insist(instance.check_timelines), puma

    return asked


def test_comes_as_nginx_would(ask):
    _passed, puma = ask((200, b"[]"))
    assert [path for path, _headers in puma.seen] == ["/api/v1/timelines/home", "/api/v1/notifications"]
    assert all(headers["Host"] == "social.example" for _path, headers in puma.seen)
    assert all(headers["X-Forwarded-Proto"] == "https" for _path, headers in puma.seen)


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
