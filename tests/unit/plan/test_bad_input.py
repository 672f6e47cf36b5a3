# SPDX-License-Identifier: GPL-3.0-or-later
"""What people get wrong, and that they are told the host, the value, what is allowed and what to type."""

from __future__ import annotations

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.explain import describe
from unit.plan import fleets

QUEUES = list(fleets.QUEUES)
# Two edges, web and Sidekiq hosts, a primary and two replicas, a pooler beside the primary, Redis with a cache.
FLEET = fleets.EXAMPLES["G"].with_host("metrics1", "metrics", vm_vcpus=2, vm_memory_mb=4096, vm_address="10.0.0.20")


def errors_of(inventory):
    """All errors as text; the fleet as it stands has none."""
    plan = from_inventory(*inventory.arguments())
    assert plan.errors, "nothing is refused"
    return plan


def missing(text, told):
    return [word for word in told if word not in text]


def test_the_fleet_that_is_spoilt_below_is_planned():
    assert from_inventory(*FLEET.arguments()).errors == ()


VARIABLES = [
    # Sizes and addresses.
    ("web1", {"vm_memory_mb": "4GB"}, ["'4GB'", "whole number of MB", "Type vm_memory_mb: 4096"]),
    ("web1", {"vm_memory_mb": "3.5 GiB"}, ["'3.5 GiB'", "Type vm_memory_mb: 3584"]),
    ("web1", {"vm_memory_mb": -1}, ["-1", "from 512", "Type vm_memory_mb: 512"]),
    ("web1", {"vm_memory_mb": 64}, ["64", "from 512", "Type vm_memory_mb: 512"]),
    ("web1", {"vm_memory_mb": True}, ["True", "whole number"]),
    ("web1", {"vm_memory_mb": 4096.5}, ["4096.5", "whole number"]),
    ("web1", {"vm_memory_mb": [4096]}, ["[4096]", "whole number"]),
    ("web1", {"vm_memory_mb": None}, ["vm_memory_mb is not known", "vm_memory_mb: 4096"]),
    ("web1", {"vm_vcpus": None, "vm_memory_mb": None}, ["vm_vcpus and vm_memory_mb are not known", "vm_vcpus: 2"]),
    ("web1", {"vm_vcpus": 0}, ["vm_vcpus is 0", "from 1 to 1024", "Type vm_vcpus: 1"]),
    ("web1", {"vm_vcpus": "two"}, ["'two'", "Type vm_vcpus: 2"]),
    ("web1", {"vm_vcpus": 1.5}, ["1.5", "whole number"]),
    ("web1", {"vm_address": None}, ["vm_address is not known", "vm_address: 192.0.2.10"]),
    ("web1", {"vm_address": "web1.example.org"}, ["'web1.example.org'", "one IPv4 or IPv6 address"]),
    ("web1", {"vm_address": "10.0.0.3/24"}, ["'10.0.0.3/24'", "without a prefix length"]),
    ("web1", {"vm_address": "0.0.0.0"}, ["0.0.0.0", "vm_address"]),
    ("web1", {"vm_address": "224.0.0.1"}, ["224.0.0.1", "vm_address"]),
    # Overrides: negative, absurd, not a number.
    ("web1", {"web_workers": -1}, ["web_workers is -1", "from 0 to 64", "Type web_workers: 0"]),
    ("web1", {"web_workers": 4000}, ["web_workers is 4000", "from 0 to 64", "Type web_workers: 64"]),
    ("web1", {"web_workers": "many"}, ["'many'", "from 0 to 64"]),
    ("web1", {"web_threads": 0}, ["web_threads is 0", "from 1 to 64"]),
    ("edge1", {"streaming_processes": 0}, ["streaming_processes is 0", "from 1 to 32"]),
    ("edge1", {"streaming_processes": 1000}, ["streaming_processes is 1000", "from 1 to 32"]),
    ("sk1", {"sidekiq_processes": 0}, ["sidekiq_processes is 0", "from 1 to 64"]),
    ("sk1", {"sidekiq_concurrency": 51}, ["sidekiq_concurrency is 51", "from 1 to 50", "Type sidekiq_concurrency: 50"]),
    ("db1", {"postgres_max_connections": 5}, ["postgres_max_connections is 5", "from 20"]),
    ("db1", {"postgres_max_connections": "2e2"}, ["'2e2'", "whole number"]),
    ("db1", {"pgbouncer_pool_size": 0}, ["pgbouncer_pool_size is 0", "from"]),
    ("db1", {"pgbouncer_pool_size": -20}, ["pgbouncer_pool_size is -20", "from"]),
    ("db1", {"pgbouncer_pool_size": "20 per host"}, ["'20 per host'", "whole number"]),
    ("db1", {"pgbouncer_max_client_conn": 0}, ["pgbouncer_max_client_conn is 0", "from"]),
    ("db1", {"pgbouncer_max_client_conn": "1k"}, ["'1k'", "whole number"]),
    # Queues.
    ("sk1", {"sidekiq_queues": "default"}, ["'default'", "a list of queues"]),
    ("sk1", {"sidekiq_queues": []}, ["[]", "not empty"]),
    ("sk1", {"sidekiq_queues": [[], QUEUES]}, ["a list of queues is empty"]),
    ("sk1", {"sidekiq_queues": {"default": 8}}, ["a list of queues"]),
    ("sk1", {"sidekiq_queues": ["defualt"]}, ["'defualt' names no queue", "did you mean default?"]),
    ("sk1", {"sidekiq_queues": ["Push"]}, ["'Push' names no queue", "did you mean push?"]),
    ("sk1", {"sidekiq_queues": ["default;8"]}, ["'default;8' names no queue", "did you mean default?"]),
    ("sk1", {"sidekiq_queues": ["push,four"]}, ["the weight of 'push,four'", '"push,4"']),
    ("sk1", {"sidekiq_queues": ["push,0"]}, ["the weight of 'push,0'", "1 to 100"]),
    ("sk1", {"sidekiq_queues": ["push,"]}, ["the weight of 'push,'"]),
    ("sk1", {"sidekiq_queues": ["push,4,2"]}, ["the weight of 'push,4,2'"]),
    ("sk1", {"sidekiq_queues": [["push", 4]]}, ["4 is not a queue", '"push,4"']),
    ("sk1", {"sidekiq_queues": ["push", "push,2"]}, ["push is listed twice"]),
    (
        "sk1",
        {"sidekiq_queues": [QUEUES, ["default"]], "sidekiq_processes": 3},
        ["2 lists", "sidekiq_processes is 3", "sidekiq_processes: 2"],
    ),
]


@pytest.mark.parametrize(("host", "variables", "told"), VARIABLES, ids=lambda value: str(value)[:50])
def test_a_variable_of_one_host(host, variables, told):
    plan = errors_of(FLEET.with_variables(host, **variables))
    assert plan.hosts == {}
    assert {finding.constraint for finding in plan.errors} == {"input"}
    assert {name for finding in plan.errors for name in finding.hosts} == {host}
    assert missing(describe(plan.errors), [host, *variables, *told]) == []
    assert all(finding.advice for finding in plan.errors)


GROUPS = [
    # Names that mean nothing here, near to one that does.
    ({"sidekik": ["sk1"]}, ["sidekik", "nearly sidekiq", "Rename it to sidekiq"]),
    ({"ngnix": ["edge1"]}, ["ngnix", "Rename it to nginx"]),
    ({"webs": ["web1"]}, ["webs", "Rename it to web"]),
    ({"postgres_primery": ["db1"]}, ["Rename it to postgres_primary"]),
    ({"postgres_replicas": ["db2"]}, ["Rename it to postgres_replica"]),
    ({"pgbounser": ["db1"]}, ["Rename it to pgbouncer"]),
    ({"redis_caches": ["cache1"]}, ["Rename it to redis_cache"]),
    ({"metrcis": ["metrics1"]}, ["Rename it to metrics"]),
    ({"sidekik_push": ["sk1"]}, ["Rename it to sidekiq_push"]),
    ({"sidekiq_push": ["web1"]}, ["sidekiq_push is not a child of sidekiq", "web1", "sidekiq: children:"]),
    # A tier without a host, or with too many that lead it.
    ({"web": []}, ["No host is in group web", "to group web"]),
    ({"nginx": []}, ["No host is in group nginx"]),
    ({"streaming": []}, ["No host is in group streaming"]),
    ({"sidekiq": []}, ["No host is in group sidekiq"]),
    ({"postgres_primary": []}, ["postgres_primary has no host", "exactly one", "postgres: children:"]),
    (
        {"postgres_primary": ["db1", "db2"], "postgres_replica": ["db3"]},
        ["postgres_primary has 2 hosts (db1, db2)", "exactly one"],
    ),
    ({"redis_core": []}, ["redis_core has no host", "exactly one"]),
    (
        {"redis_core": ["redis1", "cache1"], "redis_cache": []},
        ["redis_core has 2 hosts (cache1, redis1)", "exactly one"],
    ),
    ({"redis_cache": ["cache1", "web1"], "redis": ["redis1", "cache1", "web1"]}, ["redis_cache", "cache1", "web1"]),
    ({"metrics": ["metrics1", "web1"]}, ["metrics", "metrics1", "web1"]),
    # A host that is two things at once, or nothing.
    ({"redis_cache": ["redis1"], "redis": ["redis1"]}, ["redis1", "redis_cache", "redis_core"]),
    ({"redis_sidekiq": ["cache1"]}, ["cache1", "redis_cache", "redis_sidekiq"]),
    ({"redis_replica": ["redis1"]}, ["redis1", "redis_core", "redis_replica"]),
    ({"postgres_replica": ["db1", "db2", "db3"]}, ["db1", "postgres_primary", "postgres_replica"]),
    ({"postgres_replica": ["db2"]}, ["db3", "postgres_primary", "postgres_replica"]),
    ({"redis_cache": []}, ["cache1", "redis_core", "redis_cache"]),
    ({"postgres_replica": ["db2", "db3", "web1"]}, ["web1", "postgres_replica", "postgres: children:"]),
    ({"sidekiq_push": ["sk1", "sk2"], "sidekiq_pull": ["sk2"]}, ["sk2", "sidekiq_pull", "sidekiq_push"]),
    ({"metrics": []}, ["metrics1 is in none of the groups"]),
]


@pytest.mark.parametrize(("groups", "told"), GROUPS, ids=lambda value: str(value)[:60])
def test_a_group(groups, told):
    inventory = FLEET
    for group, names in groups.items():
        inventory = inventory.with_group(group, *names)
    plan = errors_of(inventory)
    assert plan.hosts == {}
    assert {finding.constraint for finding in plan.errors} == {"inventory"}
    assert missing(describe(plan.errors), told) == []
    assert all(finding.advice for finding in plan.errors)


@pytest.mark.parametrize("group", ["production", "europe", "sidekiq_push", "builder", "ungrouped", "rack_2"])
def test_groups_of_ones_own_are_welcome(group):
    assert from_inventory(*FLEET.with_group(group, "sk1").arguments()).errors == ()


SETTINGS = [
    ({"mastodon_s3_enabled": "maybe"}, ["mastodon_s3_enabled is 'maybe'", "true or false"]),
    ({"mastodon_central_logs_enabled": "no!"}, ["mastodon_central_logs_enabled is 'no!'", "true or false"]),
    ({"mastodon_internal_tls_enabled": "perhaps"}, ["mastodon_internal_tls_enabled is 'perhaps'", "true or false"]),
    ({"mastodon_monthly_active_users": "many"}, ["mastodon_monthly_active_users is 'many'", "whole number"]),
    ({"mastodon_monthly_active_users": -5}, ["mastodon_monthly_active_users is -5", "from"]),
    ({"mastodon_requests_per_second": "fast"}, ["mastodon_requests_per_second is 'fast'", "number"]),
    ({"mastodon_plan_silenced": "C16"}, ["mastodon_plan_silenced is 'C16'", "list"]),
    ({"mastodon_plan_silenced": ["C61"]}, ["C61", "mastodon_plan_silenced"]),
    ({"mastodon_plan_coefficients": {"web_worker_gb": 1}}, ["no coefficient 'web_worker_gb'", "web_worker_mb"]),
    ({"mastodon_plan_coefficients": {"web_worker_mb": "512M"}}, ["web_worker_mb is '512M'", "web_worker_mb: 400"]),
    ({"mastodon_plan_coefficients": {"redis_share": -0.1}}, ["redis_share is -0.1", "a positive number"]),
    (
        {"mastodon_plan_coefficients": {"postgres_share": 25}},
        ["postgres_share is 25", "up to 1", "postgres_share: 0.25"],
    ),
    ({"mastodon_plan_coefficients": {"web_worker_mb": True}}, ["web_worker_mb is True", "whole number"]),
    ({"mastodon_plan_coefficients": [1]}, ["mastodon_plan_coefficients is [1]", "a mapping"]),
]


@pytest.mark.parametrize(("settings", "told"), SETTINGS, ids=lambda value: str(value)[:60])
def test_a_setting_of_the_fleet(settings, told):
    plan = errors_of(FLEET.with_settings(**settings))
    assert {finding.constraint for finding in plan.errors} == {"input"}
    assert missing(describe(plan.errors), told) == []


FLEETS = [
    pytest.param(
        FLEET.with_variables("web2", vm_address="10.0.0.3"),
        "inventory",
        ["web1 and web2", "10.0.0.3"],
        id="one address twice",
    ),
    pytest.param(
        FLEET.with_variables("web2", vm_address="::ffff:10.0.0.3"),
        "inventory",
        ["web1 and web2", "10.0.0.3"],
        id="one address in two notations",
    ),
    pytest.param(
        FLEET.with_settings(mastodon_s3_enabled=False),
        "C14",
        ["web1", "sk1", "mastodon_s3_enabled: true"],
        id="local media with several web hosts",
    ),
    pytest.param(
        FLEET.with_variables("web2", vm_address="11.0.0.9"),
        "C15",
        ["web2", "11.0.0.9", "mastodon_internal_tls_enabled: true"],
        id="public address without TLS",
    ),
    pytest.param(
        FLEET.with_variables("sk1", "sk2", sidekiq_queues=QUEUES).with_variables("sk3", sidekiq_queues=["push"]),
        "C2",
        ["sk1", "sk2", "scheduler"],
        id="scheduler by a variable of a group",
    ),
    pytest.param(
        FLEET.with_variables("sk1", "sk2", "sk3", sidekiq_queues=QUEUES[:-1]).with_variables(
            "sk1", "sk2", sidekiq_queues=["push"]
        ),
        "C1",
        ["fasp", "sidekiq_queues"],
        id="a queue that nobody serves",
    ),
    pytest.param(
        FLEET.with_variables("db1", pgbouncer_pool_size=200, postgres_max_connections=200),
        "C4",
        ["db1", "pools of 200 + 40", "max_connections is 200", "pgbouncer_pool_size: 68"],
        id="pools larger than the primary",
    ),
    pytest.param(
        FLEET.with_variables("db1", "db2", "db3", postgres_max_connections=25),
        "C4",
        ["db1", "db2", "max_connections is 25", "postgres_max_connections: 37"],
        id="no room for any pool",
    ),
    pytest.param(
        FLEET.with_variables("db2", postgres_max_connections=60),
        "C10",
        ["db2", "60", "db1", "postgres_max_connections: 250"],
        id="a replica smaller than its primary",
    ),
    pytest.param(
        FLEET.with_variables("web2", vm_address="127.0.0.1"),
        "inventory",
        ["web2", "127.0.0.1", "vm_address"],
        id="an address that leads every other host to itself",
    ),
    pytest.param(
        FLEET.with_variables("db1", pgbouncer_max_client_conn=100),
        "C5",
        ["db1", "100", "pgbouncer_max_client_conn"],
        id="a pooler that refuses clients",
    ),
    pytest.param(
        FLEET.with_variables("web1", web_workers=64),
        "C16",
        ["web1", "web_workers", "vm_memory_mb"],
        id="64 workers on 16 GB",
    ),
]


@pytest.mark.parametrize(("inventory", "constraint", "told"), FLEETS)
def test_a_fleet_that_cannot_work(inventory, constraint, told):
    plan = errors_of(inventory)
    assert constraint in {finding.constraint for finding in plan.errors}
    assert missing(describe(plan.errors), [f"[{constraint}]", *told]) == []


def test_there_are_at_least_fifty_of_them():
    assert len(VARIABLES) + len(GROUPS) + len(SETTINGS) + len(FLEETS) >= 50


def test_no_host_at_all():
    assert "names no host" in describe(from_inventory({}, {}).errors)


def test_all_findings_come_at_once():
    inventory = FLEET.with_group("ngnix", "edge1").with_variables("web1", vm_memory_mb="4GB", web_workers=-1)
    assert len(errors_of(inventory.with_variables("sk1", sidekiq_queues=["x"])).errors) == 4


def test_what_is_wrong_with_many_hosts_alike_names_each():
    names = [f"web{i}" for i in (1, 2, 3, 4)]
    text = describe(errors_of(FLEET.with_variables(*names, web_workers=-1)).errors)
    assert missing(text, names) == []


@pytest.mark.parametrize(
    ("host", "variables"),
    [
        ("web1", {"vm_memory_mb": "4GB"}),
        ("web1", {"vm_vcpus": 0}),
        ("web1", {"web_workers": -1}),
        ("web1", {"web_workers": 999}),
        ("sk1", {"sidekiq_concurrency": 51}),
        ("db1", {"postgres_max_connections": 5}),
        ("db1", {"pgbouncer_pool_size": 0}),
        ("db1", {"pgbouncer_max_client_conn": -1}),
    ],
)
def test_following_the_advice_makes_the_input_readable(host, variables):
    inventory = FLEET.with_variables(host, **variables)
    (finding,) = errors_of(inventory).errors
    assert finding.remedy
    for variable, value in finding.remedy.items():
        assert f"{variable}: {value}" in finding.advice
    after = from_inventory(*inventory.with_variables(*finding.hosts, **finding.remedy).arguments())
    assert [finding for finding in after.errors if finding.constraint == "input"] == []


@pytest.mark.parametrize("constraint", ["C4", "C16"])
def test_an_error_cannot_be_silenced(constraint):
    broken = FLEET.with_variables("db1", pgbouncer_pool_size=900).with_variables("db1", postgres_max_connections=100)
    broken = broken.with_variables("web1", web_workers=64)
    plan = errors_of(broken.with_settings(mastodon_plan_silenced=[constraint]))
    assert constraint in {finding.constraint for finding in plan.errors}
    assert missing(describe(plan.errors), ["mastodon_plan_silenced", constraint, "[input]"]) == []


def test_a_warning_can_be_silenced_by_its_name():
    warned = FLEET.with_variables("web1", web_workers=10)
    assert {finding.constraint for finding in from_inventory(*warned.arguments()).warnings} == {"workers"}
    silenced = from_inventory(*warned.with_settings(mastodon_plan_silenced=["workers"]).arguments())
    assert silenced.findings == ()


def test_more_declared_than_found_is_a_warning():
    assert from_inventory(*FLEET.with_variables("web1", found_memory_mb=15500).arguments()).findings == ()
    plan = from_inventory(*FLEET.with_variables("web1", found_memory_mb=8000).arguments())
    assert missing(plan.warnings[0].message, ["web1", "declares 15892 MB", "the host has 8000"]) == []
