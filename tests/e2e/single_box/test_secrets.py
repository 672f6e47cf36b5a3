# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are where they are needed, and nowhere else on the host."""

from __future__ import annotations

import subprocess

import pytest

PLACES = ["/etc", "/opt", "/var", "/run", "/tmp", "/home", "/usr/local", "/usr/share"]


def in_container(box, *argv, stdin=""):
    """Run a program on the host; its secrets come by standard input, not by its arguments."""
    done = subprocess.run(
        ["docker", "exec", "--interactive", box["container"], *argv],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.fixture(scope="module")
def single_line_secrets(fleet):
    """What is secret, one value a line; of a PEM block the lines that carry the key. What is public is left out."""
    secrets = {
        name: value for name, value in fleet.secrets().items() if "public" not in name and "certificate" not in name
    }
    lines = {line for value in secrets.values() for line in value.splitlines() if line and not line.startswith("-----")}
    assert len(lines) >= 8
    return "\n".join(sorted(lines)) + "\n"


def test_root_finds_them(box, single_line_secrets):
    # Otherwise the next test would prove nothing.
    found = in_container(box, "grep", "-rlF", "-f", "/dev/stdin", "/etc/mastodon", stdin=single_line_secrets)
    assert "/etc/mastodon/env.production" in found.split()


def test_nobody_else_can_read_them(box, single_line_secrets):
    argv = [
        "setpriv",
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "grep",
        "-rlsF",
        "-f",
        "/dev/stdin",
        *PLACES,
    ]
    assert in_container(box, *argv, stdin=single_line_secrets).split() == []


def count(box, source, secrets):
    """Return how many lines of what a shell command prints hold one of the secrets."""
    patterns = "umask 077; trap 'rm -f /run/patterns' EXIT; cat > /run/patterns"
    return int(in_container(box, "sh", "-c", f"{patterns}; {source} | grep -acF -f /run/patterns", stdin=secrets))


def test_counting_works(box, single_line_secrets):
    assert count(box, "cat /etc/mastodon/env.production", single_line_secrets) > 0


def test_they_are_on_no_command_line(box, single_line_secrets):
    assert count(box, "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'", single_line_secrets) == 0


def test_they_are_not_in_the_journal(box, single_line_secrets):
    assert count(box, "journalctl --no-pager", single_line_secrets) == 0
