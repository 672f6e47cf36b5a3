# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook of the plan, run on inventories of declared sizes: no host is there, and none is needed."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from e2e.fleet import CHECKOUT
from unit.plan.samples import ONE, TEN, TWO_HUNDRED, write

from .browser import browser

BIN = CHECKOUT / ".venv/bin"
# Of the networks for documentation: nobody answers there.
NOWHERE = "192.0.2.254"


@pytest.fixture(scope="session")
def ansible():
    """Run one of Ansible's programs on an inventory, with a cache of facts of its own: its output."""

    def run(program: str, inventory: Path, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [BIN / program, *arguments, "-i", inventory],
            cwd=CHECKOUT,
            env={**os.environ, "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(inventory / ".facts"), "COLUMNS": "500"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    return run


@pytest.fixture(scope="session")
def run_plan(ansible):
    """Run playbooks/plan.yml on an inventory: its output, and its seconds."""

    def run(inventory: Path, *arguments: str, status: int = 0) -> tuple[str, float]:
        began = time.monotonic()
        output = ansible("ansible-playbook", inventory, "playbooks/plan.yml", *arguments, status=status)
        return output, time.monotonic() - began

    return run


@pytest.fixture(scope="session", params=[ONE, TEN, TWO_HUNDRED], ids=["one", "ten", "two_hundred"])
def plan_page(run_plan, tmp_path_factory, request):
    """The page of a fleet."""
    inventory = write(request.param, tmp_path_factory.mktemp("inventory"), ansible_host=NOWHERE)
    run_plan(inventory)
    return inventory / ".plan/plan.html"


@pytest.fixture(scope="session")
def tab(tmp_path_factory):
    """A page of Chromium."""
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
