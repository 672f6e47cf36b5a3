# SPDX-License-Identifier: GPL-3.0-or-later
"""From outside, only what must answer does."""

from __future__ import annotations

import pytest
from e2e.ports import scan

ALLOWED = {22, 80, 443}


def test_only_ssh_and_the_web_answer(box):
    answers = scan({box["address"]: range(1, 65536)})[box["address"]]
    assert {port for port, answer in answers.items() if answer == "open"} == ALLOWED
    # The firewall does not even refuse.
    assert {port for port, answer in answers.items() if answer == "closed"} == set()


@pytest.mark.parametrize("port", [5432, 6379, 3000, 4000])
def test_what_does_not_answer_outside_is_there_inside(host, port):
    # The scan would be as content with a host on which nothing runs.
    assert host.socket(f"tcp://127.0.0.1:{port}").is_listening
