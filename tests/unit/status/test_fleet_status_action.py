# SPDX-License-Identifier: GPL-3.0-or-later
"""The action in Ansible itself: what it prints, what it writes, what it makes of a host that could not be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ansible_collections.fediops.mastodon.plugins.plugin_utils.status as library
import pytest
import yaml

COLLECTIONS = str(Path(library.__file__).parents[6])
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
READING = {
    "hostname": "box", "uptime_seconds": 5, "reboot": None, "units": {}, "packages": {}, "release": None, "owed": [],
    "drained": [],
    "filesystems": {"/": {"size_mb": 100, "free_mb": 10, "used_percent": 90, "inodes_percent": 1}}, "certificates": {},
    "postgres": None, "pgbouncer": None, "redis": None, "sidekiq": None, "alerts": None,
}  # fmt: skip
AWAY = {"unreachable": True, "msg": "Failed to connect to the host via ssh: a warning\nssh: No route to host"}
PLAN = {"box": {"host": {"name": "box"}}}


@pytest.fixture
def run(tmp_path):
    def run(**arguments):
        """Run the action; how it ended, and what it printed."""
        given = {"readings": {"box": READING}, "plan": PLAN, **arguments}
        play = {"hosts": "box", "gather_facts": False, "tasks": [{"fediops.mastodon.fleet_status": given}]}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS, "ANSIBLE_NOCOLOR": "true"}
        return subprocess.run(
            [ANSIBLE, "-i", "box,", tmp_path / "play.yml"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_the_table_is_printed_as_it_is(run):
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("box  "))
    assert row.split()[1] == "warning"
    assert "  1. box: / is 90 % full" in done.stdout


def test_json_is_one_line_and_a_file(run, tmp_path):
    file = tmp_path / "kept/status.json"
    done = run(output="json", file=str(file))
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert json.loads(line) == json.loads(file.read_text())
    assert json.loads(line)["state"] == "warning"
    assert file.stat().st_mode & 0o777 == 0o600


def test_of_a_silent_host_the_last_word_is_told(run):
    done = run(readings={"box": READING, "away": AWAY})
    assert "away: It does not answer: ssh: No route to host" in done.stdout


def test_what_is_no_threshold_is_refused(run):
    done = run(thresholds={"disk": 1})
    assert done.returncode != 0
    assert "disk is none of them; there are disk_warning_percent" in " ".join((done.stdout + done.stderr).split())


def test_a_file_that_cannot_be_written_is_said(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(file=str(tmp_path / "file/status.json"))
    assert done.returncode != 0
    assert "set status_file" in done.stdout + done.stderr
