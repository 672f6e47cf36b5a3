# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an instance: what must never change under its data, kept beside the database.

It holds keyed fingerprints of the secrets, never a secret: who reads it learns nothing, and a run that would put other
keys, another domain or other media under living data is told so.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

VERSION = 1
_SALT_BYTES = 16
_PLAIN = {
    "local_domain": ("mastodon_local_domain", "it is part of every account's name, everywhere"),
    "web_domain": ("mastodon_web_domain", "other instances know its accounts by addresses at that name"),
    "media": ("the media store", "existing media would be missing"),
}


def instance_record(record: Mapping[str, Any] | None, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The record to store: the one that exists, unchanged, else a new one of this identity.

    record: the stored record, or None.
    identity: {local_domain, web_domain, media, secrets: {name: value}}.
    Raises ValueError if the identity lacks one of these or a secret is empty.
    """
    _check(identity)
    if record:
        return dict(record)
    salt = _salt(identity["secrets"])
    return {
        "version": VERSION,
        "salt": salt,
        **{name: str(identity[name]) for name in _PLAIN},
        "fingerprints": {name: _fingerprint(salt, name, value) for name, value in sorted(identity["secrets"].items())},
    }


def instance_differences(record: Mapping[str, Any] | None, identity: Mapping[str, Any]) -> list[str]:
    """What of an identity is not what the record says, as sentences; empty if nothing is, or there is no record.

    Raises ValueError if the identity is incomplete, or the record is of a later version.
    """
    _check(identity)
    if not record:
        return []
    if record.get("version") != VERSION:
        raise ValueError(
            f"the record of the instance has version {record.get('version')!r}, and this collection reads {VERSION}; "
            "run the newer collection that wrote it"
        )
    sentences = [
        f"{variable} is {identity[name]}, and the instance was made with {record[name]}: {why}."
        for name, (variable, why) in _PLAIN.items()
        if str(identity[name]) != record[name]
    ]
    for name, fingerprint in record["fingerprints"].items():
        value = identity["secrets"].get(name)
        if value is None:
            sentences.append(f"mastodon_{name} is missing, and the instance was made with one.")
        elif not hmac.compare_digest(_fingerprint(record["salt"], name, value), fingerprint):
            sentences.append(
                f"mastodon_{name} is not the one that the instance was made with: restore it from a backup."
            )
    return sentences


def _salt(secrets: Mapping[str, str]) -> str:
    """A salt from the secrets themselves, so that the record of an identity is the same however often it is made."""
    text = "\0".join(value for dummy, value in sorted(secrets.items()))
    return hmac.digest(text.encode(), b"fediops.mastodon instance salt", "sha256").hex()[: 2 * _SALT_BYTES]


def _fingerprint(salt: str, name: str, value: str) -> str:
    return hmac.digest(bytes.fromhex(salt), f"{name}\0{value}".encode(), "sha256").hex()


def _check(identity: Mapping[str, Any]) -> None:
    missing = [name for name in (*_PLAIN, "secrets") if not identity.get(name)]
    if missing:
        raise ValueError(f"the identity lacks {', '.join(missing)}")
    empty = [str(name) for name, value in identity["secrets"].items() if not value]
    if empty:
        raise ValueError(f"these secrets are empty: {', '.join(empty)}")
