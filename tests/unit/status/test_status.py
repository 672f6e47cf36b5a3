# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement of a fleet: nothing is said of one that is well, and each thing that is wrong is said once."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.status import Thresholds, fleet_status
from ansible_collections.fediops.mastodon.plugins.plugin_utils.status.hosts import planned_units, puma_state
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
RELEASE, OLD = "v4.6.5-0123456789-abcdef", "v4.6.4-9876543210-abcdef"
HOSTS = ("edge1", "web1", "streaming1", "worker1", "pool1", "db1", "db2", "redis1", "watch1")
GROUPS = {
    "nginx": ["edge1"], "web": ["web1"], "streaming": ["streaming1"], "sidekiq": ["worker1"], "pgbouncer": ["pool1"],
    "postgres": ["db1", "db2"], "postgres_primary": ["db1"], "postgres_replica": ["db2"],
    "redis": ["redis1"], "redis_core": ["redis1"], "metrics": ["watch1"],
}  # fmt: skip
PLAN = from_inventory(
    {
        name: {"vm_vcpus": 4, "vm_memory_mb": 8192, "vm_address": f"10.0.0.{number}"}
        for number, name in enumerate(HOSTS, start=1)
    },
    {"all": list(HOSTS), **GROUPS},
).as_mapping()["hosts"]
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(left_days, life_days=90):
    """A certificate of that life, of which so much is left."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "social.example")])
    ends = NOW + timedelta(days=left_days)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key()).serial_number(1)
        .not_valid_before(ends - timedelta(days=life_days)).not_valid_after(ends).sign(KEY, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(Encoding.PEM).decode()


def puma(*, busy=0, backlog=0, booted=None, workers=PLAN["web1"]["web"]["workers"]):
    """What Puma says of itself; in each worker so many threads are busy, and requests wait."""
    threads = PLAN["web1"]["web"]["threads"]
    each = f"{{ {threads}/{threads} threads, {threads - busy} available, {backlog} backlog }}"
    booted = workers if booted is None else booted
    return f"Puma 6.6.0: cluster: {booted}/{workers}, worker_status: [{','.join([each] * booted)}]"


def unit(**more):
    return {
        "active": "active", "sub": "running", "since_seconds": 86400, "restarts": 0, "result": "success", "text": "",
        "folder": "",
    } | more  # fmt: skip


def reading(name):
    """A host that is well."""
    plan = PLAN[name]
    names = [unit_name.replace("@*", "@17-main") for unit_name in planned_units(plan)]
    application = any(part in plan for part in ("web", "streaming", "sidekiq"))
    told = {
        "hostname": name, "uptime_seconds": 86400, "reboot": None, "packages": {}, "drained": [], "owed": [],
        "certificates": {},
        "release": RELEASE if application or "nginx" in plan else None,
        "filesystems": {"/": {"size_mb": 40960, "free_mb": 30720, "used_percent": 25, "inodes_percent": 3}},
        "units": {one: unit(folder=RELEASE if one.startswith("mastodon-") else "") for one in names},
        "postgres": None, "pgbouncer": None, "redis": None, "sidekiq": None, "alerts": None,
    }  # fmt: skip
    if "web" in plan:
        told["units"]["mastodon-web.service"]["text"] = puma()
    if "nginx" in plan:
        told["certificates"]["/etc/ssl/mastodon/fullchain.pem"] = certificate(60)
    if "pgbouncer" in plan:
        pools = {
            pool["name"]: {"pool_size": pool["pool_size"], "connections": 2, "working": 1, "waiting": 0,
                           "waiting_seconds": 0, "paused": False}
            for pool in plan["pgbouncer"]["pools"]
        }  # fmt: skip
        told["pgbouncer"] = {"pools": pools, "clients": 30}
    if "postgres" in plan:
        primary = plan["postgres"]["role"] == "primary"
        told["postgres"] = {
            "standby": not primary, "version": "17.12", "connections": 40,
            "max_connections": int(plan["postgres"]["settings"]["max_connections"]),
            "replicas": {"db2": {"state": "streaming", "lag_bytes": 0}} if primary else {},
            "slots": {"db2": {"active": True, "wal": "reserved", "kept_mb": 0}} if primary else {},
            "receiving": not primary,
            "replay": None if primary else "not paused", "lag_seconds": None if primary else 0,
        }  # fmt: skip
    if "redis" in plan:
        told["redis"] = {
            "version": "8.0.2", "used_memory": 100 << 20, "maxmemory": 1000 << 20, "connected_clients": 50,
            "maxclients": 1000, "loading": 0, "aof_enabled": 1, "role": "master", "maxmemory_policy": "noeviction",
            "master_link_status": "", "aof_last_write_status": "ok", "rdb_last_bgsave_status": "ok",
        }  # fmt: skip
        told["sidekiq"] = sidekiq()
    if "metrics" in plan["host"]["components"]:
        told["alerts"] = {"firing": []}
    return told


def sidekiq():
    """All planned processes at work, and empty queues."""
    queues = {name: {"size": 0, "latency_seconds": 0.0} for name in
              ("default", "push", "ingress", "mailers", "pull", "scheduler", "fasp")}  # fmt: skip
    processes = [
        {"identity": f"worker1:{number}:abc", "hostname": "worker1", "tag": RELEASE, "concurrency": one["concurrency"],
         "queues": [queue.split(",")[0] for queue in one["queues"]], "busy": 0, "quiet": False, "started_at": 0.0,
         "beat_age_seconds": 3.0}
        for number, one in enumerate(PLAN["worker1"]["sidekiq"]["processes"])
    ]  # fmt: skip
    return {"queues": queues, "processes": processes, "jobs": [], "scheduled": 0, "retries": 0, "dead": 0,
            "processed": 9, "failures": 0}  # fmt: skip


@pytest.fixture
def fleet():
    return copy.deepcopy({name: reading(name) for name in HOSTS})


def judged(fleet, **more):
    return fleet_status(fleet, PLAN, NOW, **more)


def only(fleet, **more):
    """The one finding."""
    status = judged(fleet, **more)
    (finding,) = status["findings"]
    assert status["state"] == finding["severity"]
    assert status["hosts"][finding["host"]]["state"] == finding["severity"]
    assert finding["advice"]
    assert finding["message"] in status["text"]
    assert finding["advice"] in status["text"]
    return finding


def put(fleet, path, value):
    """Set what a path of keys leads to."""
    *way, last = path
    place = fleet
    for key in way:
        place = place[key]
    assert last in place, f"{last} is nothing that is read"
    place[last] = value


def test_nothing_is_said_of_a_fleet_that_is_well(fleet):
    status = judged(fleet)
    assert status["findings"] == []
    assert status["state"] == "ok"
    assert {host["state"] for host in status["hosts"].values()} == {"ok"}
    assert "All is well." in status["text"]


def alert(**more):
    return {
        "name": "DiskLow", "severity": "warning", "instance": "db1", "since": "2026-11-28T11:00:00Z",
        "summary": "db1 has 3 GB left", "runbook": "https://example.org/DiskLow.md",
    } | more  # fmt: skip


class TestAlerts:
    @pytest.mark.parametrize(("severity", "told"), [("warning", "warning"), ("critical", "problem")])
    def test_one_that_fires_is_told_of_on_its_host(self, fleet, severity, told):
        fleet["watch1"]["alerts"]["firing"] = [alert(severity=severity)]
        finding = only(fleet)
        assert (finding["severity"], finding["host"]) == (told, "db1")
        assert "DiskLow fires: db1 has 3 GB left" in finding["message"]
        assert "https://example.org/DiskLow.md" in finding["advice"]
        assert judged(fleet)["alerts"] == fleet["watch1"]["alerts"]["firing"]

    def test_one_of_no_host_is_told_of_by_the_metrics_host(self, fleet):
        fleet["watch1"]["alerts"]["firing"] = [alert(instance="", runbook="")]
        finding = only(fleet)
        assert finding["host"] == "watch1"
        assert "docs/runbooks/DiskLow.md" in finding["advice"]

    def test_alertmanager_that_is_silent_or_missing_is_told_of(self, fleet):
        fleet["watch1"]["alerts"] = {"error": "Connection refused"}
        assert "Alertmanager does not answer: Connection refused" in only(fleet)["message"]
        assert judged(fleet)["alerts"] is None
        fleet["watch1"]["alerts"] = None
        assert "not set up" in only(fleet)["message"]

    def test_without_a_metrics_host_nobody_can_tell(self, fleet):
        del fleet["watch1"]
        assert judged(fleet)["alerts"] is None

    @pytest.mark.parametrize("unit_name", ["prometheus.service", "prometheus-alertmanager.service", "nginx.service"])
    def test_its_units_must_run(self, fleet, unit_name):
        put(fleet, ("watch1", "units", unit_name, "active"), "inactive")
        assert f"{unit_name} is stopped" in only(fleet)["message"]


WEB, SOCKET = ("web1", "units", "mastodon-web.service"), ("web1", "units", "mastodon-web.socket")
POOL = ("pool1", "pgbouncer", "pools", PLAN["pool1"]["pgbouncer"]["pools"][0]["name"])
MAX_CLIENTS = PLAN["pool1"]["pgbouncer"]["max_client_conn"]
MAX_CONNECTIONS = int(PLAN["db1"]["postgres"]["settings"]["max_connections"])
DISK = ("db1", "filesystems", "/")
PROCESS = ("redis1", "sidekiq", "processes", 0)
THREADS = PLAN["web1"]["web"]["threads"]
MB = 1 << 20


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ((*DISK, "used_percent"), (84, 85, 95)),
        ((*DISK, "inodes_percent"), (84, 85, 95)),
        (("pool1", "pgbouncer", "clients"), (MAX_CLIENTS * 79 // 100, MAX_CLIENTS * 8 // 10, MAX_CLIENTS)),
        (("db1", "postgres", "connections"), (MAX_CONNECTIONS * 79 // 100, MAX_CONNECTIONS * 8 // 10, MAX_CONNECTIONS)),
        (("redis1", "redis", "connected_clients"), (799, 800, 950)),
        (("redis1", "redis", "used_memory"), (799 * MB, 800 * MB, 950 * MB)),
        (("redis1", "sidekiq", "queues", "push", "latency_seconds"), (59.0, 60.0, 600.0)),
        (("db2", "postgres", "lag_seconds"), (9, 10, 600)),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value[0], str) else "",
)
def test_a_number_is_judged_by_its_thresholds(fleet, path, values):
    for value, severity in zip(values, (None, "warning", "problem"), strict=True):
        put(fleet, path, value)
        if severity is None:
            assert judged(fleet)["findings"] == []
        else:
            found = only(fleet)
            assert (found["host"], found["severity"]) == (path[0], severity)


@pytest.mark.parametrize(
    ("changes", "severity", "host", "says"),
    [
        ({WEB: unit(active="failed", since_seconds=90)}, "problem", "web1", "has failed since 90 s"),
        ({WEB: unit(active="inactive", since_seconds=7300)}, "problem", "web1", "is stopped since 2 h"),
        ({SOCKET: unit(active="failed", since_seconds=None)}, "problem", "web1", "mastodon-web.socket has failed."),
        # After a failed start Puma listens by itself, and serves.
        ({SOCKET: unit(active="inactive", since_seconds=None)}, "warning", "web1", "listens by itself"),
        ({WEB: unit(active="activating", sub="start", since_seconds=5)}, "warning", "web1", "is starting since 5 s"),
        ({WEB: unit(active="activating", sub="auto-restart", restarts=7)}, "problem", "web1", "started anew 7 times"),
        ({WEB: unit(active="activating", sub="start", restarts=1)}, "problem", "web1", "started anew 1 time."),
        ({WEB: unit(active="deactivating", sub="stop-sigterm")}, "warning", "web1", "is stopping"),
        ({WEB: unit(restarts=2, since_seconds=599)}, "warning", "web1", "ended by itself"),
        ({WEB: unit(folder=OLD)}, "warning", "web1", f"still runs {OLD}"),
        ({(*WEB, "text"): puma(booted=1)}, "warning", "web1", "workers of Puma are up"),
        ({(*POOL, "paused"): True}, "problem", "pool1", "is paused"),
        ({(*POOL, "waiting"): 4, (*POOL, "waiting_seconds"): 1}, "warning", "pool1", "4 clients wait"),
        ({(*POOL, "waiting"): 4, (*POOL, "waiting_seconds"): 10}, "problem", "pool1", "the first for 10 s"),
        ({(*POOL, "pool_size"): 7}, "warning", "pool1", "has 7 connections, and"),
        ({("pool1", "pgbouncer"): {"error": "no answer in time"}}, "problem", "pool1", "does not answer: no answer in"),
        ({("pool1", "pgbouncer"): None}, "problem", "pool1", "not set up"),
        ({("db1", "postgres", "max_connections"): 60}, "warning", "db1", "takes 60 connections, and"),
        ({("db1", "postgres", "standby"): True}, "problem", "db1", "It is a standby"),
        ({("db1", "postgres"): {"error": "gone"}}, "problem", "db1", "PostgreSQL does not answer: gone"),
        ({("db2", "postgres", "replay"): "paused"}, "warning", "db2", "replay is paused"),
        ({("db2", "postgres", "receiving"): False}, "problem", "db2", "receives nothing"),
        ({("db1", "postgres", "replicas"): {}}, "problem", "db1", "its replica db2 does not follow it".capitalize()),
        ({("db1", "postgres", "slots", "db2", "wal"): "lost"}, "problem", "db1", "no longer has what its replica db2"),
        ({("db1", "postgres", "slots", "db2", "wal"): "unreserved"}, "problem", "db1", "will soon no longer have"),
        ({("redis1", "redis", "aof_last_write_status"): "err"}, "problem", "redis1", "takes no writes"),
        ({("redis1", "redis", "rdb_last_bgsave_status"): "err"}, "warning", "redis1", "dump failed"),
        ({("redis1", "redis", "role"): "slave"}, "problem", "redis1", "It is a replica, and"),
        ({("redis1", "redis", "loading"): 1}, "warning", "redis1", "reading its data"),
        ({("redis1", "redis"): {"error": "gone"}}, "problem", "redis1", "Redis does not answer: gone"),
        ({(*PROCESS, "beat_age_seconds"): 30.0}, "warning", "worker1", "told nothing of itself for 30 s"),
        ({("web1", "owed"): ["restart mastodon-web.service"]}, "warning", "web1", "restart mastodon-web.service"),
        ({("web1", "drained"): [3000]}, "warning", "web1", "new connections to 3000 are refused"),
        ({("web1", "reboot"): "/run/reboot-required is there"}, "warning", "web1", "started anew: /run/reboot"),
        ({("web1", "release"): None}, "warning", "web1", "No release is in force here"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_is_said_once(fleet, changes, severity, host, says):
    for path, value in changes.items():
        put(fleet, path, value)
    found = only(fleet)
    assert (found["severity"], found["host"]) == (severity, host)
    assert says in found["message"]


def test_a_restart_of_long_ago_is_forgotten(fleet):
    put(fleet, WEB, unit(restarts=2, since_seconds=600))
    assert judged(fleet)["findings"] == []


def test_a_unit_that_systemd_does_not_know_is_missed(fleet):
    del fleet["web1"]["units"]["mastodon-web.service"]
    assert only(fleet)["message"] == "mastodon-web.service is not there."


@pytest.mark.parametrize(
    ("unit_path", "ports", "severities"),
    [
        (WEB, [PLAN["web1"]["web"]["port"]], {"warning"}),
        (WEB, [1], {"warning", "problem"}),
        (("edge1", "units", "nginx.service"), [80, 443], {"warning"}),
        (("worker1", "units", next(iter(planned_units(PLAN["worker1"])))), [3000], {"warning", "problem"}),
    ],
)
def test_what_is_stopped_where_nobody_is_sent_is_no_problem(fleet, unit_path, ports, severities):
    put(fleet, unit_path, unit(active="inactive"))
    put(fleet, (unit_path[0], "drained"), ports)
    findings = judged(fleet)["findings"]
    assert {found["severity"] for found in findings} == severities
    assert len(findings) == 2


def test_an_exporter_that_is_away_is_a_warning(fleet):
    del fleet["web1"]["units"]["prometheus-node-exporter.service"]
    fleet["web1"]["units"]["mastodon-prometheus-exporter.service"] = unit(active="failed")
    findings = judged(fleet)["findings"]
    assert {found["severity"] for found in findings} == {"warning"}
    assert {found["message"].split()[0] for found in findings} == {
        "prometheus-node-exporter.service",
        "mastodon-prometheus-exporter.service",
    }


def test_a_process_that_is_not_planned_is_noticed(fleet):
    fleet["web1"]["units"]["mastodon-sidekiq@all.service"] = unit(folder=RELEASE)
    found = only(fleet)
    assert (found["severity"], found["component"]) == ("warning", "sidekiq")


def test_whatever_has_failed_is_told(fleet):
    fleet["db1"]["units"]["apt-daily.service"] = unit(active="failed")
    found = only(fleet)
    assert (found["severity"], found["host"], found["component"]) == ("problem", "db1", "host")


@pytest.mark.parametrize(
    ("busy", "backlog", "severity"),
    [(THREADS, 0, None), (THREADS, 1, "warning"), (THREADS, THREADS, "problem"), (THREADS - 1, THREADS, None)],
)
def test_requests_wait_when_all_threads_are_busy(fleet, busy, backlog, severity):
    put(fleet, (*WEB, "text"), puma(busy=busy, backlog=backlog))
    if severity is None:
        assert judged(fleet)["findings"] == []
    else:
        found = only(fleet)
        assert (found["severity"], found["component"]) == (severity, "web")


def test_puma_with_other_workers_than_planned_is_told(fleet):
    put(fleet, (*WEB, "text"), puma(workers=17))
    assert "17 workers" in only(fleet)["message"]


def test_a_pool_that_is_not_there_is_missed(fleet):
    del fleet["pool1"]["pgbouncer"]["pools"][POOL[-1]]
    assert only(fleet)["message"] == f"It has no pool {POOL[-1]}."


def test_a_cache_may_be_full(fleet):
    put(fleet, ("redis1", "redis", "used_memory"), 1000 * MB)
    put(fleet, ("redis1", "redis", "maxmemory_policy"), "allkeys-lfu")
    assert judged(fleet)["findings"] == []


@pytest.mark.parametrize(
    ("left", "life", "severity"),
    [
        (22, 90, None), (21, 90, "warning"), (7, 90, "problem"), (-1, 90, "problem"),
        # Of short ones a quarter, and a tenth, are less than that.
        (12, 45, None), (11, 45, "warning"), (4, 45, "problem"),
        # Long ones are no reason to warn half a year ahead.
        (100, 730, None), (20, 730, "warning"),
    ],
)  # fmt: skip
def test_certificates_are_due_by_their_life(fleet, left, life, severity):
    fleet["edge1"]["certificates"]["/etc/ssl/mastodon/fullchain.pem"] = certificate(left, life)
    if severity is None:
        assert judged(fleet)["findings"] == []
    else:
        assert only(fleet)["severity"] == severity


def test_what_waits_for_nobody_is_told(fleet):
    for process in fleet["redis1"]["sidekiq"]["processes"]:
        process["queues"] = [queue for queue in process["queues"] if queue != "pull"]
    fleet["redis1"]["sidekiq"]["queues"]["pull"] = {"size": 40, "latency_seconds": 7000.0}
    found = only(fleet)
    assert found["severity"] == "problem"
    assert found["message"] == "No process serves pull; jobs that wait: 40 in pull."


def test_a_queue_of_nobodys_counts_when_something_is_in_it(fleet):
    queues = fleet["redis1"]["sidekiq"]["queues"]
    queues["of_a_fork"] = {"size": 0, "latency_seconds": 0.0}
    assert judged(fleet)["findings"] == []
    queues["of_a_fork"]["size"] = 1
    assert "No process serves of_a_fork" in only(fleet)["message"]


def test_quiet_processes_are_told_and_serve_nobody(fleet):
    for process in fleet["redis1"]["sidekiq"]["processes"]:
        process["quiet"] = True
    found = judged(fleet)["findings"]
    assert {(one["severity"], one["host"]) for one in found} == {("problem", "redis1"), ("warning", "worker1")}
    assert "No process serves default, push" in found[0]["message"]
    assert "is quiet" in found[-1]["message"]


def test_a_process_that_runs_and_is_in_no_redis_is_told(fleet):
    gone = fleet["redis1"]["sidekiq"]["processes"].pop()
    # Another serves the same, so that nothing else is wrong.
    fleet["redis1"]["sidekiq"]["processes"][0]["queues"] += gone["queues"]
    found = only(fleet)
    assert (found["severity"], found["host"]) == ("problem", "worker1")
    for one in fleet["worker1"]["units"].values():
        one["since_seconds"] = 20
    assert judged(fleet)["findings"] == []


def test_what_is_kept_for_a_replica_that_is_no_more_is_told(fleet):
    fleet["db1"]["postgres"]["slots"]["db9"] = {"active": False, "wal": "extended", "kept_mb": 900}
    found = only(fleet)
    assert (found["severity"], found["host"]) == ("warning", "db1")
    assert "900 MB for db9" in found["message"]


def test_who_differs_from_most_is_told(fleet):
    fleet["worker1"]["release"] = OLD
    for one in fleet["worker1"]["units"].values():
        one["folder"] = OLD
    found = only(fleet)
    assert (found["host"], found["component"]) == ("worker1", "release")
    assert RELEASE in found["message"]
    assert judged(fleet)["releases"] == {RELEASE: ["edge1", "web1", "streaming1"], OLD: ["worker1"]}


def test_a_silent_host_is_a_row_and_a_problem(fleet):
    del fleet["web1"]
    status = judged(fleet, silent={"web1": "No route to host"})
    (found,) = status["findings"]
    assert found["severity"] == "problem"
    assert found["message"] == "It does not answer: No route to host"
    assert status["hosts"]["web1"] == {"state": "silent"}
    assert any(line.startswith("web1") and "silent" in line for line in status["text"].splitlines())


def test_a_fleet_of_silence_is_told():
    status = judged({}, silent=dict.fromkeys(HOSTS, "gone"))
    assert len(status["findings"]) == len(HOSTS)
    assert status["sidekiq"] is None
    # What is the same everywhere is said once.
    assert status["text"].count("It does not answer: gone") == 1


def test_without_a_plan_what_there_is_is_shown(fleet):
    status = fleet_status(fleet, {}, NOW, refusal="There are two primaries.")
    (found,) = status["findings"]
    assert "There are two primaries." in found["message"]
    assert status["sidekiq"]["queues"]["default"]["size"] == 0
    assert {host["state"] for host in status["hosts"].values()} == {"ok"}


def test_problems_come_first(fleet):
    put(fleet, ("edge1", "owed"), ["reload nginx.service"])
    put(fleet, WEB, unit(active="failed"))
    assert [found["severity"] for found in judged(fleet)["findings"]] == ["problem", "warning"]
    assert judged(fleet)["state"] == "problem"


def test_thresholds_can_be_set(fleet):
    put(fleet, (*DISK, "used_percent"), 50)
    assert only(fleet, thresholds=Thresholds.of({"disk_warning_percent": 50}))["severity"] == "warning"


@pytest.mark.parametrize(
    ("given", "says"),
    [({"disk": 5}, "disk is none of them; there are disk_warning_percent"), ({"lag_warning_seconds": "1"}, "'1'")],
)
def test_thresholds_that_are_none_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        Thresholds.of(given)


def test_a_host_is_told_in_numbers_and_queues_are_told_once(fleet):
    fleet["edge1"] |= {"changed": False, "failed": False}
    hosts = judged(fleet)["hosts"]
    assert hosts["edge1"]["certificates"] == {"/etc/ssl/mastodon/fullchain.pem": 60.0}
    assert not {"changed", "failed"} & hosts["edge1"].keys()
    assert "sidekiq" not in hosts["redis1"]


def test_puma_without_workers_is_understood(fleet):
    reading = {
        "units": {"mastodon-web.service": {"text": "Puma 6.6.0: worker: { 2/5 threads, 4 available, 0 backlog }"}}
    }
    assert puma_state(reading) == {"booted": 1, "workers": 0, "threads": 5, "busy": 1, "backlog": 0}
    assert puma_state({"units": {}}) is None
