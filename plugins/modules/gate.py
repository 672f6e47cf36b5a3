#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask an instance whether it really works, the way its users would."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gate
short_description: Proves that a Mastodon instance works
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Mastodon's own C(/health) stays green while Redis, Sidekiq or streaming is down. So this does what a person does.
  - Through each nginx it asks for the description of the instance and for the health of streaming.
  - With O(token) it also reads the home timeline and the notifications, straight from Puma and through each nginx; from
    Puma itself a status that nobody but its author can see is taken and deleted, too.
    Through each nginx it fetches a file that a page refers to, opens the stream of the account on every streaming
    process, posts a status that nobody but its author can see, waits until each stream delivers it, and deletes it.
  - It accepts status 200 only, and looks at what the bodies say.
  - What fails is tried again until O(timeout_seconds) have passed, because processes that just started need a moment.
  - It tells which processes of this host take part, and what O(proof_file) remembers, so that later runs, and the run
    after one that was killed, know whether the processes of now were ever proven.
attributes:
  check_mode:
    description: Looks, and changes nothing of the instance.
    support: none
    details: In check mode nothing was changed, so there is nothing to prove; the module is skipped.
options:
  web_domain:
    description: Name under which people reach the instance.
    type: str
    required: true
  local_domain:
    description: Domain in the names of its accounts.
    type: str
    required: true
  edges:
    description: Where nginx answers with TLS; each is asked. None, on a host that is only asked for its processes.
    type: list
    elements: dict
    default: []
    suboptions: &endpoint
      host:
        description: Address.
        type: str
        required: true
      port:
        description: Port.
        type: int
        required: true
  ca_file:
    description:
      - PEM file of certificates to trust besides those that the system trusts.
      - Left out of account where it does not exist.
    type: path
  ca_certificate:
    description: Certificate of an authority to trust as well, as PEM.
    type: str
  web:
    description: Where Puma of this host answers, to be asked straight with O(token).
    type: dict
    suboptions: *endpoint
  streaming:
    description: Where the streaming processes of this host answer, to be tried straight with O(token).
    type: list
    elements: dict
    default: []
    suboptions: *endpoint
  streams:
    description:
      - How many streams to open through each nginx, which gives each to the process with the fewest.
      - As many as there are processes.
    type: int
    default: 1
  token:
    description: Access token of an account, with the scopes C(read) and C(write).
    type: str
  page:
    description: Path of a page that refers to built assets.
    type: str
    default: /auth/sign_in
  units:
    description: Names or patterns of the systemd units whose processes take part in a proof.
    type: list
    elements: str
    default: []
  proof:
    description:
      - What to remember in O(proof_file) when all has passed with O(token), for each host what RV(identity) was there
        before.
      - Left out, nothing is remembered.
    type: dict
  proof_file:
    description: File that remembers which processes were proven last.
    type: path
    default: /var/lib/fediops/proof
  timeout_seconds:
    description: How long all of it may take.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Probe an instance
  fediops.mastodon.gate:
    web_domain: social.example
    local_domain: social.example
    edges:
      - {host: 127.0.0.1, port: 443}
"""

RETURN = r"""
passed:
  description: What was found to work, in order.
  type: list
  elements: str
  returned: always
identity:
  description: A fingerprint of the processes behind O(units) on this host. Each start of one changes it.
  type: str
  returned: success
proof:
  description: What O(proof_file) remembers, by host, before this call.
  type: dict
  returned: success
"""

import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import time
import uuid

from ansible.module_utils.basic import AnsibleModule

REQUEST_TIMEOUT_SECONDS = 10
PAUSE_SECONDS = 1
ASSET = re.compile(r"""(?:src|href)=["'](?:https?://[^/"']+)?(/(?:packs|assets)/[^"'?]+\.(?:js|css))["'?]""")
LOOK_AT = {
    "nginx": "journalctl -u nginx; /var/log/nginx/error.log; `nginx -t`",
    "web": "journalctl -u mastodon-web; systemctl status postgresql@17-main redis-server",
    "streaming": "journalctl -u 'mastodon-streaming@*'; systemctl status redis-server",
    "sidekiq": "journalctl -u 'mastodon-sidekiq@*'; systemctl status redis-server",
}


class PartError(Exception):
    """A part of the instance does not do what it should.

    part: a key of LOOK_AT. what: what was seen, as a sentence without its full stop.
    """

    def __init__(self, part, what):
        super().__init__(what)
        self.part = part
        self.what = what


def culprit(part, path, status):
    """Name the part to blame: nginx only passes on what the part behind it says, or says for it that it is away."""
    passed_on = status >= 500 or (path.startswith("/api/") and status in (401, 404, 422))
    if part != "nginx" or not passed_on:
        return part
    return "streaming" if path.startswith("/api/v1/streaming") else "web"


class TLSConnection(http.client.HTTPSConnection):
    """HTTPS to an address, under the name of the instance, whatever DNS says about that name."""

    def __init__(self, address, name, context, timeout):
        super().__init__(name, timeout=timeout, context=context)
        self.address = address
        self.tls = context

    def connect(self):
        """Open the connection; the name is for TLS only."""
        plain = socket.create_connection(self.address, self.timeout)
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)


class Instance:
    """The instance as its users see it, part by part."""

    def __init__(self, params):
        self.params = params
        self.deadline = time.monotonic() + params["timeout_seconds"]
        self.context = ssl.create_default_context()
        if params["ca_file"] and os.path.exists(params["ca_file"]):
            self.context.load_verify_locations(params["ca_file"])
        if params["ca_certificate"]:
            self.context.load_verify_locations(cadata=params["ca_certificate"])

    def remaining(self, limit=REQUEST_TIMEOUT_SECONDS):
        """Seconds that one request may take: at most `limit`, and no longer than the whole has left."""
        return max(1, min(limit, self.deadline - time.monotonic()))

    def connect(self, part, endpoint):
        """Connect to a part; nginx over TLS, the others plainly, as nginx does."""
        if part == "nginx":
            address = (endpoint["host"], endpoint["port"])
            return TLSConnection(address, self.params["web_domain"], self.context, self.remaining())
        return http.client.HTTPConnection(endpoint["host"], endpoint["port"], timeout=self.remaining())

    def send(self, connection, part, method, path, body=None, personal=False):
        """Send a request and return the response, if its status is 200 (or 206: it is there, but not complete)."""
        headers = {"Host": self.params["web_domain"], "Accept": "*/*", "User-Agent": "fediops.mastodon.gate"}
        if part != "nginx":
            headers["X-Forwarded-Proto"] = "https"
        if personal:
            headers["Authorization"] = "Bearer " + self.params["token"]
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise PartError(part, f"{method} {path} got no answer ({error or type(error).__name__})") from error
        if response.status not in (200, 206):
            what = f"{method} {path} was answered with {response.status} {response.reason}, not 200"
            raise PartError(culprit(part, path, response.status), what)
        return response

    def ask(self, part, endpoint, method, path, body=None, personal=False):
        """Send a request; return the answer's content type and text."""
        connection = self.connect(part, endpoint)
        try:
            response = self.send(connection, part, method, path, body, personal)
            text = response.read().decode("utf-8", "replace")
            if response.status == 206:
                raise PartError(part, f"{method} {path} is still being put together (206)")
            return response.headers.get_content_type(), text
        except (OSError, http.client.HTTPException) as error:
            raise PartError(part, f"{method} {path} broke off ({error or type(error).__name__})") from error
        finally:
            connection.close()

    def ask_json(self, part, endpoint, method, path, kind, body=None, personal=True):
        """Send a request whose answer must be JSON of a kind (dict, list)."""
        text = self.ask(part, endpoint, method, path, body, personal)[1]
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, kind):
            raise PartError(part, f"{method} {path} was answered with something else than it should be: {text[:80]!r}")
        return value

    def check_description(self, edge):
        """nginx and web: the instance says who it is."""
        domain = self.ask_json("nginx", edge, "GET", "/api/v2/instance", dict, personal=False).get("domain")
        if domain != self.params["local_domain"]:
            raise PartError("nginx", f"/api/v2/instance speaks for {domain}, not for {self.params['local_domain']}")
        return "the instance says who it is"

    def check_streaming_health(self, edge):
        """nginx and streaming: requests find their way."""
        text = self.ask("nginx", edge, "GET", "/api/v1/streaming/health")[1]
        if text.strip() != "OK":
            raise PartError("streaming", f"/api/v1/streaming/health says {text[:80]!r}, not OK")
        return "streaming answers through nginx"

    def check_puma(self, web):
        """web, PostgreSQL and Redis: what a person sees first, of the processes of this host."""
        shown = self.read_timelines("web", web)
        self.delete_status("web", web, self.post_status("web", web))
        return f"{shown}, and takes a status"

    def check_timelines(self, edge):
        """The same, of whatever process nginx chooses."""
        return self.read_timelines("nginx", edge)

    def read_timelines(self, part, endpoint):
        """Read what a person sees first. It also counts as a visit, which feeds need."""
        self.ask_json(part, endpoint, "GET", "/api/v1/timelines/home", list)
        self.ask_json(part, endpoint, "GET", "/api/v1/notifications", list)
        return f"{part} shows the home timeline and notifications"

    def check_asset(self, edge):
        """web and nginx: what a page refers to is there."""
        page = self.params["page"]
        match = ASSET.search(self.ask("nginx", edge, "GET", page)[1])
        if not match:
            raise PartError("web", f"the page {page} refers to no script or style sheet in /packs or /assets")
        kind, text = self.ask("nginx", edge, "GET", match.group(1))
        if kind not in ("text/javascript", "application/javascript", "text/css") or not text:
            raise PartError("nginx", f"{match.group(1)}, which {page} refers to, is {kind} of {len(text)} characters")
        return "nginx serves what the pages refer to"

    def check_delivery(self, edge):
        """Everything together: a status travels from web over Redis and Sidekiq to the streams."""
        streams = []
        try:
            for endpoint in self.params["streaming"]:
                streams.append(self.open_stream("streaming", endpoint))
            # Opened all together: nginx gives each to the process that has the fewest.
            for _number in range(self.params["streams"]):
                streams.append(self.open_stream("nginx", edge))
            # The streams are open, their subscriptions are still on the way to Redis.
            time.sleep(0.2)
            status = self.post_status("nginx", edge)
            try:
                for stream in streams:
                    self.await_status(edge, *stream, status)
            except PartError:
                # Why it did not arrive says more than why it could not be deleted.
                with contextlib.suppress(PartError):
                    self.delete_status("nginx", edge, status)
                raise
            self.delete_status("nginx", edge, status)
        finally:
            for stream in streams:
                stream[1].close()
        return "a status was posted, delivered to every stream, and deleted"

    def open_stream(self, part, endpoint):
        """Open the account's stream at a streaming process, or nginx; return its address, socket and response."""
        where = f"{endpoint['host']}:{endpoint['port']}"
        connection = self.connect(part, endpoint)
        try:
            connection.connect()
        except OSError as error:
            raise PartError(part, f"nothing listens on {where} ({error})") from error
        # A response that ends with its connection takes the socket over, and leaves none in `connection`.
        stream = connection.sock
        response = self.send(connection, part, "GET", "/api/v1/streaming/user", personal=True)
        if response.headers.get_content_type() != "text/event-stream":
            raise PartError("streaming", f"{where} opens no stream of events")
        return where, stream, response

    def post_status(self, part, endpoint):
        """Post a status to nobody; return its id."""
        text = f"Checking that posts arrive ({uuid.uuid4()}). This one is deleted at once."
        wish = {"status": text, "visibility": "direct"}
        status = self.ask_json(part, endpoint, "POST", "/api/v1/statuses", dict, wish)
        if status.get("visibility") != "direct" or not status.get("id"):
            raise PartError("web", "a status was not posted as it was asked for")
        return str(status["id"])

    def delete_status(self, part, endpoint, status):
        """Delete the status of an id."""
        self.ask_json(part, endpoint, "DELETE", f"/api/v1/statuses/{status}", dict)

    def await_status(self, edge, where, stream, response, status):
        """Read a stream until the status comes, or the time is over."""
        event = b""
        try:
            while True:
                stream.settimeout(self.remaining(limit=20))
                line = response.readline()
                if not line:
                    raise PartError("streaming", f"the stream of {where} was cut")
                if line.startswith(b"event:"):
                    event = line[6:].strip()
                elif line.startswith(b"data:") and event == b"update" and str(json.loads(line[5:]).get("id")) == status:
                    return
                if time.monotonic() > self.deadline:
                    raise TimeoutError
        except (OSError, ValueError, http.client.HTTPException) as error:
            # Sidekiq writes the home timeline and then publishes: so the timeline tells which of the two failed.
            home = self.ask_json("nginx", edge, "GET", "/api/v1/timelines/home", list)
            if any(str(entry.get("id")) == status for entry in home):
                what = f"a new status reached the home timeline, but not the stream of {where}"
                raise PartError("streaming", what) from error
            what = "a new status was accepted, but no worker of the queue `default` delivered it"
            raise PartError("sidekiq", what) from error

    def insist(self, check, endpoint):
        """Repeat a check of an endpoint until it passes or the time is over."""
        while True:
            try:
                return check(endpoint)
            except PartError:
                if time.monotonic() + PAUSE_SECONDS >= self.deadline:
                    raise
                time.sleep(PAUSE_SECONDS)


def identity_of(module):
    """Return a fingerprint of the processes behind the units; each start of a unit changes it.

    systemd gives every start of a unit an invocation ID of its own.
    """
    command = ["systemctl", "show", "--property=Id,InvocationID", *module.params["units"]]
    starts = sorted(module.run_command(command, check_rc=True)[1].strip().split("\n\n"))
    return hashlib.sha256("\n".join(starts).encode()).hexdigest()


def proof_in(path):
    """Return which processes were proven last, as {host: identity}; nothing where that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            proof = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    return proof if isinstance(proof, dict) else {}


def keep(proof, path):
    """Write a proof, all or nothing."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(proof, file, indent=2, sort_keys=True)
        file.write("\n")
    os.replace(f"{path}.part", path)


def run(module):
    """Run the checks one after the other; stop at the first that fails for good."""
    params = module.params
    instance = Instance(params)
    # Asked for first: a unit that restarts meanwhile must not count as proven.
    identity = identity_of(module) if params["units"] else ""
    proof = proof_in(params["proof_file"])
    checks = [(instance.check_puma, params["web"])] if params["token"] and params["web"] else []
    for edge in params["edges"]:
        checks += [(instance.check_description, edge), (instance.check_streaming_health, edge)]
        if params["token"]:
            checks += [(instance.check_timelines, edge), (instance.check_asset, edge), (instance.check_delivery, edge)]
    passed = []
    for check, endpoint in checks:
        where = f"{endpoint['host']}:{endpoint['port']}"
        try:
            passed.append(f"{instance.insist(check, endpoint)} ({where})")
        except PartError as failure:
            module.fail_json(
                msg=f"{params['web_domain']} does not work at {where}: {failure.what}. "
                f"It is the part `{failure.part}` that failed. Look at: {LOOK_AT[failure.part]}.",
                part=failure.part,
                passed=passed,
            )
    if params["token"] and params["proof"]:
        keep(params["proof"], params["proof_file"])
    module.exit_json(changed=False, passed=passed, identity=identity, proof=proof)


def main():
    """Read the parameters."""
    endpoint = {"host": {"type": "str", "required": True}, "port": {"type": "int", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "web_domain": {"type": "str", "required": True},
            "local_domain": {"type": "str", "required": True},
            "edges": {"type": "list", "elements": "dict", "default": [], "options": endpoint},
            "ca_file": {"type": "path"},
            "ca_certificate": {"type": "str"},
            "web": {"type": "dict", "options": endpoint},
            "streaming": {"type": "list", "elements": "dict", "default": [], "options": endpoint},
            "streams": {"type": "int", "default": 1},
            "token": {"type": "str", "no_log": True},
            "page": {"type": "str", "default": "/auth/sign_in"},
            "units": {"type": "list", "elements": "str", "default": []},
            "proof": {"type": "dict"},
            "proof_file": {"type": "path", "default": "/var/lib/fediops/proof"},
            "timeout_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=False,
    )
    run(module)


if __name__ == "__main__":
    main()
