# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the exporters of a host listen for the metrics host."""

from __future__ import annotations

from collections.abc import Iterator

from .model import Host

# The ports that the exporters have from their makers; Puma and Sidekiq of a host share one.
NODE = 9100
_OF_TIERS = {
    "postgres": ("postgres", 9187),
    "pgbouncer": ("pgbouncer", 9127),
    "redis": ("redis", 9121),
    "nginx": ("nginx", 9113),
    "web": ("mastodon", 9394),
    "sidekiq": ("mastodon", 9394),
}


def ports(host: Host) -> Iterator[tuple[str, int]]:
    """Name and port of each exporter of a host; streaming exports on its own ports."""
    yield "node exporter", NODE
    found = {_OF_TIERS[tier] for tier in host.tiers if tier in _OF_TIERS}
    yield from ((f"{name} exporter", port) for name, port in sorted(found))
