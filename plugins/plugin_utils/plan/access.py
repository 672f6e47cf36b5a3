# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may come in, host by host: from the flows, and from nothing else."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from .components import postgres
from .flows import CONTROL, REPLICATION, WORLD
from .model import Flow, HostPlan, Opening, PostgresClient

# The role of PostgreSQL that replicas come as, and what they ask for instead of a database.
_REPLICATION = ("replication", "mastodon_replication")
_APPLICATION = (postgres.DATABASE, "mastodon")


def let_in(hosts: Mapping[str, HostPlan], flows: Iterable[Flow]) -> dict[str, HostPlan]:
    """The plans of all hosts with what each lets in: ports and, where PostgreSQL runs, its clients.

    flows: between these hosts, or from the world or the control machine to them.
    """
    to: defaultdict[str, list[Flow]] = defaultdict(list)
    for flow in flows:
        to[flow.to].append(flow)
    addresses = {name: plan.host.address for name, plan in hosts.items()}
    return {name: _opened(plan, to[name], addresses) for name, plan in hosts.items()}


def _opened(plan: HostPlan, flows: Iterable[Flow], addresses: Mapping[str, str]) -> HostPlan:
    sources: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    clients = set()
    for flow in flows:
        sources[flow.port, flow.protocol].add(flow.from_)
        if plan.postgres and flow.port == plan.postgres.port:
            asked = _REPLICATION if flow.what == REPLICATION else _APPLICATION
            clients.add((*asked, addresses[flow.from_]))
    opened = replace(
        plan,
        firewall=tuple(
            Opening(port=port, protocol=protocol, sources=_sources(names, addresses))
            for (port, protocol), names in sorted(sources.items())
        ),
    )
    if plan.postgres is None:
        return opened
    ordered = sorted(clients, key=lambda client: (*client[:2], _by_number(client[2])))
    who = tuple(PostgresClient(database=name, user=user, address=address) for name, user, address in ordered)
    why = {"postgres.clients": f"{len(who)} = who comes from other hosts, as the flows say"} if who else {}
    return replace(opened, postgres=replace(plan.postgres, clients=who), reasons={**plan.reasons, **why})


def _sources(names: Iterable[str], addresses: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses in their order; who lets in the world, or the control machine, asks for no address."""
    for anybody in (WORLD, CONTROL):
        if anybody in names:
            return (anybody,)
    return tuple(sorted((addresses[name] for name in names), key=_by_number))


def _by_number(address: str) -> tuple[int, int]:
    """A key by which 10.0.0.9 comes before 10.0.0.10."""
    found = ipaddress.ip_address(address)
    return found.version, int(found)
