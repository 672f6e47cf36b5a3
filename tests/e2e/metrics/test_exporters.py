# SPDX-License-Identifier: GPL-3.0-or-later
"""What every host tells the metrics host: the truth, to nobody else, and at nobody's cost."""

from __future__ import annotations

import json
import re
import time
from collections import Counter

import pytest
from e2e.instance import wait_until
from e2e.ports import scan

QUEUES = {"default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"}
NOT_OURS = ("getty", "systemd-logind", "systemd-journald", "dev-", "user")
EXPORTERS = ("node", "postgres", "pgbouncer", "redis", "nginx", "mastodon")
# Puma and Sidekiq report every half minute, and after a restart they load for a while.
REPORT_SECONDS, BACK_SECONDS, TEXTFILE_SECONDS = 90, 30, 60
# Runs inside the metrics host: what Prometheus would be told.
ASK = """
import json, sys, urllib.request
print(urllib.request.urlopen(json.loads(sys.stdin.read()), timeout=20).read().decode())
"""
LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@pytest.fixture(scope="module")
def targets(whole_plan):
    """All that runs beside what it tells of: [{job, host, address, port, labels}]."""
    return [target for target in whole_plan["metrics"]["targets"] if target["job"] in (*EXPORTERS, "streaming")]


@pytest.fixture(scope="module")
def told(watch, targets):
    """What a job of a host tells: {(name, label, value, label, value ..): number}."""

    def told(job, host):
        found = {}
        for target in targets:
            if (target["job"], target["host"]) == (job, host):
                scheme = target["labels"].get("__scheme__", "http")
                url = f"{scheme}://{target['address']}:{target['port']}/metrics"
                # Of one that is away there is nothing to be found.
                for line in watch.run("python3", "-c", ASK, stdin=json.dumps(url)).stdout.splitlines():
                    if not line.startswith("#") and (match := LINE.match(line)):
                        labels = sorted(LABEL.findall(match[2] or ""))
                        found[(match[1], *(word for pair in labels for word in pair))] = float(match[3])
        return found

    return told


@pytest.fixture(scope="module")
def hosts_with(targets):
    """The names of the hosts that a job asks."""
    return lambda job: sorted({target["host"] for target in targets if target["job"] == job})


@pytest.fixture(scope="module")
def queue_host(whole_plan):
    """The host of the Redis that holds the jobs."""
    roles = {plan["redis"]["role"]: name for name, plan in whole_plan["hosts"].items() if "redis" in plan}
    return roles.get("sidekiq", roles["core"])


class TestTheTruth:
    @pytest.mark.parametrize(
        ("job", "name", "value"),
        [
            ("postgres", "pg_up", 1),
            ("pgbouncer", "pgbouncer_up", 1),
            ("redis", "redis_up", 1),
            ("nginx", "nginx_up", 1),
        ],
    )
    def test_what_is_asked_answers(self, told, hosts_with, job, name, value):
        found = {host: told(job, host)[(name,)] for host in hosts_with(job)}
        assert found == dict.fromkeys(hosts_with(job), value)

    def test_units_of_the_collection_are_told_and_no_others(self, told, hosts_with, whole_plan):
        for host in hosts_with("node"):
            found = told("node", host)
            states = {
                (labels["name"], labels["state"]): value
                for (one, *words), value in found.items()
                if one == "node_systemd_unit_state" and (labels := dict(zip(words[::2], words[1::2], strict=True)))
            }
            assert states["prometheus-node-exporter.service", "active"] == 1
            names = {name for name, _state in states}
            assert not [
                name
                for name in names
                if name.startswith(("getty", "systemd-logind", "systemd-journald", "dev-", "user"))
            ]
            if "web" in whole_plan["hosts"][host]:
                assert "mastodon-web.service" in names

    def test_database(self, told, hosts_with, plan_of):
        for host in hosts_with("postgres"):
            found = told("postgres", host)
            names = {name for name, *_labels in found}
            assert {
                "pg_stat_activity_count", "pg_database_size_bytes", "pg_replication_lag_seconds",
                "pg_stat_user_tables_last_autovacuum", "pg_stat_archiver_failed_count",
                "pg_database_wraparound_age_datfrozenxid_seconds",
            } <= names  # fmt: skip
            (most,) = (value for (name, *_labels), value in found.items() if name == "pg_settings_max_connections")
            assert most == plan_of(host)["postgres"]["settings"]["max_connections"]

    def test_puma_is_as_large_as_planned(self, told, hosts_with, plan_of):
        for host in hosts_with("mastodon"):
            planned = plan_of(host).get("web", {"workers": 0})
            if planned["workers"]:
                found = wait_until(
                    lambda host=host: _puma(told("mastodon", host)), REPORT_SECONDS, f"Puma of {host} reports"
                )
                assert found["puma_workers"] == planned["workers"]
                assert found["puma_max_threads"] == planned["workers"] * planned["threads"]

    def test_sidekiq_is_as_large_as_planned(self, told, hosts_with, plan_of):
        for host in hosts_with("mastodon"):
            processes = plan_of(host).get("sidekiq", {"processes": []})["processes"]

            def threads(host=host):
                found = told("mastodon", host)
                return [
                    value for (name, *_labels), value in found.items() if name == "mastodon_sidekiq_process_concurrency"
                ]

            planned = sorted(process["concurrency"] for process in processes)
            wait_until(
                lambda wanted=planned: sorted(threads()) == wanted,
                REPORT_SECONDS,
                f"Sidekiq of {host} has {planned} threads",
            )

    def test_every_queue_has_numbers_and_somebody_who_listens(self, told, queue_host, whole_plan):
        served = Counter(
            entry.split(",")[0]
            for plan in whole_plan["hosts"].values()
            for process in plan.get("sidekiq", {"processes": []})["processes"]
            for entry in process["queues"]
        )

        def consumers():
            found = told("node", queue_host)
            names = ("size", "latency_seconds", "consumers")
            by_name = {
                name: {
                    labels[1]: value
                    for (one, *labels), value in found.items()
                    if one == f"fediops_sidekiq_queue_{name}"
                }
                for name in names
            }
            assert all(set(numbers) >= QUEUES for numbers in by_name.values())
            assert time.time() - found[("fediops_sidekiq_state_seconds",)] < TEXTFILE_SECONDS
            return by_name["consumers"]

        wait_until(lambda: consumers() == dict(served), REPORT_SECONDS, f"those who listen are {dict(served)}")

    def test_certificates_are_those_on_disk(self, told, watched):
        for host in watched.hosts_of("nginx"):
            found = told("node", host.name)
            path = "/etc/ssl/mastodon/fullchain.pem"
            said = host.shell(f'date --date="$(openssl x509 -noout -enddate -in {path} | cut -d= -f2)" +%s')
            assert found["fediops_certificate_expires_seconds", "path", path] == float(said)

    def test_streaming_has_its_own(self, told, hosts_with):
        for host in hosts_with("streaming"):
            assert {name for name, *_labels in told("streaming", host)} >= {
                "connected_clients",
                "pg_pool_waiting_queries",
            }


def _puma(found):
    return {
        name.removeprefix("mastodon_"): value
        for (name, *_labels), value in found.items()
        if name.startswith("mastodon_puma_")
    }


class TestToNobodyElse:
    def test_only_the_metrics_host_is_let_in(self, watched, watch, targets):
        ports = {}
        for target in targets:
            if target["job"] in EXPORTERS:
                ports.setdefault(target["address"], set()).add(target["port"])
        # From this machine, and from every other host; a host reaches itself.
        for source in (None, *watched.hosts.values()):
            others = {address: some for address, some in ports.items() if source is None or address != source.address}
            answers = {answer for found in scan(others, source).values() for answer in found.values()}
            assert answers <= ({"open"} if source and source.name == watch.name else {"silent"}), source

    def test_no_password_is_seen(self, watched, fleet):
        secrets = {fleet.secrets()[f"mastodon_{name}_password"] for name in ("redis", "postgres")}
        for host in watched.hosts.values():
            seen = host.shell("ps -eo args; cat /etc/systemd/system/*exporter*; ls -lR /etc/fediops/exporters")
            assert not [secret for secret in secrets if secret in seen]
            assert host.run("runuser", "-u", "mastodon", "--", "ls", "/etc/fediops/exporters").status != 0
            assert host.run("runuser", "-u", "prometheus", "--", "ls", "/etc/fediops/exporters").status != 0

    def test_the_role_of_the_exporter_reads_no_rows(self, watched):
        (primary,) = watched.hosts_of("postgres_primary")
        psql = ["runuser", "-u", "prometheus", "--", "psql", "-d", "mastodon_production", "-c"]
        assert primary.run(*psql, "SELECT count(*) FROM pg_stat_activity").status == 0
        assert "permission denied" in primary.run(*psql, "SELECT * FROM users LIMIT 1").stderr


class TestAtNobodysCost:
    def test_each_is_confined(self, watched, targets):
        for host in watched.hosts.values():
            units = [
                "mastodon-prometheus-exporter"
                if target["job"] == "mastodon"
                else f"prometheus-{target['job']}-exporter"
                for target in targets
                if target["host"] == host.name and target["job"] in EXPORTERS
            ]
            for unit in units:
                said = host.output("systemctl", "show", "--property=User,MemoryMax,Restart,NoNewPrivileges", unit)
                about = dict(line.split("=", 1) for line in said.splitlines())
                assert about["User"] in ("prometheus", "mastodon")
                assert int(about["MemoryMax"]) <= 300 * 1024 * 1024
                assert (about["Restart"], about["NoNewPrivileges"]) == ("always", "yes")

    def test_one_that_is_killed_is_back(self, watched, told, hosts_with):
        host = watched.hosts[hosts_with("redis")[0]]
        unit = "prometheus-redis-exporter.service"
        killed = host.output("systemctl", "show", "--value", "--property=MainPID", unit)
        host.output("systemctl", "kill", "--signal=KILL", unit)

        def another():
            return host.output("systemctl", "show", "--value", "--property=MainPID", unit) not in ("0", killed)

        wait_until(another, BACK_SECONDS, "the exporter of Redis is there again")
        wait_until(lambda: told("redis", host.name).get(("redis_up",)) == 1, BACK_SECONDS, "and asks Redis again")

    def test_numbers_of_queues_that_nobody_knows_vanish(self, watched, told, queue_host):
        host = watched.hosts[queue_host]
        host.output("systemctl", "stop", "redis-server.service")
        try:
            wait_until(
                lambda: told("redis", host.name).get(("redis_up",)) == 0, BACK_SECONDS, "Redis is told to be away"
            )

            def vanished():
                found = told("node", host.name)
                return found and not [name for name, *_labels in found if name.startswith("fediops_sidekiq_")]

            wait_until(vanished, TEXTFILE_SECONDS, "no number of a queue")
        finally:
            host.output("systemctl", "start", "redis-server.service")
        wait_until(
            lambda: ("fediops_sidekiq_queue_size", "queue", "push") in told("node", host.name),
            TEXTFILE_SECONDS,
            "numbers of queues again",
        )
