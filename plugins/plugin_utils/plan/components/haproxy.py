# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy: one door to all replicas for the pooler of its host, and the end of TLS before Puma and streaming."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil

from ..coefficients import Coefficients
from ..model import LOOPBACK, Backend, Fleet, Haproxy, Host, Listener, Reasons, Streaming, Web
from ..proxies import ends_tls, leads_readers
from . import nginx
from .postgres import HEALTH_PORT
from .postgres import PORT as POSTGRES_PORT

READER, READER_PORT = "reader", 6433


def size(
    fleet: Fleet, host: Host, readers: int, web: Web | None, streaming: Streaming | None, c: Coefficients
) -> tuple[Haproxy, Reasons]:
    """HAProxy of one host. readers: connections that its pooler may open for those who read."""
    reasons: Reasons = {}
    listeners: list[Listener] = []
    through: dict[str, int] = {}
    if leads_readers(fleet, host):
        listeners.append(_reader(fleet, host, reasons))
        through["readers of the pooler"] = readers
    if ends_tls(fleet, host):
        listeners += _doors(host, web, streaming, reasons)
        if web:
            edges = fleet.running("nginx")
            idle = sum(edge.vcpus for edge in edges) * nginx.KEEPALIVE_MOST
            through["before Puma"] = c.haproxy_web_backlog + max(1, web.workers) * web.threads + idle
        if streaming:
            through["before streaming"] = c.haproxy_streaming_connections * len(streaming.processes)
    needed = ceil(sum(through.values()) * c.haproxy_headroom)
    maxconn = ceil(needed / c.haproxy_connections_step) * c.haproxy_connections_step
    files = 2 * maxconn + 100
    limit_nofile = ceil(files / c.haproxy_files_step) * c.haproxy_files_step
    words = " + ".join(f"{count} {what}" for what, count in through.items())
    reasons["haproxy.maxconn"] = (
        f"{maxconn} = {c.haproxy_headroom:g} x ({words}), in steps of {c.haproxy_connections_step}"
    )
    reasons["haproxy.limit_nofile"] = (
        f"{limit_nofile} = 2 x {maxconn} + 100, both sides of every connection, in steps of {c.haproxy_files_step}"
    )
    return Haproxy(listeners=tuple(listeners), maxconn=maxconn, limit_nofile=limit_nofile), reasons


def _reader(fleet: Fleet, host: Host, reasons: Reasons) -> Listener:
    """The door to all replicas; to the primary while none of them is well, since Mastodon itself does not go back."""
    prefix = f"haproxy.listeners.{READER}"
    primary = fleet.primary
    servers = [
        *(_database(host, replica, check_port=HEALTH_PORT) for replica in fleet.replicas),
        _database(host, primary, check_port=None, backup=True),
    ]
    reasons[prefix] = f"{READER} = where the pooler of this host finds all replicas"
    reasons[f"{prefix}.port"] = f"{READER_PORT} = between PgBouncer and HAProxy of one host"
    for server in servers:
        reasons[f"{prefix}.servers.{server.name}.port"] = f"{POSTGRES_PORT} = PostgreSQL's own" + (
            ", of the primary: only while no replica is well" if server.backup else ""
        )
        if server.check_port:
            reasons[f"{prefix}.servers.{server.name}.check_port"] = (
                f"{HEALTH_PORT} = where a replica says whether it is up, and how far behind"
            )
    return Listener(name=READER, bind=(LOOPBACK,), port=READER_PORT, tls=False, servers=tuple(servers))


def _database(host: Host, other: Host, *, check_port: int | None, backup: bool = False) -> Backend:
    address = LOOPBACK if other is host else other.address
    return Backend(name=other.name, host=address, port=POSTGRES_PORT, check_port=check_port, backup=backup)


def _doors(host: Host, web: Web | None, streaming: Streaming | None, reasons: Reasons) -> Iterator[Listener]:
    """The same ports as those of Puma and streaming, on the address of the host instead of loopback."""
    for name, port in _behind(web, streaming):
        prefix = f"haproxy.listeners.{name}"
        reasons[prefix] = f"{name} = the end of TLS between nginx and what speaks none"
        reasons[f"{prefix}.port"] = f"{port} = the port of {name} itself, which listens on {LOOPBACK} only"
        reasons[f"{prefix}.servers.{name}.port"] = f"{port} = that of {name}"
        server = Backend(name=name, host=LOOPBACK, port=port)
        yield Listener(name=name, bind=(host.address,), port=port, tls=True, servers=(server,))


def _behind(web: Web | None, streaming: Streaming | None) -> Iterable[tuple[str, int]]:
    if web:
        yield "web", web.port
    for process in streaming.processes if streaming else ():
        yield f"streaming_{process.port}", process.port
