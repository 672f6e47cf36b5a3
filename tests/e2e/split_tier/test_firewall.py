# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall never locks out who sets it, and outlives a reboot."""

from __future__ import annotations

import json
import subprocess

import pytest
from e2e.instance import wait_until

CONFIRM_SECONDS, BOOT_SECONDS = 20, 90
STARTED = "base : Run the services of the base system"
# A network for documentation: nobody comes from there.
LOCKED_OUT = {"base_firewall_ssh_from": ["192.0.2.0/24"], "base_firewall_confirm_seconds": CONFIRM_SECONDS}


@pytest.fixture
def host(instance):
    """A host that no other test of this page needs."""
    return instance.hosts_of("streaming")[0]


def rules(host):
    """The rules in force, without their counters; None where there are none."""
    listed = host.run("nft", "--stateless", "list", "table", "inet", "fediops")
    return listed.stdout if listed.status == 0 else None


def test_rules_that_lock_out_are_taken_back_by_the_host(host, run_site):
    before = rules(host)
    only = ["--limit", host.name, "--tags", "base"]
    run = run_site(*only, "-e", json.dumps(LOCKED_OUT), check=False)
    assert run.status != 0
    assert "took back the new rules" in run.output
    assert rules(host) == before
    # The file asks for what the host took back, until a run asks for something else.
    assert run_site(*only).recap[host.name]["unreachable"] == 0
    assert rules(host) == before
    assert run_site(*only).changed == []


def test_the_first_rules_are_tried_by_the_next_run_where_one_was_broken_off(host, deployed):
    before, only = rules(host), ("--limit", host.name, "--tags", "base")
    host.output("sh", "-c", "systemctl stop fediops-firewall.service && rm /var/lib/fediops/firewall.nft")
    deployed.run_killed(lambda task, line: task.endswith(STARTED) and line.startswith("changed"), *only)
    assert rules(host) is None
    deployed.site(*only)
    assert rules(host) == before
    assert deployed.site(*only).changed == []


def test_rules_are_in_force_after_a_reboot(host):
    before = rules(host)
    assert "policy drop" in before
    subprocess.run(["docker", "restart", host.container], check=True, capture_output=True)
    wait_until(lambda: rules(host) == before, BOOT_SECONDS, f"the rules of {host.name} after a reboot")
