# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan collects, in Prometheus's own words."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.plan_rules import plan_rules
from ansible_collections.fediops.mastodon.plugins.filter.scrape_configs import scrape_configs
from hypothesis import given
from hypothesis import strategies as st

PROBE = {"address": "127.0.0.1:9115", "module": "edge", "hostname": "social.example", "path": "/health"}
TARGETS = [
    {"job": "node", "host": "web1", "address": "10.0.0.3", "port": 9100, "labels": {}},
    {"job": "node", "host": "db1", "address": "fd00::7", "port": 9100, "labels": {}},
    {"job": "redis", "host": "db1", "address": "10.0.0.7", "port": 9121, "labels": {"redis": "core"}},
    {"job": "streaming", "host": "web1", "address": "10.0.0.3", "port": 4000, "labels": {"port": "4000"}},
    {"job": "streaming", "host": "web1", "address": "10.0.0.3", "port": 4001, "labels": {"port": "4001"}},
    {"job": "blackbox", "host": "edge1", "address": "10.0.0.1", "port": 443, "labels": {}},
    {"job": "prometheus", "host": "watch1", "address": "127.0.0.1", "port": 9090, "labels": {}},
    {"job": "alertmanager", "host": "watch1", "address": "127.0.0.1", "port": 9093, "labels": {}},
]
MADE = {config["job_name"]: config for config in scrape_configs(TARGETS, PROBE)}


def relabelled(name, rules):
    """A metric's name after Prometheus's own relabelling, whose regular expressions are anchored."""
    for rule in rules:
        if match := re.fullmatch(rule["regex"], name):
            name = match.expand(rule["replacement"].replace("$1", r"\1"))
    return name


def test_each_job_is_there_once_in_order():
    names = [config["job_name"] for config in scrape_configs(TARGETS, PROBE)]
    assert names == ["alertmanager", "blackbox", "node", "prometheus", "redis", "streaming"]


def test_the_instance_is_the_name_of_the_host_and_never_an_address():
    static = [(job, one) for job, config in MADE.items() for one in config["static_configs"]]
    assert [(one["targets"], one["labels"]) for job, one in static if job == "node"] == [
        (["10.0.0.3:9100"], {"instance": "web1"}),
        (["[fd00::7]:9100"], {"instance": "db1"}),
    ]
    assert {one["labels"]["instance"] for _job, one in static} == {"web1", "db1", "edge1", "watch1"}


def test_what_is_behind_the_front_is_asked_below_its_path():
    paths = {job: config.get("metrics_path", "/metrics") for job, config in MADE.items()}
    assert paths["prometheus"] == "/prometheus/metrics"
    assert paths["alertmanager"] == "/alertmanager/metrics"
    assert paths["node"] == paths["streaming"] == "/metrics"


def test_an_edge_is_asked_by_its_address_for_the_name_of_the_instance():
    config = MADE["blackbox"]
    assert config["params"] == {"module": ["edge"], "hostname": ["social.example"]}
    asked, whom = config["relabel_configs"]
    assert re.sub("^(.*)$", asked["replacement"].replace("$1", r"\1"), "10.0.0.1:443") == "https://10.0.0.1:443/health"
    assert whom == {"target_label": "__address__", "replacement": "127.0.0.1:9115"}


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("connected_clients", "mastodon_streaming_connected_clients"),
        ("connected_channels", "mastodon_streaming_connected_channels"),
        ("pg_pool_waiting_queries", "mastodon_streaming_pg_pool_waiting_queries"),
        ("redis_messages_received_total", "mastodon_streaming_redis_messages_received_total"),
        ("messages_sent_total", "mastodon_streaming_messages_sent_total"),
        ("nodejs_eventloop_lag_seconds", "nodejs_eventloop_lag_seconds"),
        ("process_resident_memory_bytes", "process_resident_memory_bytes"),
        ("up", "up"),
    ],
)
def test_streaming_says_whose_its_numbers_are(told, kept):
    assert relabelled(told, MADE["streaming"]["metric_relabel_configs"]) == kept
    assert [job for job, config in MADE.items() if "metric_relabel_configs" in config] == ["streaming"]


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "job": st.sampled_from(["node", "redis", "streaming", "blackbox"]),
                "host": st.sampled_from(["a", "b", "c"]),
                "address": st.ip_addresses(v=4).map(str),
                "port": st.integers(1, 65535),
                "labels": st.dictionaries(st.sampled_from(["port", "redis"]), st.sampled_from(["x", "y"])),
            }
        )
    )
)
def test_nothing_is_lost_and_nothing_is_made_up(targets):
    made = [
        (config["job_name"], one["labels"]["instance"], one["targets"][0])
        for config in scrape_configs(targets, PROBE)
        for one in config["static_configs"]
    ]
    given_ = [(it["job"], it["host"], f"{it['address']}:{it['port']}") for it in targets]
    assert sorted(made) == sorted(given_)


def test_a_target_that_lacks_something_is_named():
    with pytest.raises(AnsibleFilterError, match=r"scrape_configs: the target .*web1.* lacks address, port"):
        scrape_configs([{"job": "node", "host": "web1", "address": ""}], PROBE)
    with pytest.raises(AnsibleFilterError, match="path of probe must be text"):
        scrape_configs(TARGETS, {**PROBE, "path": None})
    with pytest.raises(AnsibleFilterError, match="the targets must be a list"):
        scrape_configs("node", PROBE)


def test_the_numbers_of_the_plan_are_recorded_with_their_labels():
    planned = [
        {"name": "fediops_plan_web_workers", "labels": {"instance": "web1"}, "value": 4},
        {"name": "fediops_plan_redis_max_memory_bytes", "labels": {"instance": "db1", "redis": "core"}, "value": 2**31},
    ]
    assert plan_rules(planned) == [
        {"record": "fediops_plan_web_workers", "expr": "vector(4)", "labels": {"instance": "web1"}},
        {
            "record": "fediops_plan_redis_max_memory_bytes",
            "expr": "vector(2147483648)",
            "labels": {"instance": "db1", "redis": "core"},
        },
    ]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        ({"name": "web workers", "value": 4}, "'web workers' is no name of a metric"),
        ({"name": "web_workers", "value": "4"}, "web_workers is '4'; allowed: a number"),
        ({"name": "web_workers", "value": True}, "web_workers is True; allowed: a number"),
        ("web_workers", "a number of the plan must be a mapping"),
    ],
)
def test_what_prometheus_would_refuse_is_refused(number, error):
    with pytest.raises(AnsibleFilterError, match=re.escape(error)):
        plan_rules([number])
