# SPDX-License-Identifier: GPL-3.0-or-later
"""How a check says what it found."""

from __future__ import annotations

from collections.abc import Iterable

from .model import Finding
from .words import joined

_SHOWN = 8


def error(constraint: str, hosts: Iterable[str], message: str, advice: str, **remedy: int) -> Finding:
    """A finding that forbids a run."""
    return Finding(
        constraint=constraint, severity="error", hosts=tuple(hosts), message=message, advice=advice, remedy=remedy
    )


def warning(constraint: str, hosts: Iterable[str], message: str, advice: str, **remedy: int) -> Finding:
    """A finding that a person should know of, and may silence."""
    return Finding(
        constraint=constraint, severity="warning", hosts=tuple(hosts), message=message, advice=advice, remedy=remedy
    )


def names(words: Iterable[str]) -> str:
    """Words with commas and an "and"; of very many the first few and how many more."""
    given = list(words)
    if len(given) <= _SHOWN + 1:
        return joined(given)
    return f"{', '.join(given[:_SHOWN])} and {len(given) - _SHOWN} more"
