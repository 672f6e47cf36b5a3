# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance would not survive, or what cannot work, is refused before anything is changed."""

from __future__ import annotations

import json

import pytest

REFUSED = {
    "another domain": ({"mastodon_local_domain": "other.example"}, ["other.example", "social.example"]),
    "another key": (
        {"mastodon_active_record_encryption_primary_key": "a" * 32},
        ["active_record_encryption_primary_key"],
    ),
    "more memory than there is": ({"web_workers": 64}, ["web_workers", "memory"]),
    "fewer connections than threads": ({"postgres_max_connections": 25}, ["max_connections", "clients"]),
    "a misspelt name": ({"mastodon_env": {"MAX_TOOTCHARS": 1}}, ["MAX_TOOTCHARS"]),
    "an empty address": ({"mastodon_admin_email": ""}, ["mastodon_admin_email"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(run_site, box, name):
    variables, words = REFUSED[name]
    run = run_site("-e", json.dumps(variables), check=False)
    assert run.status != 0
    assert run.recap[box["name"]]["failed"] == 1
    assert run.changed == []
    assert [word for word in words if word not in run.output] == [], run.output


def test_a_system_that_is_not_supported_is_refused(run_site, host):
    system = "/usr/lib/os-release"
    host.check_output(f'sed -i.kept \'s/13 (trixie)/12 (bookworm)/; s/"13"/"12"/\' {system}')
    try:
        run = run_site(check=False)
    finally:
        host.check_output(f"mv {system}.kept {system}")
    assert run.status != 0
    assert run.changed == []
    assert "runs Debian GNU/Linux 12 (bookworm); Debian 13 is supported" in " ".join(run.output.split())


def test_a_record_that_nobody_can_read_is_named(run_site, box, host):
    record = "/var/lib/fediops/release.json"
    host.check_output(f"cp --archive {record} {record}.kept && echo '{{' > {record}")
    try:
        run = run_site(check=False)
    finally:
        host.check_output(f"mv {record}.kept {record}")
    assert run.status != 0
    assert run.changed == []
    said = " ".join(run.output.split())
    assert f"Nothing was changed. {box['name']}: {record} is not readable as JSON" in said


def test_instance_is_still_the_same(run_site):
    assert run_site().changed == []
