# SPDX-License-Identifier: GPL-3.0-or-later
"""Data never moves by editing the inventory: what would leave it behind is refused, before any change."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import yaml
from e2e.starts import starts


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


STAYS = {
    "postgres_primary": "it is the primary of PostgreSQL",
    "redis_core": "it is the core of Redis",
    "sidekiq_federation": "nobody else serves",
    "streaming": "it is the only host of streaming",
}


class TestRestarting:
    def test_what_people_would_notice_is_named(self, deployed, instance, hosts_of):
        host, before = hosts_of("postgres_primary")[0], starts(instance)
        run = deployed.command("run", "playbooks/restart.yml", "-e", f"host={host.name}", check=False)
        assert run.status != 0
        assert f"{host.name} runs no nginx, haproxy, sidekiq, web, streaming" in " ".join(run.output.split())
        assert run.changed == []
        assert starts(instance) == before


class TestRetiring:
    """Who holds what nobody else has stays, and is told what to do instead."""

    @pytest.mark.parametrize("group", STAYS)
    def test_is_refused(self, deployed, instance, hosts_of, group):
        host, before = hosts_of(group)[0], starts(instance)
        run = deployed.command("run", "playbooks/retire.yml", "-e", f"host={host.name}", check=False)
        assert run.status != 0
        said = " ".join(run.output.split())
        assert f"{host.name} cannot be retired: {STAYS[group]}" in said
        assert run.changed == []
        assert starts(instance) == before

    def test_an_edge_leaves_dns_first(self, deployed, hosts_of):
        edge = hosts_of("nginx")[0].name
        run = deployed.command("run", "playbooks/retire.yml", "-e", f"host={edge}", check=False)
        assert run.status != 0
        assert "-e dns_changed=true" in run.output
        assert run.recap.keys() == {edge}, "no other host was asked for anything"

    def test_a_host_that_is_not_there_is_named(self, deployed):
        run = deployed.command("run", "playbooks/retire.yml", "-e", "host=web9", check=False)
        assert run.status != 0
        assert "The inventory has no host web9" in run.output
