# SPDX-License-Identifier: GPL-3.0-or-later
"""From what an inventory says to a `Fleet`; whatever is wrong with it becomes a finding, all of them at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from .model import TIERS, Finding, Fleet, Host, Overrides
from .queues import check_entry, queue_name

# The inventory contract: the tiers, the parts of the data tiers, and what later versions give a meaning.
PARTS = {"postgres": "postgres_primary", "redis": "redis_core"}
NOT_YET = ("postgres_replica", "pgbouncer", "redis_replica", "redis_cache", "redis_sidekiq", "metrics")
GROUPS = (*TIERS, *PARTS.values(), *NOT_YET, "builder")

SIZES = ("vm_vcpus", "vm_memory_mb", "vm_address")
# Inventory variable: field of Overrides, least and greatest value.
_COUNTS = {
    "web_workers": (0, 64),
    "web_threads": (1, 64),
    "streaming_processes": (1, 32),
    "sidekiq_processes": (1, 64),
    "sidekiq_concurrency": (1, 50),
    "postgres_max_connections": (20, 10000),
}
OVERRIDES = (*_COUNTS, "sidekiq_queues")
_MEMORY_MB = (512, 16 * 1024 * 1024)
# A VM sold with 4096 MB shows a little less: the kernel and the firmware take their part first.
_DECLARED_OVER_FOUND = 1.1
_UNIT = re.compile(r"(?i)\s*([0-9]+(?:\.[0-9]+)?)\s*(k|m|g|t)i?b?\s*")
_UNIT_MB = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}


def read_inventory(
    hosts: Mapping[str, Mapping[str, object]],
    groups: Mapping[str, Sequence[str]],
    settings: Mapping[str, object],
) -> tuple[Fleet, tuple[Finding, ...]]:
    """The fleet that the inventory describes, and what is wrong with the description.

    hosts: for each host its sizes and overrides, and found_memory_mb, what its facts say beside what is declared.
    Numbers may come as text, as `-e` gives them. A value that cannot be read is left out of the fleet, so
    the fleet is only to be used if no finding is an error.
    """
    findings = _check_names(groups) + _check_parts(groups)
    fleet = []
    for name in sorted(hosts):
        tiers = frozenset(tier for tier in TIERS if name in groups.get(tier, ()))
        host, wrong = _read_host(name, hosts[name], tiers)
        fleet.append(host)
        findings += wrong
    in_object_storage, wrong = _read_boolean("mastodon_s3_enabled", settings.get("mastodon_s3_enabled", False))
    return Fleet(hosts=tuple(fleet), media_in_object_storage=in_object_storage), tuple(findings + wrong)


def _read_host(name: str, given: Mapping[str, object], tiers: frozenset[str]) -> tuple[Host, list[Finding]]:
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
    counts = {variable: count(variable, *limits, limits[0] or 1) for variable, limits in _COUNTS.items()}
    address = given.get("vm_address")
    if address is not None:
        try:
            address = str(ipaddress.ip_address(str(address)))
        except ValueError:
            findings.append(
                _input(
                    name,
                    f"{name}: vm_address is {address!r}; allowed: one IPv4 or IPv6 address, without a prefix length.",
                    f"Type for example in host_vars/{name}.yml: {_EXAMPLES['vm_address']}",
                )
            )
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
        address=str(address or ""),
        tiers=tiers,
        overrides=Overrides(sidekiq_queues=queues, **counts),
    )
    return host, findings


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


def _check_parts(groups: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Exactly one host leads each data tier, and nothing runs on groups that this version does not set up."""
    findings = []
    for tier, part in PARTS.items():
        leaders = sorted(groups.get(part, ()))
        if groups.get(tier) and len(leaders) != 1:
            found = f"{len(leaders)} hosts ({', '.join(leaders)})" if leaders else "no host"
            findings.append(
                Finding(
                    constraint="inventory",
                    severity="error",
                    hosts=tuple(leaders),
                    message=f"Group {part} has {found}; it takes exactly one, which holds the data.",
                    advice=f"Put one host into {tier}: children: {part}: hosts: in the inventory.",
                )
            )
    for group in NOT_YET:
        if groups.get(group):
            findings.append(
                Finding(
                    constraint="inventory",
                    severity="error",
                    hosts=tuple(sorted(groups[group])),
                    message=f"Group {group} has hosts, and this version does not set up {group}.",
                    advice=f"Take the hosts out of {group}.",
                )
            )
    return findings


def _check_names(groups: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Groups whose name is nearly one of the contract's, and queue groups outside `sidekiq`."""
    findings = []
    for group in sorted(groups):
        if group in GROUPS or group in ("all", "ungrouped"):
            continue
        if group.startswith("sidekiq_"):
            outside = sorted(set(groups[group]) - set(groups.get("sidekiq", ())))
            if outside:
                findings.append(
                    Finding(
                        constraint="inventory",
                        severity="error",
                        hosts=tuple(outside),
                        message=f"Group {group} is not a child of sidekiq, so nothing would run on "
                        f"{', '.join(outside)}.",
                        advice=f"Put {group} under sidekiq: children: in the inventory.",
                    )
                )
            continue
        near = _nearest_group(group)
        if near:
            findings.append(
                Finding(
                    constraint="inventory",
                    severity="error",
                    hosts=tuple(sorted(groups[group])),
                    message=f"Group {group} means nothing here, and its name is nearly {near}.",
                    advice=f"Rename it to {near}, or, if it is meant to be a group of your own, to something less "
                    f"alike.",
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


def _read_boolean(variable: str, value: object) -> tuple[bool, list[Finding]]:
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True, []
    if text in ("false", "no", "off", "0", "none", ""):
        return False, []
    wrong = Finding(
        constraint="input",
        severity="error",
        hosts=(),
        message=f"{variable} is {value!r}; allowed: true or false.",
        advice=f"Type {variable}: true",
    )
    return False, [wrong]


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


_EXAMPLES = {"vm_vcpus": "vm_vcpus: 2", "vm_memory_mb": "vm_memory_mb: 4096", "vm_address": "vm_address: 192.0.2.10"}
