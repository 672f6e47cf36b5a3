# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifiers: those of an independent implementation, stable, and different where they must be."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.scram_verifier import scram_verifier
from ansible_collections.fediops.mastodon.plugins.plugin_utils import scram


def parts(verifier):
    match = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)", verifier)
    iterations, salt, stored, server = match.groups()
    return int(iterations), *(base64.b64decode(part, validate=True) for part in (salt, stored, server))


def test_an_independent_implementation_makes_the_same_keys():
    iterations, salt, stored, server = parts(scram_verifier("correct horse", "mastodon"))
    salted = hashlib.pbkdf2_hmac("sha256", b"correct horse", salt, iterations)
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    assert hashlib.sha256(client_key).digest() == stored
    assert hmac.new(salted, b"Server Key", hashlib.sha256).digest() == server


def test_without_passlib_the_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(scram, "IMPORT_ERROR", ImportError("passlib"))
    with pytest.raises(AnsibleFilterError, match="`passlib` is missing on the control machine"):
        scram_verifier("correct horse", "mastodon")


def test_a_verifier_that_postgresql_let_a_client_in_with():
    # Stored as it is by PostgreSQL 17.12, which then let a client in with the password and refused another.
    assert scram_verifier("s3cret", "mastodon") == KNOWN_TO_WORK


def test_the_same_input_gives_the_same_verifier_and_other_input_another():
    verifiers = {scram_verifier(*given) for given in [("a", "x"), ("a", "y"), ("b", "x"), ("ax", "x"), ("a", "xx")]}
    assert len(verifiers) == 5
    assert scram_verifier("a", "x") == scram_verifier("a", "x")
    assert len({parts(verifier)[1] for verifier in verifiers}) == 5


@pytest.mark.parametrize(
    ("password", "username", "told"),
    [
        ("", "mastodon", "neither may be empty"),
        ("hunter2", "", "neither may be empty"),
        ("hunter2ä", "mastodon", "the password of mastodon has characters other than printable ASCII"),
        ("hunter2\n", "mastodon", "printable ASCII"),
        (None, "mastodon", "the password must be text, not NoneType"),
        ("hunter2", 5, "username must be text, not int"),
    ],
)
def test_refusals(password, username, told):
    with pytest.raises(AnsibleFilterError, match=f"^fediops.mastodon.scram_verifier: .*{told}") as refused:
        scram_verifier(password, username)
    assert "hunter2" not in str(refused.value)


KNOWN_TO_WORK = (
    "SCRAM-SHA-256$4096:vH8Sk8GpDu0TzDFy0qTDeA==$"
    "v41W4rj2BfevjebInecNl1xAkjyV8yBXFzUrCMhD7NM=:"
    "Zo1gKOZ0eAmXKggb7tYCjaTK7qLrtrRMJdQKjOYrnxw="
)
