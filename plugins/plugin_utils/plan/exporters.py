# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the exporters of a host listen for the metrics host."""

from __future__ import annotations

from collections.abc import Iterator

from .model import Host, Reasons

# The ports that the exporters have from their makers; Puma and Sidekiq of a host share one.
_NODE = ("node", 9100)
_OF_TIERS = {
    "postgres": ("postgres", 9187),
    "pgbouncer": ("pgbouncer", 9127),
    "redis": ("redis", 9121),
    "nginx": ("nginx", 9113),
    "web": ("mastodon", 9394),
    "sidekiq": ("mastodon", 9394),
}


def of(host: Host) -> dict[str, int]:
    """The exporters of a host, each with its port; streaming exports on its own ports."""
    return dict([_NODE, *sorted({_OF_TIERS[tier] for tier in host.tiers if tier in _OF_TIERS})])


def why(host: Host) -> Reasons:
    """Why the exporters of a host have the ports that they have."""
    return {f"exporters.{name}": f"{port} = what its makers gave it" for name, port in of(host).items()}


def ports(host: Host) -> Iterator[tuple[str, int]]:
    """Name and port of each exporter of a host."""
    yield from ((f"{name} exporter", port) for name, port in of(host).items())
