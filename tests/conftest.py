# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: where the collection is found, and which of several processes runs what."""

from __future__ import annotations

import os
import sys

import pytest

# pyproject.toml names .venv/collections; who keeps the environment elsewhere says so as he says it to Ansible.
sys.path[:0] = [path for path in os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep) if path]

# Of the tests of fleets, those that need none.
WITHOUT_FLEET = ("tests/e2e/plan/", "tests/e2e/metrics/test_page.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Of several processes one has all that needs a fleet, in order; what needs none goes to whoever is free."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "fleets" if nodeid.startswith("tests/e2e/") and not nodeid.startswith(WITHOUT_FLEET) else nodeid

    return Scheduling(config, log)
