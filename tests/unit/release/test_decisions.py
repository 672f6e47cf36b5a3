# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host does about the release: is it in force, what is fetched, what do the last migrations wait for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from collection_tree import ROOT

ANSIBLE = Path(sys.executable).parent / "ansible-playbook"
ROLE = ROOT / "roles/release"
SOURCE = {"repo": "https://git.example/app.git", "version": "v2"}
BUILT = {
    **SOURCE, "id": "v2-0123456789-abcdef", "revision": "0" * 40, "migrated_id": "v2-0123456789-abcdef",
    "post_migrated_id": "", "parts": ["app"],
    "archives": {
        "v2-0123456789-abcdef.tar.zst": {"sha256": "11", "file": "100-1700000000"},
        "v2-0123456789-abcdef.public.tar.zst": {"sha256": "22", "file": "50-1700000001"},
        "ruby-3.4.7.tar.zst": {"sha256": "33", "file": "70-1700000002"},
    },
}  # fmt: skip
ON_DISK = {name: made["file"] for name, made in BUILT["archives"].items()}
OWN = ("id", "repo", "version", "revision", "shape")
HERE, ELSEWHERE = "localhost", "web1"


def decide(path, cases):
    """Return what the expressions of each case ({name: (expression, variables)}) come to, by name.

    The shape of a build comes from the role: `SHAPE` in a variable stands for it.
    """
    tasks = []
    for name, (expression, variables) in cases.items():
        source = {"release_repo": SOURCE["repo"], "release_version": SOURCE["version"], "release_system": "trixie"}
        text = json.dumps({**source, **variables})
        tasks.append({
            "vars": json.loads(text.replace('"SHAPE"', '"{{ __release_shape }}"')),
            "ansible.builtin.copy": {"dest": str(path / name), "content": "{{ (" + expression + ") | to_json }}"},
        })  # fmt: skip
    path.joinpath("play.yml").write_text(json.dumps([{
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "tasks": tasks,
    }]))  # fmt: skip
    done = subprocess.run(
        [ANSIBLE, "-i", "localhost,", "-c", "local", "play.yml"],
        cwd=path,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return {name: json.loads((path / name).read_text()) for name in cases}


def host(record, builder=ELSEWHERE, current=BUILT["id"], built=None, **more):
    """Return the variables of a host that has recorded something and knows what the builder has."""
    return {
        "release_recorded": record, "release_current": current, "release_builder": builder, "release_parts": ["app"],
        "release_archives": {}, "release_built": {**BUILT, "shape": "SHAPE"} if built is None else built, **more,
    }  # fmt: skip


def record(**changes):
    """Return what a host that is not the builder has recorded when it runs the builder's release."""
    return {name: {**BUILT, "shape": "SHAPE"}[name] for name in OWN} | {"parts": ["app"]} | changes


def test_in_force(tmp_path):
    expression = "__release_in_force"
    cases = {
        "same": (expression, host(record())),
        "older": (expression, host(record(id="v1-1111111111-abcdef"), current="v1-1111111111-abcdef")),
        "not_switched": (expression, host(record(), current="v1-1111111111-abcdef")),
        "empty": (expression, host({}, current=None)),
        "had_public_files_only": (expression, host(record(parts=["public"]))),
        "built_elsewhere_now": (expression, host({**BUILT, "shape": "SHAPE"})),
        "alone_and_right": (expression, host(record(), built={})),
        "alone_and_another_version": (expression, host(record(version="v1"), built={})),
        "alone_and_patched_since": (expression, host(record(shape="another"), built={})),
    }
    assert decide(tmp_path, cases) == dict.fromkeys(cases, False) | {"same": True, "alone_and_right": True}


def test_what_is_fetched(tmp_path):
    release = f"/opt/mastodon/releases/{BUILT['id']}"
    names = "__release_shipments | map(attribute='archive') | sort"
    marks = "__release_shipments | map(attribute='mark') | sort"
    public = host({}, release_parts=["public"])
    found = decide(tmp_path, {
        "app": (names, host({})), "app_marks": (marks, host({})),
        "public": (names, public), "public_marks": (marks, public),
        "secrets_of_public": ("__release_files", public),
        "server": ("__release_server", {"release_server": {"host": "2001:db8::1", "port": 8640}}),
    })  # fmt: skip
    assert found == {
        "app": ["ruby-3.4.7.tar.zst", f"{BUILT['id']}.tar.zst"],
        "app_marks": [f"{release}/.runtime", "/opt/ruby/3.4.7/.complete"],
        "public": [f"{BUILT['id']}.public.tar.zst"],
        "public_marks": [f"{release}/public"],
        "secrets_of_public": [],
        "server": "http://[2001:db8::1]:8640",
    }


def test_what_the_builder_need_not_do_again(tmp_path):
    expression = "__release_unchanged"
    whole = {**BUILT, "shape": "SHAPE"}
    alone = {name: value for name, value in whole.items() if name != "archives"}
    shipped = {"builder": HERE, "release_shipped": True, "release_archives": ON_DISK}
    cases = {
        "same": (expression, host(whole, **shipped)),
        "one_box": (expression, host(alone, builder=HERE)),
        "first_other_host": (expression, host(alone, **shipped)),
        "last_other_host_is_gone": (expression, host(whole, builder=HERE)),
        "archive_is_gone": (expression, host(whole, **shipped | {"release_archives": {}})),
        "archive_was_packed_anew_and_not_recorded": (
            expression,
            host(whole, **shipped | {"release_archives": ON_DISK | {"ruby-3.4.7.tar.zst": "70-1800000000"}}),
        ),
        "upgrade_is_asked_for": (expression, host(whole, **shipped, release_upgrade_allowed=True)),
        "follower_that_builds_from_now_on": (expression, host(record(), **shipped)),
    }
    assert decide(tmp_path, cases) == dict.fromkeys(cases, False) | {"same": True, "one_box": True}


def test_the_last_migrations_wait_for_every_host(tmp_path):
    expression = "__release_behind"
    new, old = BUILT["id"], "v1-1111111111-abcdef"
    found = decide(tmp_path, {
        "all_new": (expression, host(record(), release_running={"web1": [new], "worker1": [new]})),
        "one_old": (expression, host(record(), release_running={"web1": [new], "worker1": [old]})),
        "one_half": (expression, host(record(), release_running={"web1": [new, old], "worker1": [new]})),
        "one_not_asked": (expression, host(record(), release_running={"web1": [new], "worker1": []})),
        "pending": ("__release_unfinished", host(record())),
        "done": ("__release_unfinished", host(record(), built={**BUILT, "post_migrated_id": new})),
    })  # fmt: skip
    assert found == {
        "all_new": [], "one_old": ["worker1"], "one_half": ["web1"], "one_not_asked": ["worker1"],
        "pending": True, "done": False,
    }  # fmt: skip
