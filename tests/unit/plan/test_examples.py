# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours beside theirs: worked examples, and servers whose sizes are published, as docs/sizing.md shows them.

The page's tables are made of `row` and `row_of_instance`; the tests fail when a number of the plan changes and the page
does not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from collection_tree import ROOT
from unit.plan import fleets, oracle

PAGE = (ROOT / "docs/sizing.md").read_text(encoding="utf-8")
COLUMNS = ("Puma", "Sidekiq", "streaming", "clients", "pools", "PostgreSQL", "Redis")
# What the arithmetic says that the worked examples were printed by, before anything had been measured.
FIRST = {
    "A": ("0 x 3", "1 / 5", "1 x 5", "13", "none", "50, 128 MB, 2 MB", "198 MB"),
    "B": ("1 x 5", "1 / 25", "1 x 5", "35", "none", "100, 248 MB, 4 MB", "397 MB"),
    "C": ("3 x 5", "2 / 40", "1 x 5", "60", "none", "100, 496 MB, 4 MB", "794 MB"),
    "D": ("3 x 5", "3 / 65", "1 x 10", "90", "20 + 5 / 200", "100, 735 MB, 4 MB", "595 MB"),
    "E": ("2 of 4 x 5", "6 / 115", "2 x 10", "175", "32 + 7 / 300", "100, 3726 MB, 17 MB", "2230 MB"),
    "F": ("2 of 8 x 5", "12 / 235", "4 x 10", "355", "64 + 13 / 500", "100, 7461 MB, 34 MB", "4482 MB"),
    "G": ("4 of 8 x 5", "24 / 475", "8 x 10", "715", "128 + 26 / 1000", "180, 14930 MB, 38 MB", "8963 + 2230 MB"),
}
# In which columns the plan differs from it. Each is explained on the page, under the heading that begins so.
DIFFERENT = {
    "A": set(),
    "B": {"Puma", "Sidekiq", "clients"},
    "C": {"Puma", "Sidekiq", "streaming", "clients"},
    "D": {"Sidekiq", "streaming", "clients"},
    "E": {"Sidekiq", "streaming", "clients", "pools"},
    "F": {"Sidekiq", "clients", "pools", "PostgreSQL"},
    "G": {"Sidekiq", "clients", "pools", "PostgreSQL"},
}


def planned(inventory):
    return from_inventory(*inventory.arguments())


def figures(inventory):
    """What the tables show of a plan, one text for each of COLUMNS."""
    mapping = planned(inventory).as_mapping()
    hosts = mapping["hosts"].values()
    streaming = [host["streaming"] for host in hosts if "streaming" in host]
    poolers = Counter(_pooler(host["pgbouncer"]) for host in hosts if "pgbouncer" in host)
    (primary,) = (host["postgres"]["settings"] for host in hosts if host.get("postgres", {}).get("role") == "primary")
    redis = [host["redis"] for host in hosts if "redis" in host and host["redis"]["role"] != "replica"]
    redis.sort(key=lambda part: part["role"] != "core")
    return (
        _counted(Counter(f"{host['web']['workers']} x {host['web']['threads']}" for host in hosts if "web" in host)),
        f"{mapping['totals']['sidekiq_processes']} / {mapping['totals']['sidekiq_threads']}",
        f"{sum(len(part['processes']) for part in streaming)} x {streaming[0]['db_pool']}",
        str(mapping["totals"]["database_clients"]),
        _counted(poolers) or "none",
        f"{primary['max_connections']}, {_mb(primary['shared_buffers'])}, {_mb(primary['work_mem'])}",
        " + ".join(str(part["settings"]["maxmemory"]).removesuffix("mb") for part in redis) + " MB",
    )


def _pooler(part):
    pool = next(pool for pool in part["pools"] if pool["for"] == "primary")
    return f"{pool['pool_size']} + {pool['reserve_pool_size']} / {part['max_client_conn']}"


def _counted(texts):
    return ", ".join(text if count == 1 else f"{count} of {text}" for text, count in texts.items())


def _mb(setting):
    return str(setting).replace("MB", " MB")


def row(*cells):
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("case", fleets.EXAMPLES)
def test_a_worked_example_is_planned(case):
    inventory = fleets.EXAMPLES[case]
    plan = planned(inventory)
    assert plan.errors == ()
    assert oracle.broken(plan.as_mapping(), *inventory.arguments()) == set()


@pytest.mark.parametrize("case", fleets.EXAMPLES)
def test_the_page_shows_a_worked_example_as_it_is_planned(case):
    assert row(f"{case}, first", *FIRST[case]) in PAGE
    assert row(f"{case}, plan", *figures(fleets.EXAMPLES[case])) in PAGE


@pytest.mark.parametrize("case", fleets.EXAMPLES)
def test_the_page_explains_every_column_in_which_they_differ(case):
    pairs = zip(COLUMNS, FIRST[case], figures(fleets.EXAMPLES[case]), strict=True)
    different = {column for column, first, ours in pairs if first != ours}
    assert different == DIFFERENT[case]
    assert [column for column in different if f"\n- **{column}**" not in PAGE] == []


# --- Servers whose sizes are published.


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Machines, sizes and year as published; by_hand sets on such machines what the people there had set.

    Where it is not published which machine ran what, the layout is ours.
    """

    machines: str
    theirs: str
    inventory: fleets.Inventory
    by_hand: fleets.Inventory
    verdict: str


_BOX = "nginx web streaming sidekiq postgres redis"


def _instance(machines, theirs, inventory, verdict, **by_hand):
    changed = inventory
    for host, variables in by_hand.items():
        names = [name for name in inventory.hosts if name.rstrip("0123456789") == host]
        changed = changed.with_variables(*names, **variables)
    return Instance(machines=machines, theirs=theirs, inventory=inventory, by_hand=changed, verdict=verdict)


INSTANCES = {
    "mspsocial.net, 2017": _instance(
        "2 vCPU, 4 GB",
        "2 x 5; 1 / 5",
        fleets.fleet({"box": (2, 4, _BOX)}),
        "planned",
        box={"web_workers": 2, "web_threads": 5, "sidekiq_processes": 1, "sidekiq_concurrency": 5},
    ),
    "mastodon.technology, 2017": _instance(
        "2 vCPU, 4 GB",
        "4 x 8; 1 / 20",
        fleets.fleet({"box": (2, 4, _BOX)}),
        "refused: C16",
        box={"web_workers": 4, "web_threads": 8, "sidekiq_processes": 1, "sidekiq_concurrency": 20},
    ),
    "toot.cafe, 2021": _instance(
        "2 vCPU, 4 GB",
        "1 x 5; 1 / 30",
        fleets.fleet({"box": (2, 4, _BOX)}),
        "planned; warned of threads",
        box={"web_workers": 1, "web_threads": 5, "sidekiq_processes": 1, "sidekiq_concurrency": 30},
    ),
    "weirder.earth, 2021": _instance(
        "4 vCPU, 8 GB",
        "3 x 10; 6 / 110",
        fleets.fleet({"box": (4, 8, _BOX)}),
        "refused: C16",
        box={"web_workers": 3, "web_threads": 10, "sidekiq_processes": 6, "sidekiq_concurrency": 18},
    ),
    "mastodon.social, 2017": _instance(
        "2 of 8 vCPU, 16 GB; 6 of 4 vCPU, 8 GB",
        "3 of 8 x 2; 7 / 110",
        fleets.fleet(
            {
                "edge": (8, 16, "nginx streaming redis"),
                "db": (8, 16, "postgres pgbouncer"),
                **{f"web{i}": (4, 8, "web") for i in (1, 2, 3)},
                **{f"sidekiq{i}": (4, 8, "sidekiq") for i in (1, 2, 3)},
            }
        ),
        "planned; warned of workers",
        web={"web_workers": 8, "web_threads": 2},
        sidekiq={"sidekiq_processes": 2, "sidekiq_concurrency": 18},
    ),
    "mastodon.social, 2018": _instance(
        "4 of 8 vCPU, 32 GB",
        "4 x 10 in all; 4 / 200; streaming 2",
        fleets.fleet(
            {
                "a": (8, 32, "postgres redis_cache pgbouncer"),
                "b": (8, 32, "postgres_replica redis_core"),
                "app1": (8, 32, "nginx web streaming sidekiq"),
                "app2": (8, 32, "nginx web streaming sidekiq"),
            }
        ),
        "planned; warned of threads",
        app={
            "web_workers": 2,
            "web_threads": 10,
            "sidekiq_processes": 2,
            "sidekiq_concurrency": 50,
            "streaming_processes": 1,
        },
    ),
    "vmst.io, 2022": _instance(
        "2 of 1/1, 2 of 2/2, 2 of 2/4, database 2/4, Redis 1/2",
        "2 of 3 x 9; 6 / 150",
        fleets.fleet(
            {
                "edge1": (1, 1, "nginx"),
                "edge2": (1, 1, "nginx"),
                "web1": (2, 2, "web streaming"),
                "web2": (2, 2, "web streaming"),
                "sidekiq1": (2, 4, "sidekiq"),
                "sidekiq2": (2, 4, "sidekiq"),
                "db": (2, 4, "postgres pgbouncer"),
                "redis": (1, 2, "redis"),
            }
        ),
        "planned; warned of C16, workers",
        web={"web_workers": 3, "web_threads": 9},
        sidekiq={"sidekiq_processes": 3, "sidekiq_concurrency": 25},
    ),
    "aus.social, 2022": _instance(
        "nginx 2/4, 2 of 4/8, Sidekiq 6/16, database and Redis 4/8",
        "Redis 3 GB; half of it used",
        fleets.fleet(
            {
                "edge": (2, 4, "nginx"),
                "web1": (4, 8, "web streaming"),
                "web2": (4, 8, "web streaming"),
                "sidekiq": (6, 16, "sidekiq"),
                "db": (4, 8, "postgres redis pgbouncer"),
            }
        ),
        "planned",
    ),
    "hachyderm.io, 2022": _instance(
        "48 vCPU, 128 GB; 3 of 32 vCPU, 64 GB",
        "16 x 20; 62 / 715",
        fleets.fleet(
            {
                "db": (48, 128, "postgres redis pgbouncer"),
                "web": (32, 64, "nginx web streaming"),
                "sidekiq1": (32, 64, "sidekiq"),
                "sidekiq2": (32, 64, "sidekiq"),
            }
        ),
        "planned",
        web={"web_workers": 16, "web_threads": 20},
        sidekiq={"sidekiq_processes": 31, "sidekiq_concurrency": 12},
    ),
    "masto.nyc, 2026": _instance(
        "3 of 2 vCPU, 4 GB and 1 of 31 GB; database 2/4, Valkey 1/1",
        "2 x 5; 3 / 55; pool 85 of 100",
        fleets.fleet(
            {
                "app1": (2, 4, "nginx web streaming"),
                "app2": (2, 4, "sidekiq"),
                "app3": (2, 4, "sidekiq"),
                "db": (2, 4, "postgres pgbouncer"),
                "redis": (1, 1, "redis"),
            }
        ),
        "refused: C4",
        app={"web_workers": 2, "web_threads": 5},
        db={"pgbouncer_pool_size": 85, "postgres_max_connections": 100},
    ),
}


def verdict(plan):
    """What the plan says to sizes set by hand, in a few words."""
    errors = sorted({finding.constraint for finding in plan.errors})
    warnings = sorted({finding.constraint for finding in plan.warnings})
    if errors:
        return f"refused: {', '.join(errors)}"
    return f"planned; warned of {', '.join(warnings)}" if warnings else "planned"


def row_of_instance(name):
    instance = INSTANCES[name]
    puma, sidekiq, _streaming, _clients, pools, *_rest = figures(instance.inventory)
    ours = f"{puma}; {sidekiq}" + (f"; pools {pools}" if pools != "none" else "")
    return row(name, instance.machines, instance.theirs, ours, instance.verdict)


@pytest.mark.parametrize("name", INSTANCES)
def test_the_page_shows_a_published_instance_beside_the_plan(name):
    assert row_of_instance(name) in PAGE


@pytest.mark.parametrize("name", INSTANCES)
def test_its_machines_are_planned_and_what_was_set_there_gets_the_verdict_of_the_page(name):
    instance = INSTANCES[name]
    assert planned(instance.inventory).errors == ()
    plan = planned(instance.by_hand)
    assert verdict(plan) == instance.verdict
    named = {finding.constraint for finding in plan.errors}
    assert oracle.broken(plan.as_mapping(), *instance.by_hand.arguments()) == named


# toot.community in April 2026, some 30,000 users: PostgreSQL with two replicas of 32 GB each, 200 connections, two
# poolers with 125 each, Puma 2 x 5 in six pods at least, Sidekiq with 25 threads in eleven processes at least.
TOOT = (
    fleets.fleet(
        {
            **{f"edge{i}": (4, 8, "nginx streaming") for i in (1, 2)},
            **{f"web{i}": (8, 32, "web") for i in (1, 2, 3)},
            **{f"sidekiq{i}": (8, 32, "sidekiq") for i in (1, 2, 3)},
            **{f"pooler{i}": (2, 4, "pgbouncer") for i in (1, 2)},
            "db1": (16, 32, "postgres"),
            "db2": (16, 32, "postgres_replica"),
            "db3": (16, 32, "postgres_replica"),
            "redis": (4, 16, "redis"),
        }
    )
    .with_variables("web1", "web2", "web3", web_workers=4, web_threads=5)
    .with_variables("sidekiq1", "sidekiq2", "sidekiq3", sidekiq_processes=4, sidekiq_concurrency=25)
    .with_variables("pooler1", "pooler2", pgbouncer_pool_size=125)
    .with_variables("db1", "db2", "db3", postgres_max_connections=200)
)


def test_the_outage_of_april_2026_is_refused_and_explained():
    plan = planned(TOOT)
    assert {finding.constraint for finding in plan.errors} == {"C4"}
    (finding,) = plan.errors
    assert finding.message.startswith("The pools of all poolers together exceed max_connections")
    told = ("2 poolers (pooler1 and pooler2)", "pools of 125", "308 connections to db1", "its max_connections is 200")
    assert [words for words in told if words not in finding.message] == []
    assert "pgbouncer_pool_size: 38 or less" in finding.advice
    assert oracle.broken(plan.as_mapping(), *TOOT.arguments()) == {"C4"}


def test_following_the_advice_would_have_prevented_it():
    inventory = TOOT
    for finding in planned(TOOT).errors:
        inventory = inventory.with_variables(*finding.hosts, **finding.remedy)
    assert planned(inventory).errors == ()


def test_the_same_fleet_without_numbers_by_hand_is_planned():
    free = {"pgbouncer_pool_size": None, "postgres_max_connections": None}
    plan = planned(TOOT.with_variables(*TOOT.hosts, **free)).as_mapping()
    assert [finding for finding in plan["findings"] if finding["severity"] == "error"] == []
    for name in ("db1", "db2", "db3"):
        database = plan["hosts"][name]
        settings = database["postgres"]["settings"]
        assert oracle.pooled(database, plan["hosts"]) + oracle.DIRECT_BESIDE_POOLERS <= settings["max_connections"]
        # Their second fault: every connection sorting twice, with twice work_mem, took 33 GB of 32.
        sorting_mb = settings["max_connections"] * 2 * 2 * int(str(settings["work_mem"]).removesuffix("MB"))
        assert sorting_mb < database["host"]["memory_mb"]
