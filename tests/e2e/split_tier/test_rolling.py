# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts go host by host: nobody notices those that work, and one that does not stops the roll and gets no requests."""

from __future__ import annotations

import json

import pytest
from e2e.heavy_load import HeavyLoad
from e2e.instance import wait_until

UNITS = "mastodon-*.service"
# The most that all of it may take; the load ends by itself.
ROLL_SECONDS = 900
OPEN_SECONDS = 20
NOWHERE = "127.0.0.99"


def starts(instance):
    """{(host, unit): what systemd calls the present start of it} of all units of the application and the databases."""
    found = {}
    patterns = [UNITS, "nginx.service", "pgbouncer.service", "haproxy.service", "redis-server.service", "postgresql@*"]
    for host in instance.hosts.values():
        shown = host.output("systemctl", "show", "--property=Id,InvocationID", *patterns)
        for block in filter(None, shown.split("\n\n")):
            said = dict(line.split("=", 1) for line in block.splitlines())
            if said.get("InvocationID"):
                found[host.name, said["Id"]] = said["InvocationID"]
    return found


def tier_of(unit):
    return unit.removeprefix("mastodon-").partition(".")[0].partition("@")[0]


@pytest.fixture
def restart(deployed):
    """Run the playbook that restarts."""
    return lambda *arguments: deployed.command("run", "playbooks/restart.yml", *arguments)


def test_web_and_sidekiq_restart_and_nobody_notices(instance, restart):
    before = starts(instance)
    with HeavyLoad(instance, ROLL_SECONDS) as load:
        restart("-e", "tier=web")
        restart("-e", "tier=sidekiq")
    print(json.dumps(load.seen.record()))
    load.seen.assert_nobody_noticed()
    after = starts(instance)
    assert before.keys() == after.keys()
    again = {unit for unit in before if before[unit] != after[unit]}
    assert again == {unit for unit in before if tier_of(unit[1]) in ("web", "sidekiq")}


class TestAPumaThatDoesNotWork:
    @pytest.fixture
    def broken(self, instance, inventory, deployed):
        """The first host with Puma, which is led to a database that is not there; mended afterwards."""
        host = instance.web
        path = inventory / f"host_vars/{host.name}/broken.yml"
        path.write_text(f"web_env: {{DB_HOST: {NOWHERE}, REPLICA_DB_HOST: {NOWHERE}}}\n")
        yield host
        path.unlink()
        deployed.site("--tags", "web")

    def test_gets_no_requests_until_it_is_mended(self, instance, run_site, broken):
        client = instance.another_client()
        others = [host for host in instance.hosts_of("web") if host is not broken]
        before = starts(instance)
        run = run_site("--tags", "web", check=False)
        assert run.status != 0
        assert f"Puma of {broken.name} does not work after its restart" in run.output
        after = starts(instance)
        unit = "mastodon-web.service"
        assert all(before[host.name, unit] == after[host.name, unit] for host in others)
        # Whoever asks is led to the others.
        assert {client.get("/api/v1/timelines/home").status_code for _number in range(20)} == {200}
        connect = f"import socket; socket.create_connection(('{broken.address}', 3000), 5)"
        assert "ConnectionRefusedError" in instance.host_of("nginx").run("python3", "-c", connect).stderr

    def test_that_was_mended_serves_again(self, instance):
        host = instance.web
        assert host.run("test", "-e", "/run/fediops/drained.json").status != 0
        edge = instance.host_of("nginx")
        connected = ("sh", "-c", f"ss -Htn state established dst {host.address}:3000 | wc -l")
        client = instance.another_client()

        def used():
            client.get(f"/@{instance.owner['username']}")
            return int(edge.output(*connected)) > 0

        wait_until(used, OPEN_SECONDS, f"requests that reach {host.name} again")
