# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application stands on is restarted under the load, and hosts are started anew: what do people notice?

By name only: what was seen is written to tests/results/restarting.jsonl.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from bench.record import record
from e2e.heavy_load import LISTENERS, HeavyLoad, running
from e2e.instance import wait_until
from e2e.pooler import Pooler
from e2e.readers import HOME
from e2e.starts import restarted, starts

pytestmark = pytest.mark.by_name

LOAD_SECONDS = 600
OPEN_SECONDS = 20
UNITS = {
    "nginx": "nginx.service",
    "haproxy": "haproxy.service",
    "postgres": "postgresql@17-main.service",
    "redis": "redis-server.service",
}
# What is asked while Redis is away.
FAIL_AT_MOST = {"redis": 20}
# New processes take over from the old ones, and systemd calls that no new start.
TAKE_OVER = ("nginx", "haproxy")
# After a pooler all of the application restarts.
FOLLOWED_SECONDS = 900
APPLICATION = ("mastodon-web.service", "mastodon-sidekiq@", "mastodon-streaming@")
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'mastodon' AND backend_type = 'client backend'"
REFUSED = "cat /var/log/postgresql/*.log | grep -c 'too many connections' || true"
TAKEN_OVER = "restart | Let a new process take over from the one that has the clients"


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


@contextmanager
def connections_counted(instance):
    """How many connections of the application the primary has, about each second."""
    counted, over = [], threading.Event()

    def count():
        while not over.wait(1):
            counted.extend(map(int, instance.sql(CONNECTED)))

    with running(count, over):
        yield counted


def test_a_pooler_restarts_and_nobody_notices(deployed, instance, whole_plan, plan_of):
    poolers, before = [Pooler(host) for host in instance.hosts_of("pgbouncer")], starts(instance)
    former, refused = [pooler.leads() for pooler in poolers], instance.primary.output("sh", "-c", REFUSED)
    with HeavyLoad(instance, FOLLOWED_SECONDS) as load, connections_counted(instance) as counted:
        deployed.command("run", "playbooks/restart.yml", "-e", "tier=pgbouncer")
    again = restarted(before, starts(instance))
    seen = {**load.seen.record(), "most_connections": max(counted)}
    record("restarting", {"what": "pgbouncer", "restarted": again, **seen})
    # Of streaming, whoever is connected connects anew; where there is one process, nobody is there for two seconds.
    processes = whole_plan["totals"]["streaming_processes"]
    load.seen.assert_nobody_noticed(LISTENERS * processes, 4 * LISTENERS if processes == 1 else 0)
    assert again == [f"{unit} of {host}" for host, unit in before if unit.startswith(APPLICATION)]
    assert set(former).isdisjoint(pooler.leads() for pooler in poolers)
    assert [pooler.processes() for pooler in poolers] == [[pooler.leads()] for pooler in poolers]
    # Old and new together keep to what the plan gives to one.
    pools = [pool for host in instance.hosts_of("pgbouncer") for pool in plan_of(host.name)["pgbouncer"]["pools"]]
    planned = sum(pool["pool_size"] + pool["reserve_pool_size"] for pool in pools if pool["for"] == "primary")
    assert max(counted) <= planned
    assert instance.primary.output("sh", "-c", REFUSED) == refused


def test_a_restart_of_a_pooler_that_was_broken_off_can_be_run_again(deployed, instance):
    pooler = Pooler(instance.host_of("pgbouncer"))
    deployed.run_killed(
        lambda task, line: task.endswith(TAKEN_OVER) and line.startswith("changed"),
        "-e", "tier=pgbouncer", playbook="playbooks/restart.yml", later_seconds=2,
    )  # fmt: skip
    assert len(pooler.processes()) == 2
    deployed.command("run", "playbooks/restart.yml", "-e", "tier=pgbouncer")
    assert pooler.processes() == [pooler.leads()]
    assert deployed.site().changed == []


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


@pytest.fixture
def astray(instance, inventory, deployed):
    """A host whose Puma will be led to a database that is not there; mended afterwards."""
    host = instance.web
    path = inventory / f"host_vars/{host.name}/broken.yml"
    path.write_text("web_env: {DB_HOST: 127.0.0.99, REPLICA_DB_HOST: 127.0.0.99}\n")
    yield host
    path.unlink()
    deployed.site("--tags", "web")


def test_a_puma_that_fails_after_its_host_was_started_is_kept_out(deployed, instance, astray):
    run = deployed.command("run", "playbooks/reboot.yml", "-e", f"host={astray.name}", check=False)
    assert run.status != 0
    assert f"{astray.name} does not work after its start" in " ".join(run.output.split())
    client = instance.another_client()
    assert {client.get("/api/v1/timelines/home").status_code for _number in range(20)} == {200}
    closed = astray.output("nft", "list", "table", "inet", "fediops_drain")
    assert "3000" in closed
    assert "expires" not in closed, "it would be open again by itself"


def test_that_was_mended_is_let_in(deployed, instance):
    assert instance.web.run("nft", "list", "table", "inet", "fediops_drain").status != 0
    assert deployed.site().changed == []


class TestAFormerPooler:
    @pytest.fixture
    def pooler(self, instance):
        """A pooler of which a new process has taken over, and whose former one has clients."""
        pooler = Pooler(instance.host_of("pgbouncer"))
        former = pooler.leads()
        pooler.host.output("/usr/local/lib/fediops/pooler", "renew")
        assert set(pooler.processes()) == {former, pooler.leads()}
        return pooler

    @pytest.mark.parametrize("end", ["kill -KILL {}", "systemctl restart pgbouncer.service"])
    def test_goes_with_its_unit(self, instance, pooler, end):
        before = set(pooler.processes())
        pooler.host.output("sh", "-c", end.format(pooler.leads()))

        def alone():
            return before.isdisjoint(pooler.processes()) and pooler.processes() == [pooler.leads()]

        wait_until(alone, OPEN_SECONDS, "a new process alone")
        client = instance.another_client()
        wait_until(lambda: client.get(HOME).status_code == 200, OPEN_SECONDS, "people who can read again")

    def test_goes_on_where_no_new_one_starts(self, instance, pooler):
        leads, file = pooler.leads(), "/etc/pgbouncer/start.ini"
        pooler.host.output("sh", "-c", f"cp -p {file} /root/kept && echo 'so_reuseport = maybe' >> {file}")
        try:
            assert pooler.host.run("/usr/local/lib/fediops/pooler", "renew").status != 0
        finally:
            pooler.host.output("mv", "/root/kept", file)
        assert pooler.leads() == leads
        assert pooler.config("so_reuseport") == "1"
        assert instance.another_client().get(HOME).status_code == 200
