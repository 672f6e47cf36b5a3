# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's SCRAM-SHA-256 verifiers: what the server stores instead of a password."""

from __future__ import annotations

import base64
import hashlib
import hmac

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
    secret = password.encode()
    salt = hmac.digest(secret, b"fediops.mastodon scram salt " + username.encode(), "sha256")[:_SALT_BYTES]
    salted = hashlib.pbkdf2_hmac("sha256", secret, salt, ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ITERATIONS}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
