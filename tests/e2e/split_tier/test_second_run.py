# SPDX-License-Identifier: GPL-3.0-or-later
"""On a finished fleet there is nothing to do; a host that is away holds up nobody, and catches up later."""

from __future__ import annotations

import re
import subprocess

import pytest
from e2e.instance import wait_until

# DESIGN: a run on a finished host is at most this many tasks.
TASKS = 60
PLAY = re.compile(r"^PLAY \[(.*)\]", re.MULTILINE)
FILE = "/etc/needrestart/conf.d/fediops.conf"
BOOT_SECONDS = 120


@pytest.fixture(scope="module")
def away(instance):
    """The last host with a part that another host has too; a file of it is damaged."""
    return instance.hosts_of("web")[-1]


@pytest.fixture(scope="module")
def without(away, run_site, second_run):
    """A run while the host is away."""
    away.shell(f"printf '# damaged\\n' >> {FILE}")
    subprocess.run(["docker", "stop", "--time", "30", away.container], check=True, capture_output=True)
    run = run_site(check=False)
    subprocess.run(["docker", "start", away.container], check=True, capture_output=True)
    up = ["systemctl", "is-system-running", "--wait"]
    wait_until(lambda: away.run(*up).stdout.strip() in ("running", "degraded"), BOOT_SECONDS, f"{away.name} is up")
    return run


@pytest.fixture(scope="module")
def after(without, run_site):
    """The run when it is back."""
    return run_site()


def test_second_run_changes_nothing(second_run, fleet):
    assert sorted(second_run.recap) == fleet.hosts()
    assert second_run.changed == []
    assert {counts["changed"] for counts in second_run.recap.values()} == {0}


def test_second_run_is_short(second_run):
    assert all(counts["ok"] <= TASKS for counts in second_run.recap.values()), second_run.recap


def test_run_without_a_host_names_it(without, away):
    assert without.status != 0
    assert without.recap[away.name]["unreachable"] == 1
    assert f"{away.name} does not answer" in " ".join(without.output.split())


def test_run_without_a_host_brings_up_the_others(without, away, fleet, second_run):
    others = {host: counts for host, counts in without.recap.items() if host != away.name}
    assert sorted(others) == [host for host in fleet.hosts() if host != away.name]
    assert {(it["failed"], it["unreachable"], it["changed"]) for it in others.values()} == {(0, 0, 0)}
    # To the end, as on any other day.
    assert PLAY.findall(without.output) == PLAY.findall(second_run.output)
    assert all(counts["ok"] >= 10 for counts in others.values())


def test_host_that_is_back_catches_up(after, away):
    assert after.recap[away.name]["unreachable"] == 0
    assert {host for _task, host in after.changed} == {away.name}
    assert len(after.changed) == 1
    assert "damaged" not in away.output("cat", FILE)
