# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that watches: all answer it, it answers whom it knows, and somebody is told of what breaks and mends."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
import time
from urllib.parse import quote

import pytest
from e2e.instance import wait_until
from e2e.ports import listening, scan
from e2e.status.test_status import ROW

PROMETHEUS = "http://127.0.0.1:9090/prometheus"
ALERTMANAGER = "http://127.0.0.1:9093/alertmanager"
FRONT_PORT = 8443
UNITS = ("prometheus.service", "prometheus-alertmanager.service", "prometheus-blackbox-exporter.service")
# Of an alert that fires after 120 s by rule: here after 1.
SCALE = 0.005
IN_HASTE = {
    "metrics_alert_for_scale": SCALE,
    "metrics_alert_group_wait_seconds": 1,
    "metrics_alert_group_interval_seconds": 5,
    "metrics_scrape_interval_seconds": 5,
}
SECONDS, BOOT_SECONDS = 120, 120
NGINX = "nginx.service"
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
# Runs inside the world: the mails that it took.
READ = """
import email, email.policy, json, mailbox
found = []
for name, mail in mailbox.Maildir("/var/mail/sink").items():
    mail = email.message_from_bytes(bytes(mail), policy=email.policy.default)
    found.append([name, f"To: {mail['to']}\\nSubject: {mail['subject']}\\n\\n{mail.get_body(['plain']).get_content()}"])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def watch(instance):
    """The metrics host."""
    (host,) = instance.hosts_of("metrics")
    return host


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


@pytest.fixture(scope="module")
def hasty(deployed):
    """The fleet with alerts that fire within seconds; as before afterwards."""
    run = deployed.site("--tags", "metrics", "-e", json.dumps(IN_HASTE))
    yield run
    deployed.site("--tags", "metrics")


def fetch(watch, url):
    """The JSON that an address answers inside the host."""
    return json.loads(
        watch.output("python3", "-c", f"import urllib.request as it; print(it.urlopen({url!r}).read().decode())")
    )


def query(watch, expression):
    """{instance: value} of an expression of Prometheus."""
    found = fetch(watch, f"{PROMETHEUS}/api/v1/query?query={quote(expression)}")["data"]["result"]
    return {one["metric"].get("instance", ""): float(one["value"][1]) for one in found}


def firing(watch):
    """{(alert, instance)} that Alertmanager would tell of."""
    found = fetch(watch, f"{ALERTMANAGER}/api/v2/alerts?active=true&silenced=false&inhibited=false")
    return {(alert["labels"]["alertname"], alert["labels"].get("instance", "")) for alert in found}


def mails(fleet):
    """{name: text} of all mails that the world took."""
    done = subprocess.run(
        ["docker", "exec", fleet.containers["world"], "python3", "-c", READ], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def about(fleet, before, subject):
    """The first mail with this subject that was not there before."""
    new = (text for name, text in mails(fleet).items() if name not in before)
    return next((text for text in new if f"Subject: {subject}" in text), None)


def test_everything_that_the_plan_names_answers(watch, whole_plan):
    planned = {(it["job"], it["host"], it["port"]) for it in whole_plan["metrics"]["targets"]}

    def up():
        found = fetch(watch, f"{PROMETHEUS}/api/v1/targets")["data"]["activeTargets"]
        silent = {
            (it["labels"]["job"], it["labels"]["instance"]): it["lastError"] for it in found if it["health"] != "up"
        }
        return (len(found) == len(planned), silent) == (True, {}) or None

    wait_until(up, SECONDS, "all targets are up")
    jobs = {job for job, _host, _port in planned}
    assert {"node", "blackbox", "prometheus", "alertmanager"} <= jobs


def test_each_edge_is_tried_as_people_ask_it(watch, instance):
    edges = {host.name for host in instance.hosts_of("nginx")}
    tried = wait_until(lambda: query(watch, "probe_success"), SECONDS, "edges were tried")
    assert tried == dict.fromkeys(edges, 1.0)
    ends = query(watch, "probe_ssl_earliest_cert_expiry")
    assert ends.keys() == edges
    assert min(ends.values()) > time.time()


def test_the_plan_stands_beside_what_was_measured(watch, plan_of, instance):
    (web, *_others) = instance.hosts_of("web")
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


def test_only_the_front_listens_to_others_and_only_to_those_it_knows(watch, instance):
    assert {9090, 9093, 9115, FRONT_PORT} <= listening(watch)
    # Alertmanager's port for neighbours, which it does not have.
    assert 9094 not in listening(watch)
    ports = [9090, 9093, 9094, 9115, FRONT_PORT, 80, 443]
    others = [host for host in instance.hosts.values() if host.name != watch.name]
    for source in (*others, None):
        answers = scan({watch.address: ports}, source)[watch.address]
        alone = "nginx" not in watch.groups
        expected = {port for port in ports if port not in (80, 443) or alone}
        assert {port for port, answer in answers.items() if answer == "silent"} == expected, source


def test_networks_that_are_named_reach_the_front(watch, deployed):
    def asked():
        return scan({watch.address: [FRONT_PORT]})[watch.address][FRONT_PORT]

    only = ("--tags", "base,metrics", "--limit", watch.name)
    here = watch.address.rpartition(".")[0] + ".1"
    closed = asked()
    deployed.site(*only, "-e", json.dumps({"metrics_allowed_cidrs": [f"{here}/32"]}))
    try:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(watch.address, FRONT_PORT, timeout=20, context=context)
        connection.request("GET", "/")
        assert connection.getresponse().status == 401
    finally:
        deployed.site(*only)
    assert asked() == closed


def test_somebody_is_told_of_what_breaks_and_of_what_mends(watch, instance, fleet, hasty):
    assert hasty.recap[watch.name]["failed"] == 0
    edge = instance.hosts_of("nginx")[0]
    alert = ("EdgeNotAnswering", edge.name)
    wait_until(lambda: query(watch, "probe_success").get(edge.name) == 1, SECONDS, "the edge answers")
    before = set(mails(fleet))
    edge.output("systemctl", "stop", NGINX)
    try:
        wait_until(lambda: alert in firing(watch), SECONDS, "the alert fires")
        told = wait_until(lambda: about(fleet, before, "[FIRING critical] EdgeNotAnswering"), SECONDS, "a mail says so")
        assert edge.name in told
        assert "docs/runbooks/EdgeNotAnswering.md" in told
        status = fleet.command("run", "playbooks/status.yml", check=False)
        assert status.status != 0
        assert "The alert EdgeNotAnswering fires" in status.output
        assert dict(ROW.findall(status.output))[edge.name] == "problem"
    finally:
        edge.output("systemctl", "start", NGINX)
    wait_until(lambda: alert not in firing(watch), SECONDS, "the alert ends")
    wait_until(lambda: about(fleet, before, "[RESOLVED] EdgeNotAnswering"), SECONDS, "a mail says that it is over")


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


def test_without_it_everything_else_goes_on(deployed, watch, instance):
    others = {host.name for host in instance.hosts.values()} - {watch.name}
    if not others:
        pytest.skip("it is the only host")
    subprocess.run(["docker", "stop", "--time", "30", watch.container], check=True, capture_output=True)
    try:
        run = deployed.site(check=False)
    finally:
        subprocess.run(["docker", "start", watch.container], check=True, capture_output=True)
        up = ["systemctl", "is-system-running", "--wait"]
        wait_until(lambda: watch.run(*up).stdout.strip() in ("running", "degraded"), BOOT_SECONDS, "watching again")
    assert run.recap[watch.name]["unreachable"] == 1
    assert {name: run.recap[name]["failed"] for name in others} == dict.fromkeys(others, 0)
    assert f"{watch.name} does not answer" in " ".join(run.output.split())
