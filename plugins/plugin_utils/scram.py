# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of PostgreSQL's roles: derived from one secret, and as the verifiers that are stored instead of them."""

from __future__ import annotations

import base64
import hashlib
import hmac

try:
    from passlib.hash import scram
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

# PostgreSQL's own default, scram_iterations.
ITERATIONS = 4096
_SALT_BYTES = 16


def scram_verifier(password: str, username: str) -> str:
    """The verifier of a password: `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`.

    The salt is derived from the password and the role, so that the same input gives the same text on every run and
    no state has to be kept; to those who do not know the password it is as good as a random one.
    Source: RFC 5802 section 3, RFC 7677. Only printable ASCII is taken, which SASLprep leaves as it is.
    Raises ValueError for an empty password or role, or other characters; the password is not repeated.
    """
    if not password or not username:
        raise ValueError("a verifier needs a password and the name of a role, and neither may be empty")
    if not (password.isascii() and password.isprintable()):
        raise ValueError(f"the password of {username} has characters other than printable ASCII; choose another one")
    if IMPORT_ERROR:
        raise ValueError("the Python package `passlib` is missing on the control machine") from IMPORT_ERROR
    salt = hmac.digest(password.encode(), b"fediops.mastodon scram salt " + username.encode(), "sha256")[:_SALT_BYTES]
    salted = scram.derive_digest(password, salt, ITERATIONS, "sha-256")
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def derived_password(secret: str, purpose: str) -> str:
    """A password for one purpose: HMAC-SHA256 keyed with the secret, as 43 letters, digits, `-` and `_`.

    Who knows it learns nothing of the secret, nor of the password for another purpose.
    Raises ValueError for an empty secret or purpose.
    """
    if not secret or not purpose:
        raise ValueError("a password is derived from a secret for a purpose, and neither may be empty")
    digest = hmac.digest(secret.encode(), b"fediops.mastodon derived password " + purpose.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
