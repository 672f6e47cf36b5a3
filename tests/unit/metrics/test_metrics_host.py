# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sets for the metrics host, and what is said when it cannot work."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.metrics_log_limits import metrics_log_limits
from ansible_collections.fediops.mastodon.plugins.filter.metrics_objections import metrics_objections
from ansible_collections.fediops.mastodon.plugins.filter.metrics_retention import metrics_retention

GOOD = {
    "retention_size_gb": 0,
    "logs_size_gb": 0,
    "logs_days": 14,
    "alert_for_scale": 1.0,
    "alert_email": "owner@social.example",
    "smtp_server": "smtp.social.example",
    "smtp_login": "mastodon",
    "smtp_tls_required": True,
    "webhooks": [],
    "user": "admin",
    "password": "0123456789abcdef",
    "allowed_cidrs": [],
    "grafana_enabled": False,
    "grafana_apt_uri": "",
    "grafana_apt_key_file": "",
}


def said(disk_gb=40, **changed):
    return metrics_objections({**GOOD, **changed}, disk_gb, disk_gb)


@pytest.mark.parametrize(("disk_gb", "kept_gb"), [(3, 1), (10, 2), (40, 8), (1000, 50)])
def test_what_is_kept_leaves_room_on_any_disk(disk_gb, kept_gb):
    assert metrics_retention(disk_gb) == kept_gb
    assert said(disk_gb, retention_size_gb=kept_gb) == []


@pytest.mark.parametrize(
    ("disk_gb", "hosts", "size_gb"), [(3, 2, 1), (40, 1, 4), (40, 10, 4), (100, 200, 10), (1000, 200, 25)]
)
def test_logs_stay_within_a_tenth_of_any_disk(disk_gb, hosts, size_gb):
    limits = metrics_log_limits(disk_gb, hosts)
    full_mb, file_mb = int(limits["MaxUse"].removesuffix("M")), int(limits["MaxFileSize"].removesuffix("M"))
    assert full_mb + hosts * file_mb <= size_gb * 1024
    assert file_mb >= 1
    assert said(disk_gb, logs_size_gb=size_gb) == []


def test_logs_have_what_a_person_gives_them():
    assert metrics_log_limits(40, 8, 2) == {"MaxUse": "1024M", "MaxFileSize": "128M"}


def test_nothing_is_said_of_settings_that_work():
    webhook = {"url": "https://ntfy.example.org/alerts", "bearer_token": "secret"}
    assert said() == []
    assert said(webhooks=[webhook], alert_email="") == []
    assert said(allowed_cidrs=["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]) == []
    assert said(smtp_login="", smtp_tls_required=False) == []
    assert said(grafana_enabled=True, grafana_apt_uri="https://apt.example.net", grafana_apt_key_file="/k.asc") == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"retention_size_gb": 33}, ["metrics_retention_size_gb is 33", "40 GB", "32 at most", "gives 8"]),
        ({"retention_size_gb": -1}, ["metrics_retention_size_gb is -1"]),
        ({"logs_size_gb": 21}, ["metrics_logs_size_gb is 21", "40 GB", "20 at most", "gives 4"]),
        ({"logs_size_gb": -1}, ["metrics_logs_size_gb is -1"]),
        ({"logs_days": 0}, ["metrics_logs_days is 0", "1 or more"]),
        ({"alert_for_scale": 0.0}, ["metrics_alert_for_scale is 0", "above 0"]),
        ({"alert_email": ""}, ["No alert would reach anybody", "metrics_alert_webhooks"]),
        ({"smtp_server": ""}, ["No alert would reach anybody", "mastodon_smtp_server"]),
        ({"smtp_tls_required": False}, ["metrics_smtp_tls_required", "password"]),
        ({"webhooks": [{"url": "ntfy.example.org"}]}, ["webhook 1", "https://"]),
        ({"user": "a:b"}, ["metrics_user is 'a:b'"]),
        ({"password": "short"}, ["metrics_password has 5 characters", "12"]),
        ({"allowed_cidrs": ["office"]}, ["metrics_allowed_cidrs has 'office'", "192.0.2.0/24"]),
        ({"allowed_cidrs": ["192.0.2.7/24"]}, ["metrics_allowed_cidrs has '192.0.2.7/24'"]),
        ({"grafana_enabled": True}, ["metrics_grafana_apt_uri", "metrics_grafana_apt_key_file"]),
    ],
)
def test_what_cannot_work_is_named_with_what_to_type(changed, words):
    (objection,) = said(**changed)
    assert [word for word in words if word not in objection] == []


def test_all_of_it_is_said_at_once_and_no_secret_with_it():
    told = said(password="hunter2", webhooks=[{"url": "hooks.example/T0KEN"}], user="", retention_size_gb=99)
    assert len(told) == 4
    assert "hunter2" not in " ".join(told)
    assert "T0KEN" not in " ".join(told)


def test_wrong_types_are_refused():
    with pytest.raises(AnsibleFilterError, match="metrics_objections: webhooks must be a list"):
        said(webhooks="https://ntfy.example.org")
    with pytest.raises(AnsibleFilterError, match="metrics_retention: the size of the disk must be a whole number"):
        metrics_retention("40")
    with pytest.raises(AnsibleFilterError, match="metrics_log_limits: hosts must be a whole number"):
        metrics_log_limits(40, "two")
