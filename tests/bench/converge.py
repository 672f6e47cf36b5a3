# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a run of site.yml on a finished fleet against as many bare `ping` tasks on the same hosts.

Pings are the floor: what connecting, sending a module and reading its answer costs on this machine, whatever a
collection does. Prints the measurement, and adds it to tests/results/converge.jsonl with its commit and date.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
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
    # The plan is kept where the fleet's own command keeps it.
    plan_file = f"mastodon_plan_file={fleet.state}/plan.json"
    begin = time.monotonic()
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", fleet.inventory, playbook, "-e", plan_file],
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


def pings(count: int, folder: Path) -> Path:
    """Write a playbook of so many `ping` tasks, run as site.yml runs its tasks: as root, without gathering facts."""
    play = {"name": "Ping", "hosts": "all", "gather_facts": False, "become": True}
    play["tasks"] = [{"name": f"Ping {number}", "ansible.builtin.ping": {}} for number in range(count)]
    path = folder / "ping.yml"
    path.write_text(json.dumps([play]), encoding="utf-8")
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
        ping = pings(max(tasks.values()), folder)
        runs = [[timed(fleet, path, counts)[0] for path in (CHECKOUT / "site.yml", ping)] for _turn in range(repeat)]
    site_seconds, ping_seconds = (statistics.median(column) for column in zip(*runs, strict=True))
    return {
        "hosts": len(tasks),
        "module_tasks_per_host": max(tasks.values()),
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
        f"{measured['module_tasks_per_host']} tasks that ran a module on each of {measured['hosts']} host(s): "
        f"{measured['site_seconds']} s, {measured['ratio']} times the {measured['ping_seconds']} s of as many pings"
    )


if __name__ == "__main__":
    main()
