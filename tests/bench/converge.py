# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a run of site.yml on a finished fleet against as many bare `ping` tasks on the same hosts.

Pings are the floor: what connecting, sending a module and reading its answer costs on this machine, whatever a
collection does. Each task of the run that ran a module has a ping, on those hosts on which it ran one. Prints the
measurement, and adds it to tests/results/converge.jsonl with its commit and date.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import groupby
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CHECKOUT = TESTS.parent
sys.path.insert(0, str(TESTS))

from bench.record import record
from e2e.fleet import BIN, Fleet, Run


def timed(fleet: Fleet, playbook: Path, counts: Path) -> tuple[float, Run]:
    """Run a playbook on the fleet; return the seconds it took, from start to end of the program, and the run."""
    environment = {
        **fleet.environment(),
        "ANSIBLE_CALLBACK_PLUGINS": str(TESTS / "bench/callback_plugins"),
        "ANSIBLE_CALLBACKS_ENABLED": "module_tasks",
        "MODULE_TASKS_FILE": str(counts),
    }
    begin = time.monotonic()
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", fleet.inventory, playbook],
        env=environment,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begin
    if done.returncode:
        sys.exit(f"{playbook} ended with status {done.returncode}:\n{done.stdout}")
    return seconds, Run.of(done.returncode, done.stdout)


def pings(tasks: list[dict[str, int]], folder: Path) -> Path:
    """Write a playbook of a `ping` for each module of a run, on the same hosts, as root, without gathering facts.

    tasks: for each task of the run {host: modules}, as the callback module_tasks writes it.
    """
    hosts = [
        sorted(host for host, ran in task.items() if ran > number)
        for task in tasks
        for number in range(max(task.values()))
    ]
    plays = [
        {
            "name": "Ping",
            "hosts": same,
            "gather_facts": False,
            "become": True,
            "tasks": [{"name": "Ping", "ansible.builtin.ping": {}} for _task in together],
        }
        for same, together in groupby(hosts)
    ]
    path = folder / "ping.yml"
    path.write_text(json.dumps(plays), encoding="utf-8")
    return path


def measure(fleet: Fleet, repeat: int) -> dict:
    """Return the measurement: medians in seconds of `repeat` runs of each, taken in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = folder / "counts.json"
        _seconds, first = timed(fleet, CHECKOUT / "site.yml", counts)
        if first.changed:
            sys.exit(f"The fleet was not finished: {first.changed}. It is now; run this again.")
        tasks = json.loads(counts.read_text(encoding="utf-8"))
        ping = pings(tasks, folder)
        runs = [[timed(fleet, path, counts)[0] for path in (CHECKOUT / "site.yml", ping)] for _turn in range(repeat)]
    per_host = Counter()
    for task in tasks:
        per_host.update(task)
    site_seconds, ping_seconds = (statistics.median(column) for column in zip(*runs, strict=True))
    return {
        "hosts": len(per_host),
        "module_tasks": len(tasks),
        "module_tasks_per_host": max(per_host.values()),
        "site_seconds": round(site_seconds, 1),
        "ping_seconds": round(ping_seconds, 1),
        "ratio": round(site_seconds / ping_seconds, 2),
        "repeat": repeat,
    }


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=CHECKOUT / ".rehearsal", help="folder of the rehearsal")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each kind; the median counts")
    arguments = parser.parse_args()
    if not (arguments.state / "summary.json").is_file():
        sys.exit(f"There is no finished rehearsal in {arguments.state}: `make rehearse` makes one.")
    measured = record("converge", measure(Fleet(arguments.state), arguments.repeat))
    print(json.dumps(measured, indent=2))
    print(
        f"{measured['module_tasks']} tasks that ran a module, at most {measured['module_tasks_per_host']} on one of "
        f"{measured['hosts']} host(s): {measured['site_seconds']} s, {measured['ratio']} times the "
        f"{measured['ping_seconds']} s of as many pings"
    )


if __name__ == "__main__":
    main()
