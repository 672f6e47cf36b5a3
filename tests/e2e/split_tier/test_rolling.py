# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts go host by host: a Puma that does not work stops the roll and gets no requests."""

from __future__ import annotations

import pytest
from e2e.instance import wait_until
from e2e.pooler import Pooler
from e2e.readers import nothing_is_noticed
from e2e.starts import restarted, starts

OPEN_SECONDS = 20
# So many that none asks too often while all of the application restarts.
READERS = 4
APPLICATION = ("mastodon-web.service", "mastodon-sidekiq@", "mastodon-streaming@")
NOWHERE = "127.0.0.99"


class TestRestarts:
    def test_new_processes_of_nginx_take_over(self, instance, deployed):
        edge, leads = instance.host_of("nginx"), ("cat", "/run/nginx.pid")
        before, former = starts(instance), edge.output(*leads)
        with nothing_is_noticed(instance):
            deployed.command("run", "playbooks/restart.yml", "-e", f"host={edge.name}")
        assert edge.output(*leads) != former
        assert restarted(before, starts(instance)) == []

    def test_a_new_process_of_a_pooler_takes_over_and_what_uses_it_follows(self, instance, deployed):
        poolers, before = [Pooler(host) for host in instance.hosts_of("pgbouncer")], starts(instance)
        former = [pooler.leads() for pooler in poolers]
        with nothing_is_noticed(instance, READERS):
            deployed.command("run", "playbooks/restart.yml", "-e", "tier=pgbouncer")
        assert set(former).isdisjoint(pooler.leads() for pooler in poolers)
        assert [pooler.processes() for pooler in poolers] == [[pooler.leads()] for pooler in poolers]
        assert all(int(pooler.pools()["mastodon_production"]["cl_active"]) for pooler in poolers)
        again = restarted(before, starts(instance))
        assert again == [f"{unit} of {host}" for host, unit in before if unit.startswith(APPLICATION)]


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
        before = starts(instance)
        run = run_site("--tags", "web", check=False)
        assert run.status != 0
        assert f"Puma of {broken.name} does not work after its restart" in run.output
        elsewhere = {(host, unit): start for (host, unit), start in before.items() if host != broken.name}
        assert restarted(elsewhere, starts(instance)) == []
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
