# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there after a deployment: how to reach it, who may sign in, what to try."""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import ssl
import sys
from collections.abc import Mapping

from rehearsal import engine
from rehearsal.console import step
from rehearsal.engine import docker
from rehearsal.hosts import container_name
from rehearsal.overlay import Settings
from rehearsal.state import CHECKOUT, State, write_private

CA_FILE = "/etc/ssl/mastodon/ca.pem"
OWNER_PASSWORD_FILE = "/etc/mastodon/owner_password"


def write_summary(state: State, settings: Settings) -> dict:
    """Find out how to reach what was deployed and write it to summary.json, which only its owner may read."""
    addresses = {host: engine.address(entry, state.name) for host, entry in engine.containers(state.name).items()}
    nginx, web = settings.groups["nginx"][0], settings.groups["web"][0]
    write_private(state.ca, read_from(state, nginx, CA_FILE))
    summary = {
        "url": f"https://{settings.web_domain}",
        "ca_file": str(state.ca),
        "resolve": dict.fromkeys(settings.domains, addresses[nginx]),
        "owner": {
            "email": settings.admin_email,
            "username": settings.admin_username,
            "password": read_from(state, web, OWNER_PASSWORD_FILE).strip(),
        },
        "hosts": {
            host: {
                "address": addresses[host],
                "container": container_name(state, host),
                "groups": settings.groups_of(host),
            }
            for host in settings.hosts
        },
        "inventory": str(state.inventory),
        "app": state.read()["app"],
    }
    summary["token"] = token(state, summary)
    write_private(state.summary, json.dumps(summary, indent=2) + "\n")
    return summary


def read_from(state: State, host: str, path: str) -> str:
    """The text of a file of a host."""
    return docker("exec", container_name(state, host), "cat", path) + "\n"


def token(state: State, summary: Mapping) -> str:
    """A token of the owner's: the last one while it is good, else one from signing in as a person does."""
    if state.summary.is_file():
        last = json.loads(state.summary.read_text())
        if (last.get("url"), last.get("owner")) == (summary["url"], summary["owner"]) and token_is_good(summary, last):
            return last["token"]
    spec = importlib.util.spec_from_file_location("rehearsal_client", CHECKOUT / "tests/e2e/client.py")
    client = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = client
    spec.loader.exec_module(client)
    owner = summary["owner"]
    with step("Signing in as the owner"):
        return client.sign_in(
            summary["url"], summary["ca_file"], owner["email"], owner["password"], resolve=summary["resolve"]
        )


class ResolvedConnection(http.client.HTTPSConnection):
    """HTTPS to a name whose address is given, not looked up."""

    def __init__(self, host: str, address: str, context: ssl.SSLContext) -> None:
        super().__init__(host, timeout=15, context=context)
        self.context, self.address = context, address

    def connect(self) -> None:
        """Connect to the address and check the certificate against the name."""
        plain = socket.create_connection((self.address, 443), self.timeout)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.host)


def token_is_good(summary: Mapping, last: Mapping) -> bool:
    """Whether the application still takes the token of the last run."""
    domain = summary["url"].removeprefix("https://")
    context = ssl.create_default_context(cafile=summary["ca_file"])
    connection = ResolvedConnection(domain, summary["resolve"][domain], context)
    try:
        headers = {"Authorization": f"Bearer {last.get('token')}"}
        connection.request("GET", "/api/v1/accounts/verify_credentials", headers=headers)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def show(state: State, summary: Mapping, settings: Settings) -> None:
    """What a person wants to see at the end: where, who, how large, and what to try."""
    domain = settings.web_domain
    address = summary["resolve"][domain]
    owner = summary["owner"]
    print("\n" + json.loads(state.plan.read_text())["table"])
    port = state.read().get("https_port")
    target = f"127.0.0.1:{port}" if port else f"{address}:443"
    url, ca_file = summary["url"], summary["ca_file"]
    print(f"""
Address    {url}   (here only: {domain} is {address}; certificates by {ca_file})
Login      {owner["email"]}   password: {owner["password"]}

Three things to try
  1. Ask it:             curl --cacert {ca_file} --resolve {domain}:443:{address} {url}/api/v2/instance
  2. Open it:            chromium --ignore-certificate-errors --host-resolver-rules="MAP {domain} {target}" {url}
  3. Look around inside: docker exec -it {next(iter(summary["hosts"].values()))["container"]} bash

For scripts: {state.summary}. When you are done: {state.command("down")}
""")
