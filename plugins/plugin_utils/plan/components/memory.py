# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory budget of one host: what is set aside first, and how the processes share the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from ..coefficients import Coefficients
from ..model import Fleet, Host, Memory, MemoryRow, Reasons, Sidekiq, Web
from ..proxies import runs_on


@dataclass(frozen=True, kw_only=True)
class Reserve:
    """What is set aside before Ruby gets the rest, in MB; 0 where absent.

    redis_maxmemory_mb is inside redis_mb, which keeps room for a fork.
    """

    os_mb: int
    streaming_mb: int
    nginx_mb: int
    pgbouncer_mb: int
    haproxy_mb: int
    metrics_mb: int
    exporter_mb: int
    redis_maxmemory_mb: int
    redis_mb: int
    postgres_mb: int

    @property
    def total_mb(self) -> int:
        """The sum of all rows."""
        before_data_mb = self.os_mb + self.streaming_mb + self.nginx_mb + self.pgbouncer_mb + self.haproxy_mb
        return before_data_mb + self.metrics_mb + self.exporter_mb + self.redis_mb + self.postgres_mb


Wish = Literal["web worker", "Sidekiq process", "streaming process"]


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many processes the memory pays for, what is left of it, and from which host memory on it
    would pay for the next one that the cores could use."""

    workers: int
    processes: int
    streaming_processes: int
    left_mb: int
    missing: Wish | None
    missing_from_memory_mb: int


def between(host: Host, tiny: float, normal: float, c: Coefficients) -> float:
    """A coefficient that differs on tiny hosts, interpolated so that it never jumps with memory."""
    progress = (host.memory_mb - c.tiny_until_mb) / (c.small_from_mb - c.tiny_until_mb)
    return tiny + (normal - tiny) * min(1.0, max(0.0, progress))


def is_tiny(host: Host, c: Coefficients) -> bool:
    """True for hosts on which Mastodon only fits with swap behind it."""
    return host.memory_mb < c.small_from_mb


def streaming_process_mb(host: Host, c: Coefficients) -> int:
    """What one streaming process is expected to take on this host, in MB."""
    return round(between(host, c.streaming_tiny_mb, c.streaming_mb, c))


def reserve(fleet: Fleet, host: Host, streaming_processes: int, c: Coefficients) -> Reserve:
    """What the host sets aside before Ruby.

    Shares of memory: the system 6 %, Redis 10 % (kept 1.25 times over, for the pages that a saving fork
    copies), PostgreSQL 25 % beside Ruby (20 % on tiny hosts). Without Ruby on the host Redis has 15 % beside
    PostgreSQL, 60 % of what is left where it is alone, and PostgreSQL has all that is left.
    """
    memory_mb = host.memory_mb
    with_ruby = host.runs("web", "sidekiq")
    os_mb = max(c.os_minimum_mb, int(memory_mb * c.os_share))
    streaming_mb = streaming_process_mb(host, c) * streaming_processes
    nginx_mb = round(between(host, c.nginx_tiny_mb, c.nginx_mb, c)) if host.runs("nginx") else 0
    pgbouncer_mb = c.pgbouncer_mb if host.runs("pgbouncer") else 0
    haproxy_mb = c.haproxy_mb if runs_on(fleet, host) else 0
    metrics_mb = c.metrics_mb + c.metrics_host_mb * len(fleet.hosts) if host.runs("metrics") else 0
    exporter_mb = c.metrics_ruby_exporter_mb if with_ruby and fleet.monitored else 0
    rest_mb = memory_mb - os_mb - streaming_mb - nginx_mb - pgbouncer_mb - haproxy_mb - metrics_mb - exporter_mb
    redis_maxmemory_mb = _maxmemory_mb(host, rest_mb, c) if host.runs("redis") else 0
    redis_mb = int(redis_maxmemory_mb * c.redis_fork_factor)
    postgres_mb = 0
    if host.runs("postgres"):
        share = between(host, c.postgres_share_tiny, c.postgres_share, c)
        least_mb = c.postgres_shared_buffers_minimum_mb
        postgres_mb = max(int(memory_mb * share) if with_ruby else rest_mb - redis_mb, least_mb)
    return Reserve(
        os_mb=os_mb,
        streaming_mb=streaming_mb,
        nginx_mb=nginx_mb,
        pgbouncer_mb=pgbouncer_mb,
        haproxy_mb=haproxy_mb,
        metrics_mb=metrics_mb,
        exporter_mb=exporter_mb,
        redis_maxmemory_mb=redis_maxmemory_mb,
        redis_mb=redis_mb,
        postgres_mb=postgres_mb,
    )


def _maxmemory_mb(host: Host, rest_mb: int, c: Coefficients) -> int:
    """What Redis may fill, by what else wants the memory of its host. rest_mb: all that others have not set aside."""
    if host.runs("web", "sidekiq"):
        share_mb, least_mb, most_mb = host.memory_mb * c.redis_share, c.redis_minimum_mb, c.redis_maximum_mb
    elif host.runs("postgres"):
        share_mb = host.memory_mb * c.redis_share_beside_postgres
        least_mb, most_mb = c.redis_minimum_beside_postgres_mb, c.redis_maximum_beside_postgres_mb
    else:
        share_mb, least_mb, most_mb = rest_mb * c.redis_share_alone, c.redis_minimum_mb, host.memory_mb
    return min(max(int(share_mb), least_mb), most_mb)


def why_maxmemory(host: Host, c: Coefficients) -> str:
    """The rule that gave Redis its memory, in words."""
    if host.runs("web", "sidekiq"):
        return f"{c.redis_share:.0%} of the host, {c.redis_minimum_mb} to {c.redis_maximum_mb} MB"
    if host.runs("postgres"):
        least_mb, most_mb = c.redis_minimum_beside_postgres_mb, c.redis_maximum_beside_postgres_mb
        return f"{c.redis_share_beside_postgres:.0%} of the host beside PostgreSQL, {least_mb} to {most_mb} MB"
    return f"{c.redis_share_alone:.0%} of what others leave it, so that there is room for a fork"


def web_mb(workers: int, c: Coefficients) -> int:
    """What Puma takes with this many workers, in MB; 0 workers is single mode."""
    return c.web_master_mb + c.web_worker_mb * workers if workers else c.web_single_mode_mb


def sidekiq_mb(threads: int, c: Coefficients) -> int:
    """What one Sidekiq process takes with this many threads, in MB."""
    return c.sidekiq_process_mb + c.sidekiq_thread_mb * threads


def workers_limit(host: Host, c: Coefficients) -> int:
    """The workers that the cores of the host can use."""
    shared = host.runs("sidekiq", "postgres", "redis")
    per_vcpu = c.web_workers_per_vcpu_shared if shared else c.web_workers_per_vcpu_alone
    return min(max(1, ceil(host.vcpus * per_vcpu)), c.web_workers_maximum)


def processes_limit(host: Host, c: Coefficients) -> int:
    """The Sidekiq processes that the cores of the host can use."""
    return min(max(1, ceil(host.vcpus * c.sidekiq_processes_per_vcpu)), c.sidekiq_processes_maximum)


def streaming_limit(fleet: Fleet, host: Host, c: Coefficients) -> int:
    """The streaming processes that the cores of the host can use, or that the users of the fleet need.

    One process carries some 1000 connections, and 1000 monthly active users open some 80 at once.
    """
    if fleet.monthly_active_users:
        connections = fleet.monthly_active_users * c.streaming_connections_per_user
        hosts = len(fleet.running("streaming"))
        return min(ceil(connections / c.streaming_connections_per_process / hosts), max(1, host.vcpus // 2))
    if host.vcpus < c.streaming_second_from_vcpus:
        return 1
    return 2 if host.runs("web", "sidekiq", "postgres", "redis") else c.streaming_processes_alone


def share_out(fleet: Fleet, host: Host, c: Coefficients) -> Share:
    """Spend what is not set aside on Puma workers, Sidekiq processes and further streaming processes.

    It is spent in one fixed order (single mode and one Sidekiq process, a worker, a process, a worker, ...) up
    to what the cores can use, and stops at the first that it cannot pay: so more memory never means fewer of
    either. A Sidekiq process comes before a second worker because it was measured to gain most.
    """
    workers, processes, streaming = _given(host)
    have: dict[Wish, int] = {
        "web worker": workers or 0,
        "Sidekiq process": processes or 1,
        "streaming process": streaming or int(host.runs("streaming")),
    }
    cost_mb: dict[Wish, int] = {
        "Sidekiq process": _process_mb(host, c),
        "streaming process": streaming_process_mb(host, c),
    }
    least = have["streaming process"]
    budget_mb = left_mb = host.memory_mb - reserve(fleet, host, least, c).total_mb
    if host.runs("web"):
        left_mb -= web_mb(have["web worker"], c)
    if host.runs("sidekiq"):
        left_mb -= have["Sidekiq process"] * cost_mb["Sidekiq process"]
    missing: Wish | None = None
    missing_from_mb = 0
    for wish in _wishes(fleet, host, workers is None, processes is None, streaming is None, c):
        cost_mb["web worker"] = web_mb(have["web worker"] + 1, c) - web_mb(have["web worker"], c)
        if cost_mb[wish] > left_mb:
            missing = wish
            missing_from_mb = memory_for(fleet, host, budget_mb - left_mb + cost_mb[wish], least, c, overdraft=False)
            break
        left_mb -= cost_mb[wish]
        have[wish] += 1
    return Share(
        workers=have["web worker"] if host.runs("web") else 0,
        processes=have["Sidekiq process"] if host.runs("sidekiq") else 0,
        streaming_processes=have["streaming process"],
        left_mb=left_mb,
        missing=missing,
        missing_from_memory_mb=missing_from_mb,
    )


def memory_for(
    fleet: Fleet, host: Host, ruby_mb: int, streaming_processes: int, c: Coefficients, *, overdraft: bool = True
) -> int:
    """The least memory_mb with which the host carries `ruby_mb` of Ruby beside all else."""
    low, high = 256, 2**24
    while low < high:
        middle = (low + high) // 2
        candidate = replace(host, memory_mb=middle)
        used_mb = reserve(fleet, candidate, streaming_processes, c).total_mb + ruby_mb
        if fits(candidate, used_mb, c) if overdraft else used_mb <= middle:
            high = middle
        else:
            low = middle + 1
    return low


def fits(host: Host, used_mb: int, c: Coefficients) -> bool:
    """True if the estimates fit the host; tiny hosts may overdraw a little, with swap behind it."""
    return used_mb <= host.memory_mb * (1 + between(host, c.overdraft_share, 0, c))


def budget(
    host: Host, set_aside: Reserve, web: Web | None, sidekiq: Sidekiq | None, c: Coefficients
) -> tuple[Memory, Reasons]:
    """The memory of the host as rows, with the reason of each."""
    puma_mb = web_mb(web.workers, c) if web else 0
    sidekiq_total_mb = sum(sidekiq_mb(process.concurrency, c) for process in sidekiq.processes) if sidekiq else 0
    rows = {
        "system": (set_aside.os_mb, f"{c.os_share:.0%} of {host.memory_mb} MB, at least {c.os_minimum_mb}"),
        "postgres": (set_aside.postgres_mb, "the share of PostgreSQL: buffers, backends and what they sort"),
        "redis": (
            set_aside.redis_mb,
            f"{c.redis_fork_factor:g} x maxmemory {set_aside.redis_maxmemory_mb} MB: a fork copies pages while it "
            f"saves",
        ),
        "nginx": (set_aside.nginx_mb, "workers and their buffers"),
        "pgbouncer": (set_aside.pgbouncer_mb, "some 2 kB a client, and its buffers"),
        "haproxy": (set_aside.haproxy_mb, "some 17 kB a connection, twice that with TLS"),
        "metrics": (set_aside.metrics_mb, f"{c.metrics_mb} + {c.metrics_host_mb} for each host that it watches"),
        "exporter": (set_aside.exporter_mb, "what reports the state of Puma and Sidekiq"),
        "streaming": (set_aside.streaming_mb, f"{streaming_process_mb(host, c)} a process"),
        "web": (puma_mb, f"{c.web_master_mb} + {c.web_worker_mb} a worker, {c.web_single_mode_mb} in single mode"),
        "sidekiq": (sidekiq_total_mb, f"{c.sidekiq_process_mb} a process + {c.sidekiq_thread_mb} a thread"),
    }
    present = {what: row for what, row in rows.items() if row[0]}
    swap_mb = c.swap_advised_mb if is_tiny(host, c) and host.runs("web", "sidekiq") else 0
    used_mb = sum(mb for mb, dummy in present.values())
    memory = Memory(
        budget=tuple(MemoryRow(what=what, mb=mb) for what, (mb, dummy) in present.items()),
        total_mb=host.memory_mb,
        used_mb=used_mb,
        swap_advised_mb=swap_mb,
    )
    reasons = {f"memory.budget.{what}": f"{mb} MB = {why}" for what, (mb, why) in present.items()}
    reasons["memory.total_mb"] = f"{host.memory_mb} = the memory of {host.name}, declared or found"
    reasons["memory.used_mb"] = f"{used_mb} = the sum of the budget, of processes grown old"
    reasons["memory.swap_advised_mb"] = f"{swap_mb} = " + (
        f"below {c.small_from_mb} MB estimates may touch swap" if swap_mb else "not needed at this size"
    )
    return memory, reasons


def _given(host: Host) -> tuple[int | None, int | None, int | None]:
    """Workers, Sidekiq processes and streaming processes that a person fixed, be it for all hosts at once."""
    overrides = host.overrides
    streaming = overrides.streaming_processes if host.runs("streaming") else None
    processes = overrides.sidekiq_processes
    if processes is None and overrides.sidekiq_queues and len(overrides.sidekiq_queues) > 1:
        processes = len(overrides.sidekiq_queues)
    return overrides.web_workers, processes, streaming


def _process_mb(host: Host, c: Coefficients) -> int:
    return sidekiq_mb(host.overrides.sidekiq_concurrency or c.sidekiq_threads_computing, c)


def _wishes(fleet: Fleet, host: Host, web: bool, sidekiq: bool, streaming: bool, c: Coefficients) -> Iterator[Wish]:
    """What the cores could use beyond the least, in the order in which memory is spent on it."""
    workers = workers_limit(host, c) if web and host.runs("web") else 0
    processes = processes_limit(host, c) - 1 if sidekiq and host.runs("sidekiq") else 0
    for index in range(max(workers, processes)):
        if index < workers:
            yield "web worker"
        if index < processes:
            yield "Sidekiq process"
    if streaming and host.runs("streaming"):
        yield from ["streaming process"] * (streaming_limit(fleet, host, c) - 1)
