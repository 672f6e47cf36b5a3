# SPDX-License-Identifier: GPL-3.0-or-later
"""Where HAProxy stands, by what runs on the hosts of a fleet."""

from __future__ import annotations

from .model import Fleet, Host


def leads_readers(fleet: Fleet, host: Host) -> bool:
    """True if the host has a pooler, and there are replicas from which its clients read."""
    return host.runs("pgbouncer") and bool(fleet.replicas)


def tls_before_the_application(fleet: Fleet) -> bool:
    """True if nginx speaks TLS to Puma and streaming: asked for inside the fleet, and they are not all on one host."""
    hosts = {host.name for tier in ("nginx", "web", "streaming") for host in fleet.reached_by(tier)}
    return fleet.internal_tls and len(hosts) > 1


def ends_tls(fleet: Fleet, host: Host) -> bool:
    """True if Puma or streaming of the host are reached by TLS, which neither speaks itself."""
    return host.runs("web", "streaming") and tls_before_the_application(fleet)


def runs_on(fleet: Fleet, host: Host) -> bool:
    """True if the host needs HAProxy."""
    return leads_readers(fleet, host) or ends_tls(fleet, host)
