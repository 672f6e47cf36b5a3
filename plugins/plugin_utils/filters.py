# SPDX-License-Identifier: GPL-3.0-or-later
"""What all filters do alike: they check types, call the library, and name themselves in what they raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ansible.errors import AnsibleFilterError
from ansible.module_utils.datatag import native_type_name

_KINDS: dict[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "a whole number": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "a number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "a list": lambda value: isinstance(value, Sequence) and not isinstance(value, (str, bytes)),
    "a mapping": lambda value: isinstance(value, Mapping),
    "a mapping or null": lambda value: value is None or isinstance(value, Mapping),
}


@contextmanager
def named(name: str) -> Iterator[None]:
    """Turn a ValueError of the library, or of `require`, into Ansible's own, with the full name of the filter."""
    try:
        yield
    except ValueError as error:
        raise AnsibleFilterError(f"fediops.mastodon.{name}: {error}") from error


def require(what: str, value: object, kind: str) -> None:
    """Raise ValueError unless the value is of the kind, one of the keys of _KINDS; `what` names it to a person."""
    if not _KINDS[kind](value):
        raise ValueError(f"{what} must be {kind}, not {native_type_name(value)}")


def require_fleet(hosts: object, groups: object, settings: object) -> None:
    """Raise ValueError unless hosts, groups and settings are what a filter of the plan takes."""
    require("hosts", hosts, "a mapping")
    require("groups", groups, "a mapping or null")
    require("settings", settings, "a mapping or null")
    for host, variables in hosts.items():
        require(f"what is given for {host}", variables, "a mapping")
    for group, names in (groups or {}).items():
        require(f"group {group}", names, "a list")
