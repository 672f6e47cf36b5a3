# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a TLS certificate: one that a person brings, or the one in place. Pure: texts and a time in."""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_pem_public_key,
    )
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

_PUBLIC_KEY = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


def _require_library() -> None:
    if IMPORT_ERROR:
        raise ValueError("the Python package `cryptography` is missing on the control machine") from IMPORT_ERROR


def _spki(public_key: object) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _covers(name: str, domain: str) -> bool:
    """Whether a DNS name of a certificate stands for the domain; a wildcard does for exactly one label (RFC 6125)."""
    name, domain = name.lower(), domain.lower()
    return name == domain or (name.startswith("*.") and domain.partition(".")[2] == name[2:])


def _names(leaf: x509.Certificate, addresses: bool = False) -> list[str]:
    """The domains that a certificate is for; or its addresses, as `ipaddress` prints them."""
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name) for name in extension.value.get_values_for_type(x509.IPAddress if addresses else x509.DNSName)]


def _printed(name: str) -> str:
    """A domain as it is, an address as `ipaddress` prints it."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def certificate_problems(
    fullchain_pem: str,
    private_key_pem: str,
    domains: Sequence[str],
    now: datetime,
    trusted: Sequence[bytes] | None = None,
) -> list[str]:
    """Say what keeps a certificate from serving the domains: one sentence for each problem, none if it is good.

    fullchain_pem: the certificate first, then those that lead to its authority, as PEM. private_key_pem: its key,
    without a passphrase. now: with a time zone. trusted: certificates of the authorities that clients trust, as DER;
    None where nobody but a CDN must trust this one. Raises ValueError where the package `cryptography` is missing.
    """
    _require_library()
    try:
        leaf, *chain = x509.load_pem_x509_certificates(fullchain_pem.encode())
    except ValueError:
        return [
            "The file certificates_files_fullchain names no certificate: it must be PEM and begin with "
            "-----BEGIN CERTIFICATE-----."
        ]
    try:
        key = load_pem_private_key(private_key_pem.encode(), password=None)
    except TypeError:
        return ["The private key is encrypted: give one without a passphrase, because nginx starts without a person."]
    except ValueError:
        return [
            "The file certificates_files_private_key holds no private key: it must be PEM and begin with "
            "-----BEGIN PRIVATE KEY----- (or EC, or RSA)."
        ]
    problems = []
    if _spki(leaf.public_key()) != _spki(key.public_key()):
        problems.append(
            "The private key does not belong to the first certificate of the chain: "
            "put the certificate of the domain first, or give the key it was requested with."
        )
    uncovered = [domain for domain in domains if not any(_covers(name, domain) for name in _names(leaf))]
    if uncovered:
        problems.append(
            f"The certificate is for {', '.join(_names(leaf)) or 'no DNS name'}, not for {', '.join(uncovered)}: "
            "request one for every name of certificates_domains."
        )
    if leaf.not_valid_after_utc <= now:
        problems.append(f"The certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d}: request a new one.")
    if leaf.not_valid_before_utc > now:
        problems.append(f"The certificate begins to be valid on {leaf.not_valid_before_utc:%Y-%m-%d}: check the clock.")
    for certificate, issuer in zip([leaf, *chain], chain, strict=False):
        if certificate.issuer != issuer.subject:
            problems.append(
                f"In the chain {certificate.subject.rfc4514_string()} is followed by "
                f"{issuer.subject.rfc4514_string()}, which did not issue it: put them in order, the domain's own first."
            )
    # A chain in disorder ends anywhere.
    if trusted is not None and not problems and not _ends_at_one_of([leaf, *chain], trusted):
        last = [leaf, *chain][-1]
        problems.append(
            f"The chain ends with {last.subject.rfc4514_string()}, issued by {last.issuer.rfc4514_string()}, which "
            "other instances do not trust: add the certificates between yours and a public authority, which yours came "
            "with. If it is a CDN's, for the way from the CDN to here alone, set "
            "certificates_files_publicly_trusted: false."
        )
    return problems


def _ends_at_one_of(chain: Sequence[x509.Certificate], trusted: Sequence[bytes]) -> bool:
    """Whether each certificate issued the one before it, and one of the trusted authorities the last."""
    if not all(_issued(issuer, certificate) for certificate, issuer in pairwise(chain)):
        return False
    with warnings.catch_warnings():
        # Some old authorities are odd, which is not for the owner of this certificate to mend.
        warnings.simplefilter("ignore")
        authorities = [x509.load_der_x509_certificate(der) for der in trusted]
    # Names first: of a hundred authorities one or two are asked for their signature.
    return any(one.subject == chain[-1].issuer and _issued(one, chain[-1]) for one in authorities)


def _issued(authority: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def certificate_in_place(
    found: str, authority_pem: str, domains: Sequence[str], days_left: int, now: datetime
) -> dict[str, object]:
    """Say what the certificate is that a host has already, and whether its own authority would give it the same again.

    found: the certificate with its chain, then the public key of the private key beside it, as PEM; either may be
    missing or damaged. authority_pem: certificate of the fleet's authority. domains: what it is for; addresses may
    be among them. days_left: how long it must still be valid. now: with a time zone.
    Returns `leaf`, its PEM or nothing; `own`, whether the authority issued it; `fits`, whether it did for exactly
    these domains and this key, and long enough. Raises ValueError for an authority that is no certificate, and where
    the package `cryptography` is missing.
    """
    _require_library()
    try:
        authority = x509.load_pem_x509_certificate(authority_pem.encode())
    except ValueError as error:
        raise ValueError(f"the authority (mastodon_ca_certificate) is no certificate in PEM: {error}") from error
    try:
        leaf = x509.load_pem_x509_certificates(found.encode())[0]
        keys = [_spki(load_pem_public_key(pem.encode())) for pem in _PUBLIC_KEY.findall(found)]
    except ValueError:
        return {"leaf": "", "own": False, "fits": False}
    own = _issued(authority, leaf)
    fits = (
        own
        and keys == [_spki(leaf.public_key())]
        and sorted(_names(leaf) + _names(leaf, addresses=True)) == sorted(map(_printed, domains))
        and leaf.not_valid_before_utc <= now
        and now + timedelta(days=days_left) < leaf.not_valid_after_utc
    )
    return {"leaf": leaf.public_bytes(Encoding.PEM).decode(), "own": own, "fits": fits}


def validity(pem: str) -> tuple[datetime, datetime] | None:
    """From when to when the first certificate of a PEM text is valid; None where there is none that can be read.

    Raises ValueError where the package `cryptography` is missing.
    """
    _require_library()
    try:
        leaf = x509.load_pem_x509_certificates(pem.encode())[0]
    except ValueError:
        return None
    return leaf.not_valid_before_utc, leaf.not_valid_after_utc
