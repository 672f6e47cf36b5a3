# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom where: binds, and for each host the addresses and ports of what it uses.

Data components listen on loopback always, and on the address of their host where a neighbour uses them. Puma and
streaming listen in one place: loopback where nobody else reaches them, or where HAProxy ends the TLS before them.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from .components import pgbouncer, postgres, redis
from .model import LOOPBACK, Fleet, Host, Streaming, Web
from .proxies import ends_tls, tls_before_the_application

APPLICATION = ("web", "streaming", "sidekiq")
RUBY = ("web", "sidekiq")
# Who needs the files of a release, or a part of them.
RELEASED = (*APPLICATION, "nginx")
RELEASES_PORT = 8640
# systemd-journal-remote's own.
LOGS_PORT = 19532
_SPREAD_LEEWAY = 2
# Networks that are a fleet's own; who is trusted in one of them is trusted in all of it, so that another edge changes
# nothing.
_LOOPBACKS = ("127.0.0.0/8", "::1/128")
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)


def edge_bind(fleet: Fleet, host: Host) -> str:
    """Where Puma and streaming of a host listen for nginx, or for HAProxy before them."""
    return LOOPBACK if ends_tls(fleet, host) or _alone(fleet, host, "nginx") else host.address


def streaming_bind(fleet: Fleet, host: Host) -> str:
    """Where streaming of a host listens: as Puma does, and for a metrics host elsewhere, which asks it itself."""
    asked = not ends_tls(fleet, host) and not _alone(fleet, host, "metrics")
    return host.address if asked else edge_bind(fleet, host)


def postgres_binds(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Where PostgreSQL listens: for poolers, or the application where there is none; for the builder and replicas.

    A replica serves poolers only: there is nobody to leave it out when it is behind where there is none.
    """
    if host is not fleet.primary:
        return _binds(host, _alone(fleet, host, "pgbouncer"))
    tiers = ("pgbouncer",) if fleet.running("pgbouncer") else APPLICATION
    repeated = any(other.postgres_role == "replica" for other in fleet.reached_by("postgres"))
    others = repeated or builder(fleet) != host.name
    return _binds(host, _alone(fleet, host, *tiers) and not others)


def pgbouncer_binds(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Where a pooler listens: any of them may have to take all clients."""
    return _binds(host, _alone(fleet, host, *APPLICATION))


def redis_binds(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Where Redis listens: the core for streaming and its replicas too, a replica for nobody."""
    if host.redis_role == "replica":
        return (LOOPBACK,)
    if host.redis_role in ("cache", "sidekiq"):
        return _binds(host, _alone(fleet, host, *RUBY))
    replicated = any(other.redis_role == "replica" for other in fleet.reached_by("redis"))
    return _binds(host, _alone(fleet, host, *APPLICATION) and not replicated)


def builder(fleet: Fleet) -> str:
    """The host that builds releases and migrates the database."""
    return fleet.builder or fleet.running("web")[0].name


def spread(
    kinds: Iterable[Sequence[str]], places: Sequence[str], kept: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The place of each name: every place gets as many as any other, or one more; of each kind too.

    So that a place that is away takes no kind with it of which there are several. kept: where names are already; as few
    of them as can be move, and a place may then have two more than another. Where nobody is anywhere, each name has its
    own order of the places.
    """
    kept = {name: place for name, place in (kept or {}).items() if place in places}
    return _spread_on(list(kinds), places, kept) if kept else _spread_anew(kinds, places)


def _spread_on(kinds: Sequence[Sequence[str]], places: Sequence[str], kept: Mapping[str, str]) -> dict[str, str]:
    chosen = {name: kept[name] for names in kinds for name in names if name in kept}
    for names in kinds:
        for name in names:
            if name not in chosen:
                of_kind = Counter(chosen[other] for other in names if other in chosen)
                loads = Counter(chosen.values())
                chosen[name] = min(places, key=lambda place: (of_kind[place], loads[place], _draw(name, place)))
    while move := _evened_kind(kinds, places, chosen, kept):
        chosen |= move
    # A pooler that joins should be used; for one client more or less nothing restarts.
    if _difference(chosen, places) > _SPREAD_LEEWAY:
        while _difference(chosen, places) > 1:
            chosen |= _evened(kinds, places, chosen, kept)
    return chosen


def _evened_kind(
    kinds: Sequence[Sequence[str]], places: Sequence[str], chosen: Mapping[str, str], kept: Mapping[str, str]
) -> dict[str, str]:
    """A name and its new place, where one place has two more of its kind than another; empty where none has."""
    loads = Counter(chosen.values())
    for names in kinds:
        of_kind = Counter(chosen[name] for name in names)
        most = max(places, key=lambda place: (of_kind[place], loads[place]))
        least = min(places, key=lambda place: (of_kind[place], loads[place]))
        if of_kind[most] > of_kind[least] + 1:
            return {_movable([name for name in names if chosen[name] == most], kept): least}
    return {}


def _evened(
    kinds: Sequence[Sequence[str]], places: Sequence[str], chosen: Mapping[str, str], kept: Mapping[str, str]
) -> dict[str, str]:
    """A name that goes from the place with the most to that with the least, its kind no less even than before."""
    loads = Counter(chosen.values())
    most, least = max(places, key=lambda place: loads[place]), min(places, key=lambda place: loads[place])
    there = ([name for name in names if chosen[name] == most] for names in kinds)
    here = (sum(chosen[name] == least for name in names) for names in kinds)
    able = [name for names, others in zip(there, here, strict=True) if len(names) > others for name in names]
    return {_movable(able, kept): least}


def _movable(names: Iterable[str], kept: Container[str]) -> str:
    """Rather one that was nowhere before: it restarts nothing."""
    return max(names, key=lambda name: name not in kept)


def _difference(chosen: Mapping[str, str], places: Sequence[str]) -> int:
    loads = Counter(chosen.values())
    return max(loads[place] for place in places) - min(loads[place] for place in places)


def _draw(name: str, place: str) -> int:
    """By what a name prefers one of several places that are as good."""
    return crc32(f"{name} {place}".encode())


def _spread_anew(kinds: Iterable[Sequence[str]], places: Sequence[str]) -> dict[str, str]:
    loads: Counter[str] = Counter()
    chosen = {}
    for names in kinds:
        each, more = divmod(len(names), len(places))
        least = min(loads[place] for place in places)
        behind = {place for place in places if loads[place] == least}
        # Who may get one more of this kind: first the places that have fewer of all.
        left = {True: min(more, len(behind)), False: max(0, more - len(behind))}
        given: Counter[str] = Counter()
        for name in names:
            for place in sorted(places, key=lambda place: _draw(name, place)):
                if given[place] < each or (given[place] == each and left[place in behind]):
                    left[place in behind] -= given[place] == each
                    given[place] += 1
                    chosen[name] = place
                    break
        loads += given
    return chosen


def _kind(host: Host) -> str:
    """What a host does for the application, of which another host may do the same."""
    tier = next(tier for tier in APPLICATION if host.runs(tier))
    return f"{tier} {host.sidekiq_group}" if tier == "sidekiq" else tier


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The choices behind the endpoints of all hosts: which pooler each host uses.

    web, streaming: by the name of their host all processes, each with its host, where it listens, and its port.
    """

    fleet: Fleet
    builder: Host
    proxies: Sequence[str]
    poolers: Mapping[str, Host]
    web: Mapping[str, Sequence[tuple[Host, str, int]]]
    streaming: Mapping[str, Sequence[tuple[Host, str, int]]]

    @classmethod
    def of(cls, fleet: Fleet, webs: Mapping[str, Web], streamings: Mapping[str, Streaming]) -> Routes:
        """The routes of a fleet whose processes are known, each by the name of its host."""
        by_name = {host.name: host for host in fleet.hosts}
        users = [host for host in fleet.hosts if host.runs(*APPLICATION)]
        poolers = fleet.running("pgbouncer")
        own = {host.name: host for host in poolers}
        kinds: dict[str, list[str]] = {}
        for host in users if poolers else ():
            if host.name not in own:
                kinds.setdefault(_kind(host), []).append(host.name)
        by_address = {host.address: host.name for host in poolers}
        kept = {name: by_address[address] for name, address in fleet.poolers.items() if address in by_address}
        chosen = spread(kinds.values(), [*own], kept)
        return cls(
            fleet=fleet,
            builder=by_name[builder(fleet)],
            proxies=proxies(fleet.reached_by("nginx")),
            poolers=own | {name: by_name[place] for name, place in chosen.items()},
            web={host.name: [(host, webs[host.name].bind, webs[host.name].port)] for host in fleet.running("web")},
            streaming={
                host.name: [(host, process.bind, process.port) for process in streamings[host.name].processes]
                for host in fleet.running("streaming")
            },
        )

    def of_host(self, host: Host) -> dict[str, Any]:
        """Where one host reaches what it uses; over loopback what runs there itself.

        web and streaming are those of the fleet for hosts with nginx, those of the host itself for all others; tls says
        whether these are reached by TLS. Hosts that proxies speak for name the networks of those.
        """
        primary = self.fleet.primary
        pooler = self.poolers.get(host.name)
        found: dict[str, Any] = {
            "postgres": _at(host, primary, postgres.PORT),
            "database": _at(host, pooler, pgbouncer.PORT) if pooler else _at(host, primary, postgres.PORT),
        }
        if pooler and self.fleet.replicas and host.runs(*RUBY):
            found["database_replica"] = {**_at(host, pooler, pgbouncer.PORT), "name": pgbouncer.READER}
        if pooler and host.runs(*RUBY):
            found["prepared_statements"] = host.environment.get("PREPARED_STATEMENTS") == "true"
        for role, other in self.fleet.redis.items():
            found["redis" if role == "core" else f"redis_{role}"] = _at(host, other, redis.PORT)
        edge = host.runs("nginx")
        tls = edge and tls_before_the_application(self.fleet)
        for tier, processes in (("web", self.web), ("streaming", self.streaming)):
            found[tier] = [
                {"host": bind if other is host and not tls else other.address, "port": port}
                for of_one in (processes.values() if edge else [processes.get(host.name, ())])
                for other, bind, port in of_one
            ]
        found["tls"] = tls
        if host.runs("web", "streaming") and not _alone(self.fleet, host, "nginx"):
            found["trusted_proxies"] = self.proxies
        if host.runs(*RELEASED) and host is not self.builder:
            found["releases"] = {"host": self.builder.address, "port": RELEASES_PORT}
        if self.fleet.logs_to not in (None, host):
            found["logs"] = {"host": self.fleet.logs_to.address, "port": LOGS_PORT}
        return found


def proxies(edges: Iterable[Host]) -> list[str]:
    """The networks of the edges, and loopback; private ones whole, public addresses one by one."""
    networks = set()
    for edge in edges:
        address = ipaddress.ip_address(edge.address)
        whole = (network for network in _PRIVATE if address in network)
        networks.add(next(whole, ipaddress.ip_network(address)))
    ordered = sorted(networks, key=lambda network: (network.version, int(network.network_address)))
    return [*_LOOPBACKS, *map(str, ordered)]


def _at(host: Host, other: Host, port: int) -> dict[str, Any]:
    """Where a host reaches a data component of another, or of itself."""
    return {"host": LOOPBACK if other is host else other.address, "port": port}


def _alone(fleet: Fleet, host: Host, *tiers: str) -> bool:
    """True if no other host runs any of the tiers."""
    return all(fleet.reached_by(tier) in ((), (host,)) for tier in tiers)


def _binds(host: Host, alone: bool) -> tuple[str, ...]:
    return (LOOPBACK,) if alone else (LOOPBACK, host.address)
