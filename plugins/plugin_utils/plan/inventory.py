# SPDX-License-Identifier: GPL-3.0-or-later
"""From what an inventory says to a `Fleet`; whatever is wrong with it becomes a finding, all of them at once."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from .model import TIERS, Finding, Fleet, Host, Overrides
from .queues import check_entry, queue_name

# The inventory contract: each part of the data tiers, the role that it gives its host, and how many hosts it takes.
PARTS: dict[str, dict[str, str]] = {
    "postgres": {"postgres_primary": "primary", "postgres_replica": "replica"},
    "redis": {
        "redis_core": "core",
        "redis_replica": "replica",
        "redis_cache": "cache",
        "redis_sidekiq": "sidekiq",
    },
}
_LEADERS = {"postgres": "postgres_primary", "redis": "redis_core"}
_AT_MOST_ONE = ("redis_cache", "redis_sidekiq", "metrics", "builder")
GROUPS = (*TIERS, *(part for parts in PARTS.values() for part in parts), "builder")

SIZES = ("vm_vcpus", "vm_memory_mb", "vm_address")
# Inventory variable: field of Overrides, least and greatest value.
COUNTS = {
    "web_workers": (0, 64),
    "web_threads": (1, 64),
    "streaming_processes": (1, 32),
    "sidekiq_processes": (1, 64),
    "sidekiq_concurrency": (1, 50),
    "postgres_max_connections": (20, 10000),
    "postgres_replica_max_lag_seconds": (1, 3600),
    "pgbouncer_pool_size": (1, 10000),
    "pgbouncer_max_client_conn": (20, 1_000_000),
}
OVERRIDES = (*COUNTS, "sidekiq_queues")
# What must be the same on every host that runs Mastodon. Some are secret: they are compared, and never shown.
ALIKE = (
    "mastodon_local_domain",
    "mastodon_web_domain",
    "mastodon_repo",
    "mastodon_version",
    "mastodon_patches",
    "mastodon_secret_key_base",
    "mastodon_active_record_encryption_primary_key",
    "mastodon_active_record_encryption_deterministic_key",
    "mastodon_active_record_encryption_key_derivation_salt",
    "mastodon_vapid_private_key",
    "mastodon_vapid_public_key",
)
# All that is read of a host, and all that is read once for the fleet.
HOST_VARIABLES = (*SIZES, *OVERRIDES, "mastodon_env", *ALIKE)
FLEET_SETTINGS = (
    "mastodon_s3_enabled",
    "mastodon_internal_tls_enabled",
    "mastodon_central_logs_enabled",
    "mastodon_monthly_active_users",
    "mastodon_requests_per_second",
    "mastodon_plan_coefficients",
    "mastodon_plan_silenced",
)
_MEMORY_MB = (512, 16 * 1024 * 1024)
# A VM sold with 4096 MB shows a little less: the kernel and the firmware take their part first.
_DECLARED_OVER_FOUND = 1.1
_UNIT = re.compile(r"(?i)\s*([0-9]+(?:\.[0-9]+)?)\s*(k|m|g|t)i?b?\s*")
_UNIT_MB = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}


def read_inventory(
    hosts: Mapping[str, Mapping[str, object]],
    groups: Mapping[str, Sequence[str]],
    settings: Mapping[str, object],
    *,
    provisional: bool = False,
    children: Mapping[str, Sequence[str]] | None = None,
    scheduler: str | None = None,
) -> tuple[Fleet, tuple[Finding, ...]]:
    """The fleet that the inventory describes, and what is wrong with the description.

    hosts: for each host HOST_VARIABLES as far as they are set, and found_memory_mb, what its facts say beside what is
    declared. Numbers may come as text, as `-e` gives them. settings: FLEET_SETTINGS as far as they are set.
    provisional: a host whose size or address nobody knows counts as 2 vCPU and 4096 MB at an address of 198.18.0.0/15,
    which no network uses, and is marked; otherwise it is refused by name.
    children: for each group its child groups, where they are known; otherwise the child groups of `sidekiq` are those
    whose name begins with sidekiq_.
    scheduler: the host whose Sidekiq serves the queue `scheduler` now.
    A value that cannot be read is left out of the fleet, so the fleet is only to be used if no finding is an error.
    """
    members = {group: frozenset(names) for group, names in groups.items()}
    queue_groups = _queue_groups(groups, children)
    findings = _check_names(groups, queue_groups) + _check_parts(groups, members)
    findings += _check_queue_groups(members, queue_groups)
    fleet, assumed = [], {}
    for index, name in enumerate(sorted(hosts)):
        given = hosts[name]
        if provisional and (unknown := [size for size in SIZES if given.get(size) is None]):
            given = {**given, **{size: _assumed(size, index) for size in unknown}}
            assumed[name] = unknown
        host, wrong = _read_host(name, given, _place(name, members, queue_groups), name in assumed)
        fleet.append(host)
        findings += wrong
    if assumed:
        findings.append(_provisional(assumed))
    read, wrong = _read_settings(settings)
    builders = groups.get("builder") or groups.get("web") or ()
    return (
        Fleet(hosts=tuple(fleet), builder=next(iter(builders), None), scheduler=scheduler, **read),
        tuple(findings + wrong),
    )


def members_of(
    groups: Mapping[str, Sequence[str]], children: Mapping[str, Sequence[str]] | None, staying: Container[str]
) -> dict[str, tuple[str, ...]]:
    """For each group of the inventory contract, and each child group of `sidekiq`, its hosts that stay, in order."""
    named = ("all", *GROUPS, *_queue_groups(groups, children))
    return {group: tuple(name for name in groups.get(group, ()) if name in staying) for group in named}


def _place(name: str, members: Mapping[str, frozenset[str]], queue_groups: Sequence[str]) -> dict[str, Any]:
    """The fields of a `Host` that its groups decide; where it is in two that exclude each other, the first counts."""

    def role(tier: str) -> str | None:
        return next((role for part, role in PARTS[tier].items() if name in members.get(part, ())), None)

    return {
        "tiers": frozenset(tier for tier in TIERS if name in members.get(tier, ())),
        "postgres_role": role("postgres"),
        "redis_role": role("redis"),
        "sidekiq_group": next((group for group in queue_groups if name in members[group]), None),
    }


def _assumed(size: str, index: int) -> object:
    """What stands in for a size or an address that nobody knows."""
    known: dict[str, object] = {"vm_vcpus": 2, "vm_memory_mb": 4096}
    return known.get(size) or str(ipaddress.ip_address("198.18.0.1") + index)


def _provisional(assumed: Mapping[str, Sequence[str]]) -> Finding:
    """Which hosts are planned with sizes or addresses that nobody knows yet."""
    what = ", ".join(f"{name} ({', '.join(sizes)})" for name, sizes in assumed.items())
    return Finding(
        constraint="provisional",
        severity="warning",
        hosts=tuple(assumed),
        message=f"Neither declared nor found, and assumed (2 vCPU, 4096 MB, an address of 198.18.0.0/15): {what}.",
        advice="Declare vm_vcpus, vm_memory_mb and vm_address in host_vars, or make the hosts reachable.",
    )


def _read_settings(settings: Mapping[str, object]) -> tuple[dict[str, Any], list[Finding]]:
    """The fields of a `Fleet` that settings decide."""
    read: dict[str, Any] = {}
    findings: list[Finding] = []
    booleans = {
        "media_in_object_storage": "mastodon_s3_enabled",
        "internal_tls": "mastodon_internal_tls_enabled",
        "central_logs": "mastodon_central_logs_enabled",
    }
    for name, variable in booleans.items():
        read[name], wrong = _read_boolean(variable, settings.get(variable, False))
        findings += wrong
    for name, least, greatest in (("monthly_active_users", 1, 10**9), ("requests_per_second", 0.01, 10**6)):
        variable = f"mastodon_{name}"
        value = settings.get(variable)
        if value in (None, ""):
            continue
        number = _whole(value) if isinstance(least, int) else _number(value)
        if number is None or not least <= number <= greatest:
            what = "a whole number" if isinstance(least, int) else "a number"
            message = f"{variable} is {value!r}; allowed: {what} from {least:g} to {greatest:g}."
            findings.append(_setting(message, f"Type for example {variable}: 1000, or leave it out."))
        else:
            read[name] = number
    return read, findings


def _read_host(
    name: str, given: Mapping[str, object], place: Mapping[str, Any], provisional: bool
) -> tuple[Host, list[Finding]]:
    findings: list[Finding] = []
    unknown = [size for size in SIZES if given.get(size) is None]
    if unknown:
        findings.append(
            _input(
                name,
                f"{name}: {' and '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} not known: neither declared, "
                "nor found in the facts of this run or an earlier one.",
                f"Make {name} reachable, or declare in host_vars/{name}.yml: "
                + ", ".join(_EXAMPLES[size] for size in unknown),
            )
        )

    def count(variable: str, least: int, greatest: int, example: int) -> int | None:
        value = given.get(variable)
        if value is None:
            return None
        number = _whole(value)
        if number is None or not least <= number <= greatest:
            wrong = _wrong_number(name, variable, value, (least, greatest), example)
            findings.append(wrong)
            return None
        return number

    vcpus = count("vm_vcpus", 1, 1024, 2)
    memory_mb = count("vm_memory_mb", *_MEMORY_MB, 4096)
    counts = {variable: count(variable, *limits, limits[0] or 1) for variable, limits in COUNTS.items()}
    address, wrong = _read_address(name, given.get("vm_address"))
    findings += wrong
    environment, wrong = _read_environment(name, given.get("mastodon_env"))
    findings += wrong
    found_mb = _whole(given.get("found_memory_mb"))
    if found_mb and memory_mb and memory_mb > found_mb * _DECLARED_OVER_FOUND:
        findings.append(
            Finding(
                constraint="declared",
                severity="warning",
                hosts=(name,),
                message=f"{name}: vm_memory_mb declares {memory_mb} MB, and the host has {found_mb}.",
                advice=f"Set vm_memory_mb: {found_mb}, or give the host what is declared.",
                remedy={"vm_memory_mb": found_mb},
            )
        )
    queues, wrong = _read_queues(name, given.get("sidekiq_queues"))
    findings += wrong
    processes = counts["sidekiq_processes"]
    if queues and len(queues) > 1 and processes is not None and processes != len(queues):
        findings.append(
            _input(
                name,
                f"{name}: sidekiq_queues has {len(queues)} lists, one a process, and sidekiq_processes is {processes}.",
                f"Leave sidekiq_processes out, or set sidekiq_processes: {len(queues)}",
                sidekiq_processes=len(queues),
            )
        )
    host = Host(
        name=name,
        vcpus=vcpus or 1,
        memory_mb=memory_mb or _MEMORY_MB[0],
        address=address,
        provisional=provisional,
        overrides=Overrides(sidekiq_queues=queues, **counts),
        environment=environment,
        alike={variable: given[variable] for variable in ALIKE if given.get(variable) is not None},
        **place,
    )
    return host, findings


def _read_address(name: str, value: object) -> tuple[str, list[Finding]]:
    """`vm_address`, written as Python writes it; empty where it is not known or not an address of a host."""
    if value is None:
        return "", []
    try:
        address = ipaddress.ip_address(str(value))
        # ::ffff:192.0.2.10 is 192.0.2.10, and only one host has it.
        address = getattr(address, "ipv4_mapped", None) or address
    except ValueError:
        address = None
    nobody = address is None or address.is_multicast or address.is_unspecified or address.is_link_local
    if not nobody and "%" not in str(value):
        return str(address), []
    return "", [
        _input(
            name,
            f"{name}: vm_address is {value!r}; allowed: one IPv4 or IPv6 address, without a prefix length, by which "
            f"its neighbours reach it.",
            f"Type for example in host_vars/{name}.yml: {_EXAMPLES['vm_address']}",
        )
    ]


def _read_environment(name: str, value: object) -> tuple[dict[str, str], list[Finding]]:
    """`mastodon_env` as text; what a value may be is said where the file is written."""
    if value is None:
        return {}, []
    if not isinstance(value, Mapping):
        message = f"{name}: mastodon_env is {type(value).__name__}; allowed: a mapping of names to values."
        return {}, [_input(name, message, "Type for example: mastodon_env: {DEFAULT_LOCALE: de}")]
    texts = {str(key): "" if item is None else str(item) for key, item in value.items()}
    return {key: text.lower() if text in ("True", "False") else text for key, text in texts.items()}, []


def _read_queues(name: str, value: object) -> tuple[tuple[tuple[str, ...], ...] | None, list[Finding]]:
    """`sidekiq_queues`: a list in Sidekiq's notation, or a list of such lists, one a process."""
    if value is None:
        return None, []
    example = 'Type for example: sidekiq_queues: [default, "push,4"], or a list of such lists, one a process.'
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence) or not value:
        return None, [
            _input(name, f"{name}: sidekiq_queues is {value!r}; allowed: a list of queues that is not empty.", example)
        ]
    nested = [isinstance(entry, Sequence) and not isinstance(entry, (str, bytes)) for entry in value]
    lists = [list(entry) for entry in value] if all(nested) else [list(value)]
    problems = []
    for entries in lists:
        if not entries:
            problems.append("a list of queues is empty; type the queues of that process")
        problems += [wrong for wrong in map(check_entry, entries) if wrong]
        names = [queue_name(entry) for entry in entries if isinstance(entry, str)]
        problems += [
            f"{queue} is listed twice in one process" for queue in sorted(set(names)) if names.count(queue) > 1
        ]
    if problems:
        return None, [_input(name, f"{name}: sidekiq_queues: {'; '.join(dict.fromkeys(problems))}.", example)]
    return tuple(tuple(entries) for entries in lists), []


def _check_parts(groups: Mapping[str, Sequence[str]], members: Mapping[str, frozenset[str]]) -> list[Finding]:
    """Exactly one host leads each data tier, each of its hosts has one part, and some groups take one host only."""
    findings = []
    for tier, parts in PARTS.items():
        leader = _LEADERS[tier]
        leaders = sorted(groups.get(leader, ()))
        in_use = any(groups.get(group) for group in (tier, *parts))
        if in_use and len(leaders) != 1:
            found = f"{len(leaders)} hosts ({', '.join(leaders)})" if leaders else "no host"
            findings.append(
                _inventory(
                    leaders,
                    f"Group {leader} has {found}; it takes exactly one, which holds the data.",
                    f"Put one host into {tier}: children: {leader}: hosts: in the inventory.",
                )
            )
        findings += _check_hosts_of_parts(tier, tuple(parts), members)
    for group in _AT_MOST_ONE:
        names = sorted(groups.get(group, ()))
        if len(names) > 1:
            message = f"Group {group} has {len(names)} hosts ({', '.join(names)}); it takes at most one."
            findings.append(_inventory(names, message, f"Leave one host in {group}."))
    return findings


def _check_hosts_of_parts(tier: str, parts: tuple[str, ...], members: Mapping[str, frozenset[str]]) -> list[Finding]:
    """Each host of a data tier is in exactly one of its parts, and each host of a part is in the tier."""
    findings = []
    counts = Counter(name for part in parts for name in members.get(part, ()))
    for name in sorted(name for name, count in counts.items() if count > 1):
        both = " and ".join(part for part in parts if name in members.get(part, ()))
        message = f"{name} is in {both}; a host has one part in {tier} only."
        findings.append(_inventory([name], message, f"Leave {name} in one of {both}, and give the other a host."))
    none = sorted(members.get(tier, frozenset()) - counts.keys())
    # A tier without its leader has its own finding, whose advice covers these hosts too.
    if none and members.get(_LEADERS[tier]):
        message = f"{', '.join(none)} in group {tier} {_is(none)} in none of {', '.join(parts)}."
        findings.append(_inventory(none, message, f"Put {_them(none)} into one of them, below {tier}: children:."))
    outside = sorted(counts.keys() - members.get(tier, frozenset()))
    if outside and members.get(tier):
        message = f"{', '.join(outside)} {_is(outside)} in a part of {tier}, but not in {tier} itself."
        findings.append(_inventory(outside, message, f"Put the groups {', '.join(parts)} below {tier}: children:."))
    return findings


def _queue_groups(groups: Mapping[str, Sequence[str]], children: Mapping[str, Sequence[str]] | None) -> list[str]:
    """The child groups of `sidekiq`, by name."""
    named = {group for group in groups if group.startswith("sidekiq_")}
    known = set((children or {}).get("sidekiq", ())) & set(groups)
    return sorted(named | known)


def _check_queue_groups(members: Mapping[str, frozenset[str]], queue_groups: Sequence[str]) -> list[Finding]:
    """A host in two child groups of `sidekiq` would get the queues of either, by the order of their names."""
    counts = Counter(name for group in queue_groups for name in members[group])
    findings = []
    for name in sorted(name for name, count in counts.items() if count > 1):
        both = " and ".join(group for group in queue_groups if name in members[group])
        message = f"{name} is in {both}; a host serves the queues of one child group of sidekiq only."
        advice = f"Leave {name} in one of them. Several lists for one host: sidekiq_queues takes a list a process."
        findings.append(_inventory([name], message, advice))
    return findings


def _check_names(groups: Mapping[str, Sequence[str]], queue_groups: Sequence[str]) -> list[Finding]:
    """Groups whose name is nearly one of the contract's, and queue groups outside `sidekiq`."""
    findings = []
    for group in sorted(groups):
        if group in GROUPS or group in ("all", "ungrouped"):
            continue
        if group in queue_groups:
            outside = sorted(set(groups[group]) - set(groups.get("sidekiq", ())))
            if outside:
                findings.append(
                    _inventory(
                        outside,
                        f"Group {group} is not a child of sidekiq, so nothing would run on {', '.join(outside)}.",
                        f"Put {group} under sidekiq: children: in the inventory.",
                    )
                )
            continue
        near = _nearest_group(group)
        if near:
            findings.append(
                _inventory(
                    sorted(groups[group]),
                    f"Group {group} means nothing here, and its name is nearly {near}.",
                    f"Rename it to {near}, or, if it is meant to be a group of your own, to something less alike.",
                )
            )
    return findings


def _nearest_group(group: str) -> str | None:
    near = get_close_matches(group, GROUPS, n=1, cutoff=0.8)
    if near:
        return near[0]
    head, underscore, rest = group.partition("_")
    return f"sidekiq_{rest}" if underscore and get_close_matches(head, ["sidekiq"], n=1, cutoff=0.8) else None


def _whole(value: object) -> int | None:
    """A whole number given as a number or as text; None for anything else, booleans included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, int):
        return int(value)
    text = str(value).strip()
    return int(text) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", text) else None


def _number(value: object) -> float | None:
    """A number given as a number or as text; None for anything else."""
    if isinstance(value, bool):
        return None
    text = str(value).strip()
    return float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text) else None


def _read_boolean(variable: str, value: object) -> tuple[bool, list[Finding]]:
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True, []
    if text in ("false", "no", "off", "0", "none", ""):
        return False, []
    return False, [_setting(f"{variable} is {value!r}; allowed: true or false.", f"Type {variable}: true")]


def _wrong_number(host: str, variable: str, value: object, limits: tuple[int, int], example: int) -> Finding:
    least, greatest = limits
    unit = _UNIT.fullmatch(value) if isinstance(value, str) and variable.endswith("_mb") else None
    if unit:
        example = min(greatest, max(least, round(float(unit[1]) * _UNIT_MB[unit[2].lower()])))
    number = _whole(value)
    if number is not None:
        example = min(greatest, max(least, number))
    what = "a whole number of MB" if variable.endswith("_mb") else "a whole number"
    return _input(
        host,
        f"{host}: {variable} is {value!r}; allowed: {what} from {least} to {greatest}.",
        f"Type {variable}: {example}",
        **{variable: example},
    )


def _input(host: str, message: str, advice: str, **remedy: int) -> Finding:
    return Finding(constraint="input", severity="error", hosts=(host,), message=message, advice=advice, remedy=remedy)


def _setting(message: str, advice: str) -> Finding:
    return Finding(constraint="input", severity="error", hosts=(), message=message, advice=advice)


def _inventory(hosts: Sequence[str], message: str, advice: str) -> Finding:
    return Finding(constraint="inventory", severity="error", hosts=tuple(hosts), message=message, advice=advice)


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "each"


_EXAMPLES = {"vm_vcpus": "vm_vcpus: 2", "vm_memory_mb": "vm_memory_mb: 4096", "vm_address": "vm_address: 192.0.2.10"}
