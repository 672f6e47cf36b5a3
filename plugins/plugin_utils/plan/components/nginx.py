# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx: connections on both sides of the proxy, and timeouts that fit Puma's."""

from __future__ import annotations

from math import ceil

from ..coefficients import Coefficients
from ..model import Host, Nginx, Reasons
from .memory import is_tiny

_KEEPALIVE_LEAST, KEEPALIVE_MOST = 32, 64
_KEEPALIVE_MARGIN_SECONDS = 5


def size(host: Host, puma_threads: int, edges: int, c: Coefficients) -> tuple[Nginx, Reasons]:
    """nginx of one host. puma_threads: threads of all Puma workers behind it; edges: hosts that share them."""
    if is_tiny(host, c):
        connections = c.nginx_connections_tiny
    elif host.memory_mb < c.nginx_large_from_mb:
        connections = c.nginx_connections_small
    else:
        connections = c.nginx_connections_large
    files = 2 * connections + 1024
    keepalive = min(KEEPALIVE_MOST, max(_KEEPALIVE_LEAST, ceil(puma_threads / edges)))
    # Puma closes an idle connection after its own timeout; were nginx to reuse it at that moment, a request is lost.
    keepalive_seconds = c.web_persistent_timeout_seconds - _KEEPALIVE_MARGIN_SECONDS
    nginx = Nginx(
        worker_processes=host.vcpus,
        worker_connections=connections,
        worker_rlimit_nofile=files,
        limit_nofile=max(c.limit_nofile, files),
        upstream_keepalive=keepalive,
        upstream_keepalive_timeout_seconds=keepalive_seconds,
        proxy_read_timeout_seconds=c.nginx_proxy_read_timeout_seconds,
        client_max_body_size_mb=c.nginx_body_size_mb,
    )
    return nginx, {
        "nginx.worker_processes": f"{host.vcpus} = one a vCPU",
        "nginx.worker_connections": f"{connections} = both sides of every request; {c.nginx_connections_tiny}, "
        f"{c.nginx_connections_small} or {c.nginx_connections_large} by the memory of the host",
        "nginx.worker_rlimit_nofile": f"{files} = 2 x {connections} + 1024",
        "nginx.limit_nofile": f"{nginx.limit_nofile} = at least worker_rlimit_nofile; limits.conf does not reach a "
        f"unit",
        "nginx.upstream_keepalive": f"{keepalive} = the {puma_threads} threads of Puma"
        + (f" over {edges} hosts" if edges > 1 else "")
        + f", {_KEEPALIVE_LEAST} to {KEEPALIVE_MOST}",
        "nginx.upstream_keepalive_timeout_seconds": f"{keepalive_seconds} = below Puma's "
        f"{c.web_persistent_timeout_seconds}, "
        "so that nginx never reuses a connection that Puma is closing",
        "nginx.proxy_read_timeout_seconds": f"{nginx.proxy_read_timeout_seconds} = longer than Rails works on a "
        f"request, "
        "which a client would send again",
        "nginx.client_max_body_size_mb": f"{c.nginx_body_size_mb} = Mastodon's own, for videos",
    }
