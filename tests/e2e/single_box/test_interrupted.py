# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is killed in the middle of a change: the next one ends with the new value in force, asked of the service."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass
class Change:
    """A change of variables, where the run that makes it is killed, and how the service tells what is in force."""

    variables: dict
    killed: Callable[[str, str], bool]
    in_force: Callable
    wanted: str


def written(name):
    """Kill when the task has written the files, and before anything was restarted."""
    return lambda task, line: task.endswith(name) and line.startswith("changed:")


def begun(name):
    """Kill while the task runs."""
    return lambda task, _line: name in task


def redis_says(setting):
    def ask(host, secrets):
        command = f"REDISCLI_AUTH=%s redis-cli --no-auth-warning config get {setting}"
        return host.check_output(command, secrets["mastodon_redis_password"]).split()[-1]

    return ask


def postgresql_says(setting):
    return lambda host, _secrets: host.check_output(f"runuser -u postgres -- psql -XAtqc 'SHOW {setting}'")


def nginx_workers(host, _secrets):
    return str(len(host.check_output("pgrep -f '^nginx: worker process$'").split()))


def puma_threads(host, _secrets):
    status = host.check_output("systemctl show --property StatusText --value mastodon-web.service")
    return ",".join(sorted(set(re.findall(r"/(\d+) threads", status))))


def sidekiq_concurrency(host, secrets):
    command = "REDISCLI_AUTH=%s redis-cli --no-auth-warning --raw"
    password = secrets["mastodon_redis_password"]
    identities = host.run(command + " smembers processes", password).stdout.split()
    infos = [json.loads(host.run(command + " hget %s info", password, name).stdout) for name in identities]
    return ",".join(sorted({str(info["concurrency"]) for info in infos}))


CHANGES = {
    "redis, between file and restart": Change(
        {"redis_extra_settings": {"tcp-backlog": 300}},
        written("redis : Write the configuration of Redis"), redis_says("tcp-backlog"), "300",
    ),
    "postgresql, between file and reload": Change(
        {"postgres_extra_settings": {"log_min_duration_statement": "3s"}},
        written("postgres : Write the configuration of PostgreSQL"),
        postgresql_says("log_min_duration_statement"), "3s",
    ),
    "postgresql, between reload and restart": Change(
        {"postgres_extra_settings": {"max_locks_per_transaction": 96}},
        begun("postgres : restart | "), postgresql_says("max_locks_per_transaction"), "96",
    ),
    "nginx, between file and reload": Change(
        {"nginx_worker_processes": 3},
        written("nginx : Write the configuration of nginx"), nginx_workers, "3",
    ),
    "web, before its files": Change(
        {"web_threads": 4}, begun("web : "), puma_threads, "4",
    ),
    "sidekiq, before its restart": Change(
        {"sidekiq_concurrency": 4}, begun("sidekiq : Run"), sidekiq_concurrency, "4",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def secrets(fleet):
    return fleet.secrets()


@pytest.fixture(scope="module", autouse=True)
def _as_before(run_site):
    yield
    run_site()


@pytest.mark.parametrize("name", CHANGES)
def test_next_run_puts_the_new_value_in_force(host, deployed, secrets, name):
    change = CHANGES[name]
    arguments = ("-e", json.dumps(change.variables))
    assert change.in_force(host, secrets) != change.wanted
    deployed.run_killed(change.killed, *arguments)
    deployed.site(*arguments)
    assert change.in_force(host, secrets) == change.wanted
