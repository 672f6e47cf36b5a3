# SPDX-License-Identifier: GPL-3.0-or-later
"""Which warnings a person does not want to hear again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from .model import Finding

# Everything that a finding can be called.
WORDS = (
    "declared",
    "demand",
    "input",
    "inventory",
    "logs",
    "pgbouncer",
    "pools",
    "provisional",
    "reads",
    "retire",
    "threads",
    "workers",
)
NAMES = (*(f"C{number}" for number in range(1, 21)), *WORDS)


def silence(findings: Iterable[Finding], names: object) -> tuple[Finding, ...]:
    """The findings without the warnings of the constraints named; errors first, and what is wrong with the names.

    names: `mastodon_plan_silenced`, a list of constraints.
    """
    findings = list(findings)
    if names is None:
        names = []
    if isinstance(names, (str, bytes)) or not isinstance(names, Sequence):
        findings.append(_wrong(f"mastodon_plan_silenced is {names!r}; allowed: a list.", "Type for example: [C16]"))
        names = []
    silenced = {str(name) for name in names}
    for name in sorted(silenced - set(NAMES)):
        near = get_close_matches(name, NAMES, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        message = f"mastodon_plan_silenced: there is no constraint {name}."
        findings.append(_wrong(message, f"{hint}Known: {', '.join(NAMES)}."))
    for name in sorted(silenced & {finding.constraint for finding in findings if finding.severity == "error"}):
        message = f"mastodon_plan_silenced: {name} is an error here, and errors cannot be silenced."
        findings.append(_wrong(message, f"Follow the advice of {name}, or take {name} out of mastodon_plan_silenced."))
    kept = (finding for finding in findings if finding.severity == "error" or finding.constraint not in silenced)
    return tuple(sorted(kept, key=lambda finding: finding.severity != "error"))


def _wrong(message: str, advice: str) -> Finding:
    return Finding(constraint="input", severity="error", hosts=(), message=message, advice=advice)
