# SPDX-License-Identifier: GPL-3.0-or-later
"""Write into docs/fleet.md what people notice of a host that is away, and of changes, as tests last recorded it.

The lines between the marks are never edited by hand; a unit test compares them with what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/fleet.md"
RESULTS = ROOT / "tests/results"
# What the load does, in the words of those who notice it.
KINDS = {
    "page": "pages",
    "home": "home timelines",
    "post": "posting",
    "delivery": "delivery of posts to followers",
    "stream": "the stream",
}
# What was done, where it is recorded, and as what.
SEVERAL, ROLLED = {"web3", "worker3", "edge2", "streaming2", "db3"}, {"pool2", "cache1"}
CHANGES = {
    "an edge, a web host, workers, a streaming host and a replica are added in one run": ("growing", SEVERAL),
    "the same are retired in one run": ("retiring", SEVERAL),
    "a pooler and a Redis for the cache are added, for which the application restarts": ("growing", ROLLED),
    "the same are retired, for which it restarts again": ("retiring", ROLLED),
    "Puma restarts, on two hosts": ("rolling", {"web"}),
    "Sidekiq restarts, on two hosts": ("rolling", {"sidekiq"}),
    "streaming restarts, its only process": ("rolling", {"streaming"}),
    "nginx restarts, the only one": ("restarting", {"nginx"}),
    "HAProxy restarts": ("restarting", {"haproxy"}),
    "a web host, a worker and a replica are started anew": ("restarting", {"hosts started anew"}),
    "PostgreSQL restarts, the primary and then the replica": ("restarting", {"postgres"}),
    "Redis restarts, the only one": ("restarting", {"redis"}),
    "PgBouncer restarts, the only one, and the application after it": ("restarting", {"pgbouncer"}),
}


def records(name: str) -> list[dict[str, Any]]:
    """Return what was recorded under a name, the last one last."""
    return [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def noticed(stopped: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what stopped, and for how many seconds."""
    told = [f"{words}: {stopped[kind]['seconds']:.0f} s" for kind, words in KINDS.items() if kind in stopped]
    return "<br>".join(told) or "nothing"


def hosts_away() -> str:
    """Return the table of the last record of tests/e2e/split_tier/test_hosts_killed.py."""
    record = records("hosts_killed")[-1]
    lines = [
        f"Measured on {record['date'][:10]} at commit `{record['commit']}`, in containers: each host of `split_tier`",
        f"was killed and started again 20 seconds later, under a light load ({record['load']}).",
        f"Nobody did anything else. Posts lost: {record['lost_posts']} of {record['posts']}.",
        "",
        "| killed | runs | what did not work, from the first failure to the last | all well after its start |",
        "|---|---|---|---|",
    ]
    for host, seen in record["hosts"].items():
        again = f"{seen['well_again_seconds']:.0f} s"
        lines.append(f"| {host} | {', '.join(seen['groups'])} | {noticed(seen['stopped'])} | {again} |")
    return "\n".join(lines) + "\n"


def about(record: Mapping[str, Any]) -> set[str]:
    """Return what a record is about: hosts, a tier, or what was done."""
    what = next(record[key] for key in ("added", "host", "tier", "what") if key in record)
    return set(what if isinstance(what, list) else what.split(","))


def changes() -> str:
    """Return the table of the last record of each change. Raises ValueError where one was never recorded."""
    lines = [
        "Measured in containers on two processors, which the fleet, the load and Ansible shared: `split_tier` under",
        "52 requests a second, half of them for the application, none of them tried again.",
        "",
        "| what was done | date | requests that failed | posts lost | jobs lost | streams reopened | longest pause |",
        "|---|---|---|---|---|---|---|",
    ]
    for words, (name, what) in CHANGES.items():
        found = [record for record in records(name) if about(record) == what]
        if not found:
            raise ValueError(f"tests/results/{name}.jsonl has no record of {', '.join(sorted(what))}")
        last = found[-1]
        lines.append(
            f"| {words} | {last['date'][:10]} | {last['total_failures']} of {last['total_requests']:,} "
            f"| {last['lost_statuses']} of {last['statuses']:,} | {last['lost_jobs']} of {last['jobs']:,} "
            f"| {last['reconnects']} of {last['streams']} | {last['longest_pause_seconds']:.1f} s |"
        )
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page with its tables. Raises ValueError where it has no place for one."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in (("hosts away", hosts_away()), ("changes", changes())):
        begin, end = f"<!-- Made by `make docs`: {name} -->\n", f"<!-- end of {name} -->\n"
        before, begins, rest = text.partition(begin)
        _old, ends, after = rest.partition(end)
        if not begins or not ends:
            raise ValueError(f"{PAGE} has no place for a table; expected the lines {begin!r} and {end!r}")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
