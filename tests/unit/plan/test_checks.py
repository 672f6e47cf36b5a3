# SPDX-License-Identifier: GPL-3.0-or-later
"""For each constraint a fleet just inside and one just outside, and that following the advice brings it back.

Constraints that no inventory can break hold where the collection writes files; docs/sizing.md says where each is
tested. Those that guard the library itself are tested below on plans that are spoilt on purpose.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.dotenv import dotenv
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import checks, from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.coefficients import Coefficients
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.inventory import read_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.model import StreamingProcess
from unit.plan import fleets, oracle

C = Coefficients()
BOX, TWO, SPLIT, LARGE = (fleets.EXAMPLES[case] for case in "BDFG")
SIX = [queue for queue in fleets.QUEUES if queue != "scheduler"]


def planned(inventory):
    return from_inventory(*inventory.arguments())


def constraints(plan, severity="error"):
    return {finding.constraint for finding in plan.findings if finding.severity == severity}


def followed(inventory, plan):
    """The inventory after somebody has set what the remedies of all errors say, on the hosts that they name."""
    for finding in plan.errors:
        inventory = inventory.with_variables(*finding.hosts, **finding.remedy)
    return inventory


def direct(case):
    """Connections to the primary of a fleet without a pooler, with headroom and all that is no application."""
    mapping = planned(case).as_mapping()
    clients = sum(oracle.ruby_clients(host) + oracle.streaming_clients(host) for host in mapping["hosts"].values())
    return max(ceil(1.1 * clients) + oracle.DIRECT_WITHOUT_POOLER, ceil(clients / 0.9))


def clients_of_poolers(case):
    """Clients that one pooler may have to take, with headroom."""
    hosts = planned(case).as_mapping()["hosts"].values()
    replicas = any(host.get("postgres", {}).get("role") == "replica" for host in hosts)
    ruby = sum(map(oracle.ruby_clients, hosts))
    return ceil(1.25 * (ruby * (1 + replicas) + sum(map(oracle.streaming_clients, hosts))))


def with_connections(number):
    return SPLIT.with_variables("db1", "db2", postgres_max_connections=number)


def with_pool(size, connections):
    """One pooler: its pool, a fifth in reserve, a pool of 1 + 5 at least to read, and 23 for all that goes round it."""
    return with_connections(connections).with_variables("db1", pgbouncer_pool_size=size)


PAIRS = [
    pytest.param(
        "C1",
        SPLIT.with_variables("sk1", sidekiq_queues=SIX).with_variables("sk2", sidekiq_queues=[["push"], ["scheduler"]]),
        SPLIT.with_variables("sk1", sidekiq_queues=SIX).with_variables("sk2", sidekiq_queues=[["push"], ["pull"]]),
        id="C1-scheduler-is-served-by-another-host",
    ),
    pytest.param(
        "C1",
        SPLIT.with_variables("sk1", "sk2", sidekiq_queues=[*SIX]).with_variables("sk1", sidekiq_queues=fleets.QUEUES),
        SPLIT.with_variables("sk1", "sk2", sidekiq_queues=["default", "scheduler"]).with_variables(
            "sk1", sidekiq_queues=[queue for queue in SIX if queue != "fasp"]
        ),
        id="C1-fasp",
    ),
    pytest.param(
        "C2",
        SPLIT.with_variables("sk1", sidekiq_queues=[*fleets.QUEUES]).with_variables("sk2", sidekiq_queues=SIX),
        SPLIT.with_variables("sk1", "sk2", sidekiq_queues=[*fleets.QUEUES]),
        id="C2-a-variable-of-both-hosts",
    ),
    pytest.param(
        "C2",
        SPLIT.with_variables("sk1", sidekiq_queues=[[*SIX], ["scheduler", "push"]]).with_variables(
            "sk2", sidekiq_queues=SIX
        ),
        SPLIT.with_variables("sk1", sidekiq_queues=[["scheduler", *SIX], ["scheduler", "push"]]).with_variables(
            "sk2", sidekiq_queues=SIX
        ),
        id="C2-two-lists-of-one-host",
    ),
    pytest.param("C4", with_pool(142, 200), with_pool(143, 200), id="C4-pool"),
    pytest.param("C4", with_pool(100, 149), with_pool(100, 148), id="C4-max-connections"),
    pytest.param("C4", with_connections(35), with_connections(34), id="C4-no-room-for-any-pool"),
    pytest.param(
        "C5",
        SPLIT.with_variables("db1", pgbouncer_max_client_conn=clients_of_poolers(SPLIT)),
        SPLIT.with_variables("db1", pgbouncer_max_client_conn=clients_of_poolers(SPLIT) - 1),
        id="C5",
    ),
    pytest.param(
        "C6",
        BOX.with_variables("box", postgres_max_connections=direct(BOX)),
        BOX.with_variables("box", postgres_max_connections=direct(BOX) - 1),
        id="C6-few",
    ),
    pytest.param(
        "C10",
        SPLIT.with_variables("db1", postgres_max_connections=210).with_variables("db2", postgres_max_connections=210),
        SPLIT.with_variables("db1", postgres_max_connections=210).with_variables("db2", postgres_max_connections=209),
        id="C10",
    ),
    pytest.param("C14", SPLIT, SPLIT.with_settings(mastodon_s3_enabled=False), id="C14"),
    pytest.param(
        "C14",
        TWO.with_settings(mastodon_s3_enabled=False),
        TWO.with_host("sk1", "sidekiq", like="app", vm_address="10.0.0.9").with_settings(mastodon_s3_enabled=False),
        id="C14-a-second-host-of-the-application",
    ),
    pytest.param(
        "C15",
        TWO.with_variables("db", vm_address="100.127.255.255"),
        TWO.with_variables("db", vm_address="100.128.0.0"),
        id="C15-a-public-address",
    ),
    pytest.param(
        "C15",
        TWO.with_variables("db", vm_address="11.0.0.1").with_settings(mastodon_internal_tls_enabled=True),
        TWO.with_variables("db", vm_address="11.0.0.1").with_settings(mastodon_internal_tls_enabled=False),
        id="C15-TLS-inside",
    ),
    pytest.param(
        "C18",
        SPLIT.with_settings(mastodon_plan_coefficients={"nginx_proxy_read_timeout_seconds": 60}),
        SPLIT.with_settings(mastodon_plan_coefficients={"nginx_proxy_read_timeout_seconds": 59}),
        id="C18-too-early",
    ),
    pytest.param(
        "C18",
        SPLIT.with_settings(mastodon_plan_coefficients={"nginx_proxy_read_timeout_seconds": 300}),
        SPLIT.with_settings(mastodon_plan_coefficients={"nginx_proxy_read_timeout_seconds": 301}),
        id="C18-never",
    ),
]
APPLICATION = ("edge", "web1", "web2", "sk1", "sk2")
WHOLE = "redis://:password@10.0.0.30:6379/0"


def environment(*names, fleet=SPLIT, **values):
    """The fleet with variables added to Mastodon's environment on some hosts."""
    return fleet.with_variables(*names, mastodon_env=values)


def without_statements(fleet):
    return fleet.with_settings(mastodon_plan_coefficients={"pgbouncer_max_prepared_statements": 0})


ENVIRONMENT_PAIRS = [
    pytest.param("C3", environment("db1", DB_POOL=25), environment("web1", DB_POOL=25), id="C3-pool-of-all-processes"),
    *(
        pytest.param(
            "C7",
            environment("web1", PREPARED_STATEMENTS=asked),
            without_statements(environment("web1", PREPARED_STATEMENTS=asked)),
            id=f"C7-{asked}",
        )
        for asked in (True, "yes", "1")
    ),
    pytest.param(
        "C7",
        without_statements(environment("sk1", REPLICA_PREPARED_STATEMENTS=False)),
        without_statements(environment("sk1", REPLICA_PREPARED_STATEMENTS=True)),
        id="C7-replica",
    ),
    pytest.param(
        "C9",
        environment(*APPLICATION, DATABASE_URL="postgres://mastodon@10.0.0.6/mastodon_production"),
        environment(*APPLICATION, DATABASE_URL="postgres://mastodon@10.0.0.6/m?application_name=web"),
        id="C9-address",
    ),
    pytest.param("C9", environment("db1", PGAPPNAME="x"), environment("sk1", PGAPPNAME="x"), id="C9-libpq"),
    pytest.param("C11", environment("edge", DB_SSLMODE="disable"), environment("edge", DB_SSLMODE="prefer"), id="C11"),
    pytest.param(
        "C13",
        SPLIT.with_variables(*APPLICATION, mastodon_secret_key_base="one-secret"),
        SPLIT.with_variables(*APPLICATION, mastodon_secret_key_base="one-secret").with_variables(
            "web2", mastodon_secret_key_base="another-secret"
        ),
        id="C13-key",
    ),
    pytest.param(
        "C13",
        SPLIT.with_variables(*APPLICATION, mastodon_version="v4.6.5"),
        SPLIT.with_variables(*APPLICATION, mastodon_version="v4.6.5").with_variables("sk2", mastodon_version="v4.6.4"),
        id="C13-revision",
    ),
    pytest.param(
        "C19",
        environment(*APPLICATION, CACHE_REDIS_URL=WHOLE),
        environment(*APPLICATION, CACHE_REDIS_HOST="10.0.0.30"),
        id="C19-parts",
    ),
    pytest.param(
        "C19",
        environment("web1", "web2", "sk1", "sk2", SIDEKIQ_REDIS_URL=WHOLE),
        environment("web1", "web2", "sk1", SIDEKIQ_REDIS_URL=WHOLE),
        id="C19-one-host-lacks-it",
    ),
    pytest.param("C20", environment("web1", AUTHORIZED_FETCH=True), environment("web1", SELF_DESTRUCT="x"), id="C20"),
]


@pytest.mark.parametrize(("constraint", "inside", "outside"), ENVIRONMENT_PAIRS)
def test_the_environment_just_inside_just_outside_and_back(constraint, inside, outside):
    assert planned(inside).errors == ()
    plan = planned(outside)
    assert constraints(plan) == {constraint}
    for finding in plan.errors:
        assert [name for name in finding.hosts if name not in finding.message + finding.advice] == []
        # Keys are compared and never shown.
        assert "secret" not in (finding.message + finding.advice).replace("mastodon_secret_key_base", "")
    # Leave it out, as each of them advises, or set it once for all hosts.
    unset = {"mastodon_env": None, "mastodon_secret_key_base": None, "mastodon_version": None}
    assert planned(outside.with_variables(*outside.hosts, **unset)).errors == ()


def test_c15_an_edge_that_the_application_does_not_trust():
    edge = SPLIT.hosts["edge"]["vm_address"]
    for trusted, expected in ((edge, set()), ("10.0.0.0/24", set()), ("10.9.0.0/24", {"C15"})):
        plan = planned(environment("web1", "web2", TRUSTED_PROXY_IP=f"127.0.0.1,{trusted}"))
        assert constraints(plan) == expected
        assert all(f"Add {edge} to TRUSTED_PROXY_IP" in finding.advice for finding in plan.errors)


def test_c15_with_tls_inside_requests_come_from_haproxy_of_the_same_host():
    tls = SPLIT.with_settings(mastodon_internal_tls_enabled=True)
    for trusted, expected in (("127.0.0.0/8", set()), (SPLIT.hosts["edge"]["vm_address"], {"C15"})):
        plan = planned(environment("web1", "web2", fleet=tls, TRUSTED_PROXY_IP=trusted))
        assert constraints(plan) == expected
        assert all("Add 127.0.0.1 to TRUSTED_PROXY_IP" in finding.advice for finding in plan.errors)


# What a finding cannot put into a number: the constraint, and what somebody does who reads the advice.
IN_WORDS = {
    "C1": lambda fleet: fleet.with_variables("sk1", "sk2", sidekiq_queues=None),
    "C2": lambda fleet: fleet.with_variables("sk1", "sk2", sidekiq_queues=None),
    "C14": lambda fleet: fleet.with_settings(mastodon_s3_enabled=True),
    "C15": lambda fleet: fleet.with_settings(mastodon_internal_tls_enabled=True),
    "C18": lambda fleet: fleet.with_settings(mastodon_plan_coefficients={"nginx_proxy_read_timeout_seconds": 120}),
}
SAID = {
    "C1": "leave sidekiq_queues out",
    "C2": "one list of sidekiq_queues only",
    "C14": "mastodon_s3_enabled: true",
    "C15": "mastodon_internal_tls_enabled: true",
    "C18": "between 60 and 300",
}


@pytest.mark.parametrize(("constraint", "inside", "outside"), PAIRS)
def test_just_inside_just_outside_and_back(constraint, inside, outside):
    assert planned(inside).errors == ()
    assert oracle.broken(planned(inside).as_mapping(), *inside.arguments()) == set()
    plan = planned(outside)
    assert constraints(plan) == {constraint}
    finding = plan.errors[0]
    assert [name for name in finding.hosts if name not in finding.message + finding.advice] == []
    if finding.remedy:
        assert [v for v in finding.remedy if f"{v}: {finding.remedy[v]}" not in finding.advice] == []
        assert planned(followed(outside, plan)).errors == ()
    else:
        assert SAID[constraint] in finding.advice
        assert planned(IN_WORDS[constraint](outside)).errors == ()


def least_memory(inventory, name):
    """The least memory_mb of a host with which the oracle lets the fleet pass."""
    low, high = 512, 2**18
    while low < high:
        middle = (low + high) // 2
        changed = inventory.with_variables(name, vm_memory_mb=middle)
        if oracle.broken(planned(changed).as_mapping(), *changed.arguments()):
            low = middle + 1
        else:
            high = middle
    return low


@pytest.mark.parametrize(
    ("inventory", "name"),
    [
        pytest.param(BOX.with_variables("box", web_workers=4), "box", id="box-workers"),
        pytest.param(BOX.with_variables("box", sidekiq_processes=6, sidekiq_concurrency=25), "box", id="box-sidekiq"),
        pytest.param(BOX, "box", id="box-least"),
        pytest.param(SPLIT.with_variables("web1", web_workers=20), "web1", id="web"),
        pytest.param(SPLIT.with_variables("sk2", sidekiq_processes=16, sidekiq_concurrency=25), "sk2", id="sidekiq"),
        pytest.param(SPLIT.with_variables("edge", streaming_processes=30), "edge", id="streaming"),
    ],
)
def test_c16_the_memory_that_is_advised_is_the_least_that_passes(inventory, name):
    """The oracle's own search for the least memory and the plan's advice agree to the megabyte."""
    least = least_memory(inventory, name)
    assert planned(inventory.with_variables(name, vm_memory_mb=least)).errors == ()
    plan = planned(inventory.with_variables(name, vm_memory_mb=least - 1))
    assert constraints(plan) == {"C16"}
    (finding,) = plan.errors
    assert finding.hosts == (name,)
    assert finding.remedy == {"vm_memory_mb": least}
    assert f"vm_memory_mb: {least}" in finding.advice


@pytest.mark.parametrize(("inside", "outside"), [(70, 71)])
def test_c4_pools_are_added_up_over_all_poolers(inside, outside):
    """Two poolers, each with 1 + 3 to read: 2 x (70 + 14 + 4) + 23 is 199, 2 x (71 + 15 + 4) + 23 is 203."""
    two = with_connections(200).with_host("pool2", "pgbouncer", like="redis1", vm_address="10.0.0.20")
    assert planned(two.with_variables("db1", "pool2", pgbouncer_pool_size=inside)).errors == ()
    too_many = two.with_variables("db1", "pool2", pgbouncer_pool_size=outside)
    plan = planned(too_many)
    assert constraints(plan) == {"C4"}
    assert "2 poolers (db1 and pool2)" in plan.errors[0].message
    assert planned(followed(too_many, plan)).errors == ()


def test_c6_more_backends_than_the_memory_holds():
    box = BOX.with_variables("box", vm_memory_mb=4300)
    # A quarter of 4300 MB, of which a quarter are buffers; 2 MB for each backend that idles.
    most = (1075 - 268) // 2
    assert planned(box.with_variables("box", postgres_max_connections=most)).errors == ()
    outside = box.with_variables("box", postgres_max_connections=most + 1)
    plan = planned(outside)
    assert constraints(plan) == {"C6"}
    assert plan.errors[0].remedy == {"postgres_max_connections": most}
    assert planned(followed(outside, plan)).errors == ()


def test_a_crowd_without_a_pooler_is_refused_where_its_backends_do_not_fit():
    """Forty web hosts straight at a primary of 4 GB would take its memory with idle connections alone."""
    hosts = {f"web{i}": (8, 16, "web") for i in range(40)}
    crowd = fleets.fleet({"app": (4, 8, "nginx streaming sidekiq"), **hosts, "db": (2, 4, "postgres redis")})
    plan = planned(crowd)
    assert constraints(plan) == {"C6"}
    assert "put a host into the group pgbouncer" in plan.errors[0].advice
    assert planned(crowd.with_group("pgbouncer", "db")).errors == ()
    assert planned(followed(crowd, plan)).errors == ()


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("C16", {"vm_memory_mb": 3000}, {"vm_memory_mb": 2999}),
        ("workers", {"web_workers": 2}, {"web_workers": 3}),
        ("threads", {"sidekiq_concurrency": 25}, {"sidekiq_concurrency": 26}),
        ("C6", {"postgres_max_connections": 250}, {"postgres_max_connections": 251}),
    ],
)
def test_warnings(constraint, inside, outside):
    box = BOX.with_variables("box", vm_memory_mb=16384)
    assert constraint not in constraints(planned(box.with_variables("box", **inside)), "warning")
    outside = box.with_variables("box", **outside)
    plan = planned(outside)
    assert plan.errors == ()
    assert constraint in constraints(plan, "warning")
    remedy = next(finding.remedy for finding in plan.warnings if finding.constraint == constraint)
    assert constraint not in constraints(planned(outside.with_variables("box", **remedy)), "warning")


def test_pools_that_connections_by_hand_make_smaller_are_warned_about():
    """220 and 260 clients want 64 + 13 each; with 23 for all that goes round the pooler both need 177."""
    assert planned(with_connections(177)).findings == ()
    outside = with_connections(175)
    plan = planned(outside)
    assert {(finding.constraint, finding.severity, finding.hosts) for finding in plan.findings} == {
        ("pools", "warning", ("db1", "db2"))
    }
    (finding,) = plan.findings
    assert "63 for writing where 64 are wanted and 63 for reading where 64 are wanted" in finding.message
    assert "max_connections is 175, set by hand, and 177 are needed" in finding.message
    assert finding.remedy == {"postgres_max_connections": 177}
    assert planned(outside.with_settings(mastodon_plan_silenced=["pools"])).findings == ()


def test_a_pool_by_hand_that_leaves_little_to_read_is_warned_about():
    (finding,) = planned(with_pool(100, 200)).findings
    assert (finding.constraint, finding.severity) == ("pools", "warning")
    assert "for reading where 64 are wanted" in finding.message
    assert "for writing" not in finding.message
    assert "Or lower pgbouncer_pool_size." in finding.advice


def test_replicas_that_nobody_reads_are_named():
    alone = SPLIT.with_group("pgbouncer")
    assert constraints(planned(SPLIT), "warning") == set()
    plan = planned(alone)
    assert constraints(plan) == set()
    (finding,) = (finding for finding in plan.findings if finding.constraint == "reads")
    assert (finding.hosts, finding.severity) == (("db2",), "warning")
    assert "nobody reads from it" in finding.message
    assert "Put db1, or a host of its own, into the group pgbouncer." in finding.advice


def test_c4_many_connections_beside_poolers_are_warned_about():
    assert planned(with_connections(250)).findings == ()
    plan = planned(with_connections(251))
    assert {(finding.constraint, finding.severity) for finding in plan.findings} == {("C4", "warning")}
    assert [finding.hosts for finding in plan.findings] == [("db1",)]


def test_more_than_fifty_threads_are_refused_however_they_come_about():
    for threads, severity in ((50, "warning"), (51, "error")):
        plan = planned(SPLIT.with_settings(mastodon_plan_coefficients={"sidekiq_threads_computing": threads}))
        assert {(finding.constraint, finding.severity) for finding in plan.findings} == {("threads", severity)}


def test_c10_a_replica_of_redis_with_less_memory_than_its_core():
    """The core may grow to 60 % of what the system leaves of 8 GB."""
    copy = SPLIT.with_host("redis2", "redis", "redis_replica", like="redis1", vm_address="10.0.0.20")
    assert planned(copy).findings == ()
    memory_mb = SPLIT.hosts["redis1"]["vm_memory_mb"] - 64
    plan = planned(copy.with_variables("redis2", vm_memory_mb=memory_mb))
    assert [(finding.constraint, finding.severity, finding.hosts) for finding in plan.findings] == [
        ("C10", "warning", ("redis2",))
    ]


def test_addresses_of_two_kinds_are_warned_about():
    assert planned(SPLIT.with_variables("web2", vm_address="10.7.0.1")).findings == ()
    plan = planned(SPLIT.with_variables("web2", vm_address="fd00::3"))
    assert [(finding.constraint, finding.severity, finding.hosts) for finding in plan.findings] == [
        ("inventory", "warning", ("web2",))
    ]


def test_logs_that_nobody_would_take_are_warned_about():
    asked = SPLIT.with_settings(mastodon_central_logs_enabled=True)
    plan = planned(asked)
    assert [(finding.constraint, finding.severity) for finding in plan.findings] == [("logs", "warning")]
    assert "Put a host into the group metrics" in plan.warnings[0].advice
    assert planned(asked.with_host("watch", "metrics", like="redis1", vm_address="10.0.0.20")).findings == ()
    assert planned(asked.with_settings(mastodon_plan_silenced=["logs"])).findings == ()


# --- What no inventory can break: the plan is spoilt by hand, and the check that guards the library must see it.


def spoilt(plan, name, part, **values):
    host = plan.hosts[name]
    return {**plan.hosts, name: replace(host, **{part: replace(getattr(host, part), **values)})}


@pytest.fixture
def sized():
    """A fleet as the library reads it, and its plan."""
    fleet, findings = read_inventory(*SPLIT.arguments())
    assert findings == ()
    return fleet, planned(SPLIT)


def found(fleet, hosts):
    return [finding for finding in checks.check_plan(fleet, hosts, C) if finding.severity == "error"]


def test_c4_counts_who_reads_on_every_replica_and_on_the_primary(sized):
    """Inputs cannot make the pool of readers too large alone, because it follows the smallest database."""
    fleet, plan = sized
    of_primary, of_readers = plan.hosts["db1"].pgbouncer.pools
    assert of_readers.for_ == "replica"
    # 200 connections: 23 go round the pooler, 13 are the reserve of the readers, 77 are for writing on the primary.
    for size, expected in ((87, []), (88, ["db1"]), (164, ["db1"]), (165, ["db1", "db2"])):
        pools = (of_primary, replace(of_readers, pool_size=size))
        errors = found(fleet, spoilt(plan, "db1", "pgbouncer", pools=pools))
        assert [(finding.constraint, *finding.hosts) for finding in errors] == [("C4", name) for name in expected]


def test_c3_a_pool_smaller_than_its_threads(sized):
    fleet, plan = sized
    assert found(fleet, plan.hosts) == []
    (finding,) = found(fleet, spoilt(plan, "web1", "web", db_pool=2))
    assert (finding.constraint, finding.hosts) == ("C3", ("web1",))
    assert "5 threads on a pool of 2 connections" in finding.message
    first, *others = plan.hosts["sk1"].sidekiq.processes
    short = replace(first, db_pool=first.concurrency - 1)
    (finding,) = found(fleet, spoilt(plan, "sk1", "sidekiq", processes=(short, *others)))
    assert (finding.constraint, finding.hosts) == ("C3", ("sk1",))


def test_c3_the_pool_of_all_processes_has_no_place_in_the_file_they_share():
    with pytest.raises(ValueError, match="DB_POOL must not be in this file"):
        dotenv({"DB_POOL": 25})
    assert dotenv({"DB_POOL": 25}, process=True) == "DB_POOL=25\n"


def test_c7_every_pooler_pools_transactions_and_knows_prepared_statements():
    for case in (TWO, SPLIT, LARGE):
        hosts = planned(case).as_mapping()["hosts"]
        poolers = [host["pgbouncer"]["settings"] for host in hosts.values() if "pgbouncer" in host]
        assert poolers
        assert {pooler["pool_mode"] for pooler in poolers} == {"transaction"}


@pytest.mark.parametrize("case", "ABCDEFG")
def test_c8_migrations_reach_the_primary_itself(case):
    hosts = planned(fleets.EXAMPLES[case]).as_mapping()["hosts"]
    (primary,) = (host for host in hosts.values() if host.get("postgres", {}).get("role") == "primary")
    for name, host in hosts.items():
        end = host["endpoints"]["postgres"]
        own = name == primary["host"]["name"]
        assert (end["host"], end["port"]) == (oracle.LOOPBACK if own else primary["host"]["address"], 5432)


@pytest.mark.parametrize("name", ["PGAPPNAME", "SELF_DESTRUCT"])
def test_c9_c20_no_file_of_the_collection_takes_the_name(name):
    for process in (False, True):
        with pytest.raises(ValueError, match=f"{name} must not be set"):
            dotenv({name: "1"}, process=process)


def test_c12_redis_with_too_few_clients_or_files(sized):
    fleet, plan = sized
    settings = plan.hosts["redis1"].redis.settings
    needed = ceil(1.5 * oracle.redis_clients(plan.as_mapping()["hosts"]))
    exact = spoilt(plan, "redis1", "redis", settings={**settings, "maxclients": needed})
    assert found(fleet, exact) == []
    for values in ({"settings": {**settings, "maxclients": needed - 1}}, {"limit_nofile": settings["maxclients"] + 31}):
        (finding,) = found(fleet, spoilt(plan, "redis1", "redis", **values))
        assert (finding.constraint, finding.hosts) == ("C12", ("redis1",))


def test_c17_two_processes_on_one_port(sized):
    fleet, plan = sized
    first, *others = plan.hosts["edge"].streaming.processes
    clash = (first, *others, StreamingProcess(port=first.port, bind=first.bind))
    (finding,) = found(fleet, spoilt(plan, "edge", "streaming", processes=clash))
    assert (finding.constraint, finding.hosts) == ("C17", ("edge",))
    assert str(first.port) in finding.message


def test_c17_haproxy_has_its_own_address_where_it_has_the_port_of_puma():
    tls = SPLIT.with_settings(mastodon_internal_tls_enabled=True)
    fleet, _findings = read_inventory(*tls.arguments())
    plan = planned(tls)
    assert plan.errors == ()
    (finding,) = found(fleet, spoilt(plan, "web1", "web", bind=SPLIT.hosts["web1"]["vm_address"]))
    assert (finding.constraint, finding.hosts) == ("C17", ("web1",))
    assert "web and HAProxy (web) all listen on port 3000" in finding.message
