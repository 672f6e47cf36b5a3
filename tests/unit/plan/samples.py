# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories of declared sizes: one box, a split tier of ten hosts, a fleet of two hundred."""

from __future__ import annotations

from pathlib import Path

import yaml
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import Plan, from_inventory

SETTINGS = {"mastodon_local_domain": "social.example", "mastodon_s3_enabled": True}
# Groups (the part of a data tier after its tier), how many hosts, vCPUs, MB; by the name that the hosts have in common.
Kinds = dict[str, tuple[tuple[str, ...], int, int, int]]
_ALL = ("nginx", "web", "streaming", "sidekiq", "postgres/postgres_primary", "redis/redis_core")
ONE: Kinds = {"box": (_ALL, 1, 4, 8192)}
TEN: Kinds = {
    "edge": (("nginx", "streaming"), 1, 2, 4096),
    "web": (("web",), 2, 4, 8192),
    "queue": (("sidekiq",), 2, 6, 16384),
    "pool": (("pgbouncer",), 1, 2, 4096),
    "db": (("postgres/postgres_primary",), 1, 8, 32768),
    "reader": (("postgres/postgres_replica",), 1, 8, 32768),
    "feeds": (("redis/redis_core",), 1, 2, 8192),
    "cache": (("redis/redis_cache",), 1, 2, 4096),
}
TWO_HUNDRED: Kinds = {
    "edge": (("nginx",), 4, 4, 8192),
    "live": (("streaming",), 4, 4, 4096),
    "web": (("web",), 90, 8, 16384),
    "queue": (("sidekiq/sidekiq_default",), 40, 8, 16384),
    "push": (("sidekiq/sidekiq_push",), 30, 4, 8192),
    "ingress": (("sidekiq/sidekiq_ingress",), 20, 8, 16384),
    "pool": (("pgbouncer",), 4, 4, 4096),
    "db": (("postgres/postgres_primary",), 1, 32, 131072),
    "reader": (("postgres/postgres_replica",), 3, 32, 131072),
    "feeds": (("redis/redis_core",), 1, 8, 65536),
    "cache": (("redis/redis_cache",), 1, 4, 16384),
    "jobs": (("redis/redis_sidekiq",), 1, 8, 32768),
    "metrics": (("metrics",), 1, 4, 8192),
}


def inventory(kinds: Kinds) -> tuple[dict[str, dict], dict[str, list[str]]]:
    """The hosts with their variables, and for each group the names of its hosts."""
    hosts: dict[str, dict] = {}
    groups: dict[str, list[str]] = {"all": []}
    for kind, (members, count, vcpus, memory_mb) in kinds.items():
        for number in range(1, count + 1):
            name, index = f"{kind}{number}", len(hosts)
            address = f"10.0.{index // 250}.{index % 250 + 1}"
            hosts[name] = {"vm_vcpus": vcpus, "vm_memory_mb": memory_mb, "vm_address": address}
            for group in ("all", *(part for member in members for part in member.split("/"))):
                groups.setdefault(group, []).append(name)
    return hosts, groups


def planned(kinds: Kinds, settings: dict | None = None) -> Plan:
    """The plan of an inventory."""
    return from_inventory(*inventory(kinds), {**SETTINGS, **(settings or {})})


def write(kinds: Kinds, folder: Path, **variables) -> Path:
    """The inventory as a folder that Ansible reads; variables hold for all hosts."""
    hosts, _groups = inventory(kinds)
    tree: dict = {"all": {"vars": {**SETTINGS, **variables}, "hosts": hosts}}
    for kind, (members, count, _vcpus, _memory_mb) in kinds.items():
        names = {f"{kind}{number}": None for number in range(1, count + 1)}
        for member in members:
            tier, _slash, part = member.partition("/")
            group = tree.setdefault(tier, {})
            if part:
                group = group.setdefault("children", {}).setdefault(part, {})
            group.setdefault("hosts", {}).update(names)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.yml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return folder


def shipped(name: str) -> tuple[dict[str, dict], dict[str, list[str]], dict]:
    """An inventory of the collection as the library takes it: hosts with their variables, groups, settings."""
    folder = Path(__file__).parents[3] / "inventories" / name
    tree = yaml.safe_load((folder / "hosts.yml").read_text(encoding="utf-8"))
    hosts = {host: dict(given) for host, given in tree.pop("all")["hosts"].items()}
    groups: dict[str, list[str]] = {"all": list(hosts)}
    settings: dict = {}
    for group, members in _members(tree):
        groups.setdefault(group, []).extend(host for host in members if host not in groups.get(group, ()))
    for path in sorted((folder / "group_vars").rglob("*.yml")):
        group = path.relative_to(folder / "group_vars").parts[0].removesuffix(".yml")
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        settings |= given if group == "all" else {}
        for host in groups[group] if group != "all" else ():
            hosts[host] |= given
    return hosts, groups, settings


def _members(tree: dict) -> list[tuple[str, list[str]]]:
    """The hosts of each group, those of its child groups included."""
    found = []
    for group, part in tree.items():
        below = _members(part.get("children", {}))
        names = [*part.get("hosts", {}), *(host for dummy, members in below for host in members)]
        found += [(group, names), *below]
    return found
