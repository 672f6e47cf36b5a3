# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate in place is kept exactly as long as its authority would give the same again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.certificate_in_place import certificate_in_place as the_filter
from ansible_collections.fediops.mastodon.plugins.plugin_utils.certificates import certificate_in_place
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from unit.certificates.test_certificate_problems import AUTHORITY, DOMAIN, KEY, LEAF, NOW, certificate

NOTHING = {"leaf": "", "own": False, "fits": False}
STRANGER = ec.generate_private_key(ec.SECP256R1())


def public(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


WHOLE = LEAF + AUTHORITY + public(KEY)


def look(found=WHOLE, authority=AUTHORITY, domains=(DOMAIN,), days_left=30, now=NOW):
    return certificate_in_place(found, authority, domains, days_left, now)


def test_good_one():
    assert look() == {"leaf": LEAF, "own": True, "fits": True}


def test_what_does_not_belong_there_is_left_out():
    assert look(LEAF + "# damaged\n" + AUTHORITY + public(KEY))["leaf"] == LEAF


@pytest.mark.parametrize(
    "arguments",
    [
        {"found": LEAF + AUTHORITY},
        {"found": LEAF + AUTHORITY + public(STRANGER)},
        {"domains": (DOMAIN, "www.example")},
        {"domains": ("www.example",)},
        {"found": certificate("leaf", [DOMAIN, "www.example"]) + public(KEY)},
        {"days_left": 90},
        {"now": NOW - timedelta(days=2)},
    ],
    ids=["no key", "another key", "a name too few", "another name", "a name too many", "too short", "not yet valid"],
)
def test_own_one_that_does_not_fit(arguments):
    found = look(**arguments)
    assert (found["own"], found["fits"]) == (True, False)


def test_addresses_count_as_names():
    leaf = certificate("leaf", ["db1", "10.0.0.5", "fd00::5"])
    found = leaf + public(KEY)
    assert look(found, domains=("fd00:0::5", "10.0.0.5", "db1"))["fits"]
    assert not look(found, domains=("db1", "10.0.0.5"))["fits"]
    assert not look(found, domains=("db1", "10.0.0.5", "fd00::6"))["fits"]


def test_last_day_counts():
    assert look(days_left=30, now=NOW + timedelta(days=59, seconds=-1))["fits"]
    assert not look(days_left=30, now=NOW + timedelta(days=59))["fits"]


def test_one_of_another_authority():
    found = look(authority=certificate("authority", key=STRANGER, signer=STRANGER))
    assert (found["leaf"], found["own"], found["fits"]) == (LEAF, False, False)


@pytest.mark.parametrize(
    "found", ["", public(KEY), LEAF[:200], LEAF.replace("M", "!")], ids=["nothing", "key", "half", "torn"]
)
def test_nothing_that_can_be_read(found):
    assert look(found) == NOTHING


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None, AUTHORITY, [DOMAIN], 30), "what was found must be text"),
        (("", None, [DOMAIN], 30), "authority must be text"),
        (("", AUTHORITY, DOMAIN, 30), "domains must be a list"),
        (("", AUTHORITY, [DOMAIN], "30"), "days_left must be a whole number"),
        (("", "garbage", [DOMAIN], 30), "mastodon_ca_certificate"),
    ],
    ids=["found", "authority", "domains", "days", "no authority"],
)
def test_filter_refuses(arguments, words):
    with pytest.raises(AnsibleFilterError, match=rf"fediops\.mastodon\.certificate_in_place: .*{words}"):
        the_filter(*arguments)


def test_filter_asks_the_library():
    leaf = certificate("leaf", [DOMAIN], begin=datetime.now(UTC))
    assert the_filter(leaf + public(KEY), AUTHORITY, [DOMAIN], 30) == {"leaf": leaf, "own": True, "fits": True}
