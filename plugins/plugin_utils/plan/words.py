# SPDX-License-Identifier: GPL-3.0-or-later
"""How the plan is told to people: names of components and values, and lists that stay readable for 200 hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# In the order in which a request meets them.
COMPONENTS = {
    "nginx": "nginx",
    "web": "Puma",
    "streaming": "streaming",
    "sidekiq": "Sidekiq",
    "pgbouncer": "PgBouncer",
    "haproxy": "HAProxy",
    "postgres": "PostgreSQL",
    "redis": "Redis",
    "metrics": "metrics",
}
_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)")


def label(path: str) -> str:
    """The name of a value: "Puma workers" of web.workers, "PostgreSQL max_connections" of its setting."""
    part, *rest = path.split(".")
    words = [word for word in rest if word not in ("settings", "processes", "sysctl") or word == rest[-1]]
    return " ".join([COMPONENTS.get(part, part), *words])


def listed(names: Iterable[str]) -> str:
    """Names, those that are numbered one after the other as a range: "db1, web1 to web12"."""
    runs: list[list[str]] = []
    last: tuple[str, str, int] | None = None
    for head, tail, number, name in sorted(map(_parts, set(names))):
        if last and number >= 0 and last == (head, tail, number - 1):
            runs[-1].append(name)
        else:
            runs.append([name])
        last = (head, tail, number)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def ports(numbers: Iterable[int]) -> str:
    """Ports, those that follow each other as a range: "80, 443", "4000 to 4003"."""
    return listed(str(number) for number in numbers)


def joined(words: Sequence[str]) -> str:
    """Words with commas and an "and" before the last."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def shown(value: object) -> str:
    """A value for people; nothing is a dash."""
    return "-" if value is None or value == "" else str(value)


def span(values: Iterable[int]) -> str:
    """Least and greatest of some numbers: "4", or "4 to 8" where they differ."""
    ordered = sorted(set(values))
    return str(ordered[0]) if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def size_of(memory_mb: int) -> str:
    """Memory in the unit in which it is sold: "512 MB", "4 GB", "7.8 GB"."""
    if memory_mb < 1000:
        return f"{memory_mb} MB"
    return f"{memory_mb / 1024:.1f}".removesuffix(".0") + " GB"


def _parts(name: str) -> tuple[str, str, int, str]:
    """What stands before and after the last number of a name, and the number; -1 where there is none."""
    match = _NUMBERED.fullmatch(name)
    return (match[1], match[3], int(match[2]), name) if match else (name, "", -1, name)
