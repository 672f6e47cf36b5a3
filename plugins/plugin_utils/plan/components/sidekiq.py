# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidekiq: processes before threads, queues split over all processes of the fleet."""

from __future__ import annotations

from collections.abc import Sequence

from ..coefficients import Coefficients
from ..model import Host, Reasons, Sidekiq, SidekiqProcess
from ..queues import Slot, target_threads
from .memory import Share, processes_limit, sidekiq_mb

_STEP_THREADS = 5


def size(host: Host, slots: Sequence[Slot], share: Share, c: Coefficients) -> tuple[Sidekiq, Reasons]:
    """The Sidekiq processes of one host.

    slots: what each process serves. Every process starts with the threads of a computing queue; what is left of
    the memory buys more, five at a time, first for the queues that wait for other servers.
    """
    threads = _threads(host, slots, share.left_mb, c)
    processes = []
    reasons: Reasons = {}
    for slot, concurrency in zip(slots, threads, strict=True):
        estimate_mb = sidekiq_mb(concurrency, c)
        process = SidekiqProcess(
            name=slot.name,
            queues=slot.queues,
            concurrency=concurrency,
            db_pool=concurrency,
            memory_high_mb=int(estimate_mb * c.memory_high_factor),
            memory_max_mb=int(estimate_mb * c.memory_max_factor),
        )
        processes.append(process)
        prefix = f"sidekiq.processes.{slot.name}"
        reasons[f"{prefix}.queues"] = _why_queues(host, slot, len(slots))
        reasons[f"{prefix}.concurrency"] = _why_threads(host, slot, concurrency, c)
        reasons[f"{prefix}.db_pool"] = f"{concurrency} = one connection for each thread"
        estimate = f"{estimate_mb} MB ({c.sidekiq_process_mb} + {c.sidekiq_thread_mb} x {concurrency})"
        reasons[f"{prefix}.memory_high_mb"] = (
            f"{process.memory_high_mb} = {c.memory_high_factor:g} x the estimate of {estimate}"
        )
        reasons[f"{prefix}.memory_max_mb"] = (
            f"{process.memory_max_mb} = {c.memory_max_factor:g} x the estimate of {estimate}"
        )
    reasons["sidekiq.processes"] = _why_processes(host, share, len(slots), c)
    reasons["sidekiq.stop_timeout_seconds"] = (
        f"{c.sidekiq_stop_timeout_seconds} = Sidekiq waits 25 s for its jobs and then puts them back; killed earlier "
        f"they are lost"
    )
    reasons["sidekiq.limit_nofile"] = (
        f"{c.limit_nofile} = up to 512 outgoing connections a process; the default is 1024"
    )
    sidekiq = Sidekiq(
        processes=tuple(processes),
        stop_timeout_seconds=c.sidekiq_stop_timeout_seconds,
        limit_nofile=c.limit_nofile,
    )
    return sidekiq, reasons


def _threads(host: Host, slots: Sequence[Slot], left_mb: int, c: Coefficients) -> list[int]:
    """Threads of each process: the least, then five at a time in turn until the memory or the targets end."""
    fixed = host.overrides.sidekiq_concurrency
    if fixed is not None:
        return [fixed] * len(slots)
    threads = [c.sidekiq_threads_computing] * len(slots)
    targets = [target_threads(slot.queues, c) for slot in slots]
    order = sorted(range(len(slots)), key=lambda index: -targets[index])
    step_mb = _STEP_THREADS * c.sidekiq_thread_mb
    for _step in range(0, c.sidekiq_threads_waiting, _STEP_THREADS):
        for index in order:
            if threads[index] + _STEP_THREADS > targets[index]:
                continue
            if left_mb < step_mb:
                return threads
            threads[index] += _STEP_THREADS
            left_mb -= step_mb
    return threads


def _why_processes(host: Host, share: Share, count: int, c: Coefficients) -> str:
    limit = processes_limit(host, c)
    if host.overrides.sidekiq_processes is not None:
        return f"{count} = sidekiq_processes, set by hand; the cores of {host.name} can use {limit}"
    if host.overrides.sidekiq_queues and len(host.overrides.sidekiq_queues) > 1:
        return f"{count} = the lists of sidekiq_queues, one a process"
    if count >= limit:
        return f"{count} = one a core: two processes do more than twice the work of one with many threads"
    wanted = f"; one more {share.missing} from {share.missing_from_memory_mb} MB on" if share.missing else ""
    cores = f"{host.vcpus} vCPU could use {limit}, with more than twice the work at two"
    return f"{count} = what the memory pays for; {cores}{wanted}"


def _why_queues(host: Host, slot: Slot, count: int) -> str:
    if host.overrides.sidekiq_queues:
        return f"{' '.join(slot.queues)} = sidekiq_queues, set by hand"
    if count == 1:
        return "all seven queues, at Mastodon's own weights"
    return f"{' '.join(slot.queues)} = the split over {count} processes; scheduler is in one only"


def _why_threads(host: Host, slot: Slot, concurrency: int, c: Coefficients) -> str:
    if host.overrides.sidekiq_concurrency is not None:
        return f"{concurrency} = sidekiq_concurrency, set by hand"
    target = target_threads(slot.queues, c)
    kind = {
        c.sidekiq_threads_waiting: "its queues wait for other servers",
        c.sidekiq_threads_mixed: "some of its queues wait for other servers",
        c.sidekiq_threads_computing: "its queues compute, and more threads slow them down",
    }[target]
    limited = "" if concurrency >= target else f"; {target} where memory allows"
    return f"{concurrency} = {kind}{limited}"
