# SPDX-License-Identifier: GPL-3.0-or-later
"""From every host to every other, and from outside: what the plan names answers, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from e2e.ports import listening, scan

SSH = 22
# Ports of programs that nobody asked for here.
STRANGE = {21, 25, 111, 8080, 9090, 9100, 11211}


@pytest.fixture(scope="module")
def flows(whole_plan):
    return whole_plan["flows"]


@pytest.fixture(scope="module")
def asked(instance, flows):
    """All ports of the plan, all on which something listens anywhere, and some more; of every host all are asked."""
    there = set().union(*map(listening, instance.hosts.values()))
    return there | {flow["port"] for flow in flows} | STRANGE


@pytest.fixture(scope="module")
def answers(instance, asked):
    """{source: {target: {port: answer}}} for every two hosts; the source None is this machine."""

    def ask(source):
        targets = {host.address: asked for host in instance.hosts.values() if host is not source}
        names = {host.address: host.name for host in instance.hosts.values()}
        return {names[address]: found for address, found in scan(targets, source).items()}

    sources = [*instance.hosts.values(), None]
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(ask, sources)
    return {source and source.name: answer for source, answer in zip(sources, found, strict=True)}


def planned(flows, source, target):
    """The ports of a host that another may reach; the world may come from anywhere, and SSH too."""
    coming = {"world", *([source] if source else [])}
    return {flow["port"] for flow in flows if flow["to"] == target and flow["from"] in coming} | {SSH}


def differences(answers, flows, wrong):
    """What is not as planned: "source -> target:port answer"."""
    return [
        f"{source or 'outside'} -> {target}:{port} {answer}"
        for source, targets in answers.items()
        for target, ports in targets.items()
        for port, answer in sorted(ports.items())
        if wrong(answer, port in planned(flows, source, target))
    ]


def test_everybody_was_asked(answers, instance):
    hosts = set(instance.hosts)
    assert {source: set(targets) for source, targets in answers.items()} == {
        source: hosts - {source} for source in [*hosts, None]
    }


def test_what_the_plan_names_answers(answers, flows):
    assert differences(answers, flows, lambda answer, named: named and answer != "open") == []


def test_nothing_else_answers_not_even_by_a_refusal(answers, flows):
    assert differences(answers, flows, lambda answer, named: not named and answer != "silent") == []


def test_what_is_hidden_is_there(instance, answers):
    # A scan would be as content with hosts on which nothing runs.
    for group, port in {"postgres_primary": 5432, "redis_core": 6379, "web": 3000, "pgbouncer": 6432}.items():
        (host, *_others) = instance.hosts_of(group)
        assert port in listening(host)
        assert answers[None][host.name][port] == "silent"
