# SPDX-License-Identifier: GPL-3.0-or-later
"""What drain counts as a connection, and what it takes for closed."""

from __future__ import annotations

import json

import pytest
from ansible_collections.fediops.mastodon.plugins.module_utils.drained import closed_ports
from ansible_collections.fediops.mastodon.plugins.modules import drain

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
# 10.0.0.21 and 10.0.0.11, as a little-endian kernel prints them; port 3000 is 0BB8.
OWN, EDGE, LOOPBACK = "1500000A", "0B00000A", "0100007F"
OWN6, EDGE6 = "0000000000000000FFFF00001500000A", "0000000000000000FFFF00000B00000A"


def line(here, there, state="01", port="0BB8"):
    return f"   0: {here}:{port} {there}:C350 {state} 00000000:00000000 00:00000000 00000000  997 0 1 1\n"


@pytest.mark.parametrize(
    ("found", "by"),
    [
        ([], []),
        ([line(OWN, EDGE)], ["10.0.0.11"]),
        ([line(OWN, EDGE), line(OWN6, EDGE6)], ["10.0.0.11", "10.0.0.11"]),
        # Listening, closing, another port.
        ([line(OWN, "00000000", "0A"), line(OWN, EDGE, "08"), line(OWN, EDGE, port="0FA0")], []),
        # The host's own: whoever tries what is behind the closed port.
        ([line(OWN, OWN), line(LOOPBACK, LOOPBACK), line(OWN6, OWN6)], []),
    ],
)
def test_connections_of_others_to_the_port_count(found, by):
    assert drain.connections(HEAD + "".join(found), [3000]) == by


def test_addresses_are_read_as_the_kernel_writes_them():
    assert str(drain.address(OWN)) == "10.0.0.21"
    assert str(drain.address(OWN6)) == "10.0.0.21"
    assert str(drain.address("B80D0120000000000000000001000000")) == "2001:db8::1"


def test_rules_name_all_ports_and_for_how_long():
    assert "elements = { 3000 timeout 600s, 4000 timeout 600s }" in drain.rules({4000, 3000}, 600)
    assert "elements = { 3000 }" in drain.rules([3000], 0)


@pytest.mark.parametrize(
    ("noted", "closed"),
    [
        ({"ports": [4000, 3000], "until": None}, [3000, 4000]),
        ({"ports": [3000], "until": 2**33}, [3000]),
        ({"ports": [3000], "until": 1}, []),
        ({"ports": [3000]}, []),
        ([], []),
    ],
)
def test_what_is_noted_counts_until_its_time_is_over(tmp_path, noted, closed):
    (tmp_path / "drained.json").write_text(json.dumps(noted))
    assert closed_ports(tmp_path / "drained.json") == closed


def test_without_a_note_nothing_is_closed(tmp_path):
    assert closed_ports(tmp_path / "drained.json") == []
    (tmp_path / "drained.json").write_text("{")
    assert closed_ports(tmp_path / "drained.json") == []
