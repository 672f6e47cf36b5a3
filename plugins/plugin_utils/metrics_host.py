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
# A fifth of the disk: databases and logs have to fit beside, where they share it.
_SHARE, _LEAST_GB, _MOST_GB = 5, 1, 50
_MOST_PERCENT = 80


def retention_gb(disk_gb: float) -> int:
    """How much of a disk what was collected may take, where nobody says."""
    return max(_LEAST_GB, min(_MOST_GB, int(disk_gb) // _SHARE))


def objections(settings: Mapping[str, Any], disk_gb: float) -> list[str]:
    """What is wrong with the settings, each with what to type; empty where nothing is.

    settings: retention_size_gb, alert_for_scale, alert_email, smtp_server, smtp_login, smtp_tls_required, webhooks,
    user, password, allowed_cidrs, and of Grafana grafana_enabled, grafana_apt_uri and grafana_apt_key_file. disk_gb:
    the size of the file system that has the data.
    """
    return [*_of_data(settings, disk_gb), *_of_alerts(settings), *_of_front(settings), *_of_grafana(settings)]


def _of_data(settings: Mapping[str, Any], disk_gb: float) -> Iterator[str]:
    most = max(_LEAST_GB, int(disk_gb) * _MOST_PERCENT // 100)
    size = settings["retention_size_gb"]
    if size < 0 or size > most:
        yield (
            f"metrics_retention_size_gb is {size}, and the disk has {int(disk_gb)} GB. Set it to {most} at most, or "
            f"leave it out, which gives {retention_gb(disk_gb)}."
        )


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
