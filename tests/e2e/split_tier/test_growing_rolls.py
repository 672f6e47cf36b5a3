# SPDX-License-Identifier: GPL-3.0-or-later
"""A pooler and a Redis for the cache come and go: the application learns of them by restarts, and nobody notices those.

By name only: what was seen is written to tests/results, growing.jsonl and retiring.jsonl.
"""

from __future__ import annotations

import time

import pytest
from bench.record import record
from e2e.growth import Growth
from e2e.heavy_load import LISTENERS, HeavyLoad
from e2e.starts import restarted, starts

pytestmark = pytest.mark.by_name

HOSTS = {
    "pool2": {"groups": ["pgbouncer"], "vcpus": 2, "memory_mb": 2048},
    "cache1": {"groups": ["redis/redis_cache"], "vcpus": 2, "memory_mb": 4096},
}
RETIRE = ("playbooks/retire.yml", "-e", f"host={','.join(HOSTS)}")
LOAD_SECONDS, AFTERWARDS_SECONDS = 900, 20
# What reads its addresses at its start only.
RESTARTS = ("mastodon-web.service", "mastodon-streaming@", "mastodon-sidekiq@")


@pytest.fixture(scope="module")
def growth(deployed, tmp_path_factory):
    """The fleet with a pooler and a cache to be; what was added is gone at the end, whatever happened."""
    growth = Growth(deployed, tmp_path_factory.mktemp("growth"))
    try:
        growth.add(HOSTS)
        # Packages take minutes of the one machine that all these hosts share, which says nothing of the others.
        deployed.site("--tags", "base", "--limit", ",".join(HOSTS))
        yield growth
    finally:
        growth.take_out()


@pytest.mark.parametrize(
    ("what", "playbook"), [("growing", ["site.yml"]), ("retiring", RETIRE)], ids=["they come", "they go"]
)
def test_nobody_notices(growth, deployed, what, playbook):
    instance = growth.instance()
    before = {key: start for key, start in starts(instance).items() if key[0] not in HOSTS}
    with HeavyLoad(instance, LOAD_SECONDS) as load:
        began = time.monotonic()
        deployed.command("run", *playbook)
        seconds = round(time.monotonic() - began, 1)
        time.sleep(AFTERWARDS_SECONDS)
    again = restarted(before, starts(instance))
    record(what, {"host": ",".join(HOSTS), "run_seconds": seconds, "restarted": again, **load.seen.record()})
    streams = LISTENERS * sum("streaming" in unit for unit in again)
    # There is one streaming process: nobody is there until it is back.
    load.seen.assert_nobody_noticed(reconnects=streams, refused_streams=2 * streams)
    assert again
    assert [unit for unit in again if not unit.startswith(RESTARTS)] == []


def test_nothing_runs_on_them_any_more(growth):
    assert [(host, unit) for host, unit in starts(growth.instance()) if host in HOSTS] == []
