# SPDX-License-Identifier: GPL-3.0-or-later
"""A pooler and a Redis for the cache are added: the application learns of them by restarts, and nobody notices those.

By name only: what was seen is written to tests/results/growing.jsonl.
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
LOAD_SECONDS, AFTERWARDS_SECONDS = 900, 20
# What reads its addresses at its start only.
RESTARTS = ("mastodon-web.service", "mastodon-streaming@", "mastodon-sidekiq@")


def test_a_pooler_and_a_cache_are_added(deployed, instance, tmp_path):
    growth = Growth(deployed, tmp_path)
    before = starts(instance)
    try:
        growth.add(HOSTS)
        # Packages take minutes of the one machine that all these hosts share, which says nothing of the others.
        deployed.site("--tags", "base", "--limit", ",".join(HOSTS))
        with HeavyLoad(instance, LOAD_SECONDS) as load:
            began = time.monotonic()
            deployed.site()
            seconds = round(time.monotonic() - began, 1)
            time.sleep(AFTERWARDS_SECONDS)
        again = restarted(before, starts(growth.instance()))
    finally:
        growth.take_out()
    record("growing", {"added": list(HOSTS), "site_seconds": seconds, "restarted": again, **load.seen.record()})
    load.seen.assert_nobody_noticed(reconnects=LISTENERS * sum("streaming" in unit for unit in again))
    assert again
    assert [unit for unit in again if not unit.startswith(RESTARTS)] == []
