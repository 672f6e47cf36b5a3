# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets of an instance: made once, from the operating system's random source, and never made again.

Nothing here prints or stores anything. Errors name secrets, never their values.
"""

from __future__ import annotations

import base64
import secrets as random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
except ImportError as error:
    CRYPTOGRAPHY_MISSING: ImportError | None = error
else:
    CRYPTOGRAPHY_MISSING = None

_CA_YEARS = 10
# A host whose clock is a little behind must not find the certificate not yet valid.
_CLOCK_SKEW = timedelta(days=1)

Made = Mapping[str, str]


def make_secrets(present: Made) -> dict[str, str]:
    """All secrets that are not in `present`, by name, in a fixed order.

    present: names and values of those that exist; an empty value counts as missing.
    A public half is made from its private one. Raises ValueError if a public half is there without its private one,
    or if a private one that is needed cannot be read.
    """
    kept = {name: value for name, value in present.items() if value}
    for public, private in _HALVES.items():
        if public in kept and private not in kept:
            raise ValueError(
                f"{public} is there without {private}: a new private half would not fit it. "
                f"Restore {private}, or remove {public} to have both made"
            )
    made: dict[str, str] = {}
    for name, maker in _MAKERS.items():
        if name not in kept:
            made[name] = maker({**kept, **made})
    return made


def missing_secrets(present: Made) -> list[str]:
    """The names of the secrets that are not there, in a fixed order."""
    return [name for name in _MAKERS if not present.get(name)]


def _password(dummy: Made) -> str:
    """192 bits, in characters that need no quoting anywhere: URLs, SQL, env files, Redis's configuration."""
    return random.token_hex(24)


def _secret_key_base(dummy: Made) -> str:
    """What `rails secret` makes."""
    return random.token_hex(64)


def _encryption_key(dummy: Made) -> str:
    """As long as what `rails db:encryption:init` makes."""
    return random.token_hex(16)


def _vapid_private_key(dummy: Made) -> str:
    """The private number of a key pair on P-256, as the web-push gem writes it: 32 bytes, URL-safe, padded."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode()


def _vapid_public_key(kept: Made) -> str:
    """The public point of the pair, uncompressed: 65 bytes, URL-safe, padded."""
    try:
        number = int.from_bytes(base64.urlsafe_b64decode(kept["mastodon_vapid_private_key"]), "big")
        public = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    except ValueError as exc:
        raise ValueError("mastodon_vapid_private_key is not a private key as Mastodon's own task writes it") from exc
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).decode()


def _ca_private_key(dummy: Made) -> str:
    """A key on P-256 as PEM, unencrypted: the vault encrypts it."""
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def _ca_certificate(kept: Made) -> str:
    """The self-signed certificate of the CA key, for ten years, good for signing leaves and nothing else."""
    try:
        key = serialization.load_pem_private_key(kept["mastodon_ca_private_key"].encode(), password=None)
    except (TypeError, ValueError) as exc:
        raise ValueError("mastodon_ca_private_key is not a private key in PEM, without a password") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("mastodon_ca_private_key is not a key on an elliptic curve")
    serial = x509.random_serial_number()
    # The serial number in the name tells two CAs apart in a browser's list.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Mastodon instance CA {serial:x}"[:40])])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=365 * _CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


# Public halves come after their private ones, from which they are made.
_MAKERS: dict[str, Callable[[Made], str]] = {
    "mastodon_postgres_password": _password,
    "mastodon_redis_password": _password,
    "mastodon_secret_key_base": _secret_key_base,
    "mastodon_active_record_encryption_primary_key": _encryption_key,
    "mastodon_active_record_encryption_deterministic_key": _encryption_key,
    "mastodon_active_record_encryption_key_derivation_salt": _encryption_key,
    "mastodon_vapid_private_key": _vapid_private_key,
    "mastodon_vapid_public_key": _vapid_public_key,
    "mastodon_ca_private_key": _ca_private_key,
    "mastodon_ca_certificate": _ca_certificate,
    "mastodon_metrics_password": _password,
}

_HALVES = {
    "mastodon_vapid_public_key": "mastodon_vapid_private_key",
    "mastodon_ca_certificate": "mastodon_ca_private_key",
}

NAMES = tuple(_MAKERS)
# Nothing of an instance was made with these: they may be made where one lives already.
REPLACEABLE = ("mastodon_metrics_password",)
