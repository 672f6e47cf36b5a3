# SPDX-License-Identifier: GPL-3.0-or-later
"""What machines cost: a table that a person replaces by the one of their provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, order=True)
class Machine:
    """A machine that can be rented: its price a month comes first, so that the cheapest is the least."""

    monthly: float
    vcpus: int
    memory_mb: int
    name: str


# [E] No provider's prices, but in proportion to those of many: 4 a vCPU and 1.5 a GB.
EXAMPLE = tuple(
    Machine(name=f"{vcpus} vCPU, {memory_gb} GB", vcpus=vcpus, memory_mb=memory_gb * 1024, monthly=monthly)
    for vcpus, memory_gb, monthly in (
        (1, 2, 7.0),
        (2, 4, 14.0),
        (2, 8, 20.0),
        (4, 8, 28.0),
        (4, 16, 40.0),
        (8, 16, 56.0),
        (8, 32, 80.0),
        (16, 32, 112.0),
        (16, 64, 160.0),
        (32, 128, 320.0),
    )
)


def read_prices(given: object) -> tuple[Machine, ...]:
    """The machines of `mastodon_price_table`, cheapest first; the example's where it is None.

    given: a list of {name, vcpus, memory_mb, monthly}. Raises ValueError that says which entry is wrong, and how.
    """
    if given is None:
        return tuple(sorted(EXAMPLE))
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence) or not given:
        raise ValueError(f"mastodon_price_table is {given!r}; allowed: a list of machines. Each is like {_LIKE}")
    return tuple(sorted(_machine(number, entry) for number, entry in enumerate(given, start=1)))


_LIKE = "{name: small, vcpus: 2, memory_mb: 4096, monthly: 14.0}"


def _machine(number: int, entry: object) -> Machine:
    where = f"mastodon_price_table, machine {number}"
    if not isinstance(entry, Mapping) or set(entry) != {"name", "vcpus", "memory_mb", "monthly"}:
        raise ValueError(f"{where} is {entry!r}; allowed: exactly name, vcpus, memory_mb and monthly, like {_LIKE}")
    numbers = {}
    for key, least, most in (("vcpus", 1, 1024), ("memory_mb", 512, 2**24), ("monthly", 0, 10**6)):
        try:
            numbers[key] = float(str(entry[key]))
        except ValueError:
            numbers[key] = -1.0
        whole = key == "monthly" or numbers[key].is_integer()
        if isinstance(entry[key], bool) or not whole or not least <= numbers[key] <= most:
            raise ValueError(
                f"{where}: {key} is {entry[key]!r}; allowed: a {'' if key == 'monthly' else 'whole '}number from "
                f"{least} to {most}, like {_LIKE}"
            )
    return Machine(
        name=str(entry["name"]),
        vcpus=int(numbers["vcpus"]),
        memory_mb=int(numbers["memory_mb"]),
        monthly=numbers["monthly"],
    )
