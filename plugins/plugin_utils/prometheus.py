# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus's own words for what the plan collects, and for the plan's numbers. Pure: plain data in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Who is asked for something else than /metrics: those that are served below a path of the front.
_PATHS = {"prometheus": "/prometheus/metrics", "alertmanager": "/alertmanager/metrics"}
# What Mastodon's streaming calls its own numbers, with names that say nothing of whose they are. Those that it has of
# Node.js (nodejs_, process_) are known by these.
_STREAMING = "(connected_clients|connected_channels|pg_pool_.+|redis_.+|messages_sent_total)"
_NEEDED = ("job", "host", "address", "port")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def scrape_configs(targets: Sequence[Mapping[str, Any]], probe: Mapping[str, str]) -> list[dict[str, Any]]:
    """The scrape_configs of Prometheus, one for each job, in the order of their names.

    targets: {job, host, address, port, labels}; a label that begins with two underscores tells how to ask. probe: how
    the blackbox exporter asks an edge: its own address, the module, the hostname that is asked for, and the path.
    Raises ValueError for a target that lacks something.
    """
    jobs: dict[str, list[Mapping[str, Any]]] = {}
    for target in targets:
        missing = [name for name in _NEEDED if target.get(name) in (None, "")]
        if missing:
            raise ValueError(f"the target {dict(target)!r} lacks {', '.join(missing)}")
        jobs.setdefault(str(target["job"]), []).append(target)
    return [_scrape_config(job, jobs[job], probe) for job in sorted(jobs)]


def plan_rules(planned: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The plan's numbers as recording rules: {record, expr, labels}.

    planned: {name, labels, value}. Raises ValueError for a name that Prometheus would refuse, or what is no number.
    """
    rules = []
    for number in planned:
        name, value = number.get("name"), number.get("value")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a metric")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} is {value!r}; allowed: a number")
        labels = {str(label): str(text) for label, text in (number.get("labels") or {}).items()}
        rules.append({"record": name, "expr": f"vector({value})", "labels": labels})
    return rules


def _scrape_config(job: str, targets: Sequence[Mapping[str, Any]], probe: Mapping[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = {"job_name": job}
    if job == "blackbox":
        config |= _probing(probe)
    elif job in _PATHS:
        config["metrics_path"] = _PATHS[job]
    config["static_configs"] = [
        {
            "targets": [f"{_bracketed(str(target['address']))}:{target['port']}"],
            "labels": {
                "instance": str(target["host"]),
                **{str(name): str(text) for name, text in (target.get("labels") or {}).items()},
            },
        }
        for target in targets
    ]
    if job == "streaming":
        config["metric_relabel_configs"] = [
            {
                "source_labels": ["__name__"],
                "regex": _STREAMING,
                "target_label": "__name__",
                "replacement": "mastodon_streaming_$1",
            }
        ]
    return config


def _probing(probe: Mapping[str, str]) -> dict[str, Any]:
    """What leads a scrape to the blackbox exporter, with the edge as what it is to try."""
    return {
        "metrics_path": "/probe",
        "params": {"module": [probe["module"]], "hostname": [probe["hostname"]]},
        "relabel_configs": [
            {
                "source_labels": ["__address__"],
                "target_label": "__param_target",
                "replacement": f"https://$1{probe['path']}",
            },
            {"target_label": "__address__", "replacement": probe["address"]},
        ],
    }


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
