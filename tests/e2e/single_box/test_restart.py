# SPDX-License-Identifier: GPL-3.0-or-later
"""After every restart all is back without a person, and a status posted before is there."""

from __future__ import annotations

import subprocess
import time
import uuid

import pytest
from e2e.client import Client
from mastodon import MastodonError
from requests import RequestException

BACK_SECONDS = 120
OURS = ["postgresql@*.service", "redis-server.service", "nginx.service", "mastodon-*.service"]


@pytest.fixture(scope="module")
def client(summary):
    return Client.from_summary(summary)


@pytest.fixture(scope="module")
def status(client):
    """A status posted before anything was restarted."""
    return client.post(f"Before the restart {uuid.uuid4()}")


def wait_until_back(client, status):
    """Ask until the status is answered. Fails with what was last answered."""
    deadline, last = time.monotonic() + BACK_SECONDS, None
    while time.monotonic() < deadline:
        try:
            last = client.get(f"/api/v1/statuses/{status['id']}")
            if last.status_code == 200:
                return last.json()
        except RequestException as error:
            last = error
        time.sleep(1)
    raise AssertionError(f"not back after {BACK_SECONDS} s: {last} {getattr(last, 'text', '')[:300]}")


def wait_until_delivered(client):
    """Post until a status goes all the way: written, queued, worked off, read from the home feed."""
    deadline, last = time.monotonic() + BACK_SECONDS, None
    while time.monotonic() < deadline:
        text = f"After the restart {uuid.uuid4()}"
        try:
            client.post(text)
            for _attempt in range(20):
                if any(text in entry["content"] for entry in client.home()):
                    return
                time.sleep(0.5)
        except (RequestException, MastodonError) as error:
            last = error
        time.sleep(1)
    raise AssertionError(f"nothing was delivered within {BACK_SECONDS} s: {last}")


def running(host):
    lines = host.check_output(f"systemctl list-units --plain --no-legend --state=active {' '.join(OURS)}").splitlines()
    return sorted(line.split()[0] for line in lines)


def wait_until_running(host, wanted):
    deadline = time.monotonic() + BACK_SECONDS
    while (found := running(host)) != wanted and time.monotonic() < deadline:
        time.sleep(1)
    assert found == wanted


@pytest.mark.parametrize("pattern", [*OURS, "ssh.service"])
def test_unit_is_restarted(host, client, status, pattern):
    before = running(host)
    host.check_output(f"systemctl restart '{pattern}'")
    assert wait_until_back(client, status)["content"] == status["content"]
    wait_until_delivered(client)
    wait_until_running(host, before)
    assert host.check_output("systemctl list-units --failed --plain --no-legend --type=service mastodon-*") == ""


@pytest.mark.parametrize(
    "unit", ["mastodon-web.service", "nginx.service", "redis-server.service", "postgresql@17-main.service"]
)
def test_process_is_killed(host, client, status, unit):
    before = running(host)
    host.check_output(f"systemctl kill --kill-whom=main --signal=KILL {unit}")
    assert wait_until_back(client, status)["content"] == status["content"]
    wait_until_delivered(client)
    wait_until_running(host, before)


def test_host_is_restarted(host, box, client, status):
    before = running(host)
    subprocess.run(["docker", "restart", "--time", "60", box["container"]], check=True, capture_output=True)
    assert wait_until_back(client, status)["content"] == status["content"]
    wait_until_delivered(client)
    wait_until_running(host, before)


def test_run_after_all_that_finds_nothing_to_do(run_site):
    assert run_site().changed == []
