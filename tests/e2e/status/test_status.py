# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/status.yml on a fleet that is well: what it says, in which forms, how fast, and what it keeps to itself."""

from __future__ import annotations

import json
import os
import re
import time

import pytest

# Of a machine that has nothing else to do.
SECONDS = 10
ROW = re.compile(r"^(\S+) +(ok|warning|problem|silent) +\S+/", re.MULTILINE)


@pytest.fixture(scope="module")
def table(deployed):
    """A run as a person looks at it, and how long it took."""
    began = time.monotonic()
    run = deployed.command("run", "playbooks/status.yml")
    return run, time.monotonic() - began


@pytest.fixture(scope="module")
def document(deployed, tmp_path_factory):
    """A run as a script looks at it; what it wrote, and what it printed."""
    file = tmp_path_factory.mktemp("status") / "status.json"
    options = ["-e", "status_output=json", "-e", f"status_file={file}"]
    run = deployed.command("run", "playbooks/status.yml", *options)
    (line,) = [line for line in run.output.splitlines() if line.startswith("{")]
    return json.loads(file.read_text()), json.loads(line), file.stat().st_mode & 0o777


def test_a_fleet_that_is_well_has_no_problem(table, fleet):
    run, _seconds = table
    assert run.status == 0
    assert sorted(run.recap) == fleet.hosts()
    assert {counts["changed"] for counts in run.recap.values()} == {0}
    rows = dict(ROW.findall(run.output))
    assert sorted(rows) == fleet.hosts()
    assert set(rows.values()) <= {"ok", "warning"}


def test_it_takes_seconds(table, shown):
    _run, seconds = table
    with shown():
        print(f"\nstatus.yml: {seconds:.1f} s")
    assert seconds < SECONDS * max(1, os.getloadavg()[0] / os.cpu_count())


def test_a_script_reads_json(document, fleet, plan_of):
    written, printed, mode = document
    assert written.keys() == printed.keys()
    assert mode == 0o600
    assert sorted(written["hosts"]) == fleet.hosts()
    assert [found for found in written["findings"] if found["severity"] == "problem"] == []
    planned = sum(len(plan_of(host).get("sidekiq", {}).get("processes", [])) for host in fleet.hosts())
    assert len(written["sidekiq"]["processes"]) == planned
    assert len(written["releases"]) == 1


def test_no_secret_is_in_it(table, document, fleet):
    run, _seconds = table
    text = run.output + json.dumps(document[0])
    assert [name for name, value in fleet.secrets().items() if str(value) in text] == []
