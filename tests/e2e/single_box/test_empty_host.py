# SPDX-License-Identifier: GPL-3.0-or-later
"""On a host on which nothing is installed, a run in check mode says what it would do, and does none of it."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.empty_host

# Every file with its size and time, every package, every user. Left out are logs, temporary files of the visit itself,
# and the cache by which apt remembers what it read.
STATE_OF_HOST = """
find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log \
  -o -path /var/cache/apt -o -path /var/lib/systemd -o -path /var/lib/sudo -o -path '*/.ansible' \\) -prune \
  -o -type f -printf '%p %s %T@\\n' | sort
dpkg-query --show
getent passwd
"""


def state_of(container):
    done = subprocess.run(
        ["docker", "exec", container, "sh", "-c", STATE_OF_HOST], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def checked(fleet):
    """The run, and what was on the hosts before and after it."""
    containers = {name: container for name, container in fleet.containers.items() if name in fleet.hosts()}
    before = {name: state_of(container) for name, container in containers.items()}
    run = fleet.site("--check", "--diff", check=False)
    return run, before, {name: state_of(container) for name, container in containers.items()}


def test_check_mode_says_what_would_be_done(checked, fleet):
    run, _before, _after = checked
    assert run.status == 0, run.output
    assert sorted(run.recap) == fleet.hosts()
    assert all(counts["changed"] > 0 for counts in run.recap.values())


def test_check_mode_does_nothing(checked):
    _run, before, after = checked
    for name, lines in before.items():
        assert set(after[name]) ^ set(lines) == set(), name


def test_check_mode_shows_no_secret(checked, fleet):
    run, _before, _after = checked
    assert [name for name, value in fleet.secrets().items() if value in run.output] == []


@pytest.mark.parametrize(
    ("task", "later_seconds"),
    [("base : packages | ", 15), ("postgres : Run PostgreSQL", 1), ("release : build | ", 10)],
    ids=["packages", "database", "build"],
)
def test_first_run_is_killed(fleet, checked, task, later_seconds):
    # That another run goes on from there is what every test after this one shows.
    output = fleet.run_killed(lambda name, _line: task in name, later_seconds=later_seconds)
    assert task in output.splitlines()[-1]
