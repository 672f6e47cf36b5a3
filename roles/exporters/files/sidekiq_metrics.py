# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the state of Sidekiq's queues for the node exporter: python3 -m fediops_sidekiq TARGET.

Reads REDIS_PORT, REDIS_PASSWORD and, where Redis speaks TLS, REDIS_CA_FILE from the environment. Where Redis does not
answer, TARGET is removed: numbers that nobody knows must not look like numbers.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .redis_client import RedisClient, RedisError
from .sidekiq import read_state

# name: (kind, what it is)
ABOUT = {
    "queue_size": ("gauge", "Jobs that wait in a queue."),
    "queue_latency_seconds": ("gauge", "For how long the oldest job of a queue has waited."),
    "queue_consumers": ("gauge", "Processes that listen to a queue and take jobs."),
    "processes": ("gauge", "Processes of the whole fleet."),
    "threads": ("gauge", "Jobs that they can run at once."),
    "busy_threads": ("gauge", "Jobs that they run."),
    "retries": ("gauge", "Jobs that failed and will be tried again."),
    "scheduled": ("gauge", "Jobs that wait for their time."),
    "dead": ("gauge", "Jobs that failed too often."),
    "processed_total": ("counter", "Jobs that have run, those that failed among them."),
    "failed_total": ("counter", "How often a job failed."),
    "state_seconds": ("gauge", "When all of this was read, in seconds since 1970."),
}


def numbers(state: Mapping[str, Any], now: float) -> Iterator[tuple[str, str | None, float]]:
    """Name, queue if it is of one, and value of each number. state: as read_state returns it."""
    processes = state["processes"]
    listening = [set(process["queues"]) for process in processes if not process["quiet"]]
    for queue, about in state["queues"].items():
        yield "queue_size", queue, about["size"]
        yield "queue_latency_seconds", queue, about["latency_seconds"]
        yield "queue_consumers", queue, sum(queue in queues for queues in listening)
    yield "processes", None, len(processes)
    yield "threads", None, sum(process["concurrency"] for process in processes)
    yield "busy_threads", None, sum(process["busy"] for process in processes)
    for name in ("retries", "scheduled", "dead"):
        yield name, None, state[name]
    yield "processed_total", None, state["processed"]
    yield "failed_total", None, state["failures"]
    yield "state_seconds", None, round(now, 3)


def text(state: Mapping[str, Any], now: float) -> str:
    """The state as Prometheus reads it."""
    found: dict[str, list[str]] = {}
    for name, queue, value in numbers(state, now):
        quoted = None if queue is None else queue.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        label = "" if quoted is None else f'{{queue="{quoted}"}}'
        found.setdefault(name, []).append(f"fediops_sidekiq_{name}{label} {value}")
    lines = []
    for name, values in found.items():
        kind, what = ABOUT[name]
        lines += [f"# HELP fediops_sidekiq_{name} {what}", f"# TYPE fediops_sidekiq_{name} {kind}", *values]
    return "\n".join(lines) + "\n"


def write(target: Path, content: str) -> None:
    """Put a file in place, whole."""
    # The node exporter reads what ends with .prom.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def main() -> None:
    """Ask Redis and write what it says."""
    target = Path(sys.argv[1])
    ca_file = os.environ.get("REDIS_CA_FILE")
    try:
        redis = RedisClient.at(
            "127.0.0.1",
            int(os.environ["REDIS_PORT"]),
            password=os.environ.get("REDIS_PASSWORD"),
            tls=ca_file is not None,
            ca_file=ca_file,
        )
        with contextlib.closing(redis):
            state = read_state(redis)
    except RedisError as error:
        target.unlink(missing_ok=True)
        sys.exit(str(error))
    write(target, text(state, time.time()))


if __name__ == "__main__":
    main()
