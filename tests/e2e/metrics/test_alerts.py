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

import pytest
from bench.record import record
from e2e.instance import Instance, wait_until
from e2e.status.test_status import ROW

from . import faults
from .watching import IN_HASTE, SECONDS, alerts, all_targets_up, firing, mail_with, mails, query, webhook

# Puma reports every half minute, and how a unit did is averaged over five minutes.
TOLD_SECONDS, OVER_SECONDS, QUIET_SECONDS = 260, 300, 60

Causes = list[Callable[[], AbstractContextManager]]


@dataclass(frozen=True)
class Scene:
    """What things go wrong with."""

    instance: Instance
    plan_of: Callable[[str], dict]
    password: str

    @property
    def threads(self) -> int:
        """Of Puma, on a host."""
        web = self.plan_of("web1")["web"]
        return max(1, web["workers"]) * web["threads"]


@dataclass(frozen=True)
class Wave:
    """What goes wrong at once, {alert: of what}: of these somebody is told, of the quiet ones by a louder one."""

    name: str
    causes: Callable[[Scene], Causes]
    told: dict[str, str]
    quiet: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """Seconds from the cause to when Alertmanager knew and a mail came, and from the repair to when both were over."""

    known: float | None = None
    mailed: float | None = None
    ended: float | None = None
    told_of_end: float | None = None


def many_things(scene):
    """Work piles up; meanwhile a host is away, a disk is full, and a replica, streaming and an exporter do not run."""
    hosts, pool = scene.instance.hosts, scene.plan_of("pool1")["pgbouncer"]["pools"][0]
    connections = pool["pool_size"] + pool["reserve_pool_size"]
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
        lambda: faults.exhausted_pool(hosts["pool1"], connections + 5, scene.password),
    ]


def minutes(scene):
    """A unit fails again and again, and deliveries are late by minutes."""
    return [
        lambda: faults.broken(scene.instance.hosts["edge1"], "prometheus-nginx-exporter.service"),
        lambda: faults.slow_neighbour(scene.instance),
    ]


def limits(scene):
    """Redis has no memory and no disk, PostgreSQL no connections; a replica lags, and Puma is smaller than planned."""
    hosts = scene.instance.hosts
    return [
        lambda: faults.fewer_workers(hosts["web2"]),
        lambda: faults.stopped(hosts["web1"], "mastodon-prometheus-exporter.service"),
        lambda: faults.replay_paused(hosts["db2"], hosts["db1"]),
        lambda: faults.redis_nearly_full(scene.instance),
        lambda: faults.redis_cannot_save(scene.instance),
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
        many_things,
        told={
            "PumaSaturated": "web1",
            "PoolClientsWaitLong": "pool1",
            "QueueLate": "push",
            "QueueUnserved": "default",
            "DiskFull": "worker1",
            "CertificateExpires": "edge1",
            "ReplicaGone": "db1",
            "HostDown": "web2",
            "TargetDown": "edge1",
            "StreamingDown": "",
        },
        quiet={"PoolClientsWait": "pool1", "DiskLow": "worker1"},
    ),
    Wave(
        "limits_are_reached",
        limits,
        told={
            "RedisMemoryFull": "redis1",
            "RedisNotSaving": "redis1",
            "PostgresConnectionsFull": "db1",
            "ReplicaLagging": "db2",
            "PumaSilent": "web1",
            "PumaWorkersMissing": "web2",
        },
        quiet={"RedisMemoryHigh": "redis1", "PostgresConnectionsHigh": "db1"},
    ),
    Wave(
        "nothing_works",
        nothing_works,
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
SLOW_WAVE = Wave("minutes", minutes, told={"UnitFailed": "edge1", "QueueVeryLate": "push"}, quiet={"QueueLate": "push"})


def cases(kind):
    """(wave, alert) of each wave; of the slow one by name only."""
    all_waves = [(wave, ()) for wave in WAVES] + [(SLOW_WAVE, pytest.mark.by_name)]
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
        wanted = (self._wave.told | self._wave.quiet).items()
        wait_until(lambda: not wanted & alerts(self._watch).keys(), QUIET_SECONDS, "none of this is wrong before")
        self._before = set(mails(self._fleet))
        with ExitStack() as broken:
            began = time.monotonic()
            for cause in causes:
                broken.enter_context(cause())
            self._look(began, TOLD_SECONDS, self._is_told)
            mending = time.monotonic()
        self._look(mending, OVER_SECONDS, self._is_over)

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
def hasty(deployed, watch, whole_plan):
    """The fleet with alerts that fire within seconds, by mail and to this webhook; as before afterwards."""
    with webhook(watch.address.rpartition(".")[0] + ".1") as hook:
        hooks = {"metrics_alert_webhooks": [{"url": hook.url, "bearer_token": hook.token}]}
        run = deployed.site("--tags", "metrics", "-e", json.dumps(IN_HASTE | hooks))
        assert run.recap[watch.name]["failed"] == 0
        assert hook.token not in run.output
        all_targets_up(watch, whole_plan)
        yield hook
        deployed.site("--tags", "metrics")


def outcome(wave):
    """A fixture by the name of a wave: what was seen of it, once for all tests."""

    @pytest.fixture(scope="module", name=wave.name)
    def ran(hasty, watch, watched, fleet, plan_of):
        if not watched.hosts_of("pgbouncer"):
            pytest.skip("for a fleet whose parts are on hosts of their own")
        watcher = Watcher(wave, watch, fleet, watched.hosts)
        scene = Scene(watched, plan_of, fleet.secrets()["mastodon_postgres_password"])
        watcher.run(wave.causes(scene))
        seen = {alert: vars(it) for alert, it in watcher.seen.items()}
        record("alerts", {"wave": wave.name, "for_scale": IN_HASTE["metrics_alert_for_scale"], "seconds": seen})
        return watcher

    return ran


first, second, third, slow = map(outcome, [*WAVES, SLOW_WAVE])


@pytest.mark.parametrize(("wave", "alert"), cases("told"))
@pytest.mark.usefixtures("hasty")
def test_somebody_is_told_and_told_that_it_is_over(request, wave, alert):
    seen = request.getfixturevalue(wave.name).seen[alert]
    assert None not in vars(seen).values(), seen


@pytest.mark.parametrize(("wave", "alert"), cases("quiet"))
@pytest.mark.usefixtures("hasty")
def test_nobody_is_told_of_less_than_the_worst(request, wave, alert):
    assert alert in request.getfixturevalue(wave.name).hushed


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
