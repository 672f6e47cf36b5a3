# SPDX-License-Identifier: GPL-3.0-or-later
"""A second opinion on a plan: every constraint computed anew from its numbers, with nothing of the library.

`broken` takes the plan as plain data and the inventory it was made from, and returns the names of the constraints
that do not hold, C1 to C18 as the library's findings name them. `broken_inventory` judges an inventory alone, of
which no plan can be made. `inconsistent` returns what no constraint covers and no plan may contain: a host told to
reach what does not listen there, a flow that is missing, a number without its reason, an override not obeyed.

The formulas are those of docs/sizing.md. The numbers in them are written out here on purpose.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

QUEUES = {"default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"}
TIERS = ("nginx", "web", "streaming", "sidekiq", "postgres", "redis")
PLACES = (*TIERS, "pgbouncer", "metrics")
LOOPBACK = "127.0.0.1"
# A person and tootctl (15), the exporters (5), superusers (3).
DIRECT_BESIDE_POOLERS = 15 + 5 + 3
# tootctl (6), a person (5), the exporters (5), superusers (3).
DIRECT_WITHOUT_POOLER = 6 + 5 + 5 + 3
STANDBY_SETTINGS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
# PostgreSQL's own, where the plan leaves one out.
STANDBY_DEFAULTS = {
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
READER_PORT, HEALTH_PORT, RELEASES_PORT, LOGS_PORT = 6433, 6434, 8640, 19532
# What is the fleet's own network, where one trusted address means all of it.
PRIVATE = [ipaddress.ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
EXPORTER_PORTS = {"postgres": 9187, "pgbouncer": 9127, "redis": 9121, "nginx": 9113, "web": 9394, "sidekiq": 9394}
NODE_EXPORTER_PORT = 9100

Hosts = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, Sequence[str]]
Settings = Mapping[str, Any]


# --- What of an inventory cannot be planned.


def broken_inventory(hosts: Hosts, groups: Groups, settings: Settings) -> set[str]:
    """Why no plan can be made: `inventory` for its shape, C15 for addresses that the world can reach."""
    found = set()
    if (
        any(not groups.get(tier) for tier in TIERS)
        or any(len(groups.get(leader, ())) != 1 for leader in ("postgres_primary", "redis_core"))
        or any(len(groups.get(part, ())) > 1 for part in ("redis_cache", "redis_sidekiq"))
        or any(len(names) != len(set(names)) for names in _parts_of(groups))
        or any(not any(name in groups.get(place, ()) for place in PLACES) for name in hosts)
        or max(Counter(given["vm_address"] for given in hosts.values()).values(), default=0) > 1
        or _in_two_groups_of_queues(groups)
    ):
        found.add("inventory")
    public = any(ipaddress.ip_address(given["vm_address"]).is_global for given in hosts.values())
    if public and len(hosts) > 1 and not settings.get("mastodon_internal_tls_enabled", False):
        found.add("C15")
    return found


def _parts_of(groups: Groups) -> Iterator[list[str]]:
    """For each data tier the hosts of its parts; each host once where it has one part only."""
    for tier in ("postgres_", "redis_"):
        yield [name for group, names in groups.items() if group.startswith(tier) for name in names]


def _in_two_groups_of_queues(groups: Groups) -> bool:
    counts = Counter(name for group in groups if group.startswith("sidekiq_") for name in groups[group])
    return any(count > 1 for count in counts.values())


# --- The constraints.


def broken(plan: Mapping[str, Any], hosts: Hosts, groups: Groups, settings: Settings) -> set[str]:
    """The names of the constraints that the plan does not satisfy."""
    planned = plan["hosts"]
    found = set(broken_inventory(hosts, groups, settings))
    found |= _queues(planned)
    found |= {"C3" for host in planned.values() if _short_pools(host)}
    found |= _database(planned, groups)
    clients = redis_clients(planned)
    found |= {"C12" for name in groups["redis"] if _redis_is_full(planned[name], clients)}
    found |= _media(groups, settings)
    at = _at(planned)
    found |= {"C15" for host in planned.values() if _unreachable(host, at)}
    found |= {"C16" for dummy in overfull(planned, groups)}
    found |= {"C17" for host in planned.values() if max(Counter(sockets(host)).values(), default=0) > 1}
    found |= {
        "C18"
        for host in planned.values()
        if "nginx" in host and not 60 <= host["nginx"]["proxy_read_timeout_seconds"] <= 300
    }
    return found


def _processes(planned: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [process for host in planned.values() if "sidekiq" in host for process in host["sidekiq"]["processes"]]


def _queues(planned: Mapping[str, Any]) -> set[str]:
    served = Counter(
        queue for process in _processes(planned) for queue in {entry.split(",")[0] for entry in process["queues"]}
    )
    found = {"C1"} if set(served) != QUEUES else set()
    return found | ({"C2"} if served["scheduler"] > 1 else set())


def _short_pools(host: Mapping[str, Any]) -> bool:
    pools = [(process["db_pool"], process["concurrency"]) for process in host.get("sidekiq", {}).get("processes", ())]
    if "web" in host:
        pools.append((host["web"]["db_pool"], host["web"]["threads"]))
    return any(pool < threads for pool, threads in pools)


def ruby_clients(host: Mapping[str, Any]) -> int:
    """Connections to PostgreSQL that Puma and Sidekiq of a host can hold; as many again to replicas."""
    total = max(1, host["web"]["workers"]) * host["web"]["db_pool"] if "web" in host else 0
    return total + sum(process["db_pool"] for process in host.get("sidekiq", {}).get("processes", ()))


def streaming_clients(host: Mapping[str, Any]) -> int:
    """Connections to PostgreSQL that the streaming processes of a host can hold."""
    return host["streaming"]["db_pool"] * len(host["streaming"]["processes"]) if "streaming" in host else 0


def _database(planned: Mapping[str, Any], groups: Groups) -> set[str]:
    """C4, C5, C6 and C10."""
    found = set()
    ruby = sum(ruby_clients(host) for host in planned.values())
    writers = ruby + sum(streaming_clients(host) for host in planned.values())
    poolers = [host for host in planned.values() if "pgbouncer" in host]
    databases = [host for host in planned.values() if "postgres" in host]
    replicas = [host for host in databases if host["postgres"]["role"] == "replica"]
    clients = writers + (ruby if replicas else 0)
    # Any pooler may have to take all clients.
    found |= {"C5" for pooler in poolers if pooler["pgbouncer"]["max_client_conn"] < 1.25 * clients}
    for database in databases:
        max_connections = database["postgres"]["settings"]["max_connections"]
        if poolers:
            if max_connections < pooled(database, planned) + DIRECT_BESIDE_POOLERS:
                found.add("C4")
        else:
            direct = writers if database["postgres"]["role"] == "primary" else 0
            if max_connections < ceil(1.1 * direct) + DIRECT_WITHOUT_POOLER or direct > 0.9 * max_connections:
                found.add("C6")
        if 2 * max_connections > _row(database, "postgres") - _megabytes(database["postgres"], "shared_buffers"):
            found.add("C4" if poolers else "C6")
    (primary,) = groups["postgres_primary"]
    for replica in replicas:
        for setting in STANDBY_SETTINGS:
            own, leading = (
                int(host["postgres"]["settings"].get(setting, STANDBY_DEFAULTS.get(setting, 0)))
                for host in (replica, planned[primary])
            )
            if own < leading:
                found.add("C10")
    return found


def pooled(database: Mapping[str, Any], planned: Mapping[str, Any]) -> int:
    """Server connections that all poolers together may open to one PostgreSQL."""
    total = 0
    for pooler in planned.values():
        for pool in pooler.get("pgbouncer", {}).get("pools", ()):
            if any(_leads_to(end, pooler, database) for end in _ends_of(pool, pooler)):
                total += pool["pool_size"] + pool["reserve_pool_size"]
    return total


def _ends_of(pool: Mapping[str, Any], pooler: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Where the connections of a pool may end: where it says, or at all servers of the listener that it names."""
    for listener in pooler.get("haproxy", {}).get("listeners", ()):
        if pool["host"] in listener["bind"] and pool["port"] == listener["port"]:
            return listener["servers"]
    return [pool]


def _leads_to(endpoint: Mapping[str, Any], source: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    here = source["host"]["name"] == target["host"]["name"]
    return endpoint["host"] in ((LOOPBACK, target["host"]["address"]) if here else (target["host"]["address"],))


def redis_clients(planned: Mapping[str, Any]) -> int:
    """The most connections that all processes of a fleet, and one tootctl, can open to one Redis."""
    total = 6
    for host in planned.values():
        if "web" in host:
            threads = host["web"]["threads"]
            total += max(1, host["web"]["workers"]) * (3 * threads + 1 if threads <= 10 else 2 * threads + 11)
        total += 2 * len(host.get("streaming", {}).get("processes", ()))
    return total + sum(3 * process["concurrency"] + 11 for process in _processes(planned))


def _redis_is_full(host: Mapping[str, Any], clients: int) -> bool:
    maxclients = host["redis"]["settings"]["maxclients"]
    if host["redis"]["limit_nofile"] < maxclients + 32:
        return True
    return host["redis"]["role"] != "replica" and maxclients < 1.5 * clients


def _media(groups: Groups, settings: Settings) -> set[str]:
    users = {name for tier in ("nginx", "web", "sidekiq") for name in groups.get(tier, ())}
    return {"C14"} if len(users) > 1 and not settings.get("mastodon_s3_enabled", False) else set()


def _row(host: Mapping[str, Any], what: str) -> int:
    return next((row["mb"] for row in host["memory"]["budget"] if row["what"] == what), 0)


def _megabytes(part: Mapping[str, Any], setting: str) -> int:
    text = str(part["settings"][setting]).lower()
    number = int(text.rstrip("kmgb"))
    return number * 1024 if text.endswith(("gb", "g")) else number


def overfull(planned: Mapping[str, Any], groups: Groups) -> set[str]:
    """The hosts whose memory does not suffice."""
    monitored = bool(groups.get("metrics"))
    return {
        name
        for name, host in planned.items()
        if needed_mb(host, monitored=monitored) > host["host"]["memory_mb"] * _overdraft(host)
    }


def _tiny(host: Mapping[str, Any]) -> float:
    """1 up to 2000 MB, 0 from 3000 MB on."""
    return min(1.0, max(0.0, (3000 - host["host"]["memory_mb"]) / 1000))


def _overdraft(host: Mapping[str, Any]) -> float:
    """Up to a tenth may lie in swap on tiny hosts."""
    return 1 + 0.1 * _tiny(host)


def needed_mb(host: Mapping[str, Any], *, monitored: bool) -> int:
    """What all that runs on a host takes when it has grown old; monitored: a host of the fleet collects metrics.

    The shares of PostgreSQL and of a metrics host are the plan's to choose, but PostgreSQL holds its shared buffers.
    """
    total = max(256, int(host["host"]["memory_mb"] * 0.06)) + _row(host, "metrics")
    if monitored and ("web" in host or "sidekiq" in host):
        total += 150
    if "web" in host:
        workers = host["web"]["workers"]
        total += 300 + 400 * workers if workers else 450
    if "sidekiq" in host:
        total += sum(400 + 24 * process["concurrency"] for process in host["sidekiq"]["processes"])
    if "streaming" in host:
        total += round(200 - 80 * _tiny(host)) * len(host["streaming"]["processes"])
    if "nginx" in host:
        total += round(64 - 32 * _tiny(host))
    if "redis" in host:
        total += int(1.25 * _megabytes(host["redis"], "maxmemory"))
    total += 32 * (("pgbouncer" in host) + ("haproxy" in host))
    if "postgres" in host:
        total += max(_row(host, "postgres"), _megabytes(host["postgres"], "shared_buffers"))
    return total


def sockets(host: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Every address and port at which a service of the host listens."""
    found = [(host["web"]["bind"], host["web"]["port"])] if "web" in host else []
    parts = [host[part] for part in ("postgres", "pgbouncer", "redis") if part in host]
    parts += host.get("haproxy", {}).get("listeners", [])
    if host.get("postgres", {}).get("role") == "replica":
        parts.append({"bind": host["postgres"]["bind"], "port": HEALTH_PORT})
    found += [(bind, part["port"]) for part in parts for bind in part["bind"]]
    found += [(process["bind"], process["port"]) for process in host.get("streaming", {}).get("processes", ())]
    everywhere = {LOOPBACK, host["host"]["address"]}
    return found + [(bind, port) for port in (80, 443) if "nginx" in host for bind in everywhere]


# --- Who reaches whom.


def _endpoints(host: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(what this host uses it for, part that must be there, endpoint) of each endpoint that its components use."""
    ends = host["endpoints"]
    ruby = "web" in host or "sidekiq" in host
    if ruby or "streaming" in host:
        pooler = (ends["database"]["host"], ends["database"]["port"]) != (
            ends["postgres"]["host"],
            ends["postgres"]["port"],
        )
        yield "database", "pgbouncer" if pooler else "postgres", ends["database"]
        yield "redis", "redis", ends["redis"]
    if ruby:
        for name in ("redis_cache", "redis_sidekiq"):
            if name in ends:
                yield name, "redis", ends[name]
        if "database_replica" in ends:
            yield "database_replica", "pgbouncer", ends["database_replica"]
    if "nginx" in host:
        for tier in ("web", "streaming"):
            for end in ends[tier]:
                yield tier, f"tls {tier}" if ends["tls"] else tier, end
    for pool in host.get("pgbouncer", {}).get("pools", ()):
        for end in _ends_of(pool, host):
            yield f"pool {pool['name']}", "postgres", end
            if end.get("check_port"):
                yield f"health of {end['name']}", "health", {"host": end["host"], "port": end["check_port"]}


def _at(planned: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The host at each address."""
    return {host["host"]["address"]: host for host in planned.values()}


def _target(host: Mapping[str, Any], end: Mapping[str, Any], at: Mapping[str, Any]) -> Mapping[str, Any]:
    """The host to which an endpoint leads; empty where there is none."""
    return host if end["host"] == LOOPBACK else at.get(end["host"], {})


def _listens(target: Mapping[str, Any], part: str, end: Mapping[str, Any]) -> bool:
    """True if the part of the target listens at the address and port of the endpoint."""
    if part.startswith("tls "):
        return any(
            listener["tls"]
            and end["host"] in listener["bind"]
            and end["port"] == listener["port"]
            and [(server["host"], server["port"]) for server in listener["servers"]] == [(LOOPBACK, end["port"])]
            and _listens(target, part.removeprefix("tls "), {"host": LOOPBACK, "port": end["port"]})
            for listener in target.get("haproxy", {}).get("listeners", ())
        )
    if part == "health":
        replica = target.get("postgres", {"role": ""})
        return replica["role"] == "replica" and end["host"] in replica["bind"] and end["port"] == HEALTH_PORT
    if part not in target:
        return False
    if part == "streaming":
        listeners = [(process["bind"], process["port"]) for process in target["streaming"]["processes"]]
    else:
        binds = target[part]["bind"]
        listeners = [(bind, target[part]["port"]) for bind in ([binds] if isinstance(binds, str) else binds)]
    return any(port == end["port"] and bind in (end["host"], "0.0.0.0", "::", "*") for bind, port in listeners)


def _unreachable(host: Mapping[str, Any], at: Mapping[str, Any]) -> list[str]:
    return [
        f"{host['host']['name']}: {what} {end['host']}:{end['port']}"
        for what, part, end in _endpoints(host)
        if not _listens(_target(host, end, at), part, end)
    ]


def flows(plan: Mapping[str, Any], groups: Groups, settings: Settings) -> set[tuple[str, str, int]]:
    """(from, to, port) of all that has to pass between hosts, from the endpoints and parts of the plan."""
    planned = plan["hosts"]
    expected = {("control", name, 22) for name in planned}
    expected |= {("world", name, port) for name in groups["nginx"] for port in (80, 443)}
    (primary,) = groups["postgres_primary"]
    (core,) = groups["redis_core"]
    at = _at(planned)
    for name, host in planned.items():
        for _what, _part, end in _endpoints(host):
            target = _target(host, end, at)
            expected.add((name, target["host"]["name"] if target else end["host"], end["port"]))
        if host.get("postgres", {}).get("role") == "replica":
            expected.add((name, primary, 5432))
        if host.get("redis", {}).get("role") == "replica":
            expected.add((name, core, 6379))
        asked = _scraped(host) | ({443} if "nginx" in host else set())
        expected |= {(metrics, name, port) for metrics in groups.get("metrics", ()) for port in asked}
        if settings.get("mastodon_central_logs_enabled"):
            expected |= {(name, metrics, LOGS_PORT) for metrics in groups.get("metrics", ())}
    builder = _builder(groups)
    expected.add((builder, primary, 5432))
    released = {name for tier in ("web", "streaming", "sidekiq", "nginx") for name in groups[tier]}
    expected |= {(name, builder, RELEASES_PORT) for name in released}
    expected |= {(builder, edge, 443) for edge in groups["nginx"]}
    expected |= {(other, edge, 80) for edge in groups["nginx"] for other in groups["nginx"]}
    return {flow for flow in expected if flow[0] != flow[1]}


def _builder(groups: Groups) -> str:
    """The first of the inventory, as site.yml takes it."""
    return (*groups.get("builder", ()), *groups["web"])[0]


def _scraped(host: Mapping[str, Any]) -> set[int]:
    found = {NODE_EXPORTER_PORT} | {port for part, port in EXPORTER_PORTS.items() if part in host}
    return found | {process["port"] for process in host.get("streaming", {}).get("processes", ())}


# --- What no plan may contain.


def inconsistent(
    plan: Mapping[str, Any], hosts: Hosts, groups: Groups, settings: Settings, *, grown: bool = False
) -> list[str]:
    """What is wrong with a plan beside its constraints, in words; empty if nothing is.

    grown: whether it goes on from an earlier plan; then a pooler may have two hosts more than another.
    """
    planned = plan["hosts"]
    wrong = [f"hosts: {sorted(set(planned) ^ set(hosts))}"] if set(planned) != set(hosts) else []
    at = _at(planned)
    for name, host in planned.items():
        wrong += _unreachable(host, at)
        wrong += [f"{name}: no reason for {path}" for path in unexplained(host)]
        wrong += [f"{name}: {what} not obeyed" for what in _disobeyed(host, hosts[name])]
        called = Counter(process["name"] for process in host.get("sidekiq", {}).get("processes", ()))
        wrong += [f"{name}: {count} processes are called {what}" for what, count in called.items() if count > 1]
        total_mb = sum(row["mb"] for row in host["memory"]["budget"])
        if total_mb != host["memory"]["used_mb"]:
            wrong.append(f"{name}: the rows of its budget are {total_mb} MB together, not {host['memory']['used_mb']}")
        needed = needed_mb(host, monitored=bool(groups.get("metrics")))
        if host["memory"]["used_mb"] != needed:
            wrong.append(f"{name}: the budget says {host['memory']['used_mb']} MB; {needed} are needed")
        tiers = {place for place in PLACES if name in groups.get(place, ())}
        parts = {place for place in PLACES if place in host}
        if tiers - {"metrics"} != parts - {"metrics"}:
            wrong.append(f"{name}: is in {sorted(tiers)} and runs {sorted(parts)}")
    said = {(flow["from"], flow["to"], flow["port"]) for flow in plan["flows"]}
    wanted = flows(plan, groups, settings)
    wrong += [f"flow missing: {flow}" for flow in sorted(wanted - said)]
    wrong += [f"flow without use: {flow}" for flow in sorted(said - wanted)]
    wrong += [f"totals: {name} is {said}, not {own}" for name, (said, own) in _totals(plan).items() if said != own]
    wrong += _ways(planned, groups, settings)
    wrong += _opened(planned, wanted, _builder(groups))
    return wrong + _uneven(planned, 2 if grown else 1)


def _ways(planned: Mapping[str, Any], groups: Groups, settings: Settings) -> list[str]:
    """What is wrong with the ways through HAProxy, to the replicas, of releases, and with who is trusted."""
    wrong = []
    (primary,) = groups["postgres_primary"]
    replicas = set(groups.get("postgres_replica", ()))
    edges = set(groups["nginx"])
    builder = _builder(groups)
    front = {name for tier in ("nginx", "web", "streaming") for name in groups[tier]}
    tls = bool(settings.get("mastodon_internal_tls_enabled", False)) and len(front) > 1
    for name, host in planned.items():
        ends = host["endpoints"]
        reader = "pgbouncer" in host and bool(replicas)
        if ("haproxy" in host) != (reader or (tls and bool({"web", "streaming"} & set(host)))):
            wrong.append(f"{name}: HAProxy is missing, or has no use")
        if "haproxy" in host:
            wrong += _listeners(name, host, primary, replicas, tls=tls)
        reads = bool(replicas and groups.get("pgbouncer")) and bool({"web", "sidekiq"} & set(host))
        if ("database_replica" in ends) != reads:
            wrong.append(f"{name}: reads where it should not, or does not where it should")
        if "database_replica" in ends and ends["database_replica"]["name"] != "mastodon_production_read":
            wrong.append(f"{name}: reads from {ends['database_replica']['name']}")
        if ends["tls"] != (tls and name in edges):
            wrong.append(f"{name}: endpoints.tls is {ends['tls']}")
        released = bool({"web", "streaming", "sidekiq", "nginx"} & set(host)) and name != builder
        said = ends.get("releases")
        if said != ({"host": planned[builder]["host"]["address"], "port": RELEASES_PORT} if released else None):
            wrong.append(f"{name}: fetches releases from {said}")
        takers = groups.get("metrics", ()) if settings.get("mastodon_central_logs_enabled") else ()
        to = [{"host": planned[taker]["host"]["address"], "port": LOGS_PORT} for taker in takers if taker != name]
        if [ends[what] for what in ends if what == "logs"] != to:
            wrong.append(f"{name}: its logs go to {ends.get('logs')}, not {to}")
        wrong += _trusted(name, host, [planned[edge]["host"]["address"] for edge in edges - {name}])
        role = host.get("postgres", {}).get("role")
        leads = {
            "primary": (sorted(replicas), None),
            "replica": ([], {"host": planned[primary]["host"]["address"], "port": 5432}),
        }
        if role and (host["postgres"]["replicas"], host["postgres"].get("primary")) != leads[role]:
            wrong.append(f"{name}: does not know its replicas, or its primary")
    return wrong


def _listeners(name: str, host: Mapping[str, Any], primary: str, replicas: set[str], *, tls: bool) -> list[str]:
    """What is wrong with the listeners of a host, and with what passes through them."""
    part, wrong = host["haproxy"], []
    doors = {listener["name"]: listener for listener in part["listeners"]}
    expected = {"reader"} if "pgbouncer" in host and replicas else set()
    if tls and "web" in host:
        expected.add("web")
    if tls and "streaming" in host:
        expected |= {f"streaming_{process['port']}" for process in host["streaming"]["processes"]}
    if set(doors) != expected:
        wrong.append(f"{name}: HAProxy listens for {sorted(doors)}, not {sorted(expected)}")
    through = 0
    if "reader" in doors:
        door = doors["reader"]
        if (door["bind"], door["port"], door["tls"]) != ([LOOPBACK], READER_PORT, False):
            wrong.append(f"{name}: the door of readers is {door['bind']}:{door['port']}")
        said = {(server["name"], server["backup"], server["check_port"]) for server in door["servers"]}
        if said != {(replica, False, HEALTH_PORT) for replica in replicas} | {(primary, True, None)}:
            wrong.append(f"{name}: readers go to {sorted(map(str, said))}")
        (pool,) = (pool for pool in host["pgbouncer"]["pools"] if pool["for"] == "replica")
        if (pool["name"], pool["host"], pool["port"]) != ("mastodon_production_read", LOOPBACK, READER_PORT):
            wrong.append(f"{name}: the pool of readers is {pool}")
        through += pool["pool_size"] + pool["reserve_pool_size"]
    if "web" in doors:
        through += max(1, host["web"]["workers"]) * host["web"]["threads"]
    through += 1000 * sum(door.startswith("streaming") for door in doors)
    if part["maxconn"] < through or part["limit_nofile"] < 2 * part["maxconn"] + 100:
        wrong.append(
            f"{name}: HAProxy takes {part['maxconn']} connections with {part['limit_nofile']} files; {through}"
        )
    return wrong


def _trusted(name: str, host: Mapping[str, Any], edges: Sequence[str]) -> list[str]:
    """Whether every edge elsewhere is trusted, with all of its network where that is private, and nobody else."""
    said = host["endpoints"].get("trusted_proxies")
    if not edges or not {"web", "streaming"} & set(host):
        return [f"{name}: trusts {said}"] if said is not None else []
    networks = [ipaddress.ip_network(network) for network in said or ()]
    wrong = []
    for edge in map(ipaddress.ip_address, edges):
        own = next((network for network in PRIVATE if edge in network), None)
        if not any(edge in network and (own is None or own == network) for network in networks):
            wrong.append(f"{name}: does not trust {edge}")
    wrong += [f"{name}: trusts {net}" for net in networks if net.is_global and net.num_addresses > 1]
    return wrong


def _opened(planned: Mapping[str, Any], wanted: set[tuple[str, str, int]], builder: str) -> list[str]:
    """Whether each host lets in what has to come in, and nobody else; and PostgreSQL as whom it should."""
    wrong = []
    for name, host in planned.items():
        coming: dict[int, set[str]] = {}
        for source, target, port in wanted:
            if target == name:
                coming.setdefault(port, set()).add(source)
        expected = {
            port: {"world"} & sources
            or {"control"} & sources
            or {planned[source]["host"]["address"] for source in sources}
            for port, sources in coming.items()
        }
        said = {entry["port"]: set(entry["sources"]) for entry in host["firewall"]}
        if said != expected or [entry["port"] for entry in host["firewall"]] != sorted(expected):
            wrong.append(f"{name}: lets in {said}, not {expected}")
        if "postgres" in host:
            clients = {
                (client["address"], client["user"], client["database"]) for client in host["postgres"]["clients"]
            }
            wrong += _clients(name, planned, clients, coming.get(5432, set()), builder)
    return wrong


def _clients(
    name: str, planned: Mapping[str, Any], clients: set[tuple[str, str, str]], sources: set[str], builder: str
) -> list[str]:
    """Whether those who come to a PostgreSQL are let in as who they are: a replica, and whoever uses the database."""
    expected = set()
    leads = planned[name]["postgres"]["role"] == "primary"
    uses = {"web", "streaming", "sidekiq"}
    for source in sources:
        host = planned[source]
        address = host["host"]["address"]
        if leads and host.get("postgres", {}).get("role") == "replica":
            expected.add((address, "mastodon_replication", "replication"))
        pooled = any("pgbouncer" in other for other in planned.values())
        if (leads and source == builder) or "pgbouncer" in host or (not pooled and uses & set(host)):
            expected.add((address, "mastodon", "mastodon_production"))
    return [f"{name}: PostgreSQL lets in {clients}, not {expected}"] if clients != expected else []


def _totals(plan: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    planned, totals = plan["hosts"].values(), plan["totals"]
    processes = _processes(plan["hosts"])
    own = {
        "puma_threads": sum(
            max(1, host["web"]["workers"]) * host["web"]["threads"] for host in planned if "web" in host
        ),
        "sidekiq_threads": sum(process["concurrency"] for process in processes),
        "sidekiq_processes": len(processes),
        "streaming_processes": sum(len(host["streaming"]["processes"]) for host in planned if "streaming" in host),
        "memory_mb": sum(host["host"]["memory_mb"] for host in planned),
        "vcpus": sum(host["host"]["vcpus"] for host in planned),
        "database_clients": sum(ruby_clients(host) + streaming_clients(host) for host in planned),
    }
    return {name: (totals[name], value) for name, value in own.items()}


def _uneven(planned: Mapping[str, Any], most: int) -> list[str]:
    """Hosts without a pooler of their own are spread evenly over the poolers; a host with one uses that."""
    poolers = {host["host"]["address"]: name for name, host in planned.items() if "pgbouncer" in host}
    if not poolers:
        return []
    used: Counter[str] = Counter()
    wrong = []
    for name, host in planned.items():
        if not {"web", "sidekiq", "streaming"} & set(host):
            continue
        end = host["endpoints"]["database"]
        pooler = name if end["host"] == LOOPBACK else poolers.get(end["host"])
        if "pgbouncer" in host and pooler != name:
            wrong.append(f"{name}: uses the pooler of {pooler}, not its own")
        elif "pgbouncer" not in host:
            used[str(pooler)] += 1
    counts = [used[name] for name in poolers.values()]
    if used and max(counts) - min(counts) > most:
        wrong.append(f"poolers are used unevenly: {dict(used)}")
    return wrong


def _disobeyed(host: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The overrides of a host that its plan does not follow."""
    processes = host.get("sidekiq", {}).get("processes", [])
    got = {
        "web_workers": host.get("web", {}).get("workers"),
        "web_threads": host.get("web", {}).get("threads"),
        "streaming_processes": len(host["streaming"]["processes"]) if "streaming" in host else None,
        "sidekiq_processes": len(processes) if processes and not _lists(given) else None,
        "postgres_max_connections": host.get("postgres", {}).get("settings", {}).get("max_connections"),
        "pgbouncer_max_client_conn": host.get("pgbouncer", {}).get("max_client_conn"),
        "pgbouncer_pool_size": next(
            (pool["pool_size"] for pool in host.get("pgbouncer", {}).get("pools", ()) if pool["for"] == "primary"), None
        ),
    }
    wrong = [
        name
        for name, value in got.items()
        if value is not None and given.get(name) is not None and value != given[name]
    ]
    concurrency = given.get("sidekiq_concurrency")
    if concurrency is not None and any(process["concurrency"] != concurrency for process in processes):
        wrong.append("sidekiq_concurrency")
    return wrong


def _lists(given: Mapping[str, Any]) -> bool:
    queues = given.get("sidekiq_queues")
    return bool(queues) and isinstance(queues[0], list)


def unexplained(host: Mapping[str, Any]) -> list[str]:
    """The numbers of a host that have no reason, or one that does not say the number."""
    reasons = host["reasons"]
    found = []
    for path, value in _numbers(host):
        reason = reasons.get(path)
        # Ports of streaming count upwards from the first, which one sentence says for all.
        if reason is None and path.startswith("streaming.processes."):
            reason = reasons.get("streaming.processes") and str(value)
        if not reason or not reason.startswith(str(value)):
            found.append(f"{path} = {value}")
    return found


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, int | float]]:
    """Every number below a mapping with its path; entries of a list go by their name, what or port."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if path or key not in ("host", "endpoints", "firewall", "reasons"):
                yield from _numbers(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping):
                name = next((item[key] for key in ("name", "what", "port") if key in item), None)
                yield from _numbers(item, f"{path}.{name}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path.removesuffix(".mb"), value
