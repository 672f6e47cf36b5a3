# SPDX-License-Identifier: GPL-3.0-or-later
"""Where measurements are kept: a line each in tests/results, with its date, commit and machine."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results"


def record(name: str, measured: dict) -> dict:
    """Add a measurement to results/NAME.jsonl; return it with what was added: date, commit and machine."""
    line = {
        "date": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "commit": revision(),
        "machine": f"{os.cpu_count()} processors, Python {platform.python_version()}",
        **measured,
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return line


def revision() -> str:
    """The commit of the checkout, with a plus where files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=RESULTS.parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
