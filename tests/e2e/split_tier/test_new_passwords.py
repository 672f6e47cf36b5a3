# SPDX-License-Identifier: GPL-3.0-or-later
"""The passwords of PostgreSQL and Redis are changed on a fleet whose tiers are restarted host by host: does it end?

By name only.
"""

from __future__ import annotations

import json
import secrets

import pytest
from e2e.load import Load

pytestmark = pytest.mark.by_name

PASSWORDS = ("mastodon_postgres_password", "mastodon_redis_password")


@pytest.fixture
def new_passwords(tmp_path, deployed):
    """Arguments with which all passwords are others; those of before are back afterwards."""
    path = tmp_path / "passwords.json"
    path.write_text(json.dumps({name: secrets.token_hex(16) for name in PASSWORDS}))
    yield ("-e", f"@{path}")
    deployed.site()


def test_one_run_brings_them_to_all_hosts(deployed, instance, new_passwords):
    with Load(instance) as load:
        deployed.site(*new_passwords)
    assert deployed.site(*new_passwords).changed == []
    wrong = [sent for sent in load.sent if sent.wrong]
    seconds = wrong[-1].due - wrong[0].due if wrong else 0
    print(f"{len(wrong)} of {len(load.sent)} requests failed, within {seconds:.0f} s")
    assert instance.another_client().get("/api/v1/timelines/home").status_code == 200
