# SPDX-License-Identifier: GPL-3.0-or-later
"""The constraints on sizes: one function each, which looks at a finished plan and returns what does not hold.

C1 to C20 are the constraints of a whole fleet; those on connections to PostgreSQL are in `checks_database`, those on
what a person adds to Mastodon's environment in `checks_environment`. C3, C12, C17 and C18 guard the library itself and
overrides to come.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import ceil

from . import checks_database, checks_environment, exporters
from .coefficients import Coefficients
from .components import memory, postgres, redis
from .findings import error, names, warning
from .model import LOOPBACK, REQUIRED_TIERS, TIERS, Finding, Fleet, HostPlan
from .proxies import ends_tls
from .queues import QUEUES, queue_name

Hosts = Mapping[str, HostPlan]


def check_fleet(fleet: Fleet) -> tuple[Finding, ...]:
    """What must hold before there can be sizes at all."""
    return (
        *_some_host(fleet),
        *_every_tier_has_a_host(fleet),
        *_every_host_has_a_tier(fleet),
        *_addresses_differ(fleet),
    )


def check_plan(fleet: Fleet, hosts: Hosts, c: Coefficients) -> tuple[Finding, ...]:
    """Every constraint on the finished sizes; all findings, errors first."""
    found = [finding for check in CHECKS for finding in check(fleet, hosts, c)]
    return tuple(sorted(found, key=lambda finding: finding.severity != "error"))


def _some_host(fleet: Fleet) -> list[Finding]:
    """An inventory without hosts is a wrong path more often than an empty fleet."""
    if fleet.hosts:
        return []
    advice = f"Put one host at least into the groups {', '.join(REQUIRED_TIERS)}."
    return [error("inventory", (), "The inventory names no host.", advice)]


def _every_tier_has_a_host(fleet: Fleet) -> list[Finding]:
    """Mastodon needs every tier."""
    missing = [tier for tier in REQUIRED_TIERS if not fleet.running(tier)]
    if not missing or not fleet.hosts:
        return []
    which = fleet.hosts[0].name if len(fleet.hosts) == 1 else "a host"
    groups = f"group {missing[0]}" if len(missing) == 1 else f"the groups {names(missing)}"
    return [
        error("inventory", (), f"No host is in {groups}; Mastodon does not run without.", f"Add {which} to {groups}.")
    ]


def _every_host_has_a_tier(fleet: Fleet) -> list[Finding]:
    """A host in no tier is a mistake in the inventory, unless it builds releases."""
    return [
        error(
            "inventory",
            (host.name,),
            f"{host.name} is in none of the groups {', '.join(TIERS)}, so nothing runs on it.",
            f"Put {host.name} into the groups of what it is to run, or take it out of the inventory.",
        )
        for host in fleet.hosts
        if not host.tiers and host.name != fleet.builder
    ]


def _addresses_differ(fleet: Fleet) -> list[Finding]:
    """Two hosts cannot share an address, and a neighbour's loopback leads nowhere."""
    by_address: defaultdict[str, list[str]] = defaultdict(list)
    for host in fleet.hosts:
        if host.address:
            by_address[host.address].append(host.name)
    found = [
        error(
            "inventory",
            same,
            f"{' and '.join(same)} have the same vm_address {address}.",
            "Give each host the address that it has for its neighbours.",
        )
        for address, same in by_address.items()
        if len(same) > 1
    ]
    if len(fleet.hosts) > 1:
        found += [
            error(
                "inventory",
                inside,
                f"{names(inside)}: vm_address is {address}, which leads every other host to itself.",
                "Set vm_address to the address that the host has for its neighbours.",
            )
            for address, inside in by_address.items()
            if ipaddress.ip_address(address).is_loopback
        ]
    return found


def addresses_are_of_one_kind(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """A host with IPv4 only does not reach an IPv6 address; facts find one where the other is missing."""
    by_version: defaultdict[int, list[str]] = defaultdict(list)
    for host in fleet.hosts:
        if host.address:
            by_version[ipaddress.ip_address(host.address).version].append(host.name)
    if len(by_version) < 2:
        return []
    few, many = sorted(by_version.items(), key=lambda item: len(item[1]))
    return [
        warning(
            "inventory",
            few[1],
            f"{names(few[1])}: vm_address is IPv{few[0]}, and IPv{many[0]} on {names(many[1])}.",
            "Set vm_address of all hosts to addresses of one kind, unless each of them has both.",
        )
    ]


def queues_are_served(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C1. Every queue has a process: jobs of a queue that nobody serves wait for ever."""
    served = {queue for dummy, dummy_process, queues in _served(hosts) for queue in queues}
    missing = [queue for queue in QUEUES if queue not in served]
    if not missing:
        return []
    by_hand = [host.name for host in fleet.running("sidekiq") if host.overrides.sidekiq_queues]
    return [
        error(
            "C1",
            by_hand,
            f"No Sidekiq process serves {names(missing)}: its jobs would wait for ever. "
            f"sidekiq_queues is set on {names(by_hand)}.",
            f"Add {names(missing)} to sidekiq_queues of {by_hand[0]}, or leave sidekiq_queues out.",
        )
    ]


def scheduler_runs_once(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C2. `scheduler` is in exactly one process of the fleet: cron jobs are pushed once by each that serves it."""
    owners = [(host, process) for host, process, queues in _served(hosts) if "scheduler" in queues]
    if len(owners) <= 1:
        return []
    on = sorted({host for host, dummy in owners})
    groups = Counter(hosts[name].host.sidekiq_group for name in on)
    shared = "".join(
        f" Group {group}, whose sidekiq_queues serve it, has {count} hosts."
        for group, count in groups.items()
        if group and count > 1
    )
    return [
        error(
            "C2",
            on,
            f"{len(owners)} Sidekiq processes serve scheduler ({names(f'{host}/{name}' for host, name in owners)}): "
            f"every cron job would run that often.{shared}",
            f"Leave scheduler in one list of sidekiq_queues only, and that list on one host only: keep it on {on[0]}, "
            f"and take scheduler out of the lists of {names(on[1:]) or 'its other processes'}.",
        )
    ]


def pools_hold_all_threads(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C3. A process has a database connection for each of its threads."""
    return [
        error(
            "C3",
            (name,),
            f"{name}: {what} has {threads} threads on a pool of {pool} connections.",
            f"Give it a pool of {threads}.",
        )
        for name, plan in hosts.items()
        for what, pool, threads in _thread_pools(plan)
        if pool < threads
    ]


def replicas_hold_what_the_core_holds(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C10, of Redis. A replica keeps all that its core does, whatever its own maxmemory says, until it is killed."""
    core = fleet.redis["core"]
    most = _maxmemory(hosts[core.name])
    small = [
        host.name
        for host in fleet.running("redis")
        if host.redis_role == "replica" and _maxmemory(hosts[host.name]) < most
    ]
    if not small:
        return []
    return [
        warning(
            "C10",
            small,
            f"Redis on {core.name} may grow to {most} MB, and {names(small)} has less room for its copy.",
            f"Give {names(small)} the memory of {core.name}, or take it out of redis_replica.",
        )
    ]


def redis_takes_all_clients(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C12. maxclients is 1.5 x the worst case of all processes, and the unit may open as many files."""
    clients = redis.clients(
        [plan.web for plan in hosts.values() if plan.web],
        [plan.sidekiq for plan in hosts.values() if plan.sidekiq],
        [plan.streaming for plan in hosts.values() if plan.streaming],
        c,
    )
    needed = ceil(clients * c.redis_client_headroom)
    return [
        error(
            "C12",
            (name,),
            f"{name}: Redis takes {plan.redis.settings['maxclients']} clients with {plan.redis.limit_nofile} files; "
            f"{needed} are needed.",
            "Run fewer processes or threads.",
        )
        for name, plan in hosts.items()
        if plan.redis
        and (
            int(plan.redis.settings["maxclients"]) < needed
            or plan.redis.limit_nofile < int(plan.redis.settings["maxclients"]) + 32
        )
    ]


def media_are_reachable(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C14. Local media only where one host runs nginx, web and Sidekiq: others would not find the files."""
    users = tuple(host.name for host in fleet.hosts if host.runs("nginx", "web", "sidekiq"))
    if fleet.media_in_object_storage or len(users) <= 1:
        return []
    return [
        error(
            "C14",
            users,
            f"Media are on local disks, but {names(users)} need them: web and Sidekiq write them, nginx sends them.",
            "Put them into object storage: set mastodon_s3_enabled: true, mastodon_s3_bucket, mastodon_s3_endpoint, "
            "mastodon_s3_region, mastodon_s3_access_key and mastodon_s3_secret_key.",
        )
    ]


def edges_reach_the_application(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C15. What nginx passes on to other hosts arrives there, on a network that is private or encrypted."""
    found = _public_addresses(fleet)
    edges = fleet.running("nginx")
    for tier in ("web", "streaming"):
        hidden = [
            host.name
            for host in fleet.running(tier)
            if LOOPBACK in _edge_binds(hosts[host.name], tier) and edges != (host,) and not ends_tls(fleet, host)
        ]
        if hidden:
            found.append(
                error(
                    "C15",
                    hidden,
                    f"{names(hidden)}: {tier} listens on {LOOPBACK} only, where nginx of "
                    f"{names(host.name for host in edges)} does not reach it.",
                    f"Let it listen on vm_address of {names(hidden)}.",
                )
            )
    return found


def _public_addresses(fleet: Fleet) -> list[Finding]:
    """Passwords and private posts pass between hosts; Hachyderm's cache was found open in July 2023."""
    if fleet.internal_tls or len(fleet.hosts) < 2:
        return []
    public = [host for host in fleet.hosts if host.address and ipaddress.ip_address(host.address).is_global]
    if not public:
        return []
    shown = names(f"{host.name} ({host.address})" for host in public)
    return [
        error(
            "C15",
            (host.name for host in public),
            f"{shown}: vm_address is public, and the hosts of a fleet talk to each other without encryption.",
            "Set vm_address to an address in a private network, or mastodon_internal_tls_enabled: true.",
        )
    ]


def memory_suffices(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C16. The estimates of a host fit its memory; tiny hosts need swap behind them."""
    found = []
    for name, plan in hosts.items():
        host, used_mb = plan.host, plan.memory.used_mb
        if not memory.fits(host, used_mb, c):
            found.append(_too_little_memory(fleet, hosts, plan, c))
        elif plan.memory.swap_advised_mb:
            found.append(
                warning(
                    "C16",
                    (name,),
                    f"{name}: {host.memory_mb} MB are tight for what runs on it ({used_mb} MB when grown old).",
                    f"Give it {plan.memory.swap_advised_mb} MB of swap, or vm_memory_mb: {c.small_from_mb} or more.",
                    vm_memory_mb=c.small_from_mb,
                )
            )
    return found


def _too_little_memory(fleet: Fleet, hosts: Hosts, plan: HostPlan, c: Coefficients) -> Finding:
    """C16 broken: what was set by hand, and the least memory that carries it."""
    host = plan.host
    ruby_mb = sum(row.mb for row in plan.memory.budget if row.what in ("web", "sidekiq"))
    streaming = len(plan.streaming.processes) if plan.streaming else 0
    needed_mb = memory.memory_for(fleet, host, ruby_mb, streaming, c)
    if plan.postgres and checks_database.max_connections(plan) > checks_database.backends(plan, c):
        needed_mb = max(needed_mb, checks_database.memory_for_backends(fleet, hosts, plan, c))
    by_hand = [
        variable
        for variable, tier in (
            ("web_workers", "web"),
            ("sidekiq_processes", "sidekiq"),
            ("sidekiq_concurrency", "sidekiq"),
            ("sidekiq_queues", "sidekiq"),
            ("streaming_processes", "streaming"),
        )
        if host.runs(tier) and getattr(host.overrides, variable) is not None
    ]
    lower = f"Lower or leave out {names(by_hand)} on {host.name}, or give" if by_hand else "Give"
    rows = ", ".join(f"{row.what} {row.mb}" for row in plan.memory.budget)
    return error(
        "C16",
        (host.name,),
        f"{host.name}: {plan.memory.used_mb} MB are needed ({rows}), and it has {host.memory_mb}.",
        f"{lower} it vm_memory_mb: {needed_mb} or more.",
        vm_memory_mb=needed_mb,
    )


def ports_differ(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C17. No two processes of a host listen on the same port."""
    found = []
    for name, plan in hosts.items():
        users: defaultdict[int, list[str]] = defaultdict(list)
        listening = list(_ports(plan, monitored=fleet.monitored))
        for index, (what, port, bind) in enumerate(listening):
            others = listening[:index] + listening[index + 1 :]
            if any(port == other[1] and not bind.isdisjoint(other[2]) for other in others):
                users[port].append(what)
        found += [
            error(
                "C17",
                (name,),
                f"{name}: {names(same)} all listen on port {port}.",
                "Run fewer streaming processes.",
            )
            for port, same in sorted(users.items())
        ]
    return found


def logs_are_taken(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """Who asks for logs in one place has a place for them; without one the hosts keep their own, as ever."""
    if not fleet.central_logs or fleet.logs_to:
        return []
    message = "mastodon_central_logs_enabled is true, and the group metrics has no host: nobody takes the logs."
    advice = "Put a host into the group metrics, or leave mastodon_central_logs_enabled out."
    return [warning("logs", (), message, advice)]


def nginx_outwaits_puma(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C18. nginx waits 60 to 300 s for Rails; given up earlier, a request is sent again while the first still runs."""
    impatient = [
        name for name, plan in hosts.items() if plan.nginx and not 60 <= plan.nginx.proxy_read_timeout_seconds <= 300
    ]
    if not impatient:
        return []
    return [
        error(
            "C18",
            impatient,
            f"{names(impatient)}: nginx waits {c.nginx_proxy_read_timeout_seconds} s for Rails.",
            "Set nginx_proxy_read_timeout_seconds in mastodon_plan_coefficients between 60 and 300.",
        )
    ]


def workers_fit_the_cores(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """Workers beyond the cores were measured to cost memory and latency, and to carry nothing more."""
    too_many: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for name, plan in hosts.items():
        if plan.web and plan.web.workers > plan.host.vcpus:
            too_many[plan.web.workers, plan.host.vcpus].append(name)
    return [
        warning(
            "workers",
            on,
            f"{names(on)}: {workers} Puma workers on {vcpus} vCPU carry no more than {vcpus}, and answer later.",
            f"Set web_workers: {vcpus}, or leave it out.",
            web_workers=vcpus,
        )
        for (workers, vcpus), on in too_many.items()
    ]


def threads_are_useful(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """A Sidekiq process gains nothing from more than 25 threads, and beyond 50 it was seen to crash."""
    too_many: defaultdict[int, dict[str, list[str]]] = defaultdict(dict)
    for name, plan in hosts.items():
        for process in plan.sidekiq.processes if plan.sidekiq else ():
            if process.concurrency > c.sidekiq_threads_waiting:
                too_many[process.concurrency].setdefault(name, []).append(process.name)
    most = c.sidekiq_threads_waiting
    return [
        (error if threads > c.sidekiq_threads_refused_above else warning)(
            "threads",
            on,
            f"{names(on)}: Sidekiq {names(dict.fromkeys(name for some in on.values() for name in some))} has {threads} "
            f"threads; nothing is gained beyond {most}.",
            f"Set sidekiq_concurrency: {most} or less, and more sidekiq_processes if cores are idle.",
            sidekiq_concurrency=most,
        )
        for threads, on in too_many.items()
    ]


CHECKS: tuple[Callable[[Fleet, Hosts, Coefficients], list[Finding]], ...] = (
    queues_are_served,
    scheduler_runs_once,
    pools_hold_all_threads,
    *checks_database.CHECKS,
    replicas_hold_what_the_core_holds,
    redis_takes_all_clients,
    media_are_reachable,
    edges_reach_the_application,
    memory_suffices,
    ports_differ,
    logs_are_taken,
    nginx_outwaits_puma,
    *checks_environment.CHECKS,
    addresses_are_of_one_kind,
    workers_fit_the_cores,
    threads_are_useful,
    checks_database.pooler_is_advised,
    checks_database.replicas_are_read,
    checks_database.pools_are_as_large_as_wanted,
)


def _served(hosts: Hosts) -> Iterator[tuple[str, str, set[str]]]:
    """Each Sidekiq process of the fleet: its host, its name and its queues."""
    for name, plan in hosts.items():
        for process in plan.sidekiq.processes if plan.sidekiq else ():
            yield name, process.name, {queue_name(entry) for entry in process.queues}


def _thread_pools(plan: HostPlan) -> Iterator[tuple[str, int, int]]:
    """Of each Ruby process its name, its pool and its threads."""
    if plan.web:
        yield "Puma", plan.web.db_pool, plan.web.threads
    for process in plan.sidekiq.processes if plan.sidekiq else ():
        yield f"Sidekiq {process.name}", process.db_pool, process.concurrency


def _maxmemory(plan: HostPlan) -> int:
    return int(str(plan.redis.settings["maxmemory"]).removesuffix("mb")) if plan.redis else 0


def _edge_binds(plan: HostPlan, tier: str) -> Iterable[str]:
    if tier == "web":
        return [plan.web.bind] if plan.web else []
    return [process.bind for process in plan.streaming.processes] if plan.streaming else []


def _ports(plan: HostPlan, *, monitored: bool) -> Iterator[tuple[str, int, frozenset[str]]]:
    """What listens on a host, on which port and which of its addresses."""
    everywhere = frozenset((LOOPBACK, plan.host.address))
    for what in ("pgbouncer", "postgres", "redis"):
        if part := getattr(plan, what):
            yield what, part.port, frozenset(part.bind)
    if plan.web:
        yield "web", plan.web.port, frozenset((plan.web.bind,))
    if plan.streaming:
        yield from (("streaming", process.port, frozenset((process.bind,))) for process in plan.streaming.processes)
    for listener in plan.haproxy.listeners if plan.haproxy else ():
        yield f"HAProxy ({listener.name})", listener.port, frozenset(listener.bind)
    if plan.postgres and plan.postgres.primary:
        yield "replica health", postgres.HEALTH_PORT, frozenset(plan.postgres.bind)
    if plan.nginx:
        yield from (("nginx", port, everywhere) for port in (80, 443))
    if monitored:
        yield from ((what, port, everywhere) for what, port in exporters.ports(plan.host))
