# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long the capacity plan takes: the library alone for 10 to 1,000 hosts, and plan.yml itself for 200.

Hosts are declared, so nothing is connected to. Prints the measurement, and adds it to tests/results/plan.jsonl
with its commit and date.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CHECKOUT = TESTS.parent
sys.path[:0] = [str(TESTS), str(CHECKOUT / ".venv/collections")]

from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from bench.record import record
from e2e.fleet import BIN

SIZES = (10, 30, 100, 300, 1000)
PLAYBOOK_HOSTS = 200
SETTINGS = {"mastodon_s3_enabled": True, "mastodon_monthly_active_users": 50000}


def fleet(count: int) -> tuple[dict[str, dict], dict[str, list[str]]]:
    """Hosts and groups of a split tier with so many hosts: four in ten serve web, four in ten Sidekiq."""
    tiers = {"db": 1, "replica": max(1, count // 100), "redis": 1, "pool": 2, "edge": max(2, count // 50)}
    rest = count - sum(tiers.values())
    tiers |= {"web": rest - rest // 2, "worker": rest // 2}
    names = {tier: [f"{tier}{number}" for number in range(1, many + 1)] for tier, many in tiers.items()}
    groups = {
        "nginx": names["edge"],
        "streaming": names["edge"],
        "web": names["web"],
        "sidekiq": names["worker"],
        "postgres": names["db"] + names["replica"],
        "postgres_primary": names["db"],
        "postgres_replica": names["replica"],
        "pgbouncer": names["pool"],
        "redis": names["redis"],
        "redis_core": names["redis"],
    }
    sizes = {"db": (32, 131072), "replica": (32, 131072), "redis": (8, 32768), "edge": (8, 16384), "pool": (4, 8192)}
    hosts = {}
    for tier, members in names.items():
        for name in members:
            vcpus, memory_mb = sizes.get(tier, (4, 8192))
            address = f"10.0.{len(hosts) // 250}.{len(hosts) % 250 + 1}"
            hosts[name] = {"vm_vcpus": vcpus, "vm_memory_mb": memory_mb, "vm_address": address}
    return hosts, groups


def library_seconds(count: int, repeat: int) -> float:
    """The median of so many computations of the plan of so many hosts, its checks included."""
    hosts, groups = fleet(count)
    seconds = []
    for _turn in range(repeat):
        begin = time.perf_counter()
        plan = from_inventory(hosts, groups, SETTINGS).as_mapping()
        seconds.append(time.perf_counter() - begin)
        if len(plan["hosts"]) not in (0, count):
            sys.exit(f"The plan of {count} hosts has {len(plan['hosts'])}.")
    return round(statistics.median(seconds), 4)


def playbook_seconds(count: int) -> float:
    """How long `ansible-playbook playbooks/plan.yml` takes for so many hosts, from start to end of the program."""
    hosts, groups = fleet(count)
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder) / "hosts.json"
        children = {group: {"hosts": dict.fromkeys(members)} for group, members in groups.items()}
        inventory.write_text(json.dumps({"all": {"hosts": hosts, "children": children, "vars": SETTINGS}}))
        begin = time.monotonic()
        done = subprocess.run(
            [BIN / "ansible-playbook", "-i", inventory, "playbooks/plan.yml", "-e", f"plan_directory={folder}"],
            cwd=CHECKOUT, env={**os.environ, "ANSIBLE_CACHE_PLUGIN": "memory"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - begin
    if done.returncode:
        sys.exit(f"plan.yml ended with status {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return round(seconds, 1)


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="computations of each size; the median counts")
    arguments = parser.parse_args()
    library = {str(count): library_seconds(count, arguments.repeat) for count in SIZES}
    playbook = playbook_seconds(PLAYBOOK_HOSTS)
    measured = record("plan", {"library_seconds": library, f"plan_yml_{PLAYBOOK_HOSTS}_hosts_seconds": playbook})
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
