# SPDX-License-Identifier: GPL-3.0-or-later
"""What Sidekiq keeps in Redis of its queues, its processes and the jobs that they work on; Sidekiq 7 and 8."""

from __future__ import annotations

import json
from typing import Any

from .redis_client import RedisClient

# app/workers and config/sidekiq.yml of Mastodon v4.6.5.
QUEUES = ("default", "push", "ingress", "mailers", "pull", "scheduler", "fasp")
# How they are called here; "failed" would be Ansible's own word for a module that failed.
COUNTS = ("scheduled", "retries", "dead", "processed", "failures")
# Sidekiq 8 counts milliseconds where Sidekiq 7 counts seconds; as seconds these would be in the year 5138.
SMALLEST_MILLISECONDS = 10**11


def read_state(redis: RedisClient) -> dict[str, Any]:
    """Return the state of the queues, the processes and their jobs, as the module sidekiq_state documents it.

    Ages are by the clock of Redis. Raises RedisError.
    """
    found, names, clock, *sizes = redis.ask_all(
        [
            ["SMEMBERS", "queues"],
            ["SMEMBERS", "processes"],
            ["TIME"],
            *(["ZCARD", key] for key in ("schedule", "retry", "dead")),
            *(["GET", key] for key in ("stat:processed", "stat:failed")),
        ]
    )
    now = int(clock[0]) + int(clock[1]) / 1_000_000
    queues = [*QUEUES, *sorted({_text(name) for name in found} - set(QUEUES))]
    identities = sorted(map(_text, names))
    lengths = redis.ask_all([["LLEN", f"queue:{queue}"] for queue in queues])
    oldest = redis.ask_all([["LINDEX", f"queue:{queue}", -1] for queue in queues])
    about = redis.ask_all([["HMGET", name, "info", "busy", "quiet", "beat"] for name in identities])
    work = redis.ask_all([["HVALS", f"{name}:work"] for name in identities])
    return {
        "queues": {
            queue: {"size": size, "latency_seconds": _latency(job, now)}
            for queue, size, job in zip(queues, lengths, oldest, strict=True)
        },
        # One that has not beaten for a minute leaves its name behind, and nothing else.
        "processes": [
            _process(identity, *fields, now=now)
            for identity, fields in zip(identities, about, strict=True)
            if fields[0]
        ],
        "jobs": [_job(identity, job, now) for identity, jobs in zip(identities, work, strict=True) for job in jobs],
        **dict(zip(COUNTS, map(int, (size or 0 for size in sizes)), strict=True)),
    }


def seconds(moment: float) -> float:
    """Return a moment in seconds since 1970, which Sidekiq 8 has in milliseconds."""
    return moment / 1000 if moment >= SMALLEST_MILLISECONDS else moment


def _age(moment: float, now: float) -> float:
    return round(max(0.0, now - seconds(float(moment))), 1)


def _latency(job: bytes | None, now: float) -> float:
    """How long the oldest job of a queue waits; one that nobody can read, or without a time, does not say."""
    about = _read(job) if job else {}
    return _age(about.get("enqueued_at") or about.get("created_at") or now, now)


def _process(
    identity: str, info: bytes, busy: bytes | None, quiet: bytes | None, beat: bytes | None, *, now: float
) -> dict[str, Any]:
    about = _read(info)
    return {
        "identity": identity,
        "hostname": about.get("hostname", identity.split(":")[0]),
        "tag": about.get("tag", ""),
        "queues": list(about.get("queues", [])),
        "concurrency": int(about.get("concurrency", 0)),
        "busy": int(busy or 0),
        "quiet": quiet == b"true",
        "started_at": seconds(float(about.get("started_at", 0))),
        "beat_age_seconds": _age(float(beat or 0), now),
    }


def _job(identity: str, text: bytes, now: float) -> dict[str, Any]:
    work = _read(text)
    payload = work.get("payload") or {}
    job = payload if isinstance(payload, dict) else _read(payload)
    return {
        "identity": identity,
        "hostname": identity.split(":")[0],
        "queue": work.get("queue", job.get("queue", "")),
        # What Rails' own jobs are wrapped in says nothing.
        "class": job.get("wrapped") or job.get("class", ""),
        "jid": job.get("jid", ""),
        "running_seconds": _age(work.get("run_at") or now, now),
    }


def _read(text: bytes | str) -> dict[str, Any]:
    """A JSON object; empty where it is none, because one spoiled job must not hide all others."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
