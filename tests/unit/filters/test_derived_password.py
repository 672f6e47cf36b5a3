# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived passwords: stable, apart from each other, and fit for files and addresses."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.derived_password import derived_password


def test_one_that_fleets_run_with_stays_what_it_is():
    # printf '%s' 'fediops.mastodon derived password mastodon_replication' |
    #   openssl dgst -sha256 -hmac s3cret -binary | basenc --base64url
    assert derived_password("s3cret", "mastodon_replication") == KNOWN


def test_each_secret_and_each_purpose_has_its_own():
    given = [("a", "x"), ("a", "y"), ("b", "x"), ("ax", "x"), ("a", "xx")]
    assert len({derived_password(*each) for each in given}) == 5


def test_it_needs_no_quotes_anywhere():
    for number in range(200):
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", derived_password("secret", str(number)))


@pytest.mark.parametrize(
    ("secret", "purpose", "told"),
    [
        ("", "x", "neither may be empty"),
        ("hunter2", "", "neither may be empty"),
        (None, "x", "the secret must be text, not NoneType"),
        ("hunter2", 5, "purpose must be text, not int"),
    ],
)
def test_refusals(secret, purpose, told):
    with pytest.raises(AnsibleFilterError, match=f"^fediops.mastodon.derived_password: .*{told}") as refused:
        derived_password(secret, purpose)
    assert "hunter2" not in str(refused.value)


KNOWN = "kuJSj2ow5kl_iuCKiwI36A1mQTesdoQSTPNz4kbQBeA"
