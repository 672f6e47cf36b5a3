# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an instance: it is kept, it tells, and it gives nothing away."""

from __future__ import annotations

import json
import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.instance_differences import instance_differences
from ansible_collections.fediops.mastodon.plugins.filter.instance_record import instance_record

IDENTITY = {
    "local_domain": "example.org",
    "web_domain": "social.example.org",
    "media": "s3:bucket",
    "secrets": {"secret_key_base": "5ecre7", "vapid_private_key": "k3y"},
}


def changed(**values):
    return {**IDENTITY, **values}


def test_a_record_describes_its_own_identity():
    record = instance_record(None, IDENTITY)
    assert instance_differences(record, IDENTITY) == []
    assert instance_differences(json.loads(json.dumps(record)), IDENTITY) == []


def test_a_record_is_the_same_however_often_it_is_made_and_holds_no_secret():
    record = instance_record(None, IDENTITY)
    assert record == instance_record(None, IDENTITY)
    text = json.dumps(record)
    assert "5ecre7" not in text
    assert "k3y" not in text
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in record["fingerprints"].values())
    assert set(record["fingerprints"]) == set(IDENTITY["secrets"])


def test_records_of_two_instances_share_no_fingerprint():
    other = instance_record(None, changed(secrets={**IDENTITY["secrets"], "vapid_private_key": "other"}))
    fingerprints = instance_record(None, IDENTITY)["fingerprints"]
    assert fingerprints["secret_key_base"] != other["fingerprints"]["secret_key_base"]


def test_an_existing_record_is_kept_whatever_the_identity_says():
    record = instance_record(None, IDENTITY)
    assert instance_record(record, changed(local_domain="other.example")) == record


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        (changed(local_domain="other.example"), ["mastodon_local_domain is other.example", "made with example.org"]),
        (changed(web_domain="example.org"), ["mastodon_web_domain is example.org", "social.example.org"]),
        (changed(media="local"), ["the media store is local", "s3:bucket"]),
        (changed(secrets={**IDENTITY["secrets"], "vapid_private_key": "new"}), ["mastodon_vapid_private_key is not"]),
        (changed(secrets={"vapid_private_key": "k3y"}), ["mastodon_secret_key_base is missing"]),
    ],
)
def test_differences_are_told(identity, told):
    differences = instance_differences(instance_record(None, IDENTITY), identity)
    assert len(differences) == 1
    assert [words for words in told if words not in differences[0]] == []


def test_secrets_that_came_later_are_no_difference():
    later = changed(secrets={**IDENTITY["secrets"], "added": "x"})
    assert instance_differences(instance_record(None, IDENTITY), later) == []


def test_several_differences_come_at_once_and_show_no_secret():
    identity = changed(media="local", secrets={"secret_key_base": "hunter2", "vapid_private_key": "hunter3"})
    differences = instance_differences(instance_record(None, IDENTITY), identity)
    assert len(differences) == 3
    assert "hunter" not in " ".join(differences)


def test_without_a_record_nothing_differs():
    assert instance_differences(None, IDENTITY) == []


@pytest.mark.parametrize("function", [instance_record, instance_differences])
@pytest.mark.parametrize(
    ("record", "identity", "told"),
    [
        ([], IDENTITY, "the record must be a mapping or null, not list"),
        (None, "example.org", "identity must be a mapping, not str"),
        (None, changed(secrets=["a"]), "secrets of identity must be a mapping, not list"),
        (None, changed(local_domain=""), "the identity lacks local_domain"),
        (None, {"local_domain": "a"}, "the identity lacks web_domain, media, secrets"),
        (None, changed(secrets={"secret_key_base": ""}), "these secrets are empty: secret_key_base"),
    ],
)
def test_refusals(function, record, identity, told):
    with pytest.raises(
        AnsibleFilterError, match=re.escape(f"fediops.mastodon.{function.__name__}: ") + ".*" + re.escape(told)
    ):
        function(record, identity)


def test_a_record_of_a_later_version_is_refused():
    record = {**instance_record(None, IDENTITY), "version": 2}
    with pytest.raises(AnsibleFilterError, match="has version 2, and this collection reads 1"):
        instance_differences(record, IDENTITY)
