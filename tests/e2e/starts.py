# SPDX-License-Identifier: GPL-3.0-or-later
"""Which start of a unit is this? So it can be said what was restarted, and what was not."""

from __future__ import annotations

from e2e.instance import Instance

OURS = (
    "postgresql@*.service", "pgbouncer.service", "haproxy.service", "redis-server.service", "nginx.service",
    "mastodon-*.service", "mastodon-*.socket",
)  # fmt: skip


def starts(instance: Instance) -> dict[tuple[str, str], str]:
    """{(host, unit): which start of it this is} of everything of ours that runs."""
    found = {}
    for name, host in instance.hosts.items():
        units = host.active(*OURS)
        shown = host.output("systemctl", "show", "--property", "InvocationID", "--value", *units) if units else ""
        found |= {(name, unit): which for unit, which in zip(units, shown.split(), strict=True)}
    return found


def restarted(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> list[str]:
    """What was there before and is not, or is another start: "unit of host"."""
    return [f"{unit} of {host}" for (host, unit), which in before.items() if after.get((host, unit)) != which]
