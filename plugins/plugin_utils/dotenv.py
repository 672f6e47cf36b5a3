# SPDX-License-Identifier: GPL-3.0-or-later
"""Env files that dotenv for Ruby, dotenv for Node and systemd's EnvironmentFile= read alike.

Their quoting rules differ: Ruby expands `$` and backslashes in double quotes and bare words, Node unescapes nothing
but newlines, systemd unescapes a few characters. What all three take literally is a bare word of harmless
characters, single quotes around anything without a single quote, and double quotes around anything without
double quotes, backslashes and dollars. Only these three forms are written; tests/unit/filters/dotenv_readers.json holds
what the real readers made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from .dotenv_names import EMPTY_MEANS_SOMETHING, FORBIDDEN, KNOWN, PER_PROCESS, PREFIXES

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE = re.compile(r"[A-Za-z0-9_./:@%+=,?&-]+")


def dotenv(variables: Mapping[str, object], *, process: bool = False, extra_names: Iterable[str] = ()) -> str:
    """The text of an env file: one NAME=value a line, in the order of the mapping.

    variables: strings, numbers, booleans (written true and false) and lists of them (joined by commas). None and the
    empty string leave the name out.
    process: the file is the environment of one process and may hold the names that only work there.
    extra_names: names beyond Mastodon's that are allowed.
    Raises ValueError for all wrong names and values together; no value is repeated in it.
    """
    lines, problems = [], []
    allowed = KNOWN | set(extra_names) | (PER_PROCESS.keys() if process else set())
    for name, given in variables.items():
        problem = _check_name(str(name), allowed)
        if problem:
            problems.append(problem)
            continue
        try:
            text = _text(given)
            if text or (text == "" and name in EMPTY_MEANS_SOMETHING):
                lines.append(f"{name}={quote(text)}\n")
        except ValueError as exc:
            problems.append(f"{name}: {exc}")
    if problems:
        raise ValueError("; ".join(problems))
    return "".join(lines)


def quote(value: str) -> str:
    """The value in the form that all readers take literally. Raises ValueError if there is none."""
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("its value contains a line break or another control character; type it in one line")
    if _BARE.fullmatch(value):
        return value
    if "'" not in value and not value.endswith("\\"):
        return f"'{value}'"
    if not set(value) & set('"\\$'):
        return f'"{value}"'
    raise ValueError(
        "its value cannot be written so that Ruby, Node and systemd read it alike: it ends with a backslash, or has a "
        'single quote together with one of " \\ $; choose another value'
    )


def _check_name(name: str, allowed: Iterable[str]) -> str | None:
    """What is wrong with a name, in words; None if nothing is."""
    if not _NAME.fullmatch(name):
        return f"{name!r} is not the name of an environment variable"
    if name in FORBIDDEN:
        return f"{name} must not be set: {FORBIDDEN[name]}"
    if name in allowed or name.startswith(PREFIXES):
        return None
    if name in PER_PROCESS:
        return f"{name} must not be in this file: {PER_PROCESS[name]}"
    near = _nearest(name, allowed)
    hint = f"did you mean {near}?" if near else "nothing that is known is near it"
    return f"{name} is not known to Mastodon: {hint}"


def _nearest(name: str, allowed: Iterable[str]) -> str | None:
    by_upper = {known.upper(): known for known in sorted(allowed)}
    near = get_close_matches(name.upper(), by_upper, n=1, cutoff=0.6)
    return by_upper[near[0]] if near else None


def _text(value: object) -> str | None:
    """A value as text; None if the name is to be left out."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        parts = [_text(item) for item in value if not isinstance(item, Sequence) or isinstance(item, str)]
        if len(parts) == len(value):
            return ",".join(part for part in parts if part)
    raise ValueError("its value is neither text nor a number, true, false or a list of these")
