# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus's file of rules, made from the collection's alerts: one place for what all of them have alike. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# galaxy.yml's `documentation`, and where in it the pages are.
RUNBOOKS = "https://github.com/fediops/mastodon/tree/main/docs/runbooks"
SEVERITIES = ("warning", "critical")
_OF_ALERT = ("alert", "expr", "for_seconds", "severity", "summary", "description")
_OF_RECORD = ("record", "expr")
_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")


def alert_rules(groups: Sequence[Mapping[str, Any]], scale: float = 1, runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """Return what Prometheus reads: {"groups": [{"name": ..., "rules": [...]}]}.

    groups: each a name and rules; a rule is an alert (alert, expr, for_seconds, severity, summary, description) or
    records (record, expr). Texts are Prometheus's templates, with [[ ]] for its double braces, which Ansible, and all
    that reads its files, takes for its own. scale: by what the time is multiplied that an expression must hold; nothing
    else is, so the same expressions can be tried in minutes. runbooks: address of the folder with a page for each one.
    Raises ValueError that names the rule and what it lacks.
    """
    if scale <= 0:
        raise ValueError(f"the scale must be more than 0, not {scale}")
    made = [
        {"name": group["name"], "rules": [_rule(rule, scale, runbooks) for rule in group["rules"]]} for group in groups
    ]
    names = [rule["alert"] for group in made for rule in group["rules"] if "alert" in rule]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"alerts must have names of their own: {', '.join(twice)}")
    return {"groups": made}


def _rule(rule: Mapping[str, Any], scale: float, runbooks: str) -> dict[str, Any]:
    wanted = _OF_RECORD if "record" in rule else _OF_ALERT
    name = rule.get(wanted[0], "a rule")
    if set(rule) != set(wanted):
        raise ValueError(f"{name} must have {', '.join(wanted)}, not {', '.join(rule)}")
    expression = " ".join(rule["expr"].split())
    if "record" in rule:
        return {"record": name, "expr": expression}
    if not _NAME.fullmatch(name):
        raise ValueError(f"an alert is named like HostDown, not {name}")
    if rule["severity"] not in SEVERITIES:
        raise ValueError(f"the severity of {name} must be {' or '.join(SEVERITIES)}, not {rule['severity']}")
    if rule["for_seconds"] < 0:
        raise ValueError(f"for_seconds of {name} must not be less than 0")
    return {
        "alert": name,
        "expr": expression,
        # Whole seconds, because Prometheus takes no others; never none of a time that was asked for.
        "for": f"{max(round(rule['for_seconds'] * scale), min(rule['for_seconds'], 1))}s",
        "labels": {"severity": rule["severity"]},
        "annotations": {
            "summary": _template(rule["summary"]),
            "description": _template(rule["description"]),
            "runbook": f"{runbooks.rstrip('/')}/{name}.md",
        },
    }


def _template(text: str) -> str:
    return text.replace("[[", "{{").replace("]]", "}}")
