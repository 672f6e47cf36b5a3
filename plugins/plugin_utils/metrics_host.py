# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person may set for the metrics host, and what is wrong with it. Pure: plain data in, texts out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

_USER = re.compile(r"[A-Za-z0-9._-]+")
_WEBHOOK = re.compile(r"https?://[^\s/]+(/\S*)?")
_LEAST_PASSWORD = 12
# A fifth of the disk for what was collected, and a tenth for logs: databases have to fit beside, where they share it.
_SHARE, _LEAST_GB, _MOST_GB = 5, 1, 50
_MOST_PERCENT = 80
_LOGS_SHARE, _LEAST_LOGS_GB, _MOST_LOGS_GB = 10, 1, 25
_LARGEST_FILE_MB = 128


def retention_gb(disk_gb: float) -> int:
    """How much of a disk what was collected may take, where nobody says."""
    return max(_LEAST_GB, min(_MOST_GB, int(disk_gb) // _SHARE))


def logs_gb(disk_gb: float) -> int:
    """How much of a disk the logs of a fleet may take, where nobody says."""
    return max(_LEAST_LOGS_GB, min(_MOST_LOGS_GB, int(disk_gb) // _LOGS_SHARE))


def log_limits(size_gb: int, hosts: int) -> dict[str, str]:
    """The settings of systemd-journal-remote by which it stays within a size.

    It deletes full files only: they have one half, and the other is for those that it writes, one for each host. Its
    KeepFree is no limit: when less is free it goes on, with smaller files.
    """
    half_mb = size_gb * 1024 // 2
    file_mb = max(1, min(_LARGEST_FILE_MB, half_mb // max(1, hosts)))
    return {"MaxUse": f"{half_mb}M", "MaxFileSize": f"{file_mb}M"}


def objections(settings: Mapping[str, Any], disk_gb: float, logs_disk_gb: float) -> list[str]:
    """What is wrong with the settings, each with what to type; empty where nothing is.

    settings: retention_size_gb, logs_size_gb, logs_days, alert_for_scale, alert_email, smtp_server, smtp_login,
    smtp_tls_required, webhooks, user, password, allowed_cidrs, and of Grafana grafana_enabled, grafana_apt_uri and
    grafana_apt_key_file. disk_gb, logs_disk_gb: the sizes of the file systems that have the data and the logs.
    """
    return [
        *_of_data(settings, disk_gb),
        *_of_logs(settings, logs_disk_gb),
        *_of_alerts(settings),
        *_of_front(settings),
        *_of_grafana(settings),
    ]


def _of_data(settings: Mapping[str, Any], disk_gb: float) -> Iterator[str]:
    most = max(_LEAST_GB, int(disk_gb) * _MOST_PERCENT // 100)
    size = settings["retention_size_gb"]
    if size < 0 or size > most:
        yield (
            f"metrics_retention_size_gb is {size}, and the disk has {int(disk_gb)} GB. Set it to {most} at most, or "
            f"leave it out, which gives {retention_gb(disk_gb)}."
        )


def _of_logs(settings: Mapping[str, Any], disk_gb: float) -> Iterator[str]:
    most = max(_LEAST_LOGS_GB, int(disk_gb) // 2)
    if not 0 <= settings["logs_size_gb"] <= most:
        yield (
            f"metrics_logs_size_gb is {settings['logs_size_gb']}, and the disk has {int(disk_gb)} GB. Set it to {most} "
            f"at most, or leave it out, which gives {logs_gb(disk_gb)}."
        )
    if settings["logs_days"] < 1:
        yield f"metrics_logs_days is {settings['logs_days']}; allowed: 1 or more."


def _of_alerts(settings: Mapping[str, Any]) -> Iterator[str]:
    if settings["alert_for_scale"] <= 0:
        yield f"metrics_alert_for_scale is {settings['alert_for_scale']}; allowed: a number above 0, 1 being the rule."
    if not (settings["alert_email"] and settings["smtp_server"]) and not settings["webhooks"]:
        yield (
            "No alert would reach anybody. Set mastodon_smtp_server and metrics_alert_email, or set "
            "metrics_alert_webhooks to [{url: https://ntfy.example.org/alerts}]."
        )
    if settings["smtp_login"] and not settings["smtp_tls_required"]:
        yield "metrics_smtp_tls_required is false, and mail needs a password: it must not be sent for all to read."
    for number, webhook in enumerate(settings["webhooks"], 1):
        # An address may be a secret itself, so it is not shown.
        if not _WEBHOOK.fullmatch(str(webhook.get("url", ""))):
            yield f"The address of webhook {number} of metrics_alert_webhooks does not begin with https://NAME."


def _of_front(settings: Mapping[str, Any]) -> Iterator[str]:
    if not _USER.fullmatch(settings["user"]):
        yield f"metrics_user is {settings['user']!r}; allowed: letters, digits, dots, hyphens and underscores."
    if len(settings["password"]) < _LEAST_PASSWORD:
        yield (
            f"metrics_password has {len(settings['password'])} characters, and {_LEAST_PASSWORD} are the least. Leave "
            "it out: the playbook fediops.mastodon.secrets makes one."
        )
    for network in settings["allowed_cidrs"]:
        try:
            ipaddress.ip_network(str(network))
        except ValueError:
            yield f"metrics_allowed_cidrs has {network!r}; allowed: a network such as 192.0.2.0/24, or an address."


def _of_grafana(settings: Mapping[str, Any]) -> Iterator[str]:
    if settings["grafana_enabled"] and not (settings["grafana_apt_uri"] and settings["grafana_apt_key_file"]):
        yield (
            "metrics_grafana_enabled needs metrics_grafana_apt_uri, where apt finds Grafana's own package, and "
            "metrics_grafana_apt_key_file, a file on this machine with the key that signs it."
        )
