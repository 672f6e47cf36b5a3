# SPDX-License-Identifier: GPL-3.0-or-later
"""Things go wrong, each by its own cause: somebody is told by mail, once, and told again when they are mended.

The rules are those that everybody gets; only how long something must last is scaled, and how often Prometheus looks.
What was seen is added to tests/results/alerts.jsonl.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import pytest
from bench.record import record
from e2e.instance import wait_until
from e2e.status.test_status import ROW

from . import faults
from .watching import (
    IN_HASTE,
    SECONDS,
    alerts,
    all_targets_up,
    firing,
    mail_with,
    mails,
    query,
    submission,
    webhook,
)
from .waves import BACKLOG, CUT_OFF, SLOW_WAVES, SPARED, WAVES, Causes, Scene, Wave, threads

# Puma reports every half minute, and how a unit did is averaged over five minutes.
TOLD_SECONDS, QUIET_SECONDS = 260, 60


@dataclass
class Seen:
    """Seconds from the cause to when Alertmanager knew and a mail came, and from the repair to when both were over."""

    known: float | None = None
    mailed: float | None = None
    ended: float | None = None
    told_of_end: float | None = None


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
        about = {"app": self._fleet.made["app"], "wave": self._wave.name}
        record("alerts", about | {"for_scale": IN_HASTE["metrics_alert_for_scale"], "seconds": seconds})

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
        watcher = Watcher(replace(SPARED, told={"RedisSpareDown": host.name}), watch, fleet, watched.hosts)
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
