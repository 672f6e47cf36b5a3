# SPDX-License-Identifier: GPL-3.0-or-later
"""What is added to every alert, and what is refused."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.alert_rules import alert_rules
from ansible_collections.fediops.mastodon.plugins.plugin_utils.alert_rules import RUNBOOKS
from collection_tree import ROOT, load

ALERT = {
    "alert": "HostDown",
    "expr": 'up{job="node"}\n == 0\n',
    "for_seconds": 300,
    "severity": "critical",
    "summary": "[[ $labels.instance ]] does not answer",
    "description": "Nothing is known of it.",
}
RECORD = {"record": "fediops:up:sum", "expr": "sum(up)"}


def groups(*rules):
    return [{"name": "fleet", "rules": [*rules]}]


def without(key):
    return {name: value for name, value in ALERT.items() if name != key}


def test_an_alert_gets_what_all_have_alike():
    assert alert_rules(groups(ALERT, RECORD), 1, "https://example.org/pages/") == {
        "groups": [
            {
                "name": "fleet",
                "rules": [
                    {
                        "alert": "HostDown",
                        "expr": 'up{job="node"} == 0',
                        "for": "300s",
                        "labels": {"severity": "critical"},
                        "annotations": {
                            "summary": "{{ $labels.instance }} does not answer",
                            "description": "Nothing is known of it.",
                            "runbook": "https://example.org/pages/HostDown.md",
                        },
                    },
                    {"record": "fediops:up:sum", "expr": "sum(up)"},
                ],
            }
        ]
    }


@pytest.mark.parametrize(
    ("for_seconds", "scale", "written"),
    [(300, 1, "300s"), (300, 0.1, "30s"), (90, 0.5, "45s"), (60, 0.001, "1s"), (0, 10, "0s"), (60, 2, "120s")],
)
def test_only_the_time_is_scaled(for_seconds, scale, written):
    (group,) = alert_rules(groups({**ALERT, "for_seconds": for_seconds}), scale)["groups"]
    assert (group["rules"][0]["for"], group["rules"][0]["expr"]) == (written, 'up{job="node"} == 0')


def test_pages_are_where_galaxy_says_that_the_documentation_is():
    assert load(ROOT / "galaxy.yml")["documentation"] + "/runbooks" == RUNBOOKS
    assert alert_rules(groups(ALERT))["groups"][0]["rules"][0]["annotations"]["runbook"] == f"{RUNBOOKS}/HostDown.md"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (({},), "the groups must be a list, not dict"),
        (([1],), "a group must be a mapping, not int"),
        (([{"rules": []}],), "the name of a group must be text"),
        (([{"name": "fleet"}],), "the rules of fleet must be a list"),
        ((groups("x"),), "a rule of fleet must be a mapping, not str"),
        ((groups({**ALERT, "for_seconds": "300"}),), "for_seconds of HostDown must be a whole number, not str"),
        ((groups({**ALERT, "expr": 1}),), "expr of HostDown must be text, not int"),
        ((groups(ALERT), "1"), "the scale must be a number, not str"),
        ((groups(ALERT), True), "the scale must be a number, not bool"),
        ((groups(ALERT), 0), "the scale must be more than 0, not 0"),
        ((groups(ALERT), 1, None), "the address of the runbooks must be text"),
        ((groups(without("summary")),), "HostDown must have alert, expr, for_seconds, severity, summary, description"),
        ((groups({**ALERT, "team": "db"}),), "HostDown must have alert, .* not alert, .*team"),
        ((groups({**RECORD, "severity": "warning"}),), "fediops:up:sum must have record, expr, not"),
        ((groups(without("alert")),), "a rule must have alert"),
        ((groups({**ALERT, "alert": "host_down"}),), "an alert is named like HostDown, not host_down"),
        ((groups({**ALERT, "severity": "page"}),), "the severity of HostDown must be warning or critical, not page"),
        ((groups({**ALERT, "for_seconds": -1}),), "for_seconds of HostDown must not be less than 0"),
        ((groups(ALERT, ALERT),), "alerts must have names of their own: HostDown"),
    ],
)
def test_filter_refuses(arguments, words):
    with pytest.raises(AnsibleFilterError, match=rf"fediops\.mastodon\.alert_rules: {words}"):
        alert_rules(*arguments)
