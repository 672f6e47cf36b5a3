# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings that the components of a host ask for."""

from __future__ import annotations

from ..model import Host, Reasons


def size(host: Host) -> tuple[dict[str, dict[str, int | str]], Reasons]:
    """The sysctl settings of one host."""
    settings: dict[str, tuple[int | str, str]] = {
        "net.core.somaxconn": (4096, "Puma asks for a backlog of 1024, Redis for 4096"),
        "net.ipv4.tcp_max_syn_backlog": (4096, "as many as somaxconn"),
        "vm.swappiness": ((10, "swap only under need") if host.runs("web", "sidekiq") else (1, "data stays in memory")),
    }
    if host.runs("nginx", "web", "sidekiq"):
        settings["net.ipv4.ip_local_port_range"] = (
            "10240 65000",
            "more ports for federation; none of those that services of the fleet listen on",
        )
    if host.runs("pgbouncer"):
        settings["net.ipv4.tcp_migrate_req"] = (
            1,
            "who connects at the moment when PgBouncer's former process leaves comes to its new one",
        )
    if host.runs("redis"):
        settings["vm.overcommit_memory"] = (1, "otherwise Redis cannot fork to save when memory is half used")
    sysctl = {name: value for name, (value, dummy) in settings.items()}
    reasons = {f"kernel.sysctl.{name}": f"{value} = {why}" for name, (value, why) in settings.items()}
    return {"sysctl": sysctl}, reasons
