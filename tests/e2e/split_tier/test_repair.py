# SPDX-License-Identifier: GPL-3.0-or-later
"""On each host one file is damaged and one unit stopped: one run repairs exactly those."""

from __future__ import annotations

import pytest

FOLDERS = "/etc /usr/local /opt/mastodon/current /var/lib/fediops"
WATCHED = [
    "postgresql@*.service",
    "pgbouncer.service",
    "haproxy.service",
    "redis-server.service",
    "nginx.service",
    "mastodon-*.service",
]
# {group: (file, unit)}; hosts of several groups get the damages of all.
DAMAGES = {
    "nginx": ("/etc/nginx/nginx.conf", "nginx.service"),
    "web": ("/etc/systemd/system/mastodon-web.service", "mastodon-web.service"),
    "streaming": ("/etc/systemd/system/mastodon-streaming@.service", "mastodon-streaming@4000.service"),
    "sidekiq": ("/etc/systemd/system/mastodon-sidekiq@.service", "mastodon-sidekiq@*.service"),
    "pgbouncer": ("/etc/pgbouncer/pgbouncer.ini", "pgbouncer.service"),
    "postgres_primary": ("/etc/postgresql/17/main/pg_hba.conf", "apt-daily.timer"),
    "postgres_replica": ("/etc/postgresql/17/main/conf.d/fediops.conf", "postgresql@17-main.service"),
    "redis_core": ("/etc/redis/live.conf", "fediops-firewall.service"),
    "redis_replica": ("/etc/redis/live.conf", "redis-server.service"),
    "redis_cache": ("/etc/systemd/system/redis-server.service.d/fediops.conf", "redis-server.service"),
    "redis_sidekiq": ("/etc/redis/redis.conf", "fediops-firewall.service"),
}
# Taking away PostgreSQL or Redis under the others is not this test's matter; a role repairs its own part only.
ROLES = {"nginx", "web", "streaming", "sidekiq", "pgbouncer", "postgres", "redis", "base"}


def damages(host):
    return [damage for group, damage in DAMAGES.items() if group in host.groups]


@pytest.fixture(scope="module")
def before(instance):
    """{host: ({file: its content}, {unit: its process})}, as it was."""
    return {
        host.name: (
            {file: host.output("cat", file) for file, _unit in damages(host)},
            host.processes(*WATCHED),
        )
        for host in instance.hosts.values()
    }


@pytest.fixture(scope="module")
def repaired(instance, before, run_site):
    """The run that repairs everything."""
    for host in instance.hosts.values():
        for file, unit in damages(host):
            host.shell(f"printf '\\n# damaged\\n' >> {file}; systemctl stop '{unit}'")
        host.shell("sleep 1.1; touch /run/before-repair")
    return run_site()


def test_every_host_is_damaged(instance):
    assert [name for name, host in instance.hosts.items() if not damages(host)] == []


def test_run_changes_every_host(repaired, fleet):
    assert sorted({host for _task, host in repaired.changed}) == fleet.hosts()
    assert {task.split(" : ")[0].removeprefix("fediops.mastodon.") for task, _host in repaired.changed} <= ROLES


def test_files_are_as_before_and_no_others_were_written(instance, before, repaired):
    for name, host in instance.hosts.items():
        files, _units = before[name]
        assert {file: host.output("cat", file) for file in files} == files
        written = host.shell(f"find -H {FOLDERS} -xdev -type f -newer /run/before-repair | sort").splitlines()
        assert [path for path in written if not path.startswith("/var/lib/fediops/")] == sorted(files)


def test_units_are_up_and_others_were_not_touched(instance, before, repaired):
    for name, host in instance.hosts.items():
        _files, units = before[name]
        now = host.processes(*WATCHED)
        assert sorted(now) == sorted(units)
        for _file, stopped in damages(host):
            assert host.run("systemctl", "is-active", stopped).stdout.split().count("active") >= 1, (name, stopped)
        # What reads a file that was damaged, or was stopped, has another process; nothing else has.
        concerned = set(host.units(*(unit for _file, unit in damages(host))))
        changed = {unit for unit in units if units[unit] != now[unit]}
        assert changed <= concerned, name


def test_nothing_is_left_to_do(repaired, run_site):
    assert run_site().changed == []
