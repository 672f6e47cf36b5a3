# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong at once, of what somebody is told then, and what is hushed by it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from e2e.fleet import Fleet
from e2e.instance import Host, Instance

from . import faults
from .watching import Webhook, query

OVER_SECONDS = 300

Causes = list[Callable[[], AbstractContextManager]]


@dataclass(frozen=True)
class Scene:
    """What things go wrong with."""

    instance: Instance
    plan_of: Callable[[str], dict]
    fleet: Fleet
    watch: Host
    hook: Webhook

    @property
    def password(self) -> str:
        """Of the database."""
        return self.fleet.secrets()["mastodon_postgres_password"]

    @property
    def connections(self) -> int:
        """Of the first pool of the pooler."""
        pool = self.plan_of("pool1")["pgbouncer"]["pools"][0]
        return pool["pool_size"] + pool["reserve_pool_size"]

    @property
    def threads(self) -> int:
        """Of Puma, on the first host."""
        return threads(self.plan_of("web1"))


def threads(plan: dict) -> int:
    """Of Puma, on a host with this plan."""
    return max(1, plan["web"]["workers"]) * plan["web"]["threads"]


@dataclass(frozen=True)
class Wave:
    """What goes wrong at once, {alert: of what}: of these somebody is told, of the quiet ones by a louder one."""

    name: str
    told: dict[str, str]
    causes: Callable[[Scene], Causes] | None = None
    quiet: dict[str, str] = field(default_factory=dict)
    over_seconds: int = OVER_SECONDS


def many_things(scene):
    """Work piles up; meanwhile a host is away, a disk is full, and a replica, streaming and an exporter do not run."""
    hosts = scene.instance.hosts
    # Mended from the last to the first: what starts needs the database.
    return [
        lambda: faults.away(hosts["web2"]),
        lambda: faults.stopped(hosts["worker1"], "mastodon-sidekiq@*.service"),
        lambda: faults.stopped(hosts["streaming1"], "mastodon-streaming@*.service"),
        lambda: faults.stopped(hosts["edge1"], "prometheus-nginx-exporter.service"),
        lambda: faults.certificate_near_its_end(hosts["edge1"]),
        lambda: faults.full_disk(hosts["worker1"]),
        lambda: faults.slow_neighbour(scene.instance),
        lambda: faults.locked_table(scene.instance, hosts["web1"], scene.threads),
        lambda: faults.stopped(hosts["db2"], "postgresql@*.service"),
        lambda: faults.exhausted_pool(hosts["pool1"], scene.connections + 5, scene.password),
        lambda: faults.redis_nearly_full(scene.instance, 0.85),
    ]


def minutes(scene):
    """A unit fails again and again, and deliveries are late by minutes."""
    return [
        lambda: faults.broken(scene.instance.hosts["edge1"], "prometheus-nginx-exporter.service"),
        lambda: faults.slow_neighbour(scene.instance),
    ]


def long_remembered(scene):
    """Jobs are given up, requests fail, a program is killed, clients are refused: an hour or minutes of it count."""
    hosts = scene.instance.hosts
    most = scene.plan_of("pool1")["pgbouncer"]["max_client_conn"]
    token = scene.instance.another_client().token
    there = query(scene.watch, "sum by (instance) (pgbouncer_pools_client_active_connections)")["pool1"]
    return [
        lambda: faults.killed_for_memory(hosts["worker1"]),
        lambda: faults.dying_jobs(scene.instance),
        lambda: faults.second_scheduler(scene.instance),
        lambda: faults.stuttering(hosts["streaming1"], "mastodon-streaming@*.service"),
        lambda: faults.environment(hosts["web1"], "mastodon-web.service", "DB_POOL", "1"),
        lambda: faults.redis_full_of_clients(scene.instance),
        lambda: faults.many_clients(hosts["pool1"], int(most * 0.92 - there), scene.password),
        lambda: faults.locked_table(scene.instance, hosts["web1"], scene.threads, "oauth_access_tokens"),
        lambda: faults.crowd(hosts["streaming1"], scene.plan_of("streaming1"), 40, token),
    ]


def unwatched(scene):
    """What watches is broken, a replica is lost, and memory and file descriptors are scarce."""
    hosts = scene.instance.hosts
    streaming, token = hosts["streaming1"], scene.instance.another_client().token
    return [
        lambda: faults.lost_replica(hosts["db1"], hosts["db2"], scene.fleet),
        scene.hook.another_token,
        lambda: faults.own_rule(scene.watch, "up * on (job) up"),
        lambda: faults.no_targets(scene.watch, "blackbox"),
        lambda: faults.by_hand(streaming, "mastodon-streaming@4000.service", "LimitNOFILE=128"),
        lambda: faults.crowd(streaming, scene.plan_of("streaming1"), 90, token),
        lambda: faults.little_memory(hosts["worker1"]),
    ]


def limits(scene):
    """Redis has no memory and no disk, PostgreSQL no connections; a replica lags, and Puma is smaller than planned.

    A disk, a pool and the replica's connections are nearly used up.
    """
    hosts = scene.instance.hosts
    return [
        lambda: faults.full_disk(hosts["worker1"], 0.93),
        lambda: faults.fewer_workers(hosts["web2"]),
        lambda: faults.stopped(hosts["web1"], "mastodon-prometheus-exporter.service"),
        lambda: faults.replay_paused(hosts["db2"], hosts["db1"]),
        lambda: faults.redis_nearly_full(scene.instance),
        lambda: faults.redis_cannot_save(scene.instance),
        lambda: faults.exhausted_pool(hosts["pool1"], scene.connections + 5, scene.password, seconds=2),
        lambda: faults.many_connections(hosts["db2"], 0.88),
        lambda: faults.many_connections(hosts["db1"]),
    ]


def nothing_works(scene):
    """The primary, the pooler and Redis stand still, and so does the edge."""
    hosts = scene.instance.hosts
    return [
        lambda: faults.stopped(hosts["db1"], "postgresql@*.service"),
        lambda: faults.stopped(hosts["redis1"], "redis-server.service"),
        lambda: faults.stopped(hosts["pool1"], "pgbouncer.service"),
        lambda: faults.stopped(hosts["edge1"], "nginx.service"),
    ]


WAVES = (
    Wave(
        "many_things_at_once",
        causes=many_things,
        told={
            "PumaSaturated": "web1",
            "PoolClientsWaitLong": "pool1",
            "QueueLate": "push",
            "QueueUnserved": "default",
            "DiskFull": "worker1",
            "CertificateExpires": "edge1",
            "RedisMemoryHigh": "redis1",
            "ReplicaGone": "db1",
            "HostDown": "web2",
            "TargetDown": "edge1",
            "StreamingDown": "",
        },
        quiet={"PoolClientsWait": "pool1", "DiskLow": "worker1"},
    ),
    Wave(
        "limits_are_reached",
        causes=limits,
        told={
            "RedisMemoryFull": "redis1",
            "RedisNotSaving": "redis1",
            "PostgresConnectionsFull": "db1",
            "ReplicaLagging": "db2",
            "PumaSilent": "web1",
            "PumaWorkersMissing": "web2",
            "DiskLow": "worker1",
            "PoolClientsWait": "pool1",
            "PostgresConnectionsHigh": "db2",
        },
        quiet={"RedisMemoryHigh": "redis1", "PostgresConnectionsHigh": "db1"},
    ),
    Wave(
        "nothing_works",
        causes=nothing_works,
        told={
            "PostgresDown": "db1",
            "PgbouncerDown": "pool1",
            "RedisDown": "redis1",
            "SidekiqStateStale": "",
            "EdgeNotAnswering": "edge1",
        },
    ),
)
# What takes minutes until it is told, or over, whatever is scaled: rates and means over some of them are looked at.
SLOW_WAVES = (
    Wave(
        "minutes",
        causes=minutes,
        told={"UnitFailed": "edge1", "QueueVeryLate": "push"},
        quiet={"QueueLate": "push"},
    ),
    Wave(
        "long_remembered",
        causes=long_remembered,
        told={
            "JobsDie": "redis1",
            "SchedulerTwice": "",
            "StreamingSlow": "streaming1",
            "StreamingPoolExhausted": "streaming1",
            "DatabasePoolExhausted": "web1",
            "ErrorsBurnFast": "",
            "AnswersSlow": "",
            "PgbouncerFull": "pool1",
            "RedisRejectsClients": "redis1",
            "KilledForMemory": "worker1",
        },
        over_seconds=720,
    ),
    Wave(
        "unwatched",
        causes=unwatched,
        told={
            "ReplicaLost": "db1",
            "NotificationsFail": "",
            "RulesFail": "watch1",
            "TargetsMissing": "",
            "FileDescriptorsLow": "streaming1",
            "MemoryLow": "worker1",
        },
        over_seconds=720,
    ),
)

BACKLOG = Wave("backlog", told={"PumaBacklog": "web1"})
CUT_OFF = Wave("cut_off", told={"StreamingClientsLost": ""})
SPARED = Wave("spared", told={"RedisSpareDown": "redis3"})

ALL_WAVES = (*WAVES, *SLOW_WAVES, BACKLOG, CUT_OFF, SPARED)
