# SPDX-License-Identifier: GPL-3.0-or-later
"""Each tier of the application is restarted while people are on it: nobody notices, and nothing else restarts."""

from __future__ import annotations

import pytest
from bench.record import record
from e2e.heavy_load import LISTENERS, HeavyLoad
from e2e.starts import restarted, starts

# The most that all of it may take; the load ends by itself.
ROLL_SECONDS = 900


@pytest.mark.parametrize(
    "tier",
    ["web", pytest.param("sidekiq", marks=pytest.mark.by_name), pytest.param("streaming", marks=pytest.mark.by_name)],
)
def test_a_tier_restarts_and_nobody_notices(deployed, instance, whole_plan, tier, request):
    before = starts(instance)
    with HeavyLoad(instance, ROLL_SECONDS) as load:
        deployed.command("run", "playbooks/restart.yml", "-e", f"tier={tier}")
    again = restarted(before, starts(instance))
    if any("test_rolling_load.py" in str(argument) for argument in request.config.args):
        record("rolling", {"tier": tier, "restarted": again, **load.seen.record()})
    # Of streaming, whoever is connected connects anew, once for each process that he meets on the way.
    processes = whole_plan["totals"]["streaming_processes"] if tier == "streaming" else 0
    # And where there is but one, nobody is there until it is back.
    refused = 2 * LISTENERS if processes == 1 else 0
    load.seen.assert_nobody_noticed(reconnects=LISTENERS * processes, refused_streams=refused)
    services = {f"{unit} of {host}" for host, unit in before if unit.endswith(".service")}
    assert {unit for unit in again if unit in services} == {
        unit for unit in services if unit.startswith(f"mastodon-{tier}")
    }
