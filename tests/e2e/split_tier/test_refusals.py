# SPDX-License-Identifier: GPL-3.0-or-later
"""Data never moves by editing the inventory: what would leave it behind is refused, before any change."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import yaml


@contextmanager
def another_inventory(fleet, change):
    """The fleet's hosts in other groups, for a while; `change` is given {group: its hosts}, to be changed."""
    path, plan = fleet.inventory / "hosts.yml", fleet.state / "plan.json"
    whole, planned = path.read_text(), plan.read_text()
    hosts = yaml.safe_load(whole)["all"]["hosts"]
    groups = {name: list(found) for name, found in fleet.groups().items() if name not in ("all", "ungrouped")}
    change(groups)
    path.write_text(
        yaml.safe_dump({"all": {"hosts": hosts}, **{name: {"hosts": dict.fromkeys(it)} for name, it in groups.items()}})
    )
    try:
        yield
    finally:
        path.write_text(whole)
        plan.write_text(planned)


def swap_primary(groups):
    old, (new, *others) = groups["postgres_primary"], groups["postgres_replica"]
    groups["postgres_primary"], groups["postgres_replica"] = [new], [*old, *others]


def move_redis(groups, group):
    """A pooler is what the hosts of a group were."""
    stay = [host for host in groups["redis"] if host not in groups.get(group, ())]
    groups[group] = [groups["pgbouncer"][0]]
    groups["redis"] = [*stay, *groups[group]]


def move_core(groups):
    move_redis(groups, "redis_core")


def move_redis_for_sidekiq(groups):
    move_redis(groups, "redis_sidekiq")


REFUSED = {
    "a new primary": (swap_primary, ["postgres_primary", "postgres_replica"]),
    "a new redis_core": (move_core, ["redis_core", "pgbouncer"]),
    # H5: queues, retries and the schedule would stay behind.
    "another Redis for Sidekiq on a living instance": (move_redis_for_sidekiq, ["redis_core", "redis_sidekiq"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(fleet, run_site, name):
    change, groups = REFUSED[name]
    there = fleet.groups()
    hosts = [there[group][0] for group in groups if group in there]
    with another_inventory(fleet, change):
        run = run_site(check=False)
    assert run.status != 0
    # What was planned is kept beside the inventory, not on a host.
    assert [task for task, _host in run.changed if not task.startswith("Compute the plan")] == []
    assert any(counts["failed"] for counts in run.recap.values())
    message = run.output[run.output.find("fatal:") :]
    assert any(host in message for host in hosts), run.output[-3000:]
