# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes in force, asked of the services themselves, are those of the plan."""

from __future__ import annotations

import json
import re

import pytest


def sql(host, query):
    done = host.run("runuser -u postgres -- psql -XAtqc %s", query)
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def redis(host, password, command):
    return host.check_output(f"REDISCLI_AUTH=%s redis-cli --no-auth-warning {command}", password).splitlines()


@pytest.fixture(scope="module")
def redis_password(fleet):
    return fleet.secrets()["mastodon_redis_password"]


# PostgreSQL itself brings both into one form: '248MB' and the 31744 pages that it counts.
SAME = """
WITH wanted AS MATERIALIZED (SELECT '{wanted}' AS value)
SELECT CASE
    WHEN unit IN ('B', 'kB', '8kB', 'MB') THEN pg_size_bytes(current_setting(name)) = pg_size_bytes(value)
    WHEN unit IS NOT NULL THEN current_setting(name)::interval = value::interval
    WHEN vartype = 'bool' THEN current_setting(name)::bool = value::bool
    WHEN vartype IN ('integer', 'real') THEN current_setting(name)::float = value::float
    ELSE current_setting(name) = value
END FROM pg_settings, wanted WHERE name = '{name}'
"""


def test_postgresql(host, plan):
    settings = plan["postgres"]["settings"]
    assert settings
    unlike = [name for name, wanted in settings.items() if sql(host, SAME.format(name=name, wanted=wanted)) != "t"]
    assert {name: (settings[name], sql(host, f"SHOW {name}")) for name in unlike} == {}


def test_postgresql_waits_for_no_restart(host):
    assert sql(host, "SELECT name FROM pg_settings WHERE pending_restart") == ""


def test_redis(host, plan, redis_password):
    settings = {**plan["redis"]["settings"]}
    assert settings["maxmemory-policy"] == "noeviction"
    differing = {}
    for name, wanted in settings.items():
        found = dict(zip(*[iter(redis(host, redis_password, f"config get {name}"))] * 2, strict=True))
        if in_bytes(found[name]) != in_bytes(wanted):
            differing[name] = (wanted, found[name])
    assert differing == {}


def in_bytes(value):
    """Return '397mb' as Redis counts it; anything else as text."""
    size = re.fullmatch(r"(\d+)(kb|mb|gb)", str(value).lower())
    factor = {"kb": 2**10, "mb": 2**20, "gb": 2**30}
    return (
        str(int(size[1]) * factor[size[2]])
        if size
        else str(value).lower().replace("true", "yes").replace("false", "no")
    )


def test_puma(host, plan):
    # What Puma reports to systemd: "cluster: 2/2, worker: [{ 5/5 threads, ... }, { 5/5 threads, ... }]"
    status = host.check_output("systemctl show --property StatusText --value mastodon-web.service")
    workers, threads = plan["web"]["workers"], plan["web"]["threads"]
    if workers > 1:
        assert f"cluster: {workers}/{workers}" in status
    assert re.findall(r"/(\d+) threads", status) == [str(threads)] * max(workers, 1)


def test_sidekiq(host, plan, redis_password):
    # What each process of Sidekiq writes about itself into Redis, as its dashboard reads it.
    identities = redis(host, redis_password, "smembers processes")
    found = [json.loads(redis(host, redis_password, f"hget {name} info")[0]) for name in identities]
    wanted = [
        (process["concurrency"], sorted({queue.split(",")[0] for queue in process["queues"]}))
        for process in plan["sidekiq"]["processes"]
    ]
    assert sorted((info["concurrency"], sorted(set(info["queues"]))) for info in found) == sorted(wanted)


def test_streaming(host, plan):
    ports = [process["port"] for process in plan["streaming"]["processes"]]
    ask = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:{}/api/v1/streaming/health\").status)'"
    assert {port: host.check_output(ask.format(port)) for port in ports} == dict.fromkeys(ports, "200")


def test_memory_limits(host, plan):
    limits = {"mastodon-web.service": plan["web"]["memory_max_mb"]}
    limits |= {f"mastodon-sidekiq@{p['name']}.service": p["memory_max_mb"] for p in plan["sidekiq"]["processes"]}
    for process in plan["streaming"]["processes"]:
        limits[f"mastodon-streaming@{process['port']}.service"] = plan["streaming"]["memory_max_mb"]
    found = {unit: host.check_output(f"systemctl show --property MemoryMax --value {unit}") for unit in limits}
    assert found == {unit: str(mb * 2**20) for unit, mb in limits.items()}
