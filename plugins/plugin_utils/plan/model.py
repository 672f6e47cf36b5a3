# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan is made from and what it is: plain dataclasses, no behaviour beyond look-ups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal

from .explain import table

# Mastodon runs on the first six; the others join where a person wants them.
REQUIRED_TIERS = ("nginx", "web", "streaming", "sidekiq", "postgres", "redis")
TIERS = (*REQUIRED_TIERS, "pgbouncer", "metrics")
# What has sizes of its own.
COMPONENTS = ("nginx", "web", "streaming", "sidekiq", "pgbouncer", "haproxy", "postgres", "redis")
LOOPBACK = "127.0.0.1"

PostgresRole = Literal["primary", "replica"]
RedisRole = Literal["core", "replica", "cache", "sidekiq"]

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
    postgres_replica_max_lag_seconds: int | None = None
    pgbouncer_pool_size: int | None = None
    pgbouncer_max_client_conn: int | None = None


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine: its size (memory in MB), the address its neighbours use, and the tiers that run on it.

    sidekiq_group: the child group of `sidekiq` that the host is in. provisional: its size or address is assumed.
    environment: what a person adds to Mastodon's environment. alike: what has to be the same on all hosts that run
    Mastodon, by name of the variable; it may be secret, so it is compared and never shown.
    """

    name: str
    vcpus: int
    memory_mb: int
    address: str
    tiers: frozenset[str]
    postgres_role: PostgresRole | None = None
    redis_role: RedisRole | None = None
    sidekiq_group: str | None = None
    provisional: bool = False
    overrides: Overrides = field(default_factory=Overrides)
    environment: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    alike: Mapping[str, object] = field(default_factory=dict, hash=False, repr=False)

    def runs(self, *tiers: str) -> bool:
        """True if at least one of the tiers runs here."""
        return not self.tiers.isdisjoint(tiers)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """All hosts, by name, and what holds for all of them.

    builder: the host that builds releases and migrates the database; the first of `web` unless told.
    scheduler: the host whose Sidekiq serves the queue `scheduler` now, where that is known.
    served: for each host the queues that each of its Sidekiq processes serves now, as far as they are known. poolers:
    for each host the address of the pooler that it uses now.
    leaving: hosts that are no part of it any more, and whose processes still work to their end. gone: those that did.
    """

    hosts: tuple[Host, ...]
    media_in_object_storage: bool = False
    internal_tls: bool = False
    central_logs: bool = False
    monthly_active_users: int | None = None
    requests_per_second: float | None = None
    builder: str | None = None
    scheduler: str | None = None
    served: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict, hash=False)
    poolers: Mapping[str, str] = field(default_factory=dict, hash=False)
    leaving: tuple[Host, ...] = ()
    gone: tuple[Host, ...] = ()

    def running(self, tier: str) -> tuple[Host, ...]:
        """The hosts of a tier, in the order of their names."""
        return self._tiers.get(tier, ())

    def reached_by(self, tier: str) -> tuple[Host, ...]:
        """The hosts of a tier, those that are leaving included: they still talk to the others."""
        return (*self.running(tier), *(host for host in self.leaving if host.runs(tier)))

    @property
    def whole(self) -> Fleet:
        """The fleet with the hosts that are leaving or gone."""
        hosts = sorted((*self.hosts, *self.leaving, *self.gone), key=lambda host: host.name)
        return replace(self, hosts=tuple(hosts), leaving=(), gone=())

    @cached_property
    def _tiers(self) -> dict[str, tuple[Host, ...]]:
        return {tier: tuple(host for host in self.hosts if tier in host.tiers) for tier in TIERS}

    @cached_property
    def primary(self) -> Host:
        """The host that PostgreSQL writes on: the one with that role, else the only one of its tier."""
        hosts = self.running("postgres")
        return next((host for host in hosts if host.postgres_role == "primary"), hosts[0])

    @cached_property
    def replicas(self) -> tuple[Host, ...]:
        """The hosts that PostgreSQL only reads on."""
        return tuple(host for host in self.running("postgres") if host.postgres_role == "replica")

    @cached_property
    def redis(self) -> dict[str, Host]:
        """The host of each role of Redis that the application uses: core, and cache and sidekiq where they exist."""
        hosts = self.running("redis")
        found = {str(host.redis_role): host for host in hosts if host.redis_role in ("core", "cache", "sidekiq")}
        return {"core": hosts[0], **found}

    @property
    def monitored(self) -> bool:
        """True if a host collects metrics, so that every other host exports them."""
        return bool(self.running("metrics"))

    @property
    def logs_to(self) -> Host | None:
        """The host that every other sends what its journal says, where a person asks for it."""
        return next(iter(self.running("metrics")), None) if self.central_logs else None


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
        return _plain(self)


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
class Pool:
    """Connections that one pooler may open to one PostgreSQL; name is the database that clients ask it for."""

    name: str
    database: str
    host: str
    port: int
    pool_size: int
    reserve_pool_size: int
    for_: Literal["primary", "replica", "monitoring"]

    @property
    def most(self) -> int:
        """All connections that the pool may hold."""
        return self.pool_size + self.reserve_pool_size


@dataclass(frozen=True, kw_only=True)
class Pgbouncer:
    """PgBouncer of one host."""

    bind: tuple[str, ...]
    port: int
    max_client_conn: int
    limit_nofile: int
    pools: tuple[Pool, ...]
    settings: Mapping[str, str | int]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One server behind HAProxy. check_port: where it says whether it is well; backup: only when no other is."""

    name: str
    host: str
    port: int
    check_port: int | None = None
    backup: bool = False


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Where HAProxy listens, and for whom. tls: it ends TLS, and speaks to its servers without."""

    name: str
    bind: tuple[str, ...]
    port: int
    tls: bool
    servers: tuple[Backend, ...]


@dataclass(frozen=True, kw_only=True)
class Haproxy:
    """HAProxy of one host."""

    listeners: tuple[Listener, ...]
    maxconn: int
    limit_nofile: int


@dataclass(frozen=True, kw_only=True)
class PostgresClient:
    """Who comes to a PostgreSQL from another host: the database that it asks for, as whom, and from which address."""

    database: str
    user: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """PostgreSQL of one host; settings are ready to print, units included.

    clients: who comes from other hosts, as the flows say. replicas: the hosts that repeat it. primary: where a replica
    finds what it repeats; None, and so no key of the plan, on the primary itself.
    """

    role: PostgresRole
    bind: tuple[str, ...]
    port: int
    settings: Mapping[str, str | int]
    app_connection_limit: int
    clients: tuple[PostgresClient, ...] = ()
    replicas: tuple[str, ...] = ()
    primary: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Redis:
    """Redis of one host; settings are ready to print, units included."""

    role: RedisRole
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
class Opening:
    """A port that other hosts may reach. sources: their addresses; or `world`, or `control`, alone."""

    port: int
    protocol: str
    sources: tuple[str, ...]


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
    """Every size of one host; a component that does not run there is None.

    firewall: what may come in, by the flows. exporters: what says how the host is doing, each with its port; none where
    nobody collects it.
    """

    host: Host
    endpoints: Mapping[str, Any]
    memory: Memory
    kernel: Mapping[str, Mapping[str, int | str]]
    web: Web | None = None
    streaming: Streaming | None = None
    sidekiq: Sidekiq | None = None
    pgbouncer: Pgbouncer | None = None
    haproxy: Haproxy | None = None
    postgres: Postgres | None = None
    redis: Redis | None = None
    nginx: Nginx | None = None
    firewall: tuple[Opening, ...] = ()
    exporters: Mapping[str, int] = field(default_factory=dict)
    reasons: Reasons = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        """The plan of the host as roles read it: plain data, without the components that it lacks."""
        host = self.host
        sizes = {name: _present(part) for name in COMPONENTS if (part := getattr(self, name)) is not None}
        return {
            "host": {
                "name": host.name,
                "vcpus": host.vcpus,
                "memory_mb": host.memory_mb,
                "address": host.address,
                "components": sorted({*host.tiers, *({"haproxy"} if self.haproxy else ())}),
                "postgres_role": host.postgres_role,
                "redis_role": host.redis_role,
                "sidekiq_group": host.sidekiq_group,
                "provisional": host.provisional,
            },
            "endpoints": _plain(self.endpoints),
            **sizes,
            "firewall": _plain(self.firewall),
            **({"exporters": dict(self.exporters)} if self.exporters else {}),
            "kernel": _plain(self.kernel),
            "memory": _plain(self.memory),
            "reasons": dict(self.reasons),
        }


@dataclass(frozen=True, kw_only=True)
class Flow:
    """One kind of connection between two hosts; from_ may be `world` or `control`.

    pool: the most connections that this use of it opens, where the plan limits them.
    """

    from_: str
    to: str
    port: int
    protocol: str
    what: str
    purpose: str
    pool: int | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing that the metrics host collects from. host: by which its numbers are told apart, beside the labels."""

    job: str
    host: str
    address: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One number of the plan by the name and the labels that it has among what is collected."""

    name: str
    labels: Mapping[str, str]
    value: int


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What the metrics host collects, and what it holds that against; both empty where there is none."""

    targets: tuple[Target, ...] = ()
    planned: tuple[Planned, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over the fleet.

    database_clients: connections to the primary that all processes can hold. pool_size: connections to the primary
    of all poolers. max_client_conn: what every pooler takes at least. Both are 0 without a pooler.
    """

    database_clients: int
    pool_size: int
    max_client_conn: int
    puma_threads: int
    sidekiq_threads: int
    sidekiq_processes: int
    streaming_processes: int
    redis_clients: int
    memory_mb: int
    vcpus: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a fleet. hosts is empty where the inventory does not describe a fleet that can be planned.

    leaving: what the hosts that leave the fleet have while they are there. groups: for each group of the inventory
    contract its hosts that stay, in the order of the inventory. builder: the host that builds releases.
    """

    hosts: Mapping[str, HostPlan]
    findings: tuple[Finding, ...]
    leaving: Mapping[str, HostPlan] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    builder: str | None = None
    flows: tuple[Flow, ...] = ()
    metrics: Metrics = field(default_factory=Metrics)
    totals: Totals | None = None
    demand: Mapping[str, Any] | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid a run."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that a person should know of."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def table(self) -> str:
        """The sizes as text for a terminal."""
        return table({name: host.as_mapping() for name, host in self.hosts.items()})

    def as_mapping(self) -> dict[str, Any]:
        """The plan as plain data.

        {hosts: {name: sizes}, leaving: {name: sizes}, groups: {group: [names]}, builder: name, findings, table: text,
        flows, metrics: {targets, planned}, totals, demand}
        """
        hosts = {name: host.as_mapping() for name, host in self.hosts.items()}
        return {
            "hosts": hosts,
            "leaving": {name: host.as_mapping() for name, host in self.leaving.items()},
            "groups": _plain(self.groups),
            "builder": self.builder,
            "findings": [finding.as_mapping() for finding in self.findings],
            "table": table(hosts),
            "flows": _plain(self.flows),
            "metrics": _plain(self.metrics),
            "totals": _plain(self.totals) or {},
            "demand": _plain(self.demand),
        }


@cache
def _fields_of(kind: type) -> tuple[tuple[str, str], ...] | None:
    """The fields of a dataclass, each with its name in plain data, where `for_` is `for`; None for other types."""
    return tuple((item.name, item.name.removesuffix("_")) for item in fields(kind)) if is_dataclass(kind) else None


def _present(part: Any) -> dict[str, Any]:
    """The sizes of a component as plain data, without what it has not."""
    return {key: value for key, value in _plain(part).items() if value is not None}


def _plain(value: Any) -> Any:
    """Dataclasses and mappings as dict, sequences as list, all the way down."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if parts := _fields_of(type(value)):
        return {key: _plain(getattr(value, name)) for name, key in parts}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
