# SPDX-License-Identifier: GPL-3.0-or-later
"""Every alert fires when it should, not before, and stops: what promtool makes of the files beside this one.

A summary is part of what is expected, so the numbers in it are seen as a person sees them.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.fediops.mastodon.plugins.plugin_utils.alert_rules import alert_rules
from collection_tree import ROOT, alert_groups, load
from e2e.metrics.waves import ALL_WAVES
from promtool import promtool

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.yml"))
ALERTS = {rule["alert"]: rule for group in alert_groups() for rule in group["rules"] if "alert" in rule}
UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(duration):
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smh])", duration))


@cache
def entries():
    """Every entry of the files that tests an alert, with where it is."""
    return [(path, entry) for path in FILES for entry in yaml.safe_load(path.read_text())["tests"]]


def rules_of(name):
    """The rules of a group as Prometheus gets them, but for the texts that are the same at all times."""
    made = alert_rules([group for group in alert_groups() if group["name"] == name])
    for rule in made["groups"][0]["rules"]:
        if "alert" in rule:
            rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    return made


def test_prometheus_accepts_the_rules(tmp_path):
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(alert_rules(alert_groups())))
    done = subprocess.run([promtool(), "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_fires_and_stops_when_it_should(path, tmp_path):
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules_of(path.stem)))
    copy = tmp_path / path.name
    copy.write_text(path.read_text())
    done = subprocess.run([promtool(), "test", "rules", copy], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_has_its_three_cases(name):
    found = [entry for _path, entry in entries() if entry["name"] == name]
    assert found, "no file tests it"
    for entry in found:
        cases = entry["alert_rule_test"]
        assert {case["alertname"] for case in cases} == {name}
        assert [bool(case.get("exp_alerts")) for case in cases] == [False, True, False], "before, beyond, over"
        times = [seconds(case["eval_time"]) for case in cases]
        assert times == sorted(times)
        # Else it would not have fired in any case.
        assert times[0] > ALERTS[name]["for_seconds"], "before its line it must have had the time to fire"


@pytest.mark.parametrize("name", ALERTS)
def test_what_is_not_tried_here_is_the_same_at_all_times(name):
    assert "[[" not in ALERTS[name]["description"]
    assert ALERTS[name]["description"].endswith(".")
    assert not ALERTS[name]["summary"].endswith(".")


def test_nothing_is_invented_where_nothing_is_measured():
    text = (ROOT / "roles/metrics/vars/alerts.yml").read_text()
    assert re.findall(r"or\s+(?:on\s*\([^)]*\)\s*)?vector", text) == []


def test_a_warning_is_silenced_by_what_is_critical_of_the_same_thing():
    pairs = load(ROOT / "roles/metrics/vars/main.yml")["__metrics_louder"]
    assert {ALERTS[critical]["severity"] for critical in pairs} == {"critical"}
    assert {ALERTS[warning]["severity"] for warning in pairs.values()} == {"warning"}


def test_what_lasts_no_longer_than_ten_minutes_is_also_caused_on_a_fleet():
    soon = {name for name, rule in ALERTS.items() if rule["for_seconds"] <= 600}
    assert {alert for wave in ALL_WAVES for alert in wave.told} == soon
