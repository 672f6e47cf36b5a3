# SPDX-License-Identifier: GPL-3.0-or-later
"""How a community is lost or silenced by a release, a restart or a lost process, and what prevents it."""

from __future__ import annotations

import json
import re
import struct
import threading
import time
import uuid
import zlib

import pytest
from e2e.client import Client
from e2e.instance import wait_until

POSTGRES = "postgresql@17-main.service"
WEB = "mastodon-web.service"
BACK_SECONDS = 120
# Stands for a converter that a job has started, and tells when it is asked to end.
CONVERTER = """
trap 'touch /var/lib/mastodon/tmp/converter-was-told' TERM
touch /var/lib/mastodon/tmp/converter-runs
while :; do sleep 0.1; done
"""


def show(host, unit, name):
    return host.check_output(f"systemctl show --property {name} --value {unit}")


def sql(host, query, database="mastodon_production"):
    done = host.run("runuser -u postgres -- psql -XAtqc %s %s", query, database)
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def sidekiq_identities(host, fleet):
    """The processes of Sidekiq that say in Redis that they live: {process id: identity}."""
    password = fleet.secrets()["mastodon_redis_password"]
    answer = host.run("REDISCLI_AUTH=%s redis-cli --no-auth-warning --raw smembers processes", password)
    return {identity.split(":")[1]: identity for identity in answer.stdout.split()}


def picture():
    """A PNG of one pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0abc")) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def client(summary):
    return Client.from_summary(summary)


@pytest.fixture
def postgresql_away(host):
    """PostgreSQL is stopped for the time of a test."""
    host.check_output(f"systemctl stop {POSTGRES}")
    yield
    host.check_output(f"systemctl start {POSTGRES}")
    wait_until(lambda: show(host, WEB, "ActiveState") == "active", BACK_SECONDS, "Puma is back")


@pytest.fixture(scope="module")
def attachment(client):
    return client.upload(picture())


@pytest.fixture(scope="class")
def switched(host, run_site, attachment, tmp_path_factory):
    """Another release was put in force, with old ones beside it that nobody needs; one of them holds media."""
    home = "/opt/mastodon/releases"
    for day, name in enumerate(["oldest", "old-with-media", "third"], start=1):
        host.check_output(f"mkdir -p {home}/{name}/public/system && touch -d 2020-01-0{day} {home}/{name}")
    host.check_output(f"echo kept > {home}/old-with-media/public/system/picture")
    patch = tmp_path_factory.mktemp("patches") / "media.patch"
    patch.write_text(
        "diff --git a/public/n b/public/n\nnew file mode 100644\n--- /dev/null\n+++ b/public/n\n@@ -0,0 +1 @@\n+n\n"
    )
    before = host.check_output("readlink /opt/mastodon/current")
    yield run_site("-e", json.dumps({"mastodon_patches": [str(patch)]}))
    host.check_output(f"rm -rf {home}/old-with-media")
    run_site()
    assert host.check_output("readlink /opt/mastodon/current") == before


class TestMediaOutliveReleases:
    """Local media would die with the release that they lie in."""

    def test_picture_lies_outside(self, host, attachment):
        assert host.check_output("find /var/lib/mastodon/system -type f | head -1")
        assert host.check_output("find /opt/mastodon/releases -path '*/public/system/*' -type f") == ""

    def test_picture_is_served_after_a_switch(self, client, switched, attachment):
        assert client.get(attachment["url"]).content == picture()

    def test_release_that_holds_media_is_not_removed(self, host, switched):
        assert host.file("/opt/mastodon/releases/old-with-media/public/system/picture").exists
        assert "old-with-media/public/system holds media" in switched.output

    def test_others_are(self, host, switched):
        left = set(host.check_output("ls /opt/mastodon/releases").split()) - {"old-with-media"}
        assert len(left) == 3
        assert host.file("/opt/mastodon/current").linked_to.rpartition("/")[2] in left
        assert "oldest" not in left


class TestNobodyWaitsForADeadPuma:
    """A socket that is held while no Puma comes lets nginx hang, with neither an error nor the maintenance page."""

    @staticmethod
    def connect(host):
        """Seconds and curl's exit status of a request to Puma itself; 7 is a refused connection."""
        done = host.run(
            "python3 -c %s",
            "import socket,time\nt=time.monotonic()\ns=socket.socket();s.settimeout(5)\n"
            "try:\n s.connect(('127.0.0.1',3000));print('open')\n"
            "except ConnectionRefusedError:\n print('refused')\nprint(time.monotonic()-t)",
        )
        state, seconds = done.stdout.split()
        return state, float(seconds)

    def test_restart_refuses_nobody(self, host, client):
        failures, stop = [], threading.Event()

        def ask():
            own = Client(client.url, client.ca_file, client.token, client.resolve)
            while not stop.is_set():
                answer = own.get("/api/v1/timelines/home?limit=1", timeout=90)
                if answer.status_code != 200:
                    failures.append(answer.status_code)
                time.sleep(0.1)

        threads = [threading.Thread(target=ask) for _number in range(3)]
        for thread in threads:
            thread.start()
        try:
            host.check_output(f"systemctl restart {WEB}")
            time.sleep(2)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failures == []

    def test_stopping_puma_closes_the_socket(self, host, client):
        host.check_output(f"systemctl stop {WEB}")
        try:
            assert self.connect(host)[0] == "refused"
            begun = time.monotonic()
            assert client.get("/api/v1/timelines/home").status_code == 503
            assert time.monotonic() - begun < 2
        finally:
            host.check_output(f"systemctl start {WEB}")
        assert client.get("/api/v1/timelines/home").status_code == 200

    def test_failed_start_closes_the_socket_and_heals_alone(self, host, client, postgresql_away):
        host.check_output(f"systemctl restart --no-block {WEB}")
        wait_until(lambda: self.connect(host)[0] == "refused", 60, "the socket is closed")
        for _attempt in range(15):
            state, seconds = self.connect(host)
            assert (state, seconds < 1) == ("refused", True)
            begun = time.monotonic()
            assert client.get("/api/v1/timelines/home").status_code == 503
            assert time.monotonic() - begun < 2
            time.sleep(1)
        host.check_output(f"systemctl start {POSTGRES}")
        wait_until(
            lambda: client.get("/api/v1/timelines/home").status_code == 200, BACK_SECONDS, "the home timeline is back"
        )

    def test_run_after_that_has_nothing_to_do(self, run_site):
        assert run_site().changed == []

    def test_next_restart_gives_the_socket_back_to_systemd(self, host):
        host.check_output(f"systemctl restart {WEB}")
        assert show(host, "mastodon-web.socket", "ActiveState") == "active"


class TestDataIsNeverInitialised:
    """The schema is loaded where there is none, and nowhere else."""

    def test_role_owns_its_database_and_nothing_more(self, host):
        rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        assert sql(host, f"SELECT {rights} FROM pg_roles WHERE rolname = 'mastodon'") == "f|f|f|f|f"
        foreign = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner != 'mastodon'"
        assert sql(host, foreign) == ""

    def test_host_that_forgot_its_release_keeps_the_data(self, host, client, run_site):
        status = client.post(f"Before the record was lost {uuid.uuid4()}")
        # A table that was made anew has another oid.
        tables = "SELECT oid FROM pg_class WHERE relkind = 'r' AND relowner = 'mastodon'::regrole ORDER BY oid"
        before = sql(host, tables)
        host.check_output("mv /var/lib/fediops/release.json /run/release.json")

        run = run_site()

        assert [task for task, _host in run.changed if "schema" in task] == []
        assert sql(host, tables) == before
        assert client.get(f"/api/v1/statuses/{status['id']}").json()["content"] == status["content"]
        assert host.file("/var/lib/fediops/release.json").content == host.file("/run/release.json").content

    def test_schema_is_not_loaded_over_data_by_hand_either(self, host, client):
        status = client.post(f"Before somebody tried {uuid.uuid4()}")
        done = host.run(
            "cd /opt/mastodon/current && runuser -u mastodon -- env RAILS_ENV=production "
            "PATH=/opt/mastodon/current/.runtime/bin:/usr/bin:/bin bundle exec rails db:schema:load"
        )
        assert done.rc != 0
        assert "ProtectedEnvironmentError" in done.stderr
        assert client.get(f"/api/v1/statuses/{status['id']}").status_code == 200


class TestProcesses:
    def test_ruby_allocates_with_jemalloc(self, host):
        pids = host.check_output("pgrep -u mastodon -f '^puma|^sidekiq'").split()
        assert len(pids) >= 2
        assert [pid for pid in pids if host.run(f"grep -q jemalloc /proc/{pid}/maps").rc] == []

    def test_no_process_carries_a_secret_in_its_environment_or_command_line(self, host, fleet):
        pids = host.check_output("pgrep -u mastodon").split()
        public = {"mastodon_vapid_public_key", "mastodon_ca_certificate"}
        secrets = [str(value) for name, value in fleet.secrets().items() if name not in public]
        for pid in pids:
            seen = host.run(f"tr '\\0' '\\n' < /proc/{pid}/environ; tr '\\0' ' ' < /proc/{pid}/cmdline").stdout
            assert [secret for secret in secrets if secret in seen] == []


class TestUnitsComeBack:
    """Puma and Sidekiq end with 1 while PostgreSQL is away, streaming with 0 when it crashes."""

    def test_streaming_that_ended_as_if_all_were_well(self, host, plan):
        port = plan["streaming"]["processes"][0]["port"]
        unit = f"mastodon-streaming@{port}.service"
        before = show(host, unit, "MainPID")
        host.check_output(f"kill -TERM {before}")
        wait_until(lambda: show(host, unit, "MainPID") not in ("0", before), 30, "another process")
        assert show(host, unit, "Result") == "success"

    def test_sidekiq_that_was_started_without_postgresql(self, host, fleet, plan, postgresql_away):
        name = plan["sidekiq"]["processes"][0]["name"]
        unit = f"mastodon-sidekiq@{name}.service"
        host.check_output(f"systemctl restart --no-block {unit}")
        begun = int(show(host, unit, "NRestarts"))
        wait_until(lambda: int(show(host, unit, "NRestarts")) >= begun + 2, 120, "it was tried twice again")
        assert show(host, unit, "ActiveState") != "failed"
        host.check_output(f"systemctl start {POSTGRES}")
        wait_until(lambda: show(host, unit, "ActiveState") == "active", BACK_SECONDS, "Sidekiq is back")
        wait_until(lambda: show(host, unit, "MainPID") in sidekiq_identities(host, fleet), 30, "it says so in Redis")

    @pytest.fixture
    def sidekiq_with_converter(self, host, plan):
        """A unit of Sidekiq which, until it is restarted twice, has another process beside it."""
        unit = f"mastodon-sidekiq@{plan['sidekiq']['processes'][0]['name']}.service"
        extra = f"/run/systemd/system/{unit}.d"
        host.check_output("printf %s > /run/converter.sh", CONVERTER)
        host.check_output(f"mkdir -p {extra} && printf %s > {extra}/converter.conf",
                          '[Service]\nExecStartPost=/bin/sh -c "setsid sh /run/converter.sh &"\n')  # fmt: skip
        host.check_output(f"systemctl daemon-reload && systemctl restart {unit}")
        wait_until(lambda: host.file("/var/lib/mastodon/tmp/converter-runs").exists, 10, "the converter runs")
        host.check_output(f"rm -r {extra} && systemctl daemon-reload")
        yield unit
        host.check_output("rm -f /run/converter.sh /var/lib/mastodon/tmp/converter-*")

    def test_converter_is_not_told_to_stop_before_its_sidekiq(self, host, sidekiq_with_converter):
        host.check_output(f"systemctl restart {sidekiq_with_converter}")
        assert not host.file("/var/lib/mastodon/tmp/converter-was-told").exists

    @pytest.mark.parametrize("pattern", [WEB, "mastodon-streaming@*.service", "mastodon-sidekiq@*.service"])
    def test_nothing_gives_up(self, host, pattern):
        units = host.check_output(f"systemctl list-units --plain --no-legend '{pattern}'").splitlines()
        assert units
        for unit in (line.split()[0] for line in units):
            assert show(host, unit, "KillMode") == "mixed"
            assert show(host, unit, "Restart") == "always"
            assert show(host, unit, "StartLimitIntervalUSec") == "0"
            assert re.fullmatch(r"[1-9]\d*s", show(host, unit, "RestartUSec"))

    @pytest.mark.parametrize("unit", ["mastodon-web.service", "mastodon-streaming@4000.service"])
    def test_is_locked_in(self, host, unit):
        verdict = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -1")
        assert float(re.search(r": ([\d.]+) ", verdict)[1]) <= 1.5
