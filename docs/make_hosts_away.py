# SPDX-License-Identifier: GPL-3.0-or-later
"""Write into docs/fleet.md what people notice of a host that is away, from the last record of tests that killed each.

The lines between the marks are never edited by hand; a unit test compares them with what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/fleet.md"
RECORDS = ROOT / "tests/results/hosts_killed.jsonl"
BEGIN, END = "<!-- Made by `make docs`: hosts away -->\n", "<!-- end of hosts away -->\n"
# What the load does, in the words of those who notice it.
KINDS = {
    "page": "pages",
    "home": "home timelines",
    "post": "posting",
    "delivery": "delivery of posts to followers",
    "stream": "the stream",
}


def noticed(stopped: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what stopped, and for how many seconds."""
    told = [f"{words}: {stopped[kind]['seconds']:.0f} s" for kind, words in KINDS.items() if kind in stopped]
    return "<br>".join(told) or "nothing"


def table(record: Mapping[str, Any]) -> str:
    """Return the table of a record, as tests/e2e/split_tier/test_hosts_killed.py writes it."""
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


def page() -> str:
    """Return the page with the table of the last record. Raises ValueError where it has no place for one."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no place for the table; expected the lines {BEGIN!r} and {END!r}")
    last = json.loads(RECORDS.read_text(encoding="utf-8").splitlines()[-1])
    return f"{before}{begin}\n{table(last)}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
