# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge of an instance, as the outside world meets it: TLS, names, paths, limits."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping

import requests
from e2e.client import http_session
from e2e.instance import wait_until

WEB = ["mastodon-web.socket", "mastodon-web.service"]
BACK_SECONDS = 120


class Edge:
    """An nginx of a fleet (as summary.json has it), and the services behind it, which can be taken away.

    Without a name it is the first.
    """

    def __init__(self, summary: Mapping, host, name: str | None = None) -> None:
        edges = {name: box for name, box in summary["hosts"].items() if "nginx" in box["groups"]}
        self.box = edges[name or next(iter(edges))]
        self.url = summary["url"]
        self.domain = self.url.removeprefix("https://")
        self.ca_file = summary["ca_file"]
        self.host = host
        self.session = http_session(self.ca_file, {self.domain: self.box["address"]})

    def ask(self, path: str, method: str = "GET", **options) -> requests.Response:
        """Ask for a path, as it is; redirects are answers like any other."""
        return self.session.request(method, self.url + path, **{"timeout": 30, "allow_redirects": False, **options})

    def handshake(self, name: str, **settings) -> ssl.SSLSocket:
        """Shake hands under a name, whatever the certificate is; `settings` are attributes of the context."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        # This machine's own policy must not be what refuses an old version.
        context.set_ciphers("ALL:@SECLEVEL=0")
        for setting, value in settings.items():
            setattr(context, setting, value)
        plain = socket.create_connection((self.box["address"], 443), timeout=10)
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except OSError:
            plain.close()
            raise

    def announce(self, path: str, length_mb: int, wait_seconds: float = 2) -> str:
        """Announce a body without sending it; return the answer, which is empty while nginx waits for the body."""
        context = ssl.create_default_context(cafile=self.ca_file)
        with (
            socket.create_connection((self.box["address"], 443), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=self.domain) as connection,
        ):
            head = f"POST {path} HTTP/1.1\r\nHost: {self.domain}\r\nContent-Length: {length_mb * 2**20}\r\n\r\n"
            connection.sendall(head.encode())
            connection.settimeout(wait_seconds)
            try:
                return connection.recv(65536).decode()
            except TimeoutError:
                return ""

    @contextlib.contextmanager
    def without(self, *patterns: str) -> Iterator[None]:
        """Stop units for a while; afterwards those that ran run again, and the instance answers."""
        named = " ".join(f"'{pattern}'" for pattern in patterns)
        lines = self.host.check_output(f"systemctl list-units --plain --no-legend --state=active {named}").splitlines()
        units = " ".join(line.split()[0] for line in lines)
        assert units, f"nothing runs that is called {patterns}"
        self.host.check_output(f"systemctl stop {units}")
        try:
            yield
        finally:
            # What depends on a unit was stopped with it.
            self.host.check_output(f"systemctl start {units} {' '.join(WEB)}")
            wait_until(self.answers, BACK_SECONDS, f"the instance, after {units} came back")

    def answers(self) -> bool:
        """Whether web and streaming answer."""
        paths = ["/api/v2/instance", "/api/v1/streaming/health"]
        return all(self.ask(path).status_code == 200 for path in paths)
