# SPDX-License-Identifier: GPL-3.0-or-later
"""The constraints on what a person adds to Mastodon's environment (`mastodon_env`), and on what hosts must share.

No value of a variable is ever repeated here, except of those that are named in the check.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from .coefficients import Coefficients
from .findings import error, names
from .model import LOOPBACK, Finding, Fleet, Host, HostPlan
from .proxies import ends_tls

Hosts = Mapping[str, HostPlan]
_APPLICATION = ("web", "streaming", "sidekiq")
_WHOLE_URL = re.compile(r"rediss?://[^\s]+")
# What Node reads as "no verified certificate asked for"; libpq's `prefer` is not among them.
_SSLMODES_OF_STREAMING = ("", "disable", "no-verify")


def pools_are_per_process(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C3. DB_POOL in the file that all processes read would give Puma, Sidekiq and streaming the same pool."""
    on = _setting(fleet, "DB_POOL")
    return _refuse(
        "C3",
        on,
        "mastodon_env sets DB_POOL, which every process would read; each needs one connection for each of its threads.",
        "Leave DB_POOL out of mastodon_env: the plan sets it for each process.",
    )


def prepared_statements_are_known(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C7. Prepared statements go through a pooler only if it keeps track of them."""
    poolers = [host.name for host in fleet.running("pgbouncer")]
    if not poolers or all(
        part.settings["pool_mode"] != "transaction" or int(part.settings["max_prepared_statements"]) > 0
        for part in (hosts[name].pgbouncer for name in poolers)
        if part
    ):
        return []
    asked = ("PREPARED_STATEMENTS", "REPLICA_PREPARED_STATEMENTS")
    on = [host for host in _users(fleet) if any(_is_on(host.environment.get(name, "")) for name in asked)]
    return _refuse(
        "C7",
        on,
        f"mastodon_env asks for prepared statements, and PgBouncer on {names(poolers)} forgets them between "
        f"transactions: max_prepared_statements is 0.",
        "Leave PREPARED_STATEMENTS out of mastodon_env, or set pgbouncer_max_prepared_statements: 200 in "
        "mastodon_plan_coefficients.",
    )


def connections_have_no_name(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C9. Setting application_name took 18 % of the CPU of mastodon.social's database behind a pooler."""
    on = [
        host
        for host in _users(fleet)
        if host.environment.get("PGAPPNAME")
        or any(
            "application_name=" in host.environment.get(name, "") for name in ("DATABASE_URL", "REPLICA_DATABASE_URL")
        )
    ]
    found = _refuse(
        "C9",
        on,
        "mastodon_env names the connections (PGAPPNAME, or application_name in DATABASE_URL); behind a pooler each "
        "transaction would set the name again.",
        "Leave the name out.",
    )
    adding = [
        host.name
        for host in fleet.running("pgbouncer")
        if (part := hosts[host.name].pgbouncer) and int(part.settings["application_name_add_host"])
    ]
    if adding:
        message = f"PgBouncer on {names(adding)} adds the address of each client to application_name."
        found.append(error("C9", adding, message, "Set application_name_add_host to 0."))
    return found


def streaming_reads_the_same_sslmode(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C11. Node takes every DB_SSLMODE but '', disable and no-verify to mean a verified certificate."""
    on = [
        host
        for host in _setting(fleet, "DB_SSLMODE")
        if host.environment["DB_SSLMODE"] not in _SSLMODES_OF_STREAMING and not fleet.internal_tls
    ]
    return _refuse(
        "C11",
        on,
        f"mastodon_env sets DB_SSLMODE to {names(sorted({host.environment['DB_SSLMODE'] for host in on}))}: streaming "
        f"would ask for a verified certificate, which nothing inside the fleet has.",
        "Leave DB_SSLMODE out of mastodon_env, or set mastodon_internal_tls_enabled: true.",
    )


def hosts_are_alike(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C13. Keys, domain and revision are the same wherever Mastodon runs; the values are compared and never shown."""
    values: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for host in _users(fleet):
        for variable, value in host.alike.items():
            values[variable][json.dumps(value, sort_keys=True, default=str)].append(host.name)
        for variable in _SHARED_ENVIRONMENT & host.environment.keys():
            values[f"{variable} of mastodon_env"][host.environment[variable]].append(host.name)
    found = []
    for variable, by_value in sorted(values.items()):
        if len(by_value) > 1:
            few, most = _sides(by_value.values())
            found.append(
                error(
                    "C13",
                    few,
                    f"{variable} on {names(few)} differs from that on {names(most)}; hosts of one instance share "
                    f"their keys, their domain and their revision.",
                    f"Set {variable} once, in group_vars/all.",
                )
            )
    return found


def proxies_are_trusted(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C15. Where a person names the trusted proxies, whoever speaks for people is among them: edges, and HAProxy.

    Otherwise people share the rate limit of an edge, or get errors, since what it says of them is not believed.
    """
    edges = fleet.running("nginx")
    lacking: defaultdict[tuple[str, ...], list[Host]] = defaultdict(list)
    for host in _setting(fleet, "TRUSTED_PROXY_IP"):
        words = re.split(r"[\s,]+", host.environment["TRUSTED_PROXY_IP"])
        networks = [network for word in words if (network := _network(word))]
        speaking = [LOOPBACK] if ends_tls(fleet, host) else [edge.address for edge in edges if edge is not host]
        missing = tuple(
            address for address in speaking if not any(ipaddress.ip_address(address) in network for network in networks)
        )
        if missing and host.runs("web", "streaming"):
            lacking[missing].append(host)
    return [
        finding
        for missing, on in lacking.items()
        for finding in _refuse(
            "C15",
            on,
            f"TRUSTED_PROXY_IP in mastodon_env lacks {names(missing)}, from where requests of people come: they would "
            f"share one rate limit, or get errors.",
            f"Add {names(missing)} to TRUSTED_PROXY_IP, or leave it out.",
        )
    ]


def redis_addresses_are_whole(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C19. SIDEKIQ_ and CACHE_ addresses of Redis inherit nothing: they are whole, and the same on all hosts."""
    prefixes = ("SIDEKIQ_REDIS_", "CACHE_REDIS_")
    found = []
    parts: defaultdict[str, list[Host]] = defaultdict(list)
    urls: defaultdict[str, defaultdict[str | None, list[str]]] = defaultdict(lambda: defaultdict(list))
    ruby = [host for host in fleet.hosts if host.runs("web", "sidekiq")]
    for host in ruby:
        for name, value in host.environment.items():
            if name.startswith(prefixes) and (not name.endswith("_URL") or not _WHOLE_URL.fullmatch(value)):
                parts[name].append(host)
    for name, on in sorted(parts.items()):
        prefix = name.partition("_REDIS_")[0]
        found += _refuse(
            "C19",
            on,
            f"mastodon_env sets {name}, which is no whole address of Redis; what is left out is not taken from "
            f"REDIS_URL.",
            f'Set {prefix}_REDIS_URL: "redis://:password@address:6379/0" instead, or use the group '
            f"redis_{prefix.lower()}.",
        )
    for prefix in prefixes:
        for host in ruby:
            urls[prefix][host.environment.get(f"{prefix}URL")].append(host.name)
        if len(urls[prefix]) > 1:
            few, most = _sides(urls[prefix].values())
            found.append(
                error(
                    "C19",
                    few,
                    f"{prefix}URL of mastodon_env on {names(few)} differs from that on {names(most)}: jobs and "
                    f"cache would be in two places.",
                    f"Set {prefix}URL once, in mastodon_env of group_vars/all.",
                )
            )
    return found


def nothing_destroys_itself(fleet: Fleet, hosts: Hosts, c: Coefficients) -> list[Finding]:
    """C20. SELF_DESTRUCT deletes every account of the instance, on all servers that know it."""
    on = [host for host in fleet.hosts if "SELF_DESTRUCT" in host.environment]
    return _refuse(
        "C20",
        on,
        "mastodon_env sets SELF_DESTRUCT, which deletes every account of the instance for ever.",
        "Leave SELF_DESTRUCT out; to close an instance, run tootctl self-destruct by hand.",
    )


CHECKS: tuple[Callable[[Fleet, Hosts, Coefficients], list[Finding]], ...] = (
    pools_are_per_process,
    prepared_statements_are_known,
    connections_have_no_name,
    streaming_reads_the_same_sslmode,
    hosts_are_alike,
    proxies_are_trusted,
    redis_addresses_are_whole,
    nothing_destroys_itself,
)
# Of what a person adds to the environment: these cannot differ between hosts.
_SHARED_ENVIRONMENT = frozenset(
    {
        "LOCAL_DOMAIN",
        "WEB_DOMAIN",
        "SECRET_KEY_BASE",
        "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY",
        "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY",
        "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT",
        "VAPID_PRIVATE_KEY",
        "VAPID_PUBLIC_KEY",
    }
)


def _users(fleet: Fleet) -> list[Host]:
    """The hosts on which Mastodon's environment is read."""
    return [host for host in fleet.hosts if host.runs(*_APPLICATION)]


def _setting(fleet: Fleet, name: str) -> list[Host]:
    """The hosts of the application whose mastodon_env has the variable."""
    return [host for host in _users(fleet) if name in host.environment]


def _sides(hosts_by_value: Iterable[list[str]]) -> tuple[list[str], list[str]]:
    """The hosts that differ from most, and those that agree; of hosts grouped by their value."""
    *others, most = sorted(hosts_by_value, key=len)
    return [name for side in others for name in side], most


def _is_on(value: str) -> bool:
    """True if config/database.yml takes the value for true: all that YAML does not read as false, or as nothing."""
    return value.lower() not in ("", "false", "no", "off", "n", "null", "~")


def _refuse(constraint: str, on: Iterable[Host], message: str, advice: str) -> list[Finding]:
    """One error for all hosts that do it; nothing where none does."""
    hosts = [host.name for host in on]
    return [error(constraint, hosts, f"{names(hosts)}: {message}", advice)] if hosts else []


def _network(word: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(word, strict=False)
    except ValueError:
        return None
