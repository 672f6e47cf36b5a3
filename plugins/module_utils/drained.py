# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ports of a host are closed to new connections, as the module `drain` notes it; a reboot opens them."""

from __future__ import annotations

import json
import time
from pathlib import Path

MARK = "/run/fediops/drained.json"


def closed_ports(mark: str | Path = MARK) -> list[int]:
    """Return the ports that are closed now, sorted; none where a note is missing, unreadable or over its time."""
    try:
        noted = json.loads(Path(mark).read_text(encoding="utf-8"))
        until = noted["until"]
        return sorted(map(int, noted["ports"])) if until is None or time.time() < until else []
    except (OSError, ValueError, KeyError, TypeError):
        return []
