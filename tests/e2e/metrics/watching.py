# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics host, as its tests ask it: what Prometheus measured, of what Alertmanager tells, and what mails came."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

from e2e.fleet import Fleet
from e2e.instance import Host, wait_until

PROMETHEUS = "http://127.0.0.1:9090/prometheus"
FRONT_PORT = 8443
ALERTMANAGER = "http://127.0.0.1:9093/alertmanager"
# Everything happens sooner, and by the same expressions: an alert that fires after 120 s by rule fires after 1 here.
IN_HASTE = {
    "metrics_alert_for_scale": 0.005,
    "metrics_alert_group_wait_seconds": 1,
    "metrics_alert_group_interval_seconds": 5,
    "metrics_scrape_interval_seconds": 5,
}
SECONDS = 120
# The container that stands for everything outside a fleet, and its name there.
WORLD = "world"
SUBMISSION_PORT = 2525
TRUSTED = "/usr/local/share/ca-certificates/submission.crt"
# Runs inside the world, until its input ends: a mail server for those who give a name and a password, over TLS alone.
SUBMISSION = """
import json, ssl, sys, tempfile
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult
port, login, password, certificate = json.loads(sys.stdin.readline())
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
with tempfile.NamedTemporaryFile("w") as file:
    file.write(certificate)
    file.flush()
    context.load_cert_chain(file.name)
def known(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (login.encode(), password.encode()))
Controller(
    Mailbox("/var/mail/sink"), hostname="0.0.0.0", port=port, tls_context=context,
    require_starttls=True, auth_required=True, auth_exclude_mechanism=["LOGIN"], authenticator=known,
).start()
print("ready", flush=True)
sys.stdin.read()
"""
# Runs inside the host: what an address answers.
ASK = "import sys, urllib.request as it; print(it.urlopen(sys.argv[1]).read().decode())"
# Runs inside the world: the mails that it took.
READ = """
import email, email.policy, json, mailbox
found = []
for name, mail in mailbox.Maildir("/var/mail/sink").items():
    mail = email.message_from_bytes(bytes(mail), policy=email.policy.default)
    found.append([name, f"To: {mail['to']}\\nSubject: {mail['subject']}\\n\\n{mail.get_body(['plain']).get_content()}"])
print(json.dumps(found))
"""


def fetch(watch: Host, url: str) -> dict:
    """The JSON that an address answers inside the host."""
    return json.loads(watch.output("python3", "-c", ASK, url))


def query(watch: Host, expression: str) -> dict[str, float]:
    """{instance: value} of an expression of Prometheus."""
    found = fetch(watch, f"{PROMETHEUS}/api/v1/query?query={quote(expression)}")["data"]["result"]
    return {one["metric"].get("instance", ""): float(one["value"][1]) for one in found}


def all_targets_up(watch: Host, plan: dict) -> None:
    """Wait until Prometheus asks whom the plan names, and each answers."""

    def up():
        found = fetch(watch, f"{PROMETHEUS}/api/v1/targets")["data"]["activeTargets"]
        silent = {
            (it["labels"]["job"], it["labels"]["instance"]): it["lastError"] for it in found if it["health"] != "up"
        }
        return (len(found) == len(plan["metrics"]["targets"]), silent) == (True, {}) or None

    # One that was just started reads first what it knew.
    ready = ["python3", "-c", ASK, f"{PROMETHEUS}/-/ready"]
    wait_until(lambda: watch.run(*ready).status == 0, SECONDS, "Prometheus is ready")
    wait_until(up, SECONDS, "all targets are up")


def alerts(watch: Host) -> dict[tuple[str, str], str]:
    """{(alert, of what): "active" or "suppressed"} of all of which Alertmanager knows."""
    found = fetch(watch, f"{ALERTMANAGER}/api/v2/alerts")
    return {(it["labels"]["alertname"], of_what(it["labels"])): it["status"]["state"] for it in found}


def of_what(labels: dict[str, str]) -> str:
    """The host or the queue that an alert is about; '' is the instance."""
    return labels.get("instance") or labels.get("queue") or ""


def firing(watch: Host) -> set[tuple[str, str]]:
    """{(alert, of what)} that Alertmanager would tell of."""
    return {alert for alert, state in alerts(watch).items() if state == "active"}


def mails(fleet: Fleet) -> dict[str, str]:
    """{name: text} of all mails that the world took."""
    done = subprocess.run(
        ["docker", "exec", fleet.containers[WORLD], "python3", "-c", READ], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def mail_with(fleet: Fleet, before: set[str], words: str) -> str | None:
    """The first mail that was not there before and has these words."""
    return next((text for name, text in mails(fleet).items() if name not in before and words in text), None)


@dataclass
class Webhook:
    """An address that takes what Alertmanager sends, from whoever knows its token: all that it was sent."""

    token: str = field(default_factory=lambda: secrets.token_hex(16))
    url: str = ""
    took: list[dict] = field(default_factory=list)

    @contextmanager
    def another_token(self) -> Iterator[None]:
        """Whoever knows the token so far is turned away."""
        token, self.token = self.token, secrets.token_hex(16)
        try:
            yield
        finally:
            self.token = token


@contextmanager
def webhook(address: str) -> Iterator[Webhook]:
    """A webhook on this machine."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = self.headers["Authorization"] == f"Bearer {hook.token}"
            if known:
                hook.took.append(body)
            self.send_response(200 if known else 401)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hook.url = f"http://{address}:{server.server_port}/alerts"
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def submission(fleet: Fleet, watch: Host, folder: Path) -> Iterator[dict[str, str | int]]:
    """A mail server in the world that the metrics host trusts: the role's settings for it."""
    login, password, both = "alerts@social.example", secrets.token_hex(16), folder / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={WORLD}", "-addext", f"subjectAltName=DNS:{WORLD}"]
    subprocess.run([*command, "-keyout", both, "-out", both], check=True, capture_output=True)
    pem = both.read_text()
    watch.output("tee", TRUSTED, stdin=pem[pem.index("-----BEGIN CERTIFICATE") :])
    # It reads whom it trusts only once.
    watch.shell("update-ca-certificates && systemctl restart prometheus-alertmanager.service")
    serve = ["docker", "exec", "-i", fleet.containers[WORLD], "python3", "-c", SUBMISSION]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        server.stdin.write(json.dumps([SUBMISSION_PORT, login, password, pem]) + "\n")
        server.stdin.flush()
        assert server.stdout.readline() == "ready\n"
        try:
            settings = {"server": WORLD, "port": SUBMISSION_PORT, "login": login, "password": password}
            yield {f"metrics_smtp_{name}": value for name, value in settings.items()}
        finally:
            server.stdin.close()
            watch.shell(f"rm {TRUSTED} && update-ca-certificates --fresh")
