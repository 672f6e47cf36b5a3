# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan is made from and what it is: plain dataclasses, no behaviour beyond look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

TIERS = ("nginx", "web", "streaming", "sidekiq", "postgres", "redis")
LOOPBACK = "127.0.0.1"

Reasons = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What a person set by hand for one host; None means that the plan decides.

    sidekiq_queues holds one entry a process, each a tuple of Sidekiq's own notation ("push,4"); one entry only
    means that every process of the host serves it.
    """

    web_workers: int | None = None
    web_threads: int | None = None
    streaming_processes: int | None = None
    sidekiq_processes: int | None = None
    sidekiq_concurrency: int | None = None
    sidekiq_queues: tuple[tuple[str, ...], ...] | None = None
    postgres_max_connections: int | None = None


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine: its size (memory in MB), the address its neighbours use, and the tiers that run on it."""

    name: str
    vcpus: int
    memory_mb: int
    address: str
    tiers: frozenset[str]
    overrides: Overrides = field(default_factory=Overrides)

    def runs(self, *tiers: str) -> bool:
        """True if at least one of the tiers runs here."""
        return not self.tiers.isdisjoint(tiers)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """All hosts, by name, and what holds for all of them."""

    hosts: tuple[Host, ...]
    media_in_object_storage: bool = False

    def running(self, tier: str) -> tuple[Host, ...]:
        """The hosts of a tier, in the order of their names."""
        return tuple(host for host in self.hosts if tier in host.tiers)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A constraint that does not hold, and what a person can do about it.

    remedy: values of inventory variables which, set on the hosts named, make the constraint hold.
    """

    constraint: str
    severity: Literal["error", "warning"]
    hosts: tuple[str, ...]
    message: str
    advice: str
    remedy: Mapping[str, int] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {**asdict(self), "hosts": list(self.hosts), "remedy": dict(self.remedy)}


@dataclass(frozen=True, kw_only=True)
class Web:
    """Puma of one host. workers 0 is Puma's single mode: one process that is its own worker."""

    workers: int
    threads: int
    db_pool: int
    bind: str
    port: int
    persistent_timeout_seconds: int
    memory_high_mb: int
    memory_max_mb: int
    limit_nofile: int
    stop_timeout_seconds: int


@dataclass(frozen=True, kw_only=True)
class StreamingProcess:
    """One Node process and where it listens."""

    port: int
    bind: str


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """The streaming processes of one host; limits are those of each process."""

    processes: tuple[StreamingProcess, ...]
    db_pool: int
    memory_max_mb: int
    limit_nofile: int


@dataclass(frozen=True, kw_only=True)
class SidekiqProcess:
    """One Sidekiq process; queues in Sidekiq's notation, concurrency in threads."""

    name: str
    queues: tuple[str, ...]
    concurrency: int
    db_pool: int
    memory_high_mb: int
    memory_max_mb: int


@dataclass(frozen=True, kw_only=True)
class Sidekiq:
    """The Sidekiq processes of one host."""

    processes: tuple[SidekiqProcess, ...]
    stop_timeout_seconds: int
    limit_nofile: int


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """PostgreSQL of one host; settings are ready to print, units included."""

    bind: tuple[str, ...]
    port: int
    settings: Mapping[str, str | int]
    app_connection_limit: int


@dataclass(frozen=True, kw_only=True)
class Redis:
    """Redis of one host; settings are ready to print, units included."""

    bind: tuple[str, ...]
    port: int
    settings: Mapping[str, str | int]
    limit_nofile: int


@dataclass(frozen=True, kw_only=True)
class Nginx:
    """nginx of one host."""

    worker_processes: int
    worker_connections: int
    worker_rlimit_nofile: int
    limit_nofile: int
    upstream_keepalive: int
    upstream_keepalive_timeout_seconds: int
    proxy_read_timeout_seconds: int
    client_max_body_size_mb: int


@dataclass(frozen=True, kw_only=True)
class MemoryRow:
    """What one consumer is expected to take, grown old."""

    what: str
    mb: int


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory of one host and what it is spent on."""

    budget: tuple[MemoryRow, ...]
    total_mb: int
    used_mb: int
    swap_advised_mb: int


@dataclass(frozen=True, kw_only=True)
class HostPlan:
    """Every size of one host; a component that does not run there is None."""

    host: Host
    endpoints: Mapping[str, Any]
    memory: Memory
    kernel: Mapping[str, Mapping[str, int | str]]
    web: Web | None = None
    streaming: Streaming | None = None
    sidekiq: Sidekiq | None = None
    postgres: Postgres | None = None
    redis: Redis | None = None
    nginx: Nginx | None = None
    reasons: Reasons = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        """The plan of the host as roles read it: plain data, without the components that it lacks."""
        host = self.host
        sizes = {name: _plain(asdict(part)) for name in TIERS if (part := getattr(self, name)) is not None}
        return {
            "host": {
                "name": host.name,
                "vcpus": host.vcpus,
                "memory_mb": host.memory_mb,
                "address": host.address,
                "components": sorted(host.tiers),
            },
            "endpoints": _plain(self.endpoints),
            **sizes,
            "kernel": _plain(self.kernel),
            "memory": _plain(asdict(self.memory)),
            "reasons": dict(self.reasons),
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a fleet. hosts is empty where the inventory does not describe a fleet that can be planned."""

    hosts: Mapping[str, HostPlan]
    findings: tuple[Finding, ...]
    table: str = ""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid a run."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that a person should know of."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def as_mapping(self) -> dict[str, Any]:
        """The plan as plain data: {hosts: {name: sizes}, findings: [...], table: text}."""
        return {
            "hosts": {name: host.as_mapping() for name, host in self.hosts.items()},
            "findings": [finding.as_mapping() for finding in self.findings],
            "table": self.table,
        }


def _plain(value: Any) -> Any:
    """Mappings and sequences as dict and list all the way down."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
