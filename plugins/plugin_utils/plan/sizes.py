# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of a fleet: first what needs only its host (Puma, Sidekiq), then what needs the sum of all clients."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import endpoints, exporters
from .coefficients import Coefficients
from .components import haproxy, kernel, memory, nginx, pgbouncer, postgres, puma, redis, sidekiq, streaming
from .model import (
    Fleet,
    Host,
    HostPlan,
    Pgbouncer,
    Postgres,
    Reasons,
    Sidekiq,
    Streaming,
    Totals,
    Web,
)
from .proxies import runs_on
from .queues import Slot, queue_name, serves_scheduler, share_out, slots_of


@dataclass(frozen=True, kw_only=True)
class _Application:
    """What is known once Puma, Sidekiq and streaming have their sizes, each by the name of its host.

    ruby_clients: database connections of Puma and Sidekiq, which go to replicas too; clients: with streaming.
    """

    shares: Mapping[str, memory.Share]
    web: Mapping[str, tuple[Web, Reasons]]
    sidekiq: Mapping[str, tuple[Sidekiq, Reasons]]
    streaming: Mapping[str, tuple[Streaming, Reasons]]
    puma_threads: int
    sidekiq_threads: int
    ruby_clients: int
    clients: int
    redis_clients: int


def sizes(fleet: Fleet, c: Coefficients) -> tuple[dict[str, HostPlan], Totals]:
    """The plan of every host, by name, and the sums."""
    app = _application(fleet, c)
    reserves = {
        host.name: memory.reserve(fleet, host, app.shares[host.name].streaming_processes, c) for host in fleet.hosts
    }
    databases, poolers = _databases(fleet, app, reserves, c)
    edges = len(fleet.running("nginx"))
    routes = endpoints.Routes.of(
        fleet,
        {name: part for name, (part, dummy) in app.web.items()},
        {name: part for name, (part, dummy) in app.streaming.items()},
    )
    plans = {}
    for host in fleet.hosts:
        name = host.name
        set_aside = reserves[name]
        parts: dict[str, Any] = {
            tier: sized[name]
            for tier, sized in (
                ("web", app.web),
                ("sidekiq", app.sidekiq),
                ("streaming", app.streaming),
                ("postgres", databases),
                ("pgbouncer", poolers),
            )
            if name in sized
        }
        if host.runs("redis"):
            bind = endpoints.redis_binds(fleet, host)
            parts["redis"] = redis.size(host, set_aside, app.redis_clients, bind, c)
        if host.runs("nginx"):
            parts["nginx"] = nginx.size(host, app.puma_threads, edges, c)
        if runs_on(fleet, host):
            parts["haproxy"] = haproxy.size(
                fleet,
                host,
                pgbouncer.opened_for(poolers[name][0], "replica") if name in poolers else 0,
                app.web[name][0] if name in app.web else None,
                app.streaming[name][0] if name in app.streaming else None,
                c,
            )
        parts["kernel"] = kernel.size(host)
        parts["memory"] = memory.budget(
            host,
            set_aside,
            app.web[name][0] if name in app.web else None,
            app.sidekiq[name][0] if name in app.sidekiq else None,
            c,
        )
        reasons = {path: reason for dummy, why in parts.values() for path, reason in why.items()}
        sized = {component: part for component, (part, dummy) in parts.items()}
        if fleet.monitored:
            sized["exporters"] = exporters.of(host)
            reasons |= exporters.why(host)
        plans[name] = HostPlan(host=host, endpoints=routes.of_host(host), reasons=reasons, **sized)
    return plans, _totals(fleet, app, poolers)


def _application(fleet: Fleet, c: Coefficients) -> _Application:
    shares = _shares(fleet, c)
    slots = _slots(fleet, {name: share.processes for name, share in shares.items()})
    webs = {
        host.name: puma.size(host, shares[host.name], endpoints.edge_bind(fleet, host), c)
        for host in fleet.running("web")
    }
    sidekiqs = {
        host.name: sidekiq.size(host, slots[host.name], shares[host.name], c) for host in fleet.running("sidekiq")
    }
    puma_threads = sum(max(1, web.workers) * web.threads for web, dummy in webs.values())
    sidekiq_threads = sum(process.concurrency for part, dummy in sidekiqs.values() for process in part.processes)
    ruby_clients = puma_threads + sidekiq_threads
    streamings = {
        host.name: streaming.size(fleet, host, shares[host.name], endpoints.streaming_bind(fleet, host), c)
        for host in fleet.running("streaming")
    }
    return _Application(
        shares=shares,
        web=webs,
        sidekiq=sidekiqs,
        streaming=streamings,
        puma_threads=puma_threads,
        sidekiq_threads=sidekiq_threads,
        ruby_clients=ruby_clients,
        clients=ruby_clients + sum(part.db_pool * len(part.processes) for part, dummy in streamings.values()),
        redis_clients=redis.clients(
            [web for web, dummy in webs.values()],
            [part for part, dummy in sidekiqs.values()],
            [part for part, dummy in streamings.values()],
            c,
        ),
    )


def _shares(fleet: Fleet, c: Coefficients) -> dict[str, memory.Share]:
    """How each host spends its memory; hosts that differ in name and address only are worked out once."""
    known: dict[Host, memory.Share] = {}
    shares = {}
    for host in fleet.hosts:
        shape = replace(host, name="", address="", environment={}, alike={}, sidekiq_group=None)
        if shape not in known:
            known[shape] = memory.share_out(fleet, host, c)
        shares[host.name] = known[shape]
    return shares


def _slots(fleet: Fleet, processes: Mapping[str, int]) -> dict[str, list[Slot]]:
    """What each Sidekiq process serves: as a person said, else the split over all other processes of the fleet."""
    hosts = fleet.running("sidekiq")
    slots: dict[str, list[Slot]] = {
        host.name: slots_of(host.overrides.sidekiq_queues, processes[host.name])
        for host in hosts
        if host.overrides.sidekiq_queues
    }
    by_hand = {queue_name(entry) for parts in slots.values() for slot in parts for entry in slot.queues}
    free = [host for host in hosts if not host.overrides.sidekiq_queues]
    # The first process of the split serves `scheduler`, which stays where it is when hosts join.
    free.sort(key=lambda host: host.name != fleet.scheduler)
    counts = {host.name: processes[host.name] for host in free}
    return slots | share_out(counts, _known(fleet, counts), scheduler="scheduler" not in by_hand)


def _known(fleet: Fleet, names: Container[str]) -> Mapping[str, Sequence[tuple[str, ...]]]:
    """What the processes of each host serve now; nothing where that is not what is known of `scheduler`."""
    here = {name: lists for name, lists in fleet.served.items() if name in names}
    owners = {name for name, lists in here.items() if any(map(serves_scheduler, lists))}
    return {} if fleet.scheduler in names and owners != {fleet.scheduler} else here


def _databases(
    fleet: Fleet, app: _Application, reserves: Mapping[str, memory.Reserve], c: Coefficients
) -> tuple[dict[str, tuple[Postgres, Reasons]], dict[str, tuple[Pgbouncer, Reasons]]]:
    """PostgreSQL of the primary and of each replica, and the poolers before them, by the names of their hosts."""
    bouncers = fleet.running("pgbouncer")
    room = {
        host.name: _room(fleet, host, reserves[host.name].postgres_mb, c) for host in (fleet.primary, *fleet.replicas)
    }
    pools = pgbouncer.share_out(fleet, app.clients, app.ruby_clients, room, c) if bouncers else {}
    reading = sum(part.reader.most for part in pools.values() if part.reader)
    writing = sum(part.primary.most for part in pools.values())
    databases: dict[str, tuple[Postgres, Reasons]] = {}
    for host in (fleet.primary, *fleet.replicas):
        leads = host is fleet.primary
        if bouncers:
            opened = reading + (writing + _probes(fleet, host, c) if leads else 0)
            demand = postgres.pooled(opened, len(bouncers), c)
        else:
            demand = postgres.direct(app.clients if leads else 0, c)
        databases[host.name] = postgres.size(
            fleet,
            host,
            reserves[host.name],
            demand,
            endpoints.postgres_binds(fleet, host),
            c,
            None if leads else databases[fleet.primary.name][0],
        )
    to_each = app.clients + (app.ruby_clients if fleet.replicas else 0)
    poolers = {
        host.name: pgbouncer.size(fleet, host, pools[host.name], to_each, endpoints.pgbouncer_binds(fleet, host), c)
        for host in bouncers
    }
    return databases, poolers


def _room(fleet: Fleet, host: Host, ram_mb: int, c: Coefficients) -> int:
    """Connections that one PostgreSQL has for the pools of the application, over all poolers."""
    limit = postgres.memory_limit(ram_mb, c)
    most = host.overrides.postgres_max_connections or limit - limit % 10
    return most - postgres.beside_pools(c) - _probes(fleet, host, c)


def _probes(fleet: Fleet, host: Host, c: Coefficients) -> int:
    """Connections of the pools for monitoring, over all poolers; they go to the primary."""
    if host is not fleet.primary or not fleet.monitored:
        return 0
    return c.pgbouncer_pool_monitoring * len(fleet.running("pgbouncer"))


def _totals(fleet: Fleet, app: _Application, poolers: Mapping[str, tuple[Pgbouncer, Reasons]]) -> Totals:
    parts: Sequence[Pgbouncer] = [part for part, dummy in poolers.values()]
    return Totals(
        database_clients=app.clients,
        pool_size=sum(pool.pool_size for part in parts for pool in part.pools if pool.for_ == "primary"),
        max_client_conn=min((part.max_client_conn for part in parts), default=0),
        puma_threads=app.puma_threads,
        sidekiq_threads=app.sidekiq_threads,
        sidekiq_processes=sum(len(part.processes) for part, dummy in app.sidekiq.values()),
        streaming_processes=sum(len(part.processes) for part, dummy in app.streaming.values()),
        redis_clients=app.redis_clients,
        memory_mb=sum(host.memory_mb for host in fleet.hosts),
        vcpus=sum(host.vcpus for host in fleet.hosts),
    )
