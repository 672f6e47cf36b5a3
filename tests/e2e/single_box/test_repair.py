# SPDX-License-Identifier: GPL-3.0-or-later
"""One file of each role is damaged, one of its units stopped: a run repairs exactly those."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

APPLICATION = ["mastodon-web.service", "mastodon-streaming@*.service", "mastodon-sidekiq@*.service"]
WATCHED = ["postgresql@*.service", "redis-server.service", "nginx.service", "ssh.service", *APPLICATION]
FOLDERS = "/etc /usr/local /opt/mastodon/current /var/lib/fediops"


@dataclass
class Damage:
    """What is done to a role: `file` gets a line, `unit` is stopped; `restarted` are others that read the file.

    Those belong to the roles `also`, which therefore have something to do too.
    """

    file: str
    unit: str | None = None
    restarted: list[str] = field(default_factory=list)
    also: set[str] = field(default_factory=set)


DAMAGES = {
    "base": Damage("/etc/needrestart/conf.d/fediops.conf", "apt-daily.timer"),
    "certificates": Damage("/etc/ssl/mastodon/fullchain.pem", also={"nginx"}),
    "postgres": Damage(
        "/etc/postgresql/17/main/conf.d/fediops.conf", "postgresql@17-main.service", ["mastodon-sidekiq@*.service"]
    ),
    "redis": Damage("/etc/redis/redis.conf", "redis-server.service"),
    "nginx": Damage("/etc/nginx/nginx.conf", "nginx.service"),
    "release": Damage("/etc/mastodon/env.production", None, APPLICATION, {"web", "streaming", "sidekiq"}),
    "web": Damage("/etc/systemd/system/mastodon-web.service", "mastodon-web.service"),
    "streaming": Damage("/etc/systemd/system/mastodon-streaming@.service", "mastodon-streaming@4000.service"),
    "sidekiq": Damage("/etc/systemd/system/mastodon-sidekiq@.service", "mastodon-sidekiq@*.service"),
}


def processes(host, patterns):
    """Return {unit: process} of the active units that match one of the patterns."""
    if not patterns:
        return {}
    units = host.check_output(
        f"systemctl list-units --plain --no-legend --state=active {' '.join(patterns)}"
    ).splitlines()
    names = [line.split()[0] for line in units]
    return {name: host.check_output(f"systemctl show --property MainPID --value {name}") for name in names}


@pytest.mark.parametrize("role", DAMAGES)
def test_run_repairs_exactly_what_is_broken(host, run_site, role):
    damage = DAMAGES[role]
    whole = host.file(damage.file).content
    before = processes(host, WATCHED)
    assert before
    host.check_output(f"printf '\\n# damaged\\n' >> {damage.file}")
    if damage.unit:
        host.check_output(f"systemctl stop '{damage.unit}'")
    host.check_output("sleep 1.1; touch /run/before-repair; sleep 1.1")

    run = run_site()

    assert {task.split(" : ")[0].removeprefix("fediops.mastodon.") for task, _host in run.changed} == {
        role
    } | damage.also
    assert host.file(damage.file).content == whole
    written = host.check_output(f"find -H {FOLDERS} -xdev -type f -newer /run/before-repair | sort").splitlines()
    assert [path for path in written if not path.startswith("/var/lib/fediops/")] == [damage.file]
    after = processes(host, WATCHED)
    assert sorted(after) == sorted(before)
    concerned = processes(host, [name for name in [damage.unit, *damage.restarted] if name])
    untouched = set(before) - set(concerned)
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
    if damage.unit:
        assert host.run(f"systemctl is-active '{damage.unit}'").stdout.split().count("active") >= 1


def test_nothing_is_left_to_do(run_site):
    assert run_site().changed == []
