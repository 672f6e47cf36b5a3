# SPDX-License-Identifier: GPL-3.0-or-later
"""A host leaves the fleet although it is dead, and although whoever retires it loses his power half way.

By name only.
"""

from __future__ import annotations

import subprocess

import pytest
from e2e.instance import wait_until
from e2e.starts import restarted, starts

pytestmark = pytest.mark.by_name

RETIRE = "playbooks/retire.yml"
# Where a run is killed, at the start of the task with this name: while others are led away, when Puma is drained, and
# when it has stopped.
WHILE_LED_AWAY, DRAINED, STOPPED = "Run Puma", "retire | Stop Puma for good", "Compute the plan of the hosts that stay"
BOOT_SECONDS = 60


def upstreams(instance):
    """What nginx knows of hosts with Puma."""
    return instance.host_of("nginx").shell("cat /etc/nginx/conf.d/mastodon.conf")


@pytest.fixture
def host(instance):
    """The last host with Puma."""
    return instance.hosts_of("web")[-1]


def kill_at(place):
    """A run is killed when this task begins."""
    return lambda task, _line: task.endswith(place)


@pytest.mark.parametrize("place", [WHILE_LED_AWAY, DRAINED])
def test_broken_off_it_is_run_again(deployed, instance, host, place):
    deployed.run_killed(kill_at(place), "-e", f"host={host.name}", playbook=RETIRE)
    assert instance.another_client().get("/api/v1/timelines/home").status_code == 200
    deployed.command("run", RETIRE, "-e", f"host={host.name}")
    assert host.address not in upstreams(instance)
    assert not host.active("mastodon-web.service")
    deployed.site()
    assert host.address in upstreams(instance)
    assert host.active("mastodon-web.service")


@pytest.mark.parametrize("place", [DRAINED, STOPPED])
def test_broken_off_it_is_taken_back(deployed, instance, host, place):
    before = starts(instance)
    deployed.run_killed(kill_at(place), "-e", f"host={host.name}", playbook=RETIRE)
    deployed.site()
    assert host.address in upstreams(instance)
    assert host.run("test", "-e", "/run/fediops/drained.json").status != 0
    after = starts(instance)
    assert after.keys() == before.keys()
    assert [name for name in restarted(before, after) if not name.endswith(f" of {host.name}")] == []
    assert deployed.site().changed == []


@pytest.fixture(scope="module")
def dead(instance, deployed):
    """The last host with Puma, killed; it comes back afterwards."""
    host = instance.hosts_of("web")[-1]
    subprocess.run(["docker", "kill", host.container], check=True, capture_output=True)
    yield host
    subprocess.run(["docker", "start", host.container], check=True, capture_output=True)
    up = ("systemctl", "is-system-running")
    wait_until(lambda: host.run(*up).stdout.strip() in ("running", "degraded"), BOOT_SECONDS, f"{host.name} is up")
    deployed.site()
    assert host.address in upstreams(instance)
    assert deployed.site().changed == []


class TestADeadHost:
    def test_is_not_retired_by_mistake(self, deployed, dead):
        run = deployed.command("run", RETIRE, "-e", f"host={dead.name}", check=False)
        assert run.status != 0
        assert f"{dead.name} does not answer" in run.output
        assert "-e host_is_dead=true" in run.output
        assert run.changed == []

    def test_is_retired_when_that_is_said(self, deployed, instance, dead):
        run = deployed.command("run", RETIRE, "-e", f"host={dead.name}", "-e", "host_is_dead=true", check=False)
        assert [name for name, counts in run.recap.items() if counts["failed"]] == []
        assert f"{dead.name} left the fleet" in " ".join(run.output.split())
        assert dead.address not in upstreams(instance)
        assert instance.another_client().get("/api/v1/timelines/home").status_code == 200
