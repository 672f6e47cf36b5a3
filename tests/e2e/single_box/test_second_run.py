# SPDX-License-Identifier: GPL-3.0-or-later
"""On a finished host there is nothing to do, and it takes no longer than it must."""

from __future__ import annotations

import pytest

# DESIGN: a run on a finished box is at most this many tasks.
TASKS = 60


@pytest.fixture(scope="module")
def checked(run_site, second_run):
    return run_site("--check", "--diff")


def test_second_run_changes_nothing(second_run, fleet):
    assert sorted(second_run.recap) == fleet.hosts()
    assert second_run.changed == []
    assert {counts["changed"] for counts in second_run.recap.values()} == {0}


def test_second_run_looks_at_everything(second_run):
    # Nothing is changed by a run that does nothing, either.
    assert all(counts["ok"] >= 20 for counts in second_run.recap.values()), second_run.recap


def test_second_run_is_short(second_run):
    assert all(counts["ok"] <= TASKS for counts in second_run.recap.values()), second_run.recap


def test_check_mode_agrees(checked, fleet):
    assert sorted(checked.recap) == fleet.hosts()
    assert checked.changed == []
    assert all(counts["failed"] == 0 for counts in checked.recap.values())


@pytest.mark.parametrize("verbosity", ["-v", "-vvv"])
def test_no_run_shows_a_secret(run_site, fleet, verbosity):
    output = run_site(verbosity, "--diff").output
    assert [name for name, value in fleet.secrets().items() if value in output] == []
