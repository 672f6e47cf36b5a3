# SPDX-License-Identifier: GPL-3.0-or-later
"""From outside, only what must answer does."""

from __future__ import annotations

import asyncio

import pytest

ALLOWED = {22, 80, 443}
AT_ONCE = 400
ANSWER_SECONDS = 1.0


async def is_open(address, port, room):
    async with room:
        try:
            _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), ANSWER_SECONDS)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True


async def open_ports(address):
    room = asyncio.Semaphore(AT_ONCE)
    ports = range(1, 65536)
    answers = await asyncio.gather(*(is_open(address, port, room) for port in ports))
    return {port for port, answer in zip(ports, answers, strict=True) if answer}


def test_only_ssh_and_the_web_answer(box):
    assert asyncio.run(open_ports(box["address"])) == ALLOWED


@pytest.mark.parametrize("port", [5432, 6379, 3000, 4000])
def test_what_does_not_answer_outside_is_there_inside(host, port):
    # The scan would be as content with a host on which nothing runs.
    assert host.socket(f"tcp://127.0.0.1:{port}").is_listening
