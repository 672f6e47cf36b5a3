# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet under test.

`--scenario NAME` makes the fleet of a Molecule scenario first, and removes it at the end; given several times, one
after the other, or side by side where pytest has several processes. Otherwise the tests use a fleet that is there: that
of `--state FOLDER`, else the person's own rehearsal (.rehearsal). Folders that have the name of a scenario hold tests
for fleets like its own; the others are for any fleet.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import testinfra
from bench.record import record
from e2e.fleet import CHECKOUT, Fleet, groups
from e2e.instance import Instance
from e2e.readers import crowd
from e2e.scenario import Scenario

# What the tests of split_tier look at, beyond several hosts.
REPLICATED = {"postgres_replica", "pgbouncer"}
# What the tests of wide look at, beyond several replicas and several edges.
REDIS_PARTS = {"redis_core", "redis_replica", "redis_cache", "redis_sidekiq"}


def pytest_addoption(parser):
    parser.addoption("--scenario", action="append", default=[], help="make this scenario's fleet, and remove it")
    parser.addoption("--state", type=Path, help="folder of the rehearsal to test (default: .rehearsal)")


def pytest_generate_tests(metafunc):
    """Every test of a fleet is there once for each scenario."""
    if "scenario" in metafunc.fixturenames and (names := metafunc.config.getoption("scenario")):
        metafunc.parametrize("scenario", names, indirect=True, scope="session")


def pytest_collection_modifyitems(config, items):
    """Leave out what is for other fleets; one fleet comes after the other.

    Of each first its empty hosts, before they are filled, and last the host that watches, which it gets then.
    """
    scenarios = config.getoption("scenario")
    state = Fleet(state_folder(config))
    made = {name: groups(CHECKOUT / "inventories" / name) for name in scenarios}
    there = state.groups() if not scenarios and state.inventory.is_dir() else {}

    def needs_fleet(item):
        return "/e2e/" in str(item.path) and "fleet" in item.fixturenames

    def turn(item):
        if not needs_fleet(item):
            return 0
        number = scenarios.index(item.callspec.params["scenario"]) if scenarios else 0
        # Beside others the last, which takes longest, is begun first.
        return -1 if hasattr(config, "workerinput") and number == len(scenarios) - 1 else 1 + number

    def place(item):
        last = item.path.parent.name == "metrics"
        return turn(item), 2 if needs_fleet(item) and last else not item.get_closest_marker("empty_host")

    def wanted(item):
        if item.get_closest_marker("by_name") and not any(item.path.name in str(name) for name in config.args):
            return False
        if not needs_fleet(item):
            return True
        found = made[item.callspec.params["scenario"]] if scenarios else there
        folder = item.path.parent.name
        if folder == "metrics" and scenarios:
            return is_for("split_tier", found)
        if folder == "contract" and scenarios:
            # What the application keeps to is the same wherever its parts are.
            return item.callspec.params["scenario"] == scenarios[0]
        return (bool(scenarios) or not item.get_closest_marker("empty_host")) and is_for(folder, found)

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = sorted(filter(wanted, items), key=place)


def state_folder(config):
    """Where the fleet is that is there already."""
    return config.getoption("state") or CHECKOUT / ".rehearsal"


def is_for(folder, found):
    """Whether the tests of a folder are for a fleet of these groups."""
    several = {group for group, hosts in found.items() if len(hosts) > 1}
    fits = {
        "single_box": "all" not in several,
        "acme": "all" not in several,
        "metrics": "metrics" in found,
        "split_tier": "all" in several and found.keys() >= REPLICATED,
        "wide": several >= {"nginx", "postgres_replica", "pgbouncer"} and found.keys() >= REDIS_PARTS,
    }
    return fits.get(folder, True)


@pytest.fixture(scope="session")
def shown(request):
    """Let what runs for minutes be seen while it runs."""
    return request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled


@pytest.fixture(scope="session")
def scenario(request, shown):
    """The Molecule scenario of which the fleet is made here; None where the fleet is there already."""
    name = getattr(request, "param", None)
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
    state = scenario.state if scenario else state_folder(request.config)
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
def instance(summary):
    """The instance that is deployed: its clients, and its hosts from inside."""
    return Instance(summary)


@pytest.fixture(scope="session")
def hosts_of(instance):
    """The hosts of a group."""
    return instance.hosts_of


@pytest.fixture(scope="session")
def host_named(instance):
    """A host by its name."""
    return instance.hosts.__getitem__


@pytest.fixture(scope="module")
def clients(instance):
    """Several clients, for what many do at once."""
    return crowd(instance)


@pytest.fixture(scope="module")
def replicas(instance):
    """The replicas of PostgreSQL."""
    return instance.hosts_of("postgres_replica")


@pytest.fixture(scope="session")
def whole_plan(deployed):
    """The plan of the fleet, as the last run computed it."""
    return json.loads((deployed.state / "plan.json").read_text())


@pytest.fixture(scope="session")
def plan_of(whole_plan):
    """The plan of a host, by its name."""
    return whole_plan["hosts"].__getitem__


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
def plan(plan_of, box):
    """The plan of the only host, as the last run computed it."""
    return plan_of(box["name"])


def record_by_name(state, tests, arguments):
    """Add a line to tests/results/mastodon.jsonl where Mastodon itself was tested: inventory, version, Ruby, what."""
    fleet = Fleet(state)
    release = fleet.release() if fleet.made["app"] == "mastodon" else None
    if release is None:
        return
    what = [os.path.relpath(argument, CHECKOUT) for argument in arguments]
    inventory = Path(fleet.made["source"]).name
    record("mastodon", {"inventory": inventory, **release, "what": what, "passed": tests})


def pytest_sessionfinish(session, exitstatus):
    """Record what passed by name on the real application; docs/testing.md points to the record."""
    state = session.config.getoption("state")
    if exitstatus == 0 and state and (state / "fleet.json").is_file():
        passed = session.config.pluginmanager.getplugin("terminalreporter").stats.get("passed", [])
        record_by_name(state, len(passed), [str(argument) for argument in session.config.args])
