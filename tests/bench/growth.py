# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what one more host with Sidekiq costs, against the first build of the fleet.

Makes a fleet in a folder of its own, and removes it at the end. Packages are installed before either run is measured:
how long that takes depends on the network alone. Prints the measurement, with the modules that ran on the hosts that
were there, and adds it to tests/results/growth.jsonl with its commit and date.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CHECKOUT = TESTS.parent
sys.path.insert(0, str(TESTS))

from bench.converge import timed
from bench.record import record
from e2e.fleet import Fleet
from e2e.growth import Growth

HOSTS = {"worker3": {"groups": ["sidekiq/sidekiq_push"], "vcpus": 4, "memory_mb": 8192}}
VARIABLES = {"sidekiq_push": {"sidekiq_queues": ["push"]}}


def measure(fleet: Fleet, folder: Path, options: list[str | Path]) -> dict:
    """Return the measurement, in seconds; `elsewhere` is what ran on the hosts that were there."""
    site, counts = CHECKOUT / "site.yml", folder / "counts.json"
    fleet.site("--tags", "base")
    build_seconds, _run = timed(fleet, site, counts)
    Growth(fleet, folder, options).add(HOSTS, VARIABLES)
    fleet.site("--tags", "base", "--limit", ",".join(HOSTS))
    growth_seconds, run = timed(fleet, site, counts)
    ran = Counter()
    for task in json.loads(counts.read_text(encoding="utf-8")):
        ran.update(task)
    return {
        "hosts": len(ran) - len(HOSTS),
        "added": list(HOSTS),
        "build_seconds": round(build_seconds, 1),
        "growth_seconds": round(growth_seconds, 1),
        "percent": round(100 * growth_seconds / build_seconds),
        "modules_elsewhere": {host: count for host, count in sorted(ran.items()) if host not in HOSTS},
        "changed_elsewhere": [f"{task} ({host})" for task, host in run.changed if host not in HOSTS],
    }


def main() -> None:
    """Make a fleet, measure, print, record, remove the fleet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=CHECKOUT / ".rehearsal_growth", help="a folder to be made")
    parser.add_argument("--inventory", type=Path, default=CHECKOUT / "inventories/split_tier")
    parser.add_argument("--app", default="calf", help="what is installed, as for `make rehearse`")
    parser.add_argument("--vars", type=Path, help="a file of variables for all hosts, as for rehearsal/fleet.py up")
    parser.add_argument("--mount", action="append", default=[], help="SOURCE:TARGET, as for rehearsal/fleet.py up")
    arguments = parser.parse_args()
    if arguments.state.exists():
        sys.exit(f"{arguments.state} is there already, and only an empty one has a first build: name another.")
    fleet = Fleet(arguments.state)
    options = ["--vars", arguments.vars] if arguments.vars else []
    options += [word for mount in arguments.mount for word in ("--mount", mount)]
    made_of = ["--inventory", arguments.inventory, "--app", arguments.app, "--https-port", "0"]
    try:
        fleet.command("up", *made_of, *options)
        with tempfile.TemporaryDirectory() as name:
            measured = record("growth", {"app": arguments.app, **measure(fleet, Path(name), options)})
    finally:
        fleet.command("down", "--keep-images")
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
