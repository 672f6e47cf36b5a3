# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle sees what is wrong: a good plan, spoilt in one number at a time."""

from __future__ import annotations

from copy import deepcopy

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from unit.plan import fleets, oracle

FLEET = fleets.EXAMPLES["G"]
BOX = fleets.EXAMPLES["B"]


def plan_of(inventory):
    return deepcopy(from_inventory(*inventory.arguments()).as_mapping())


def first_process(hosts):
    return hosts["sk1"]["sidekiq"]["processes"][0]


def reader(plan):
    (listener,) = plan["hosts"]["db1"]["haproxy"]["listeners"]
    return listener


def serve_twice(hosts):
    hosts["sk2"]["sidekiq"]["processes"][0]["queues"] = ["scheduler"]


def drop(queue):
    def spoil(hosts):
        for host in hosts.values():
            for process in host.get("sidekiq", {}).get("processes", ()):
                process["queues"] = [entry for entry in process["queues"] if not entry.startswith(queue)]

    return spoil


def setting(name, part, **values):
    return lambda hosts: hosts[name][part]["settings"].update(values)


def size(name, part, **values):
    return lambda hosts: hosts[name][part].update(values)


@pytest.mark.parametrize(
    ("constraint", "spoil"),
    [
        ("C1", drop("fasp")),
        ("C2", serve_twice),
        ("C3", size("web1", "web", db_pool=4)),
        ("C3", lambda hosts: first_process(hosts).update(db_pool=1)),
        ("C4", setting("db1", "postgres", max_connections=160)),
        ("C5", size("db1", "pgbouncer", max_client_conn=700)),
        ("C10", setting("db1", "postgres", max_connections=2000)),
        ("C10", setting("db1", "postgres", max_wal_senders=100)),
        ("C12", setting("redis1", "redis", maxclients=500)),
        ("C12", size("cache1", "redis", limit_nofile=1000)),
        ("C15", size("web2", "web", bind="127.0.0.1")),
        ("C15", size("redis1", "redis", bind=["127.0.0.1"])),
        ("C15", lambda hosts: hosts["web1"]["endpoints"]["database"].update(port=5433)),
        ("C16", lambda hosts: hosts["web1"]["host"].update(memory_mb=3000)),
        ("C16", setting("redis1", "redis", maxmemory="14000mb")),
        ("C17", lambda hosts: hosts["edge1"]["streaming"]["processes"][0].update(port=443)),
        ("C18", size("edge1", "nginx", proxy_read_timeout_seconds=59)),
    ],
)
def test_a_constraint(constraint, spoil):
    plan = plan_of(FLEET)
    assert oracle.broken(plan, *FLEET.arguments()) == set()
    spoil(plan["hosts"])
    assert constraint in oracle.broken(plan, *FLEET.arguments())


def test_too_few_connections_without_a_pooler():
    plan = plan_of(BOX)
    assert oracle.broken(plan, *BOX.arguments()) == set()
    plan["hosts"]["box"]["postgres"]["settings"]["max_connections"] = 30
    assert oracle.broken(plan, *BOX.arguments()) == {"C6"}


def test_media_on_two_hosts():
    assert oracle.broken(plan_of(FLEET), *FLEET.with_settings(mastodon_s3_enabled=False).arguments()) == {"C14"}


@pytest.mark.parametrize(
    ("said", "spoil"),
    [
        ("no reason for web.workers", lambda plan: plan["hosts"]["web1"]["reasons"].pop("web.workers")),
        ("no reason for web.workers", lambda plan: plan["hosts"]["web1"]["web"].update(workers=7)),
        ("flow missing", lambda plan: plan["flows"].pop()),
        ("flow without use", lambda plan: plan["flows"].append({"from": "web1", "to": "sk1", "port": 22})),
        ("totals", lambda plan: plan["totals"].update(puma_threads=1)),
        ("are needed", lambda plan: plan["hosts"]["web1"]["memory"].update(used_mb=1, budget=[{"what": "x", "mb": 1}])),
        ("the rows of its budget", lambda plan: plan["hosts"]["web1"]["memory"].update(used_mb=1)),
        (
            "2 processes are called",
            lambda plan: first_process(plan["hosts"]).update(
                name=plan["hosts"]["sk1"]["sidekiq"]["processes"][1]["name"]
            ),
        ),
        ("is in", lambda plan: plan["hosts"]["web1"].pop("web")),
        ("lets in", lambda plan: plan["hosts"]["db2"]["firewall"].pop()),
        ("lets in", lambda plan: plan["hosts"]["redis1"]["firewall"][1]["sources"].append("10.0.0.99")),
        ("PostgreSQL lets in", lambda plan: plan["hosts"]["db1"]["postgres"]["clients"].pop()),
        ("does not know its replicas", lambda plan: plan["hosts"]["db1"]["postgres"]["replicas"].pop()),
        ("does not know its", lambda plan: plan["hosts"]["db2"]["postgres"].pop("primary")),
        ("HAProxy is missing", lambda plan: plan["hosts"]["db1"].pop("haproxy")),
        ("readers go to", lambda plan: reader(plan)["servers"].pop()),
        ("readers go to", lambda plan: reader(plan)["servers"][0].update(backup=True)),
        ("the door of readers", lambda plan: reader(plan).update(bind=["10.0.0.5"])),
        ("HAProxy takes", lambda plan: plan["hosts"]["db1"]["haproxy"].update(maxconn=50)),
        ("HAProxy takes", lambda plan: plan["hosts"]["db1"]["haproxy"].update(limit_nofile=2099)),
        ("reads where it should not", lambda plan: plan["hosts"]["web1"]["endpoints"].pop("database_replica")),
        ("fetches releases from None", lambda plan: plan["hosts"]["sk1"]["endpoints"].pop("releases")),
        ("does not trust", lambda plan: plan["hosts"]["web1"]["endpoints"]["trusted_proxies"].pop()),
        (
            "does not trust",
            lambda plan: plan["hosts"]["web1"]["endpoints"].update(trusted_proxies=["10.0.0.1/32", "10.0.0.2/32"]),
        ),
        ("endpoints.tls is True", lambda plan: plan["hosts"]["web1"]["endpoints"].update(tls=True)),
    ],
)
def test_what_no_plan_may_contain(said, spoil):
    plan = plan_of(FLEET)
    assert oracle.inconsistent(plan, *FLEET.arguments()) == []
    spoil(plan)
    assert said in "\n".join(oracle.inconsistent(plan, *FLEET.arguments()))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda hosts: hosts["web1"]["haproxy"]["listeners"][0].update(tls=False),
        lambda hosts: hosts["web1"]["haproxy"]["listeners"][0]["servers"][0].update(port=3001),
        lambda hosts: hosts["web1"]["web"].update(bind=hosts["web1"]["host"]["address"]),
        lambda hosts: hosts["edge1"]["haproxy"]["listeners"].pop(),
    ],
)
def test_ends_of_tls_that_lead_nowhere(spoil):
    secure = FLEET.with_settings(mastodon_internal_tls_enabled=True)
    plan = plan_of(secure)
    assert (oracle.broken(plan, *secure.arguments()), oracle.inconsistent(plan, *secure.arguments())) == (set(), [])
    spoil(plan["hosts"])
    assert "C15" in oracle.broken(plan, *secure.arguments())


def test_an_override_that_is_not_obeyed():
    plan = plan_of(FLEET)
    wanted = FLEET.with_variables("web1", web_workers=3).hosts
    assert "web1: web_workers not obeyed" in oracle.inconsistent(plan, wanted, FLEET.groups, FLEET.settings)


def test_poolers_that_are_not_used_alike():
    two = FLEET.with_host("pool2", "pgbouncer", like="cache1", vm_address="10.0.0.20")
    plan = plan_of(two)
    assert oracle.inconsistent(plan, *two.arguments()) == []
    for name, host in plan["hosts"].items():
        if name.startswith(("web", "sk", "edge")):
            host["endpoints"]["database"]["host"] = "10.0.0.20"
    assert "poolers are used unevenly" in "\n".join(oracle.inconsistent(plan, *two.arguments()))
