# SPDX-License-Identifier: GPL-3.0-or-later
"""What is judged, by which numbers, and what comes of it: plain dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

Severity = Literal["warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """From which number on something is a warning, or a problem. Each can be set by its name (status_thresholds)."""

    # PostgreSQL and its WAL, and Redis when it writes its file anew, take much at once; a full disk stops both.
    disk_warning_percent: int = 85
    disk_problem_percent: int = 95
    # Of max_connections, and of the clients of PgBouncer and Redis: what comes beyond is refused.
    connections_warning_percent: int = 80
    connections_problem_percent: int = 95
    # Of maxmemory, where Redis evicts nothing: it takes no more writes when it is full.
    memory_warning_percent: int = 80
    memory_problem_percent: int = 95
    # A client that waits for a connection is a person who waits for a page; at query_wait_timeout it fails.
    pool_wait_warning_seconds: int = 1
    pool_wait_problem_seconds: int = 10
    # How long the oldest job of a queue waits: people notice the first, and ask about the second.
    latency_warning_seconds: int = 60
    latency_problem_seconds: int = 600
    # From the first on nobody reads from a replica (postgres_replica_max_lag_seconds).
    lag_warning_seconds: int = 10
    lag_problem_seconds: int = 600
    # Certificates are made anew in the last third of their life: by now that has failed for a while. Those with a long
    # life warn no sooner than three weeks before their end.
    certificate_warning_percent: int = 25
    certificate_problem_percent: int = 10
    certificate_warning_days: int = 21
    certificate_problem_days: int = 7
    # Sidekiq beats every ten seconds; after sixty Redis forgets the process.
    beat_warning_seconds: int = 30
    # A unit that systemd has had to start anew this lately may have to be started anew again.
    settled_seconds: int = 600

    @classmethod
    def of(cls, given: Mapping[str, object] | None) -> Thresholds:
        """The thresholds with those that a person set. Raises ValueError for another name, or what is no number."""
        given = dict(given or {})
        names = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in names:
                raise ValueError(f"status_thresholds: {name} is none of them; there are {', '.join(names)}")
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"status_thresholds: {name} is {value!r}; allowed: a whole number from 0")
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is not as it should be, and what to do. component: a key of the words of the plan, or `host`."""

    severity: Severity
    host: str
    component: str
    message: str
    advice: str

    def as_mapping(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
