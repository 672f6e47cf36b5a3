# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that watches: all answer it, it answers whom it knows, and somebody is told of what breaks and mends."""

from __future__ import annotations

import base64
import json
import time

import pytest
from e2e.instance import wait_until
from e2e.ports import listening, scan
from e2e.starts import restarted

from . import faults
from .watching import ALERTMANAGER, FRONT_PORT, PROMETHEUS, SECONDS, all_targets_up, fetch, mail_with, mails, query

UNITS = ("prometheus.service", "prometheus-alertmanager.service", "prometheus-blackbox-exporter.service")
# Runs inside a host: an answer over TLS, verified by the authority of the fleet.
ASK = """
import http.client, json, ssl, sys
address, port, path, headers = json.loads(sys.stdin.read())
context = ssl.create_default_context(cafile="/etc/ssl/mastodon/ca.pem")
connection = http.client.HTTPSConnection(address, port, timeout=20, context=context)
connection.request("GET", path, headers=headers)
answer = connection.getresponse()
print(json.dumps([answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace")]))
"""


@pytest.fixture(scope="module")
def front(watch, fleet):
    """Ask the front from its own host: (status, headers, body)."""
    password = fleet.secrets()["mastodon_metrics_password"]

    def ask(path, user="admin", password=password):
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}"} if user else {}
        said = watch.output("python3", "-c", ASK, stdin=json.dumps([watch.address, FRONT_PORT, path, headers]))
        return json.loads(said)

    return ask


class TestItComes:
    """Whoever has no metrics host adds one to the inventory and runs site.yml again."""

    @pytest.fixture
    def came(self, arrived):
        """What was seen of that."""
        return arrived or pytest.skip("this fleet had one from the beginning")

    def test_nobody_notices(self, came):
        # A stream is opened again when its process is restarted.
        assert [it for it in came["load"].sent if it.wrong and it.kind != "stream"] == []

    def test_only_what_reports_by_itself_is_restarted(self, came):
        units = {
            unit.split(" of ")[0].split("@")[0].removesuffix(".service")
            for unit in restarted(came["before"], came["after"])
        }
        assert units <= {"mastodon-web", "mastodon-sidekiq"}

    def test_another_run_changes_nothing(self, came, deployed):
        assert deployed.site().changed == []


def test_everything_that_the_plan_names_answers(watch, whole_plan):
    planned = {(it["job"], it["host"], it["port"]) for it in whole_plan["metrics"]["targets"]}

    all_targets_up(watch, whole_plan)
    jobs = {job for job, _host, _port in planned}
    assert {"node", "blackbox", "prometheus", "alertmanager"} <= jobs


def test_each_edge_is_tried_as_people_ask_it(watch, watched):
    edges = {host.name for host in watched.hosts_of("nginx")}
    tried = wait_until(lambda: query(watch, "probe_success"), SECONDS, "edges were tried")
    assert tried == dict.fromkeys(edges, 1.0)
    ends = query(watch, "probe_ssl_earliest_cert_expiry")
    assert ends.keys() == edges
    assert min(ends.values()) > time.time()


def test_the_plan_stands_beside_what_was_measured(watch, plan_of, watched):
    (web, *_others) = watched.hosts_of("web")
    wanted = plan_of(web.name)["web"]
    found = wait_until(lambda: query(watch, "fediops_plan_web_workers"), SECONDS, "the rules were looked at")
    assert found[web.name] == wanted["workers"]
    assert query(watch, "fediops_plan_web_threads")[web.name] == max(1, wanted["workers"]) * wanted["threads"]


def test_the_disk_cannot_fill(watch):
    flags = fetch(watch, f"{PROMETHEUS}/api/v1/status/flags")["data"]
    size_gb = int(flags["storage.tsdb.retention.size"].removesuffix("GiB"))
    blocks, size = watch.output("stat", "--file-system", "--format", "%b %S", "/var/lib/prometheus").split()
    assert 1 <= size_gb <= max(1, int(blocks) * int(size) * 0.2 / 2**30)
    assert flags["storage.tsdb.retention.time"] not in ("0s", "")


def test_nobody_is_let_in_without_the_password(front):
    for path in ("/", "/prometheus/graph", "/prometheus/api/v1/query?query=up", "/alertmanager/api/v2/alerts"):
        for user, password in ((None, ""), ("admin", "wrong"), ("owner", "wrong")):
            status, headers, _body = front(path, user, password)
            assert (status, "WWW-Authenticate" in headers) == (401, True), path


def test_whoever_has_the_password_sees_both(front):
    status, _headers, body = front("/prometheus/api/v1/query?query=up")
    assert (status, json.loads(body)["status"]) == (200, "success")
    status, _headers, body = front("/alertmanager/api/v2/status")
    assert (status, json.loads(body)["cluster"]["status"]) == (200, "disabled")


def test_no_secret_is_for_everybody_on_the_host(watch, fleet):
    for path in ("/etc/nginx/metrics_password", "/etc/prometheus/alertmanager.yml"):
        assert watch.output("stat", "--format", "%a", path) == "640"
        assert watch.run("runuser", "-u", "nobody", "--", "cat", path).status != 0
    password = fleet.secrets()["mastodon_metrics_password"]
    assert watch.run("grep", "-rF", password, "/etc").status == 1
    processes = watch.output("ps", "axww", "-o", "args")
    assert "prometheus" in processes
    assert password not in processes


def test_only_the_front_listens_to_others_and_only_to_those_it_knows(watch, watched):
    assert {9090, 9093, 9115, FRONT_PORT} <= listening(watch)
    # Alertmanager's port for neighbours, which it does not have.
    assert 9094 not in listening(watch)
    ports = [9090, 9093, 9094, 9115, FRONT_PORT, 80, 443]
    others = [host for host in watched.hosts.values() if host.name != watch.name]
    for source in (*others, None):
        answers = scan({watch.address: ports}, source)[watch.address]
        alone = "nginx" not in watch.groups
        expected = {port for port in ports if port not in (80, 443) or alone}
        assert {port for port, answer in answers.items() if answer == "silent"} == expected, source


def test_a_mail_comes_of_what_somebody_adds_to_try_it(watch, fleet):
    """As docs/runbooks/NotificationsFail.md says."""
    before = set(mails(fleet))
    watch.output("amtool", f"--alertmanager.url={ALERTMANAGER}", "alert", "add", "test", "severity=warning")
    wait_until(lambda: mail_with(fleet, before, "Subject: [FIRING warning] test"), SECONDS, "a mail")


def test_a_part_of_it_that_fails_comes_back_by_itself(watch):
    before = watch.processes(*UNITS)
    assert before.keys() == set(UNITS)
    for unit in UNITS:
        watch.output("systemctl", "kill", "--signal=KILL", unit)
    wait_until(lambda: watch.active(*UNITS) == sorted(UNITS), SECONDS, "all of them run again")
    assert not set(watch.processes(*UNITS).values()) & set(before.values())


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"metrics_retention_size_gb": 99999}, ["metrics_retention_size_gb is 99999", "at most"]),
        ({"metrics_alert_email": ""}, ["No alert would reach anybody"]),
        ({"metrics_allowed_cidrs": ["office"]}, ["metrics_allowed_cidrs has 'office'"]),
        ({"metrics_retention_days": "long"}, ["metrics_retention_days", "int"]),
    ],
)
def test_what_cannot_work_is_refused_and_changes_nothing(deployed, watch, variables, words):
    run = deployed.site("--tags", "metrics", "-e", json.dumps(variables), check=False)
    said = " ".join(run.output.split())
    assert run.recap[watch.name]["failed"] == 1
    assert run.changed == []
    assert [word for word in words if word not in said] == []


def test_without_it_everything_else_goes_on(deployed, watch, watched):
    others = {host.name for host in watched.hosts.values()} - {watch.name}
    if not others:
        pytest.skip("it is the only host")
    with faults.away(watch):
        run = deployed.site(check=False)
    assert run.recap[watch.name]["unreachable"] == 1
    assert {name: run.recap[name]["failed"] for name in others} == dict.fromkeys(others, 0)
    assert f"{watch.name} does not answer" in " ".join(run.output.split())
