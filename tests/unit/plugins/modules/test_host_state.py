# SPDX-License-Identifier: GPL-3.0-or-later
"""What host_state sees below a directory that stands for a host."""

from __future__ import annotations

import os
import struct

import pytest
from ansible_collections.fediops.mastodon.plugins.modules import host_state

NO_CLUSTER = {"standby": False, "system_identifier": None, "timeline": None, "untouched": False, "settings": {}}
# The beginning of the control file that PostgreSQL 17.12's initdb made: pg_controldata says 7710741844895325545,
# timeline 1, next OID 13645.
CONTROL = bytes.fromhex(
    "69ddb9cbda0e026ba40600008979100c0100000000000000db0e026b00000000"
    "c097740100000000c09774010000000001000000010000000100000001000000"
    "e2020000000000004d3500000100000000000000da0200000100000001000000"
)
# Of Ubuntu, in parts.
OS_RELEASE = """PRETTY_NAME="Ubuntu 24.04.1 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.1 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
# Nobody's.
HOME_URL=https://www.ubuntu.com/
"""


def put_cluster(root, version=17, name="main", next_oid=13645, timeline=1):
    data = root / f"var/lib/postgresql/{version}/{name}"
    put(data, "PG_VERSION", f"{version}\n")
    put(data, "global/pg_control")
    control = bytearray(CONTROL)
    struct.pack_into("<I", control, 48, timeline)
    struct.pack_into("<I", control, 72, next_oid)
    (data / "global/pg_control").write_bytes(control)
    for database in (1, 4, 5):
        (data / f"base/{database}").mkdir(parents=True)
    return data


def put(root, path, text=""):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_an_empty_host_holds_nothing(tmp_path):
    assert host_state.look(tmp_path) == {
        "system": {"id": "", "version": "", "codename": "", "name": "", "container": ""},
        "components": {
            "postgres": {"installed": False, "data": False, "versions": [], **NO_CLUSTER},
            "redis": {"installed": False, "data": False, "record": None},
            "nginx": {"installed": False},
            "haproxy": {"installed": False},
            "exporters": {"installed": False},
            "ruby": {"installed": False, "versions": []},
        },
        "instance": None,
        "release": None,
        "current_release": None,
        "release_archives": {},
        "schedulers": [],
        "drained": [],
        "owed": [],
        "users": {},
        "swap_mb": None,
        "ssh_port": None,
    }


def test_a_system_says_what_it_is(tmp_path):
    put(tmp_path, "usr/lib/os-release", OS_RELEASE)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("../usr/lib/os-release")
    put(tmp_path, "run/systemd/container", "lxc\n")
    assert host_state.look(tmp_path)["system"] == {
        "id": "ubuntu", "version": "24.04", "codename": "noble", "name": "Ubuntu 24.04.1 LTS", "container": "lxc",
    }  # fmt: skip


def test_a_living_host_is_described(tmp_path):
    put(tmp_path, "usr/lib/postgresql/17/bin/postgres")
    put_cluster(tmp_path, version=15)
    put_cluster(tmp_path, version=17, next_oid=24576)
    put(tmp_path, "var/lib/postgresql/fediops-instance.json", '{"local_domain": "example.social"}')
    put(tmp_path, "usr/bin/redis-server")
    put(tmp_path, "var/lib/redis/appendonlydir/appendonly.aof.1.base.rdb")
    put(tmp_path, "var/lib/fediops/redis.json", '{"queues": true, "role": "core"}')
    put(tmp_path, "opt/ruby/3.4.7/bin/ruby")
    put(tmp_path, "var/lib/fediops/release.json", '{"id": "4f2a9c"}')
    put(tmp_path, "opt/mastodon/archives/4f2a9c.tar.zst", "12345")
    os.utime(tmp_path / "opt/mastodon/archives/4f2a9c.tar.zst", (0, 1700000000.9))
    put(tmp_path, "opt/mastodon/archives/4f2a9c.public.tar.zst.part")
    put(tmp_path, "var/lib/fediops/owed/restart redis-server.service")
    put(tmp_path, "etc/passwd", "root:x:0:0::/root:/bin/bash\nredis:x:101:102::/var/lib/redis:/bin/false\n")
    put(tmp_path, "proc/meminfo", "MemTotal:  4029788 kB\nSwapTotal: 2097148 kB\nSwapFree: 1024 kB\n")
    (tmp_path / "opt/mastodon/current").symlink_to("/opt/mastodon/releases/4f2a9c")
    state = host_state.look(tmp_path)
    assert state["components"]["postgres"] == {
        "installed": True,
        "data": True,
        "versions": [15, 17],
        "standby": False,
        "system_identifier": "7710741844895325545",
        "timeline": 1,
        "untouched": False,
        "settings": {},
    }
    assert state["components"]["redis"] == {
        "installed": True, "data": True, "record": {"role": "core", "queues": True}
    }  # fmt: skip
    assert state["components"]["ruby"] == {"installed": False, "versions": ["3.4.7"]}
    assert (state["instance"], state["release"]) == ({"local_domain": "example.social"}, {"id": "4f2a9c"})
    assert state["current_release"] == "4f2a9c"
    assert state["release_archives"] == {"4f2a9c.tar.zst": "5-1700000000"}
    assert state["users"] == {"redis": {"home": "/var/lib/redis", "shell": "/bin/false"}}
    assert state["swap_mb"] == 2047
    assert state["owed"] == ["restart redis-server.service"]


def test_a_damaged_record_is_not_taken_for_none(tmp_path):
    put(tmp_path, "var/lib/postgresql/fediops-instance.json", '{"local_dom')
    with pytest.raises(ValueError, match=r"fediops-instance\.json is not readable as JSON"):
        host_state.look(tmp_path)


def process(root, pid, parent, name="sh", **environment):
    put(root, f"{pid}/stat", f"{pid} ({name}) S {parent} {pid} {pid} 0 -1 4194560\n")
    put(root, f"{pid}/environ", "".join(f"{key}={value}\0" for key, value in environment.items()))


def test_the_port_of_ssh_is_found_above_sudo(tmp_path):
    process(tmp_path, 900, 1, "sshd-session")
    process(tmp_path, 910, 900, LANG="C.UTF-8", SSH_CONNECTION="203.0.113.7 50022 198.51.100.4 2222")
    process(tmp_path, 920, 910, "a (strange) name", SUDO_USER="admin")
    process(tmp_path, 930, 920, "python3")
    assert host_state.ssh_port(tmp_path, 930) == 2222


def test_the_nearest_connection_counts(tmp_path):
    process(tmp_path, 900, 1, SSH_CONNECTION="203.0.113.7 50022 198.51.100.4 22")
    process(tmp_path, 910, 900, SSH_CONNECTION="fe80::1%eth0 50023 fe80::2%eth0 2200")
    assert host_state.ssh_port(tmp_path, 910) == 2200


def test_without_ssh_there_is_no_port(tmp_path):
    process(tmp_path, 1, 0, "systemd")
    process(tmp_path, 40, 1, "python3", SSH_AUTH_SOCK="/run/agent")
    assert host_state.ssh_port(tmp_path, 40) is None


def test_ancestors_that_ended_or_are_hidden_are_no_error(tmp_path):
    process(tmp_path, 40, 39, "python3")
    assert host_state.ssh_port(tmp_path, 40) is None


def test_a_cluster_in_which_nothing_was_ever_made_is_told_from_one_in_use(tmp_path):
    data = put_cluster(tmp_path)
    assert host_state.postgres(tmp_path)["untouched"] is True
    (data / "base/16389").mkdir()
    assert host_state.postgres(tmp_path)["untouched"] is False


def test_a_standby_is_described_with_the_settings_that_were_last_written(tmp_path):
    data = put_cluster(tmp_path, next_oid=24576, timeline=3)
    put(data, "standby.signal")
    put(
        tmp_path,
        "etc/postgresql/17/main/conf.d/fediops.conf",
        "max_connections = '120'\nport = '5432'\nmax_wal_senders = '10'\nmax_wal_size = '4GB'\n",
    )
    told = host_state.postgres(tmp_path)
    assert (told["standby"], told["timeline"], told["untouched"]) == (True, 3, False)
    assert told["settings"] == {"max_connections": "120", "max_wal_senders": "10"}


def test_a_base_backup_that_is_not_whole_is_no_data(tmp_path):
    put(tmp_path, "var/lib/postgresql/17/.copy/main/PG_VERSION", "17\n")
    assert host_state.postgres(tmp_path)["data"] is False


def test_data_without_a_control_file_are_not_taken_for_none(tmp_path):
    put(tmp_path, "var/lib/postgresql/17/main/PG_VERSION", "17\n")
    with pytest.raises(ValueError, match="no control file"):
        host_state.postgres(tmp_path)


def test_processes_that_serve_the_scheduler_are_named(tmp_path):
    put(tmp_path, "etc/mastodon/sidekiq/core.env", 'DB_POOL=5\nSIDEKIQ_QUEUES="-q default,8 -q scheduler,1"\n')
    put(tmp_path, "etc/mastodon/sidekiq/federation.env", 'SIDEKIQ_QUEUES="-q push,6 -q ingress,4"\n')
    assert host_state.look(tmp_path)["schedulers"] == ["core"]
