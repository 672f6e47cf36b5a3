# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of an instance, as a person's own would be: over TLS, by name, with a token from the sign-in form.

As a library: :func:`sign_in`, :class:`Client`, :class:`Listener`. As a command:

    python tests/e2e/client.py --summary .rehearsal/summary.json post "Hello"
    python tests/e2e/client.py --summary .rehearsal/summary.json home
    python tests/e2e/client.py --summary .rehearsal/summary.json listen --seconds 60

Only :func:`sign_in` is needed to rehearse; it does with `requests` alone, so the two other libraries are imported late.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
SCOPES = "read write follow push"
TIMEOUT_SECONDS = 20


class SignInError(Exception):
    """The forms did not lead to a token; the message says where it ended."""


class _ResolvingAdapter(HTTPAdapter):
    """Connects to given addresses for given names; certificate and Host header stay those of the name."""

    def __init__(self, resolve: Mapping[str, str]) -> None:
        self.resolve = dict(resolve)
        super().__init__()

    def build_connection_pool_key_attributes(self, request, verify, cert=None):
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        address = self.resolve.get(host["host"])
        if address is None:
            return host, pool
        if host["scheme"] == "https":
            pool |= {"server_hostname": host["host"], "assert_hostname": host["host"]}
        return host | {"host": address}, pool

    def send(self, request, **options):
        request.headers["Host"] = urlsplit(request.url).netloc
        return super().send(request, **options)


def http_session(ca_file: str | Path | None, resolve: Mapping[str, str] | None = None) -> requests.Session:
    """Return a session that trusts `ca_file` (None: the system's) and takes addresses from `resolve` ({name: ip})."""
    session = requests.Session()
    session.trust_env = False
    session.verify = str(ca_file) if ca_file else True
    adapter = _ResolvingAdapter(resolve or {})
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _Forms(HTMLParser):
    """The forms of a page: [{"action": ..., "method": ..., "fields": {name: value}}]."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            form = {"action": given.get("action", ""), "method": given.get("method", "get"), "fields": {}}
            self.forms.append(form)
        elif tag == "input" and self.forms and given.get("name"):
            self.forms[-1]["fields"][given["name"]] = given.get("value", "")


def _form(answer: requests.Response, path: str) -> dict[str, Any]:
    """The form of a page that posts to `path`, and is no disguised DELETE."""
    for form in _Forms(answer.text).forms:
        overridden = form["fields"].get("_method", "post") != "post"
        if urlsplit(form["action"]).path == path and form["method"].lower() == "post" and not overridden:
            return form
    raise SignInError(f"{answer.url} answered {answer.status_code} and has no form for {path}")


def _submit(session: requests.Session, answer: requests.Response, path: str, **filled: str) -> requests.Response:
    form = _form(answer, path)
    return session.post(
        urljoin(answer.url, form["action"]), data=form["fields"] | filled, timeout=TIMEOUT_SECONDS,
        headers={"Origin": "{0.scheme}://{0.netloc}".format(urlsplit(answer.url))},
    )  # fmt: skip


def sign_in(
    url: str,
    ca_file: str | Path | None,
    email: str,
    password: str,
    resolve: Mapping[str, str] | None = None,
    scopes: str = SCOPES,
) -> str:
    """Sign in as a person does, and return an access token.

    Registers an application, opens its authorisation page, fills in the sign-in form, agrees, and exchanges the code:
    the OAuth code flow through the instance's own pages. Raises SignInError with the place where it ended, and
    requests' exceptions where there is no answer.
    """
    session = http_session(ca_file, resolve)

    def data(answer: requests.Response) -> dict[str, Any]:
        if answer.status_code != 200:
            raise SignInError(f"{answer.url} answered {answer.status_code}: {answer.text[:200]}")
        return answer.json()

    application = {"client_name": f"e2e {secrets.token_hex(4)}", "redirect_uris": OUT_OF_BAND, "scopes": scopes}
    app = data(session.post(f"{url}/api/v1/apps", data=application, timeout=TIMEOUT_SECONDS))
    wish = {
        "client_id": app["client_id"], "redirect_uri": OUT_OF_BAND, "response_type": "code", "scope": scopes,
    }  # fmt: skip
    page = session.get(f"{url}/oauth/authorize?{urlencode(wish)}", timeout=TIMEOUT_SECONDS)
    page = _submit(session, page, "/auth/sign_in", **{"user[email]": email, "user[password]": password})
    if urlsplit(page.url).path == "/auth/sign_in":
        raise SignInError(f"{url} does not take the password of {email}")
    page = _submit(session, page, "/oauth/authorize")
    code = parse_qs(urlsplit(page.url).query).get("code")
    if not code:
        raise SignInError(f"no code: {page.url} answered {page.status_code}")
    exchange = {
        "grant_type": "authorization_code", "code": code[0], "client_id": app["client_id"],
        "client_secret": app["client_secret"], "redirect_uri": OUT_OF_BAND, "scope": scopes,
    }  # fmt: skip
    return data(session.post(f"{url}/oauth/token", data=exchange, timeout=TIMEOUT_SECONDS))["access_token"]


class Client:
    """Somebody signed in. `api` is the whole of Mastodon.py; the methods here are what tests do most.

    Mastodon.py would hold requests back that the instance might refuse; here a refusal is an error at once.
    """

    def __init__(
        self, url: str, ca_file: str | Path | None, token: str | None, resolve: Mapping[str, str] | None = None
    ) -> None:
        from mastodon import Mastodon

        self.url, self.ca_file, self.token, self.resolve = url, ca_file, token, dict(resolve or {})
        self.session = http_session(ca_file, resolve)
        self.api = Mastodon(
            api_base_url=url, access_token=token, session=self.session, request_timeout=TIMEOUT_SECONDS,
            version_check_mode="none", ratelimit_method="throw",
        )  # fmt: skip

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any], token: str | None = None) -> Client:
        """The owner's client of a rehearsal; with another token, another client of the owner's."""
        return cls(summary["url"], summary["ca_file"], token or summary["token"], summary.get("resolve"))

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask for a path with the token, and return the bare answer, whatever its status."""
        return self.request("GET", path, **options)

    def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any):
        """Send one request with the token; redirects are not followed."""
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        options.setdefault("timeout", TIMEOUT_SECONDS)
        options.setdefault("allow_redirects", False)
        return self.session.request(
            method, urljoin(self.url, path), headers=authorization | dict(headers or {}), **options
        )

    def upload(self, picture: bytes, *, description: str = "", mime_type: str = "image/png") -> dict[str, Any]:
        """Upload a picture and return the media attachment."""
        return self.api.media_post(picture, mime_type=mime_type, description=description)

    def post(self, text: str, **options: Any) -> dict[str, Any]:
        """Post a status; options as of Mastodon.py's status_post (media_ids, visibility, idempotency_key, ...)."""
        return self.api.status_post(text, **options)

    def home(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest statuses of the home timeline."""
        return self.api.timeline_home(limit=limit)

    def listen(self, stream: str = "user", **parameters: str) -> Listener:
        """Listen to a stream over a WebSocket; a context manager, connected when entered."""
        return Listener(self, stream, parameters)


@dataclass(frozen=True)
class Event:
    """What came over a WebSocket: `received` by the monotonic clock, seconds."""

    received: float
    stream: list[str]
    event: str
    payload: Any


@dataclass
class Listener:
    """A WebSocket that is read in the background; events are kept with the time they came."""

    client: Client
    stream: str = "user"
    parameters: Mapping[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def __enter__(self) -> Listener:
        import websocket

        self._news, self._closed = threading.Condition(), False
        target = urlsplit(self.client.url)
        query = urlencode({"stream": self.stream, **self.parameters})
        self._socket = websocket.create_connection(
            f"wss://{target.netloc}/api/v1/streaming?{query}", socket=self._tls(target.hostname, target.port or 443),
            header={"Authorization": f"Bearer {self.client.token}"} if self.client.token else {},
            timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close(timeout=1)
        self._reader.join(TIMEOUT_SECONDS)

    def _tls(self, name: str, port: int) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self.client.ca_file)
        plain = socket.create_connection((self.client.resolve.get(name, name), port), TIMEOUT_SECONDS)
        return context.wrap_socket(plain, server_hostname=name)

    def _read(self) -> None:
        import websocket

        try:
            while text := self._socket.recv():
                message = json.loads(text)
                payload = message.get("payload")
                if message.get("event") in {"update", "notification", "status.update", "conversation"}:
                    payload = json.loads(payload)
                event = Event(time.monotonic(), message.get("stream", []), message.get("event", "error"), payload)
                with self._news:
                    self.events.append(event)
                    self._news.notify_all()
        except (OSError, websocket.WebSocketException):
            pass
        finally:
            with self._news:
                self._closed = True
                self._news.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._closed

    def wait_for(self, wanted: Callable[[Event], bool], seconds: float) -> Event:
        """Return the first event for which `wanted` holds; TimeoutError when none comes or the socket closes."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                if found := next(filter(wanted, self.events), None):
                    return found
                rest = deadline - time.monotonic()
                if rest <= 0 or self._closed:
                    seen = [event.event for event in self.events]
                    raise TimeoutError(f"{'closed' if self._closed else f'nothing in {seconds} s'}; seen: {seen}")
                self._news.wait(rest)

    def wait_for_status(self, status_id: str | int, seconds: float) -> Event:
        """Wait until a status arrives."""
        return self.wait_for(lambda event: event.event == "update" and event.payload["id"] == str(status_id), seconds)


def main(arguments: list[str] | None = None) -> int:
    """Run one command against a rehearsal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--summary", type=Path, default=Path(".rehearsal/summary.json"), help="what a rehearsal wrote")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sign-in", help="sign in through the forms and print a token")
    commands.add_parser("home", help="print the home timeline")
    posting = commands.add_parser("post", help="post a status")
    posting.add_argument("text")
    posting.add_argument("--picture", type=Path)
    listening = commands.add_parser("listen", help="print what comes over the WebSocket")
    listening.add_argument("--stream", default="user")
    listening.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args(arguments)

    summary = json.loads(given.summary.read_text())
    if given.command == "sign-in":
        owner = summary["owner"]
        print(sign_in(summary["url"], summary["ca_file"], owner["email"], owner["password"], summary.get("resolve")))
        return 0
    client = Client.from_summary(summary)
    if given.command == "post":
        media = [client.upload(given.picture.read_bytes())] if given.picture else []
        print(client.post(given.text, media_ids=media)["url"])
    elif given.command == "home":
        for status in client.home():
            print(f"{status['created_at']:%Y-%m-%d %H:%M:%S}  {status['account']['acct']}: {status['content']}")
    else:
        with client.listen(given.stream) as listener:
            end, shown = time.monotonic() + given.seconds, 0
            while time.monotonic() < end and not listener.closed:
                for event in listener.events[shown:]:
                    print(event.event, json.dumps(event.payload, ensure_ascii=False))
                    shown += 1
                time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
