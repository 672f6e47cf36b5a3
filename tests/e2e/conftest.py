# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet under test.

`--scenario NAME` makes the fleet of a Molecule scenario first, and removes it at the end. Otherwise the tests use a
fleet that is there: that of `--state FOLDER`, else the person's own rehearsal (.rehearsal).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import testinfra
from bench.record import record
from e2e.fleet import CHECKOUT, Fleet
from e2e.scenario import Scenario


def pytest_addoption(parser):
    parser.addoption("--scenario", help="make the fleet of this Molecule scenario, and remove it at the end")
    parser.addoption("--state", type=Path, help="folder of the rehearsal to test (default: .rehearsal)")


def pytest_collection_modifyitems(config, items):
    """Tests of an empty host come before all others that need the fleet, which would fill it."""
    items.sort(key=lambda item: "/e2e/" in str(item.path) and not item.get_closest_marker("empty_host"))
    if not config.getoption("scenario"):
        items[:], empty = (
            [item for item in items if not item.get_closest_marker("empty_host")],
            [item for item in items if item.get_closest_marker("empty_host")],
        )
        config.hook.pytest_deselected(items=empty)


@pytest.fixture(scope="session")
def shown(request):
    """Let what runs for minutes be seen while it runs."""
    return request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled


@pytest.fixture(scope="session")
def scenario(request, shown):
    """The Molecule scenario of which the fleet is made here; None where the fleet is there already."""
    name = request.config.getoption("scenario")
    if name is None:
        yield None
        return
    made = Scenario(name)
    with shown():
        made.step("destroy")
        made.step("create")
    yield made
    with shown():
        made.step("destroy")


@pytest.fixture(scope="session")
def fleet(request, scenario):
    """The fleet, with something deployed on it or not."""
    default = os.environ.get("REHEARSAL_SUMMARY", CHECKOUT / ".rehearsal/summary.json")
    state = scenario.state if scenario else request.config.getoption("state") or Path(default).parent
    if not (state / "inventory").is_dir():
        pytest.exit(f"There is no fleet in {state}: `make rehearse` makes one.", returncode=1)
    return Fleet(state)


@pytest.fixture(scope="session")
def deployed(fleet, scenario, shown):
    """The fleet with the application deployed; for those who need no more than that it is there."""
    if scenario:
        with shown():
            scenario.step("converge")
    return fleet


@pytest.fixture(scope="session")
def second_run(deployed):
    """The run on a finished fleet, by which `make rehearse` also writes down how to reach it."""
    return deployed.command("deploy")


@pytest.fixture(scope="session")
def summary(request, deployed):
    """What a deployment wrote down: url, ca_file, resolve, owner, token, hosts, inventory."""
    if not (deployed.state / "summary.json").is_file():
        request.getfixturevalue("second_run")
    return deployed.summary


@pytest.fixture(scope="session")
def run_site(deployed):
    """Run site.yml on the deployed fleet: see Fleet.site."""
    return deployed.site


@pytest.fixture(scope="session")
def inventory(deployed):
    return deployed.inventory


@pytest.fixture(scope="session")
def box(summary):
    """Name, address and container of the only host."""
    ((name, host),) = summary["hosts"].items()
    return {"name": name, **host}


@pytest.fixture(scope="session")
def host(box):
    """The only host, looked at from inside as root."""
    return testinfra.get_host(f"docker://{box['container']}")


@pytest.fixture(scope="session")
def plan(deployed, box):
    """The plan of the only host, as the last run computed it."""
    return json.loads((deployed.state / "plan.json").read_text())["hosts"][box["name"]]


def record_by_name(state, tests, arguments):
    """Add a line to tests/results/mastodon.jsonl where Mastodon itself was tested: date, commit, version, what, how."""
    fleet = Fleet(state)
    release = fleet.release()
    if json.loads((state / "fleet.json").read_text())["app"] != "mastodon" or release is None:
        return
    what = [os.path.relpath(argument, CHECKOUT) for argument in arguments]
    record("mastodon", {**release, "what": what, "passed": tests})


def pytest_sessionfinish(session, exitstatus):
    """Record what passed by name on the real application; docs/testing.md points to the record."""
    state = session.config.getoption("state")
    if exitstatus == 0 and state and (state / "fleet.json").is_file():
        passed = session.config.pluginmanager.getplugin("terminalreporter").stats.get("passed", [])
        record_by_name(state, len(passed), [str(argument) for argument in session.config.args])
