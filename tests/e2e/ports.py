# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ports of a host answer, asked from anywhere: connections, as a client makes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping

from e2e.instance import Host

# Every port is asked once, many at the same time. "open" takes the connection, "closed" refuses it
# (nobody listens, and nothing keeps us from asking), "silent" does not answer.
SCAN = """
import asyncio, json, sys
targets, seconds, at_once = json.loads(sys.stdin.read())
async def ask(room, address, port):
    async with room:
        try:
            _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), seconds)
        except ConnectionRefusedError:
            return "closed"
        except (OSError, TimeoutError):
            return "silent"
        writer.close()
        return "open"
async def main():
    room = asyncio.Semaphore(at_once)
    pairs = [(address, port) for address, ports in targets.items() for port in ports]
    answers = await asyncio.gather(*(ask(room, *pair) for pair in pairs))
    return [[*pair, answer] for pair, answer in zip(pairs, answers)]
print(json.dumps(asyncio.run(main())))
"""
SECONDS, AT_ONCE = 2, 2000

# {address: {port: "open", "closed" or "silent"}}
Answers = dict[str, dict[int, str]]


def scan(targets: Mapping[str, Collection[int]], source: Host | None = None) -> Answers:
    """Ask ports from inside a host, or from this machine."""
    question = json.dumps([{address: sorted(ports) for address, ports in targets.items()}, SECONDS, AT_ONCE])
    if source:
        said = source.output("python3", "-c", SCAN, stdin=question)
    else:
        argv = [sys.executable, "-c", SCAN]
        said = subprocess.run(argv, input=question, capture_output=True, text=True, check=True).stdout
    answers: Answers = {address: {} for address in targets}
    for address, port, answer in json.loads(said):
        answers[address][port] = answer
    return answers


def listening(host: Host) -> set[int]:
    """The TCP ports on which something of a host listens, those of its loopback included."""
    lines = host.output("ss", "--no-header", "--listening", "--tcp", "--numeric").splitlines()
    return {int(line.split()[3].rpartition(":")[2]) for line in lines}
