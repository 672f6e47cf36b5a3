# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/plan.yml where no host can be reached."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from unit.plan.samples import ONE, TEN, TWO_HUNDRED, write

from .conftest import NOWHERE

# With sizes declared nobody is asked; a connection to an address without a host would take longer than all of it.
ASKS_NOBODY = {"ansible_host": NOWHERE, "ansible_ssh_timeout": 60}


@pytest.mark.parametrize("kinds", [ONE, TEN, TWO_HUNDRED], ids=["one", "ten", "two_hundred"])
def test_declared_sizes_are_planned_without_a_connection(run_plan, tmp_path, kinds, shown):
    inventory = write(kinds, tmp_path / "inventory", **ASKS_NOBODY)
    output, seconds = run_plan(inventory)
    hosts = sum(count for _groups, count, _vcpus, _memory_mb in kinds.values())
    with shown():
        print(f"\nplan.yml for {hosts} hosts: {seconds:.1f} s")
    assert "unreachable=0" in output
    assert "UNREACHABLE" not in output
    assert seconds < 50
    plan = json.loads((inventory / ".plan/plan.json").read_text())
    assert len(plan["hosts"]) == hosts
    assert plan["table"].splitlines()[0] in output
    assert (inventory / ".plan/plan.html").read_text().startswith("<!DOCTYPE html>")
    assert len(plan["table"].splitlines()) < 40


def test_a_second_look_changes_nothing_and_a_change_is_told(run_plan, tmp_path):
    inventory = write(TEN, tmp_path / "inventory", **ASKS_NOBODY)
    assert "changed=1" in run_plan(inventory)[0]
    again, _seconds = run_plan(inventory)
    assert "changed=0" in again
    assert "Nothing differs from the last plan." in again
    kept = {path: path.read_bytes() for path in (inventory / ".plan").iterdir()}
    told, _seconds = run_plan(inventory, "-e", "web_workers=3", "--check")
    assert "changed=1" in told
    assert "Puma workers" in told
    assert "restart Puma" in told
    assert {path: path.read_bytes() for path in (inventory / ".plan").iterdir()} == kept


def test_what_is_written_is_no_part_of_the_inventory(run_plan, tmp_path):
    inventory = write(ONE, tmp_path / "inventory", **ASKS_NOBODY)
    run_plan(inventory)
    again, _seconds = run_plan(inventory)
    assert "[WARNING]" not in again


def test_with_a_limit_the_whole_fleet_is_planned_and_who_else_needs_a_run_is_named(run_plan, tmp_path):
    inventory = write(TEN, tmp_path / "inventory", **ASKS_NOBODY)
    run_plan(inventory)
    output, _seconds = run_plan(inventory, "--limit", "web1", "-e", "web_threads=9")
    assert "queue1, queue2" in output
    assert "web2" in waiting(output)
    assert "web1" not in waiting(output)
    # It is told again until the others were part of a run.
    output, _seconds = run_plan(inventory, "--limit", "web1", "-e", "web_threads=9")
    assert "changed=0" in output
    assert "web2" in waiting(output)
    run_plan(inventory, "-e", "web_threads=9")
    output, _seconds = run_plan(inventory, "--limit", "web1", "-e", "web_threads=9")
    assert waiting(output) == ""


def waiting(output: str) -> str:
    """The hosts that a warning says need a run too."""
    named = re.search(r"\[WARNING\]: ([^\n]*) needs? a run too: outside of --limit", output)
    return named[1] if named else ""


@pytest.fixture
def undeclared(tmp_path):
    """One box of which nothing is declared, at an address where nobody answers."""
    inventory = write(ONE, tmp_path / "inventory", ansible_host=NOWHERE, ansible_ssh_timeout=1, ansible_ssh_retries=0)
    tree = yaml.safe_load((inventory / "hosts.yml").read_text())
    tree["all"]["hosts"]["box1"] = None
    (inventory / "hosts.yml").write_text(yaml.safe_dump(tree))
    return inventory


def test_who_does_not_answer_is_planned_and_marked(run_plan, undeclared):
    output, _seconds = run_plan(undeclared)
    assert "box1: 2 vCPU, 4096 MB, 198.18.0.1, assumed" in output
    assert "[provisional]" in output
    assert ", assumed" in (undeclared / ".plan/plan.html").read_text()


def test_facts_of_an_earlier_run_are_enough(run_plan, ansible, undeclared):
    facts = {"processor_vcpus": 4, "memtotal_mb": 7946, "default_ipv4": {"address": "198.51.100.7"}, "cacheable": True}
    ansible("ansible", undeclared, "all", "-m", "ansible.builtin.set_fact", "-a", json.dumps(facts))
    output, _seconds = run_plan(undeclared)
    assert "box1: 4 vCPU, 7946 MB, 198.51.100.7\n" in output
    assert "UNREACHABLE" not in output


def test_a_fleet_that_cannot_work_is_shown_and_refused_and_not_kept(run_plan, tmp_path):
    inventory = write(TEN, tmp_path / "inventory", **ASKS_NOBODY)
    run_plan(inventory)
    kept = (inventory / ".plan/plan.json").read_bytes()
    output, _seconds = run_plan(
        inventory, "-e", "pgbouncer_pool_size=250", "-e", "postgres_max_connections=200", status=2
    )
    assert "hosts   " in output
    assert "[C4]" in output
    assert (inventory / ".plan/plan.json").read_bytes() == kept
    assert "error C4" in (inventory / ".plan/plan.html").read_text()


def test_a_layout_is_proposed_for_as_many_people_as_are_named(run_plan, tmp_path):
    inventory = write(ONE, tmp_path / "inventory", **ASKS_NOBODY)
    output, _seconds = run_plan(inventory, "-e", "mastodon_monthly_active_users=50000")
    assert "50000 monthly active users" in output
    assert "a month" in output


def test_another_folder_takes_what_is_written(run_plan, tmp_path):
    inventory = write(ONE, tmp_path / "inventory", **ASKS_NOBODY)
    run_plan(inventory, "-e", f"plan_directory={tmp_path / 'elsewhere'}")
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"plan.json", "plan.html"}
    assert not (inventory / ".plan").exists()
