# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application stands on is restarted under the load, and hosts are started anew: what do people notice?

By name only: what was seen is written to tests/results/restarting.jsonl.
"""

from __future__ import annotations

import pytest
from bench.record import record
from e2e.heavy_load import HeavyLoad
from e2e.starts import restarted, starts

pytestmark = pytest.mark.by_name

LOAD_SECONDS = 600
UNITS = {
    "nginx": "nginx.service",
    "haproxy": "haproxy.service",
    "pgbouncer": "pgbouncer.service",
    "postgres": "postgresql@17-main.service",
}
# Statements that were on their way to a pooler, and that nobody may ask again.
FAIL_AT_MOST = {"pgbouncer": 5}
# New processes take over from the old ones, and systemd calls that no new start.
TAKE_OVER = ("nginx", "haproxy")


def led(host, unit):
    """The process that takes connections now; the old one of nginx leads for systemd until it ends."""
    if unit == "nginx.service":
        return host.output("cat", "/run/nginx.pid")
    main = host.output("systemctl", "show", "--property", "MainPID", "--value", unit)
    return host.output("pgrep", "--newest", "--parent", main) if unit == "haproxy.service" else main


def lost(seen):
    """What must not be, whatever people had to wait for."""
    return {
        "statuses": seen.lost_statuses,
        "deletions": seen.not_deleted,
        "jobs": seen.lost_jobs,
        "jobs done twice": seen.repeated_jobs,
    }


@pytest.mark.parametrize("tier", UNITS)
def test_a_tier_restarts_and_nothing_is_lost(deployed, instance, tier):
    unit = UNITS[tier]
    hosts = [host for host in instance.hosts.values() if host.active(unit)]
    before, leading = starts(instance), [led(host, unit) for host in hosts]
    with HeavyLoad(instance, LOAD_SECONDS) as load:
        deployed.command("run", "playbooks/restart.yml", "-e", f"tier={tier}")
    again = restarted(before, starts(instance))
    record("restarting", {"what": tier, "restarted": again, **load.seen.record()})
    assert set(leading).isdisjoint(led(host, unit) for host in hosts)
    assert not any(lost(load.seen).values()), lost(load.seen)
    if tier in TAKE_OVER:
        load.seen.assert_nobody_noticed()
        assert again == []
    else:
        assert sum(load.seen.failures.values()) <= FAIL_AT_MOST.get(tier, 0), load.seen.messages
        # Sidekiq stands still meanwhile: its jobs wait.
        services = {name for name in again if not name.startswith("mastodon-sidekiq@")}
        assert services == {f"{unit} of {host.name}" for host in hosts}


def test_redis_restarts_and_everything_works(deployed, instance):
    before = starts(instance)
    deployed.command("run", "playbooks/restart.yml", "-e", "tier=redis")
    again = [name for name in restarted(before, starts(instance)) if not name.startswith("mastodon-sidekiq@")]
    assert again == [f"redis-server.service of {host.name}" for host in instance.hosts_of("redis")]


@pytest.fixture
def wanting(instance):
    """Hosts that want to be started anew: a web host, one with Sidekiq, a replica, and the primary."""
    names = ("web1", "worker2", "db2", "db1")
    for name in names:
        instance.hosts[name].output("touch", "/run/reboot-required")
    yield names
    for name in names:
        instance.hosts[name].run("rm", "-f", "/run/reboot-required")


def booted(instance):
    """When each host was started."""
    started = ("systemctl", "show", "--property", "UserspaceTimestamp")
    return {name: host.output(*started) for name, host in instance.hosts.items()}


def test_hosts_start_anew_and_nobody_notices(deployed, instance, wanting):
    before, boots = starts(instance), booted(instance)
    with HeavyLoad(instance, LOAD_SECONDS) as load:
        run = deployed.command("run", "playbooks/reboot.yml")
    after, now = starts(instance), booted(instance)
    again = sorted(name for name, when in boots.items() if now[name] != when)
    record("restarting", {"what": "hosts started anew", "restarted": again, **load.seen.record()})
    load.seen.assert_nobody_noticed()
    assert again == ["db2", "web1", "worker2"]
    assert after.keys() == before.keys()
    assert {name.rpartition(" ")[2] for name in restarted(before, after)} == set(again)
    said = " ".join(run.output.split())
    assert "People would notice, because it runs postgres; when few are there, `-e host=db1`." in said
    assert deployed.site().changed == []


def test_the_primary_starts_anew_and_nothing_is_lost(deployed, instance):
    boots = booted(instance)
    deployed.command("run", "playbooks/reboot.yml", "-e", "host=db1")
    now = booted(instance)
    assert [name for name, when in boots.items() if now[name] != when] == ["db1"]
    assert deployed.site().changed == []
