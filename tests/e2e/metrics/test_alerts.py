# SPDX-License-Identifier: GPL-3.0-or-later
"""Things go wrong, each by its own cause: somebody is told by mail, once, and told again when they are mended.

The rules are those that everybody gets; only how long something must last is scaled, and how often Prometheus looks.
What was seen is added to tests/results/alerts.jsonl.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest
from bench.record import record
from e2e.fleet import Fleet
from e2e.instance import Host, Instance, wait_until
from e2e.status.test_status import ROW

from . import faults
from .watching import (
    IN_HASTE,
    SECONDS,
    Webhook,
    alerts,
    all_targets_up,
    firing,
    mail_with,
    mails,
    query,
    submission,
    webhook,
)

# Puma reports every half minute, and how a unit did is averaged over five minutes.
TOLD_SECONDS, OVER_SECONDS, QUIET_SECONDS = 260, 300, 60

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


@dataclass
class Seen:
    """Seconds from the cause to when Alertmanager knew and a mail came, and from the repair to when both were over."""

    known: float | None = None
    mailed: float | None = None
    ended: float | None = None
    told_of_end: float | None = None


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


def cases(kind):
    """(wave, alert) of each wave; of the slow ones by name only."""
    all_waves = [(wave, ()) for wave in WAVES] + [(wave, pytest.mark.by_name) for wave in SLOW_WAVES]
    return [
        pytest.param(wave, alert, id=f"{wave.name}-{alert}", marks=marks)
        for wave, marks in all_waves
        for alert in getattr(wave, kind)
    ]


class Watcher:
    """Looks at what is told while things break and are mended."""

    def __init__(self, wave: Wave, watch, fleet, hosts) -> None:
        self._wave, self._watch, self._fleet, self._hosts = wave, watch, fleet, hosts
        self.seen = {alert: Seen() for alert in wave.told}
        self.hushed: set[str] = set()

    def run(self, causes: Causes) -> None:
        """Break all of it, look until everything was told, mend all of it, and look until all is said to be over."""
        wanted = self._wave.told.items() | self._wave.quiet.items()
        wait_until(lambda: not wanted & alerts(self._watch).keys(), QUIET_SECONDS, "none of this is wrong before")
        self._before = set(mails(self._fleet))
        with ExitStack() as broken:
            began = time.monotonic()
            for cause in causes:
                broken.enter_context(cause())
            self._look(began, TOLD_SECONDS, self._is_told)
            mending = time.monotonic()
        self._look(mending, self._wave.over_seconds, self._is_over)
        seconds = {alert: vars(it) for alert, it in self.seen.items()}
        record(
            "alerts", {"wave": self._wave.name, "for_scale": IN_HASTE["metrics_alert_for_scale"], "seconds": seconds}
        )

    def _look(self, began, seconds, done) -> None:
        while (now := time.monotonic() - began) < seconds and not done(alerts(self._watch), round(now, 1)):
            time.sleep(0.5)

    def _mail(self, alert, state):
        # Alerts of one kind are one mail, with a line each; that of a queue has its name in what follows.
        what = self._wave.told[alert]
        on = f" on {what}" if what in self._hosts else ""
        return mail_with(self._fleet, self._before, f"\n{alert}{on}: {state}\n")

    def _is_told(self, found, now) -> bool:
        for alert, seen in self.seen.items():
            if seen.known is None and found.get((alert, self._wave.told[alert])) == "active":
                seen.known = now
            if seen.known is not None and seen.mailed is None and self._mail(alert, "firing"):
                seen.mailed = now
        self.hushed |= {alert for alert, what in self._wave.quiet.items() if found.get((alert, what)) == "suppressed"}
        return all(it.mailed is not None for it in self.seen.values()) and self.hushed == self._wave.quiet.keys()

    def _is_over(self, found, now) -> bool:
        for alert, seen in self.seen.items():
            if seen.ended is None and (alert, self._wave.told[alert]) not in found:
                seen.ended = now
            if seen.ended is not None and seen.told_of_end is None and self._mail(alert, "resolved"):
                seen.told_of_end = now
        return all(it.told_of_end is not None for it in self.seen.values() if it.mailed is not None)


@pytest.fixture(scope="module")
def hasty(deployed, watch, whole_plan, tmp_path_factory):
    """The fleet with alerts that fire within seconds, by mail with a login and to this webhook; then as before."""
    with (
        webhook(watch.address.rpartition(".")[0] + ".1") as hook,
        submission(deployed, watch, tmp_path_factory.mktemp("submission")) as mail,
    ):
        hooks = {"metrics_alert_webhooks": [{"url": hook.url, "bearer_token": hook.token}]}
        run = deployed.site("--tags", "metrics", "-e", json.dumps(IN_HASTE | hooks | mail))
        assert run.recap[watch.name]["failed"] == 0
        assert hook.token not in run.output
        assert mail["metrics_smtp_password"] not in run.output
        all_targets_up(watch, whole_plan)
        yield hook
        deployed.site("--tags", "metrics")


def outcome(wave):
    """A fixture by the name of a wave: what was seen of it, once for all tests."""

    @pytest.fixture(scope="module", name=wave.name)
    def ran(hasty, watch, watched, deployed, fleet, plan_of):
        if not watched.hosts_of("pgbouncer"):
            pytest.skip("for a fleet whose parts are on hosts of their own")
        watcher = Watcher(wave, watch, fleet, watched.hosts)
        watcher.run(wave.causes(Scene(watched, plan_of, deployed, watch, hasty)))
        return watcher

    return ran


first, second, third, fourth, fifth, sixth = map(outcome, WAVES + SLOW_WAVES)


@pytest.mark.parametrize(("wave", "alert"), cases("told"))
@pytest.mark.usefixtures("hasty")
def test_somebody_is_told_and_told_that_it_is_over(request, wave, alert):
    seen = request.getfixturevalue(wave.name).seen[alert]
    assert None not in vars(seen).values(), seen


@pytest.mark.parametrize(("wave", "alert"), cases("quiet"))
@pytest.mark.usefixtures("hasty")
def test_nobody_is_told_of_less_than_the_worst(request, wave, alert):
    assert alert in request.getfixturevalue(wave.name).hushed


@pytest.mark.by_name
@pytest.mark.usefixtures("hasty")
def test_people_who_do_not_come_back_are_missed(watch, watched, plan_of, fleet):
    streaming = watched.host_of("streaming")
    token, many = watched.another_client().token, "avg_over_time(fediops:streaming_clients:sum[30m] offset 5m) > 20"
    with faults.crowd(streaming, plan_of(streaming.name), 200, token) as people:
        wait_until(lambda: query(watch, many), faults.CROWD_SECONDS / 2, "there were many for minutes")
        watcher = Watcher(CUT_OFF, watch, fleet, watched.hosts)
        watcher.run([people.cut_off])
    assert None not in vars(watcher.seen["StreamingClientsLost"]).values()


@pytest.mark.by_name
@pytest.mark.usefixtures("hasty")
def test_more_people_ask_than_are_served(deployed, watch, watched, plan_of, fleet):
    if deployed.made["app"] != "mastodon":
        pytest.skip("Debian's Puma, with which the stand-in runs, takes no request for which no thread is free")
    watcher, web = Watcher(BACKLOG, watch, fleet, watched.hosts), watched.hosts["web1"]
    watcher.run([partial(faults.locked_table, watched, web, 3 * threads(plan_of("web1")))])
    assert None not in vars(watcher.seen["PumaBacklog"]).values()


@pytest.mark.by_name
@pytest.mark.usefixtures("hasty")
def test_without_a_redis_that_can_be_spared(watch, watched, fleet):
    spared = [*watched.hosts_of("redis_cache"), *watched.hosts_of("redis_replica")]
    if not spared:
        pytest.skip("for a fleet with a Redis for the cache, or a second one")
    for host in spared:
        wave = Wave("spared", told={"RedisSpareDown": host.name})
        watcher = Watcher(wave, watch, fleet, watched.hosts)
        watcher.run([partial(faults.stopped, host, "redis-server*.service")])
        assert None not in vars(watcher.seen["RedisSpareDown"]).values()


def test_a_mail_says_what_to_do_and_the_status_names_it(watch, watched, fleet, hasty):
    edge = watched.host_of("nginx")
    alert = ("EdgeNotAnswering", edge.name)
    wait_until(lambda: query(watch, "probe_success").get(edge.name) == 1, SECONDS, "the edge answers")
    before = set(mails(fleet))
    with faults.stopped(edge, "nginx.service"):
        wait_until(lambda: alert in firing(watch), SECONDS, "the alert fires")
        told = wait_until(
            lambda: mail_with(fleet, before, "Subject: [FIRING critical] EdgeNotAnswering"), SECONDS, "a mail says so"
        )
        assert edge.name in told
        assert "docs/runbooks/EdgeNotAnswering.md" in told
        status = fleet.command("run", "playbooks/status.yml", check=False)
        assert status.status != 0
        assert "The alert EdgeNotAnswering fires" in status.output
        assert dict(ROW.findall(status.output))[edge.name] == "problem"
    told = [(it["status"], one["labels"]["alertname"]) for it in hasty.took for one in it["alerts"]]
    assert ("firing", "EdgeNotAnswering") in told
    wait_until(lambda: alert not in firing(watch), SECONDS, "the alert ends")
    wait_until(
        lambda: mail_with(fleet, before, "Subject: [RESOLVED] EdgeNotAnswering"), SECONDS, "a mail says that it is over"
    )
