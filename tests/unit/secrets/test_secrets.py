# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made: complete, fit for its reader, never twice, and never for a half that is there."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.secrets import NAMES, make_secrets, missing_secrets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@pytest.fixture(scope="module")
def made():
    return make_secrets({})


def test_all_are_made_and_nothing_is_missing_then(made):
    assert tuple(made) == NAMES
    assert missing_secrets(made) == []
    assert make_secrets(made) == {}


def test_no_two_are_alike(made):
    again = make_secrets({})
    values = [*made.values(), *again.values()]
    assert len(values) == len(set(values))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("mastodon_postgres_password", "[0-9a-f]{48}"),
        ("mastodon_redis_password", "[0-9a-f]{48}"),
        ("mastodon_secret_key_base", "[0-9a-f]{128}"),
        ("mastodon_active_record_encryption_primary_key", "[0-9a-f]{32}"),
        ("mastodon_active_record_encryption_deterministic_key", "[0-9a-f]{32}"),
        ("mastodon_active_record_encryption_key_derivation_salt", "[0-9a-f]{32}"),
        ("mastodon_vapid_private_key", "[A-Za-z0-9_-]{43}="),
        ("mastodon_vapid_public_key", "B[A-Za-z0-9_-]{86}="),
    ],
)
def test_form(made, name, form):
    assert re.fullmatch(form, made[name])


def test_the_vapid_keys_are_a_pair(made):
    """A signature by the private number holds under the public point."""
    number = int.from_bytes(base64.urlsafe_b64decode(made["mastodon_vapid_private_key"]), "big")
    point = base64.urlsafe_b64decode(made["mastodon_vapid_public_key"])
    signature = ec.derive_private_key(number, ec.SECP256R1()).sign(b"push", ec.ECDSA(hashes.SHA256()))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    public.verify(signature, b"push", ec.ECDSA(hashes.SHA256()))


def test_the_authority_can_sign_leaves_and_only_leaves(made):
    key = serialization.load_pem_private_key(made["mastodon_ca_private_key"].encode(), password=None)
    certificate = x509.load_pem_x509_certificate(made["mastodon_ca_certificate"].encode())
    assert certificate.public_key().public_numbers() == key.public_key().public_numbers()
    certificate.verify_directly_issued_by(certificate)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature, usage.key_encipherment) == (True, False, False)
    years = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=3649) < years <= timedelta(days=3650)
    assert certificate.not_valid_before_utc < datetime.now(UTC)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_one_is_made_and_all_others_are_kept(made, name):
    present = {other: value for other, value in made.items() if other != name}
    if name in ("mastodon_vapid_private_key", "mastodon_ca_private_key"):
        with pytest.raises(ValueError, match=f"without {name}"):
            make_secrets(present)
        return
    again = make_secrets(present)
    assert list(again) == [name]
    if name == "mastodon_vapid_public_key":
        assert again[name] == made[name]


def test_an_empty_value_counts_as_missing(made):
    assert missing_secrets({**made, "mastodon_redis_password": ""}) == ["mastodon_redis_password"]
    assert list(make_secrets({**made, "mastodon_redis_password": ""})) == ["mastodon_redis_password"]


@pytest.mark.parametrize(
    ("present", "told"),
    [
        ({"mastodon_vapid_private_key": "not one"}, "mastodon_vapid_private_key is not a private key"),
        ({"mastodon_ca_private_key": "hunter2"}, "mastodon_ca_private_key is not a private key in PEM"),
    ],
)
def test_a_private_half_that_cannot_be_read(present, told):
    with pytest.raises(ValueError, match=told) as refused:
        make_secrets(present)
    assert "hunter2" not in str(refused.value)
