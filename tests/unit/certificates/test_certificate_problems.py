# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate that a person brings is refused for what browsers would refuse, and for nothing else."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.certificate_problems import certificate_problems as the_filter
from ansible_collections.fediops.mastodon.plugins.plugin_utils.certificates import certificate_problems
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DOMAIN = "social.example"
AUTHORITY_KEY = ec.generate_private_key(ec.SECP256R1())
KEY = ec.generate_private_key(ec.SECP256R1())


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


def alternative(entry):
    """One name that a certificate is for: an address, or a domain."""
    try:
        return x509.IPAddress(ipaddress.ip_address(entry))
    except ValueError:
        return x509.DNSName(entry)


def certificate(subject, names=(), key=KEY, begin=NOW - timedelta(days=1), days=90, signer=AUTHORITY_KEY):
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject)).issuer_name(name("authority"))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(begin).not_valid_after(begin + timedelta(days=days))
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(alternative, names)), False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


AUTHORITY = certificate("authority", key=AUTHORITY_KEY)
LEAF = certificate("leaf", [DOMAIN])


def problems(fullchain=LEAF + AUTHORITY, key=None, domains=(DOMAIN,), now=NOW):
    return certificate_problems(fullchain, pem(KEY) if key is None else key, domains, now)


@pytest.mark.parametrize("key", [KEY, rsa.generate_private_key(65537, 2048)], ids=["EC", "RSA"])
def test_good_one(key):
    assert problems(certificate("leaf", [DOMAIN], key=key), pem(key)) == []


def test_chain_in_order():
    assert problems() == []


@pytest.mark.parametrize(
    ("names", "domains"),
    [
        (["*.example"], [DOMAIN]),
        ([DOMAIN, "example"], [DOMAIN, "example"]),
        (["SOCIAL.example"], [DOMAIN]),
    ],
    ids=["wildcard", "two names", "capitals"],
)
def test_names_that_cover(names, domains):
    assert problems(certificate("leaf", names), domains=domains) == []


@pytest.mark.parametrize(
    ("names", "domains", "missing"),
    [
        (["other.example"], [DOMAIN], DOMAIN),
        (["*.example"], ["a.social.example"], "a.social.example"),
        (["*.social.example"], [DOMAIN], DOMAIN),
        ([DOMAIN], [DOMAIN, "www.example"], "www.example"),
        ([], [DOMAIN], DOMAIN),
    ],
    ids=["another", "wildcard too short", "wildcard too long", "one of two", "none"],
)
def test_names_that_do_not(names, domains, missing):
    (problem,) = problems(certificate("leaf", names), domains=domains)
    assert f"not for {missing}:" in problem


def test_key_of_another():
    (problem,) = problems(key=pem(AUTHORITY_KEY))
    assert "does not belong" in problem


def test_authority_before_the_leaf():
    found = problems(AUTHORITY + LEAF)
    assert len(found) == 3
    assert "put them in order" in found[-1]


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (NOW + timedelta(days=89), "expired on 2026-05-29"),
        (NOW - timedelta(days=2), "begins to be valid on 2026-02-28"),
    ],
    ids=["expired", "not yet"],
)
def test_time(now, words):
    (problem,) = problems(LEAF, now=now)
    assert words in problem


def der(text):
    return x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)


IMPOSTOR = certificate("authority", key=KEY, signer=KEY)


@pytest.mark.parametrize(
    ("fullchain", "trusted", "good"),
    [
        (LEAF, [AUTHORITY], True),
        (LEAF + AUTHORITY, [IMPOSTOR, AUTHORITY], True),
        (LEAF, [IMPOSTOR], False),
        (LEAF, [], False),
        (LEAF + IMPOSTOR, [IMPOSTOR], False),
    ],
    ids=["without the authority", "with it", "another of its name", "none", "a chain of names only"],
)
def test_trust(fullchain, trusted, good):
    found = certificate_problems(fullchain, pem(KEY), [DOMAIN], NOW, [der(text) for text in trusted])
    assert len(found) == (0 if good else 1)
    assert good or "certificates_files_publicly_trusted: false" in found[0]


def test_trust_of_this_machine_is_asked_for_only_where_wanted():
    fresh = certificate("leaf", [DOMAIN], begin=datetime.now(UTC) - timedelta(days=1))
    assert the_filter(fresh, pem(KEY), [DOMAIN]) == []
    (problem,) = the_filter(fresh, pem(KEY), [DOMAIN], True)
    assert "issued by CN=authority" in problem


def test_last_moment_counts():
    assert problems(LEAF, now=NOW + timedelta(days=89, seconds=-1)) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fullchain": "garbage"}, "names no certificate"),
        ({"fullchain": ""}, "names no certificate"),
        ({"key": "garbage"}, "holds no private key"),
        ({"key": LEAF}, "holds no private key"),
        ({"key": pem(KEY, BestAvailableEncryption(b"secret"))}, "encrypted"),
    ],
    ids=["no certificate", "empty", "no key", "certificate as key", "passphrase"],
)
def test_wrong_files(arguments, words):
    (problem,) = problems(**arguments)
    assert words in problem


@pytest.mark.parametrize(
    "arguments",
    [(None, "key", []), ("certificate", 1, []), ("certificate", "key", DOMAIN)],
    ids=["first", "second", "third"],
)
def test_filter_refuses_other_types(arguments):
    with pytest.raises(AnsibleFilterError, match=r"fediops\.mastodon\.certificate_problems: .* must be"):
        the_filter(*arguments)


def test_filter_asks_the_library():
    assert the_filter(certificate("leaf", [DOMAIN], begin=datetime.now(UTC)), pem(KEY), [DOMAIN]) == []
