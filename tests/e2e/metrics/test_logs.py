# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of all hosts in one place: they arrive, late at worst, and are nobody else's; switched off nothing is left."""

from __future__ import annotations

import secrets

import pytest
from e2e.instance import wait_until
from e2e.ports import listening, scan

pytestmark = pytest.mark.by_name

ON = ("-e", "mastodon_central_logs_enabled=true")
# What of a run concerns them.
ONLY = ("--tags", "base,certificates,exporters,metrics")
PORT, FOLDER = 19532, "/var/log/journal/remote"
UPLOAD = "systemd-journal-upload.service"
TAKING = ("systemd-journal-remote.socket", "systemd-journal-remote.service")
# Whoever could not send waits for longer each time, a minute at most.
SOON_SECONDS, AGAIN_SECONDS = 30, 90


@pytest.fixture(scope="module")
def senders(watched, watch):
    """All hosts but the one that takes their logs."""
    return [host for host in watched.hosts.values() if host.name != watch.name] or pytest.skip("it is the only host")


@pytest.fixture(scope="module", autouse=True)
def switched_on(deployed, watch, senders):
    """Logs go to the metrics host; the last test switches them off, or else this does."""
    deployed.site(*ON)
    yield
    if watch.active(*TAKING):
        deployed.site(*ONLY)


@pytest.fixture
def said(senders):
    """A line that each host logs: {host: line}."""
    lines = {host.name: f"{host.name} says {secrets.token_hex(8)}" for host in senders}
    for host in senders:
        host.output("logger", "--tag", "told", lines[host.name])
    return lines


def read(watch, host):
    """What a host has told, as a person reads it on the metrics host."""
    found = watch.output(
        "journalctl", "--directory", FOLDER, "--output", "cat", "--quiet", "--identifier", "told", f"_HOSTNAME={host}"
    )
    return found.splitlines()


def arrive(watch, lines, seconds):
    """Wait until each line is there, once."""
    for host, line in lines.items():
        wait_until(lambda host=host, line=line: line in read(watch, host), seconds, f"the line of {host} is there")
        assert read(watch, host).count(line) == 1


def starts(host):
    """How often systemd has started it again by itself."""
    return int(host.output("systemctl", "show", "--property=NRestarts", "--value", UPLOAD))


def go_on_trying(senders):
    """Wait until each of them has been started again."""
    before = {host.name: starts(host) for host in senders}
    for host in senders:
        wait_until(lambda host=host: starts(host) > before[host.name], AGAIN_SECONDS, f"{host.name} tries again")


def test_what_a_host_logs_is_read_on_the_metrics_host(watch, said):
    arrive(watch, said, SOON_SECONDS)
    assert not watch.active(UPLOAD)


def test_only_the_fleet_may_send(watch, senders):
    assert scan({watch.address: [PORT]})[watch.address][PORT] == "silent"
    for host in senders:
        assert scan({watch.address: [PORT]}, host)[watch.address][PORT] == "open"
    sockets = watch.output("ss", "--no-header", "--listening", "--tcp", "--numeric", f"sport = :{PORT}")
    assert [line.split()[3] for line in sockets.splitlines()] == [f"{watch.address}:{PORT}"]


def test_another_run_changes_nothing(deployed):
    assert deployed.site(*ON).changed == []


def test_what_was_logged_while_nobody_took_it_comes_later(deployed, watch, senders, request):
    before = {host.name: host.active("mastodon-*.service", "postgresql@*", "nginx.service") for host in senders}
    watch.output("systemctl", "stop", *TAKING)
    try:
        said = request.getfixturevalue("said")
        go_on_trying(senders)
        # Nor does it fail a run, or have it do anything.
        assert deployed.site("--tags", "exporters", *ON).changed == []
    finally:
        watch.output("systemctl", "start", *TAKING)
    arrive(watch, said, AGAIN_SECONDS)
    assert {host.name: host.active("mastodon-*.service", "postgresql@*", "nginx.service") for host in senders} == before


def test_a_full_disk_stops_the_logs_and_nothing_else(watch, senders, request):
    parts = ("prometheus.service", "prometheus-alertmanager.service", *TAKING)
    watch.output("systemctl", "stop", *TAKING)
    # Smaller than any file of theirs.
    watch.output("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", FOLDER)
    try:
        watch.output("systemctl", "start", *TAKING)
        said = request.getfixturevalue("said")
        go_on_trying(senders)
        assert watch.output("find", FOLDER, "-size", "+0", "-type", "f") == ""
        assert watch.active(*parts) == sorted(parts)
    finally:
        watch.output("systemctl", "stop", *TAKING)
        watch.output("umount", FOLDER)
        watch.output("systemctl", "start", *TAKING)
    arrive(watch, said, AGAIN_SECONDS)


def test_switched_off_nothing_of_it_is_left(deployed, watch, senders):
    deployed.site(*ONLY)
    for host in (watch, *senders):
        assert not host.active(UPLOAD, *TAKING)
        assert PORT not in listening(host)
        assert host.run("systemctl", "is-enabled", UPLOAD, TAKING[0]).stdout.split() == ["disabled", "disabled"]
        assert host.shell("find /etc -path '*journal-*/fediops*' -o -name fediops-logs.conf") == ""
    for host in senders:
        assert scan({watch.address: [PORT]}, host)[watch.address][PORT] == "silent"
    # What was collected is a person's to delete.
    assert watch.output("ls", FOLDER) != ""
