# SPDX-License-Identifier: GPL-3.0-or-later
"""config_files as a task of ansible-playbook, on this machine and in a directory of the test's own."""

from __future__ import annotations

import getpass
import grp
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "correct-horse-battery"
TEMPLATE = """{{ ansible_managed | comment }}
{% for name, value in settings.items() %}
{{ name }} = {{ value }}
{% endfor %}
from {{ template_path }}
"""
OPTIONS = {
    "owner": getpass.getuser(),
    "group": grp.getgrgid(os.getegid()).gr_name,
    "state_directory": "{{ here }}/state",
}
MANAGED = "#\n# Managed by Ansible (fediops.mastodon). Changes made here are overwritten.\n#\n"


@pytest.fixture
def play(tmp_path):
    """Give a function that runs config_files tasks on this machine, and the directory in which they work."""
    owed = importlib.import_module("ansible_collections.fediops.mastodon.plugins.module_utils.owed")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/a.conf.j2").write_text(TEMPLATE)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(Path(owed.__file__).parents[5]),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
    }

    def run(*arguments, **variables):
        """Run ansible-playbook on the tasks that ``run.tasks`` holds; return their results and all that was printed."""
        tasks = [
            {
                "name": f"Write {number}",
                "fediops.mastodon.config_files": {**OPTIONS, **options},
                "register": f"written_{number}",
                "ignore_errors": True,
            }
            for number, options in enumerate(run.tasks)
        ]
        results = ", ".join(f"written_{number}" for number in range(len(tasks)))
        save = {
            "name": "Save",
            "ansible.builtin.copy": {"dest": "{{ here }}/results.json", "content": f"{{{{ [{results}] | to_json }}}}"},
            "check_mode": False,
            "diff": False,
        }
        everything = {"settings": {"port": 1}, **variables, "here": str(tmp_path)}
        plays = [{"hosts": "localhost", "gather_facts": False, "vars": everything, "tasks": [*tasks, save]}]
        (tmp_path / "play.yml").write_text(json.dumps(plays))
        done = subprocess.run(
            ["ansible-playbook", "play.yml", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((tmp_path / "results.json").read_text()), done.stdout + done.stderr

    run.here = tmp_path
    return run


def test_check_then_change_then_nothing(play):
    (play.here / "files").mkdir()
    (play.here / "files/logo").write_bytes(b"\xff\x00\xfe")
    files = [
        {"dest": "{{ here }}/etc/a.conf", "template": "a.conf.j2", "restart": ["a.service"]},
        {"dest": "{{ here }}/etc/env", "content": f"PASSWORD={SECRET}\n", "secret": True, "mode": "0600"},
        {"dest": "{{ here }}/etc/logo", "src": "logo"},
    ]
    play.tasks = [{"files": files}]
    [checked], said = play("--check", "--diff", "-vvv")
    assert not (play.here / "etc").exists()
    assert "+port = 1" in said
    assert "(secret, changed)" in said
    assert SECRET not in said
    play.tasks = [{"files": files}, {"files": files}]
    [changed, unchanged], said = play("--diff", "-vvv")
    assert (changed["changed_files"], changed["owed"]) == (checked["changed_files"], ["restart a.service"])
    assert (play.here / "etc/a.conf").read_text() == f"{MANAGED}port = 1\nfrom a.conf.j2\n"
    assert (play.here / "etc/logo").read_bytes() == b"\xff\x00\xfe"
    assert (play.here / "etc/env").stat().st_mode & 0o7777 == 0o600
    assert SECRET not in said
    assert (unchanged["changed"], unchanged["changed_files"]) == (False, [])


def test_what_a_checker_prints_holds_no_secret_and_the_file_is_as_it_was(play):
    (play.here / "env").write_text("PASSWORD=before\n")
    tell_all = ["sh", "-c", f"cat {play.here}/env >&2; exit 1"]
    file = {"dest": "{{ here }}/env", "content": f"PASSWORD={SECRET}\n", "secret": True}
    play.tasks = [{"files": [file], "validate": [{"argv": tell_all}]}]
    [result], said = play("-vvv", "--diff")
    assert "PASSWORD=********" in result["msg"]
    assert SECRET not in said
    assert (play.here / "env").read_text() == "PASSWORD=before\n"


def test_bad_templates_and_bad_input_are_refused_with_what_to_do(play):
    refused = {
        "needs exactly one of template, content, src, got content and src": {"content": "a", "src": "b"},
        "needs exactly one of template, content, src, got none of them": {},
        "would hold a dict instead of text": {"content": "{{ settings }}"},
        "the files hold 5.0 MB, the most is 5 MB": {"content": "{{ 'x' * 5000001 }}"},
        "Unsupported parameters for": {"content": "a", "mood": "0644"},
        "undefined.j2, for": {"template": "undefined.j2"},
        "syntax.j2, line 3, for": {"template": "syntax.j2"},
        "zero.j2, for": {"template": "zero.j2"},
        "would hold a list instead of text": {"template": "native.j2"},
    }
    for name, text in {
        "undefined": "one\n\n{{ no_such_thing }}\n",
        "syntax": "one\n\n{% if %}\n",
        "zero": "one\n\n{{ 1 / 0 }}\n",
        "native": "{{ [1, 'a'] }}",
    }.items():
        (play.here / f"templates/{name}.j2").write_text(text)
    play.tasks = [{"files": [{"dest": "{{ here }}/a", **file}]} for file in refused.values()]
    results, _said = play()
    assert [message for message, result in zip(refused, results, strict=True) if message not in result["msg"]] == []
    assert not (play.here / "a").exists()


def test_a_variable_of_the_user_may_say_who_manages_the_file(play):
    play.tasks = [{"files": [{"dest": "{{ here }}/a", "template": "a.conf.j2"}]}]
    play(ansible_managed="Ours")
    assert (play.here / "a").read_text().startswith("#\n# Ours\n#\n")


def test_a_long_diff_is_not_printed(play):
    play.tasks = [{"files": [{"dest": "{{ here }}/a", "content": "{{ 'many words\n' * 20000 }}"}]}]
    _results, said = play("--diff")
    assert "many words" not in said
    assert "diff skipped: source file size is greater than 104448" in said
