# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module status makes of the answers that it gets, and what it does without one."""

from __future__ import annotations

import os

import pytest
from ansible_collections.fediops.mastodon.plugins.modules import status

# As PgBouncer 1.24 on Debian 13 answered, with shorter lines.
ANSWERS = f"""database,user,cl_active,cl_waiting,sv_active,sv_idle,maxwait
mastodon_production,mastodon,30,4,20,0,7
mastodon_production,mastodon_reader,1,1,1,0,2
mastodon_production_read,mastodon,0,0,0,0,0
pgbouncer,pgbouncer,1,0,0,0,0
{status.BREAK}
name,host,port,database,pool_size,current_connections,paused,disabled
mastodon_production,10.0.0.6,5432,mastodon_production,20,21,0,0
mastodon_production_read,10.0.0.7,5432,mastodon_production,20,0,1,0
pgbouncer,,6432,pgbouncer,2,0,0,0
{status.BREAK}
list,items
databases,3
used_clients,36
"""
INFO = "# Server\r\nredis_version:8.0.2\r\n# Memory\r\nused_memory:1872216\r\nmaxmemory:482344960\r\nrole:master\r\n"


class Module:
    """run_command as AnsibleModule has it; answers by the program that is called."""

    def __init__(self, **answers):
        self.answers, self.params, self.calls = answers, {"timeout_seconds": 3}, []

    def run_command(self, argv, **_more):
        self.calls.append(argv)
        return self.answers[argv[0].replace("-", "_")]


def test_pools_are_read_by_database():
    told = status.pools(ANSWERS)
    assert told["clients"] == 36
    assert told["pools"] == {
        "mastodon_production": {
            "pool_size": 20, "connections": 21, "working": 21, "waiting": 5, "waiting_seconds": 7, "paused": False,
        },
        "mastodon_production_read": {
            "pool_size": 20, "connections": 0, "working": 0, "waiting": 0, "waiting_seconds": 0, "paused": True,
        },
    }  # fmt: skip


def test_alerts_are_told_oldest_first():
    young = {"labels": {"alertname": "DiskLow", "severity": "warning", "instance": "db1"}, "annotations": {},
             "startsAt": "2026-11-28T12:00:00Z"}  # fmt: skip
    old = {"labels": {"alertname": "QueueLate"}, "annotations": {"summary": "push waits", "runbook": "https://x/y.md"},
           "startsAt": "2026-11-28T11:00:00Z"}  # fmt: skip
    told = status.firing([young, old])["firing"]
    assert [(it["name"], it["severity"], it["instance"]) for it in told] == [
        ("QueueLate", "warning", ""), ("DiskLow", "warning", "db1"),
    ]  # fmt: skip
    assert (told[0]["summary"], told[0]["runbook"], told[1]["summary"]) == ("push waits", "https://x/y.md", "")


def test_what_redis_does_not_tell_is_nothing():
    told = status.information(INFO)
    assert (told["version"], told["used_memory"], told["maxmemory"], told["role"]) == (
        "8.0.2", 1872216, 482344960, "master",
    )  # fmt: skip
    assert (told["loading"], told["master_link_status"]) == (0, "")


def test_units_are_those_that_systemd_knows():
    failed = "apt-daily.service loaded failed failed Daily apt download\n"
    shown = (
        "Id=nginx.service\nLoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=2\nResult=success\n"
        f"StatusText=a=b\nMainPID={os.getpid()}\nStateChangeTimestampMonotonic=1000000\n\n"
        "Id=redis-server.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n\n"
        "Id=apt-daily.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n"
    )

    class Systemd(Module):
        def run_command(self, argv, **_more):
            self.calls.append(argv)
            return (0, failed if argv[1] == "list-units" else shown, "")

    module = Systemd()
    found = status.units(module, ["redis-server.service"])
    assert sorted(found) == ["apt-daily.service", "nginx.service"]
    assert module.calls[-1][-2:] == ["apt-daily.service", "redis-server.service"]
    nginx = found["nginx.service"]
    assert (nginx["active"], nginx["restarts"], nginx["text"]) == ("active", 2, "a=b")
    assert nginx["folder"] == os.path.basename(os.getcwd())
    assert nginx["since_seconds"] > 0
    assert found["apt-daily.service"]["since_seconds"] is None


def test_only_installed_packages_have_versions():
    shown = "ii  nginx 1.26.3-3+deb13u1\nrc  redis-server 5:8.0.2-3\nun  haproxy \n"
    assert status.packages(Module(dpkg_query=(1, shown, "dpkg-query: no packages found"))) == {
        "nginx": "1.26.3-3+deb13u1"
    }


def test_a_component_that_is_silent_hides_nothing_else():
    module = Module(psql=(2, "", "some warning\npsql: error: connection refused\n"), slow=(124, "", ""))
    assert status.told(lambda it: status.run(it, ["psql"]), module) == {"error": "psql: error: connection refused"}
    assert status.told(lambda it: status.run(it, ["slow"]), module) == {"error": "no answer in time"}
    assert status.told(lambda _it: {}["absent"], module) == {"error": "'absent'"}
    assert status.told(lambda _it: {"standby": False}, module) == {"standby": False}


def test_a_file_system_is_told_once_and_as_df_does(monkeypatch):
    monkeypatch.setattr(status, "FOLDERS", ("/", "/usr", "/not/there"))
    found = status.filesystems()
    assert "/" in found
    assert len(found) <= 2
    assert all(0 <= disk["used_percent"] <= 100 and disk["size_mb"] >= disk["free_mb"] for disk in found.values())


@pytest.mark.parametrize("text", ["-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n-----BEGIN MORE"])
def test_of_a_certificate_only_the_first_part_leaves_the_host(monkeypatch, tmp_path, text):
    (tmp_path / "fullchain.pem").write_text(text)
    monkeypatch.setattr(status, "CERTIFICATES", (str(tmp_path / "fullchain.pem"), str(tmp_path / "internal.pem")))
    assert status.certificates() == {
        str(tmp_path / "fullchain.pem"): "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"
    }
