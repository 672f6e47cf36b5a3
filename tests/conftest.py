# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: where the collection is found, and which of several processes runs what."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from turns import beside_others

# pyproject.toml names .venv/collections; who keeps the environment elsewhere says so as he says it to Ansible.
sys.path[:0] = [path for path in os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep) if path]

# Of the tests of fleets, those that need none.
WITHOUT_FLEET = ("tests/e2e/plan/", "tests/e2e/metrics/test_page.py")


def pytest_configure():
    """Who is told to end mends and removes what was broken and made, as after an interrupt."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each fleet is of one process, which has all of its tests in order; the rest goes to whoever is free.

    What comes first is begun first: see e2e/conftest.py.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            if not nodeid.startswith("tests/e2e/") or nodeid.startswith(WITHOUT_FLEET):
                return super()._split_scope(nodeid)
            parameters = nodeid.partition("[")[2]
            return next((f"fleet {name}" for name in config.getoption("scenario") if name in parameters), "fleet")

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """A test waits while another process has the machine alone."""
    with beside_others():
        return (yield)
