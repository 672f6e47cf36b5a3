# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for the tests of the plan: random ones, sensible ones, and a few that are written by hand.

A fleet is an `Inventory`: what Ansible would hand over, before anybody has read it. Nothing here knows the library.

Random fleets (`random_fleets`) are one to two hundred hosts of one to six kinds. All hosts of a kind have the same
groups, size and overrides, and the groups, sizes and overrides are any that can be typed: a database beside Puma, a
pooler on every host, 64 vCPU with 512 MB, 50 threads on 1 vCPU. Missing tiers are added to a random kind, so that most
of these fleets are complete; one in six is then spoilt (a tier emptied, a second primary, one address twice, ...).

Sensible fleets (`sensible_fleets`) are what an administrator would rent, from one box to two hundred hosts:
- sizes as sold: 1 to 32 vCPU with 2, 4 or 8 GiB each vCPU (never below 2 GiB), of which Linux sees 97 %;
- one box, or app and data on two, or tiers of their own: a pair of edges, web hosts, Sidekiq hosts, a primary,
  Redis, with or without poolers, replicas, a cache, an instance for Sidekiq, a metrics host;
- hosts of the data tiers are at least as large as the largest host of the application, and a primary has
  one vCPU for each sixteen of the application at least (up to 32);
- poolers from two hosts of the application on, media in object storage from two on, private addresses;
- at most three overrides on one host, of the kind that people set: as many workers as vCPUs or one or two fewer,
  3 to 8 threads, up to as many Sidekiq processes as vCPUs, 5 to 25 threads in each, two to four streaming
  processes, a pool of 20 to 60 connections, 100 to 250 connections of PostgreSQL.
Some of them cannot work: two gigabytes do not carry all that a person may ask of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

QUEUES = ("default", "push", "ingress", "mailers", "pull", "scheduler", "fasp")
TIERS = ("nginx", "web", "streaming", "sidekiq", "postgres", "redis")
MOST_HOSTS = 200


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The variables of each host, the hosts of each group, and the settings of the fleet."""

    hosts: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, Sequence[str]]
    settings: Mapping[str, Any] = field(default_factory=lambda: {"mastodon_s3_enabled": True})

    def arguments(self) -> tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]:
        """As the library and the oracle take them."""
        return self.hosts, self.groups, self.settings

    def with_variables(self, *names: str, **variables: Any) -> Inventory:
        """The same fleet with variables of some hosts set; None unsets one."""
        hosts = {name: dict(given) for name, given in self.hosts.items()}
        for name in names:
            hosts[name] |= variables
        return replace(self, hosts=hosts)

    def with_host(self, name: str, *groups: str, like: str | None = None, **variables: Any) -> Inventory:
        """The same fleet with one host more, its size that of the host `like`."""
        size = {key: self.hosts[like][key] for key in ("vm_vcpus", "vm_memory_mb")} if like else {}
        members = {group: list(hosts) for group, hosts in self.groups.items()}
        for group in (*groups, "all"):
            members.setdefault(group, []).append(name)
        return replace(self, hosts={**self.hosts, name: {**size, **variables}}, groups=members)

    def with_group(self, group: str, *names: str) -> Inventory:
        """The same fleet with the hosts of one group replaced."""
        return replace(self, groups={**self.groups, group: list(names)})

    def with_settings(self, **settings: Any) -> Inventory:
        """The same fleet with settings replaced."""
        return replace(self, settings={**self.settings, **settings})


def sold(vcpus: int, gib: float) -> dict[str, int]:
    """A machine as it is sold: what Linux sees of its memory is 97 %."""
    return {"vm_vcpus": vcpus, "vm_memory_mb": int(gib * 1024 * 0.97)}


def fleet(hosts: Mapping[str, tuple[int, float, str]], *, public: bool = False, **settings: Any) -> Inventory:
    """A fleet written by hand: {name: (vCPU, GiB, "group group ...")}.

    `postgres` means primary unless `postgres_replica` is said, `redis` means core unless another part is.
    """
    members: dict[str, list[str]] = {}
    variables = {}
    for number, (name, (vcpus, gib, words)) in enumerate(hosts.items(), start=1):
        variables[name] = {**sold(vcpus, gib), "vm_address": _address(number, public=public)}
        for group in _closed(words.split()):
            members.setdefault(group, []).append(name)
    return Inventory(
        hosts=variables,
        groups={**members, "all": list(hosts)},
        settings={"mastodon_s3_enabled": True, **settings},
    )


def _closed(groups: Sequence[str]) -> list[str]:
    """The groups with their parents, and the leading part where none is said."""
    said = list(groups)
    for tier, leader in (("postgres", "postgres_primary"), ("redis", "redis_core")):
        if tier in said and not any(group.startswith(f"{tier}_") for group in said):
            said.append(leader)
    parents = [group.split("_")[0] for group in said if "_" in group]
    return list(dict.fromkeys([*said, *parents]))


def _address(number: int, *, public: bool = False) -> str:
    return f"{'11' if public else '10'}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


# --- The worked examples of the sizing research, and what has been published, as fleets.

_BOX = "nginx web streaming sidekiq postgres redis"
EXAMPLES = {
    "A": fleet({"box": (1, 2, _BOX)}),
    "B": fleet({"box": (2, 4, _BOX)}),
    "C": fleet({"box": (4, 8, _BOX)}),
    "D": fleet({"app": (4, 8, "nginx web streaming sidekiq"), "db": (2, 4, "postgres redis pgbouncer")}),
    "E": fleet(
        {
            "edge": (2, 4, "nginx streaming"),
            "web1": (4, 8, "web"),
            "web2": (4, 8, "web"),
            "sk1": (6, 16, "sidekiq"),
            "db1": (4, 16, "postgres pgbouncer"),
            "redis1": (2, 4, "redis"),
        }
    ),
    "F": fleet(
        {
            "edge": (4, 8, "nginx streaming"),
            "web1": (8, 16, "web"),
            "web2": (8, 16, "web"),
            "sk1": (6, 16, "sidekiq"),
            "sk2": (6, 16, "sidekiq"),
            "db1": (8, 32, "postgres pgbouncer"),
            "db2": (8, 32, "postgres_replica"),
            "redis1": (2, 8, "redis"),
        }
    ),
    "G": fleet(
        {
            **{f"edge{i}": (4, 8, "nginx streaming") for i in (1, 2)},
            **{f"web{i}": (8, 16, "web") for i in (1, 2, 3, 4)},
            **{f"sk{i}": (8, 16, "sidekiq") for i in (1, 2, 3)},
            "db1": (16, 64, "postgres pgbouncer"),
            "db2": (16, 64, "postgres_replica"),
            "db3": (16, 64, "postgres_replica"),
            "redis1": (4, 16, "redis"),
            "cache1": (2, 4, "redis_cache"),
        }
    ),
}


# --- Random fleets.

_COUNTS = st.one_of(st.integers(1, 3), st.integers(1, 12), st.integers(1, 60))
_LISTS_OF_QUEUES = st.one_of(
    st.just(list(QUEUES)),
    st.lists(st.lists(st.sampled_from(QUEUES), min_size=1, unique=True), min_size=1, max_size=4),
    st.just([["default,8", "mailers,2"], ["push,4", "ingress", "pull", "fasp", "scheduler"]]),
)
_ANY_OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "web_workers": st.integers(0, 64),
        "web_threads": st.integers(1, 64),
        "streaming_processes": st.integers(1, 32),
        "sidekiq_processes": st.integers(1, 64),
        "sidekiq_concurrency": st.integers(1, 50),
        "sidekiq_queues": _LISTS_OF_QUEUES,
        "postgres_max_connections": st.integers(20, 10000),
        "pgbouncer_pool_size": st.one_of(st.integers(5, 100), st.integers(5, 1000)),
        "pgbouncer_max_client_conn": st.one_of(st.integers(100, 2000), st.integers(100, 60000)),
    },
)
_SOLD = st.builds(
    lambda vcpus, each: sold(vcpus, max(2, vcpus * each)),
    st.sampled_from((1, 2, 4, 8, 16, 32)),
    st.sampled_from((2, 4, 8)),
)
_ANY_SIZE = st.one_of(
    _SOLD, st.fixed_dictionaries({"vm_vcpus": st.integers(1, 64), "vm_memory_mb": st.integers(512, 262144)})
)
_KIND = st.fixed_dictionaries(
    {
        "count": _COUNTS,
        "groups": st.one_of(
            st.just(frozenset(TIERS)),
            st.sets(st.sampled_from((*TIERS, "pgbouncer")), min_size=1, max_size=3),
            st.sets(st.sampled_from((*TIERS, "pgbouncer")), min_size=1),
        ),
        "size": _ANY_SIZE,
        # Most kinds have none: a fleet in which all is set by hand is refused for its first number.
        "overrides": st.one_of(st.just({}), st.just({}), _ANY_OVERRIDES),
    }
)
_REDIS_PARTS = ("redis_replica", "redis_cache", "redis_sidekiq")
_SPOILS = (
    "tier without a host",
    "second primary",
    "no primary",
    "second core",
    "no core",
    "one address twice",
    "host in no group",
    "two groups of queues",
)


@st.composite
def random_fleets(draw: st.DrawFn, most_hosts: int = MOST_HOSTS) -> Inventory:
    """Any fleet, as the module's docstring says."""
    kinds = draw(st.lists(_KIND, min_size=1, max_size=6))
    hosts, groups = _members(kinds, most_hosts)
    for tier in TIERS:
        if not groups[tier]:
            groups[tier] = list(hosts) if len(hosts) == 1 else [draw(st.sampled_from(list(hosts)))]
    _parts(groups, draw(st.lists(st.sampled_from(_REDIS_PARTS), max_size=3)))
    if draw(st.integers(0, 2)) == 2:
        groups["metrics"] = [draw(st.sampled_from(list(hosts)))]
    inventory = Inventory(
        hosts=hosts,
        groups=groups,
        settings={
            "mastodon_s3_enabled": draw(st.sampled_from((True, True, True, False))),
            "mastodon_internal_tls_enabled": draw(st.booleans()),
            "mastodon_central_logs_enabled": draw(st.booleans()),
            **draw(
                st.sampled_from(({},) * 9 + ({"mastodon_plan_coefficients": {"nginx_proxy_read_timeout_seconds": 30}},))
            ),
        },
    )
    if draw(st.integers(0, 5)) == 5:
        return _spoilt(inventory, draw(st.sampled_from(_SPOILS)))
    return inventory


def _members(kinds: Sequence[Mapping[str, Any]], most_hosts: int) -> tuple[dict[str, Any], dict[str, list[str]]]:
    hosts: dict[str, Any] = {}
    groups: dict[str, list[str]] = {group: [] for group in ("all", *TIERS, "pgbouncer")}
    public = len(kinds) == 6
    for letter, kind in zip("abcdef", kinds, strict=False):
        for number in range(1, kind["count"] + 1):
            if len(hosts) == most_hosts:
                break
            name = f"{letter}{number}"
            hosts[name] = {
                **kind["size"],
                **_consistent(kind["overrides"]),
                "vm_address": _address(len(hosts) + 1, public=public and letter == "f"),
            }
            for group in ("all", *sorted(kind["groups"])):
                groups[group].append(name)
    return hosts, {group: names for group, names in groups.items() if names or group in TIERS}


def _consistent(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Several lists of queues are a number of processes already."""
    lists = overrides.get("sidekiq_queues", [])
    several = len(lists) > 1 and isinstance(lists[0], list)
    return {name: value for name, value in overrides.items() if not (several and name == "sidekiq_processes")}


def _parts(groups: dict[str, list[str]], redis_parts: Sequence[str]) -> None:
    """One primary and one core; all other hosts of PostgreSQL are replicas, those of Redis as drawn, else replicas."""
    primary, *replicas = groups["postgres"]
    core, *others = groups["redis"]
    groups |= {"postgres_primary": [primary], "redis_core": [core]}
    if replicas:
        groups["postgres_replica"] = replicas
    parts = [*dict.fromkeys(redis_parts), *["redis_replica"] * len(others)]
    for part, name in zip(parts, others, strict=False):
        groups.setdefault(part, []).append(name)


def _spoilt(inventory: Inventory, spoil: str) -> Inventory:
    """The fleet with one mistake in its inventory; unchanged where it has too few hosts for that mistake."""
    names = list(inventory.hosts)
    first, last = names[0], names[-1]
    groups = inventory.groups
    if spoil == "tier without a host":
        return inventory.with_group("web")
    if spoil == "no primary":
        return inventory.with_group("postgres_primary")
    if spoil == "no core":
        return inventory.with_group("redis_core")
    if spoil == "host in no group":
        return inventory.with_host("idle", vm_vcpus=2, vm_memory_mb=4096, vm_address="10.255.0.1")
    if spoil == "two groups of queues":
        queues = groups["sidekiq"][:1]
        return inventory.with_group("sidekiq_push", *queues).with_group("sidekiq_pull", *queues)
    if len(names) == 1:
        return inventory
    if spoil == "one address twice":
        return inventory.with_variables(last, vm_address=inventory.hosts[first]["vm_address"])
    tier, leader = ("postgres", "postgres_primary") if spoil == "second primary" else ("redis", "redis_core")
    other = next(name for name in names if name not in groups[leader])
    parts = {
        group: [name for name in groups[group] if name != other] for group in groups if group.startswith(f"{tier}_")
    }
    spoilt = replace(inventory, groups={**groups, **parts})
    return spoilt.with_group(leader, *groups[leader], other).with_group(tier, *dict.fromkeys([*groups[tier], other]))


# --- Sensible fleets.


@st.composite
def sensible_fleets(draw: st.DrawFn, most_hosts: int = MOST_HOSTS) -> Inventory:
    """What an administrator would rent, as the module's docstring says."""
    layout = draw(st.sampled_from(("one box", "two boxes", "tiers", "tiers", "tiers")))
    hosts = draw(_BOXES[layout]) if layout in _BOXES else _tiers(draw, most_hosts)
    inventory = fleet(hosts, mastodon_s3_enabled=layout != "one box" or draw(st.booleans()))
    name = draw(st.sampled_from(sorted(hosts)))
    return inventory.with_variables(name, **draw(_sensible_overrides(*hosts[name])))


_SIZES = st.tuples(st.sampled_from((1, 2, 4, 8, 16, 32)), st.sampled_from((2, 4, 8))).map(
    lambda size: (size[0], max(2, size[0] * size[1]))
)
_BOXES = {
    "one box": st.builds(lambda size: {"box": (*size, _BOX)}, _SIZES),
    "two boxes": st.builds(
        lambda app, pooler: {
            "app": (*app, "nginx web streaming sidekiq"),
            "data": (*app, "postgres redis" + " pgbouncer" * pooler),
        },
        _SIZES,
        st.booleans(),
    ),
}


def _tiers(draw: st.DrawFn, most_hosts: int) -> dict[str, tuple[int, float, str]]:
    count = st.one_of(st.integers(1, 4), st.integers(1, (most_hosts - 20) // 2))
    webs, queues = draw(count), draw(count)
    web, sidekiq = draw(_SIZES), draw(_SIZES)
    application_vcpus = webs * web[0] + queues * sidekiq[0]
    vcpus = max(web[0], sidekiq[0], min(32, -(-application_vcpus // 16)))
    data = (vcpus, max(web[1], sidekiq[1], vcpus * draw(st.sampled_from((2, 4, 8)))))
    poolers = draw(st.sampled_from(("on the primary", "one", "two")))
    hosts = {
        **{f"edge{i}": (*web, "nginx streaming") for i in range(1, draw(st.integers(1, 2)) + 1)},
        **{f"web{i}": (*web, "web") for i in range(1, webs + 1)},
        **{f"sidekiq{i}": (*sidekiq, "sidekiq") for i in range(1, queues + 1)},
        "primary": (*data, "postgres" + " pgbouncer" * (poolers == "on the primary")),
        **{f"pooler{i}": (2, 4, "pgbouncer") for i in range(1, {"one": 1, "two": 2}.get(poolers, 0) + 1)},
        **{f"replica{i}": (*data, "postgres_replica") for i in range(1, draw(st.integers(0, 3)) + 1)},
        "core": (*data, "redis"),
    }
    for name, groups in (("cache", "redis_cache"), ("queue", "redis_sidekiq"), ("metrics", "metrics")):
        if draw(st.booleans()):
            hosts[name] = (2, 4, groups)
    return hosts


@st.composite
def _sensible_overrides(draw: st.DrawFn, vcpus: int, gib: float, words: str) -> dict[str, int]:
    groups = words.split()
    possible = {
        "web": {
            "web_workers": st.integers(max(1, vcpus - 2), vcpus),
            "web_threads": st.integers(3, 8),
        },
        "sidekiq": {
            "sidekiq_processes": st.integers(1, vcpus),
            "sidekiq_concurrency": st.sampled_from((5, 10, 15, 25)),
        },
        "streaming": {"streaming_processes": st.integers(2, 4)},
        "postgres": {"postgres_max_connections": st.sampled_from((100, 150, 200, 250))},
        "pgbouncer": {"pgbouncer_pool_size": st.integers(20, 60)},
    }
    choice = {variable: values for group in groups for variable, values in possible.get(group, {}).items()}
    if not choice:
        return {}
    chosen = draw(st.lists(st.sampled_from(sorted(choice)), max_size=3, unique=True))
    return {variable: draw(choice[variable]) for variable in chosen}
