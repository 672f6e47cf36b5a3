# SPDX-License-Identifier: GPL-3.0-or-later
"""What host_state sees below a directory that stands for a host."""

from __future__ import annotations

import pytest
from ansible_collections.fediops.mastodon.plugins.modules import host_state


def put(root, path, text=""):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_an_empty_host_holds_nothing(tmp_path):
    assert host_state.look(tmp_path) == {
        "components": {
            "postgres": {"installed": False, "data": False, "versions": []},
            "redis": {"installed": False, "data": False},
            "nginx": {"installed": False},
            "ruby": {"installed": False, "versions": []},
        },
        "instance": None,
        "release": None,
        "current_release": None,
        "owed": [],
        "users": {},
        "swap_mb": None,
    }


def test_a_living_host_is_described(tmp_path):
    put(tmp_path, "usr/lib/postgresql/17/bin/postgres")
    put(tmp_path, "var/lib/postgresql/15/main/PG_VERSION", "15\n")
    put(tmp_path, "var/lib/postgresql/17/main/PG_VERSION", "17\n")
    put(tmp_path, "var/lib/postgresql/fediops-instance.json", '{"local_domain": "example.social"}')
    put(tmp_path, "usr/bin/redis-server")
    put(tmp_path, "var/lib/redis/appendonlydir/appendonly.aof.1.base.rdb")
    put(tmp_path, "opt/ruby/3.4.7/bin/ruby")
    put(tmp_path, "var/lib/fediops/release.json", '{"id": "4f2a9c"}')
    put(tmp_path, "var/lib/fediops/owed/restart redis-server.service")
    put(tmp_path, "etc/passwd", "root:x:0:0::/root:/bin/bash\nredis:x:101:102::/var/lib/redis:/bin/false\n")
    put(tmp_path, "proc/meminfo", "MemTotal:  4029788 kB\nSwapTotal: 2097148 kB\nSwapFree: 1024 kB\n")
    (tmp_path / "opt/mastodon").mkdir()
    (tmp_path / "opt/mastodon/current").symlink_to("/opt/mastodon/releases/4f2a9c")
    state = host_state.look(tmp_path)
    assert state["components"]["postgres"] == {"installed": True, "data": True, "versions": [15, 17]}
    assert state["components"]["redis"] == {"installed": True, "data": True}
    assert state["components"]["ruby"] == {"installed": False, "versions": ["3.4.7"]}
    assert (state["instance"], state["release"]) == ({"local_domain": "example.social"}, {"id": "4f2a9c"})
    assert state["current_release"] == "4f2a9c"
    assert state["users"] == {"redis": {"home": "/var/lib/redis", "shell": "/bin/false"}}
    assert state["swap_mb"] == 2047
    assert state["owed"] == ["restart redis-server.service"]


def test_a_damaged_record_is_not_taken_for_none(tmp_path):
    put(tmp_path, "var/lib/postgresql/fediops-instance.json", '{"local_dom')
    with pytest.raises(ValueError, match=r"fediops-instance\.json is not readable as JSON"):
        host_state.look(tmp_path)
