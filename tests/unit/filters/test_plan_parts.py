# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters that give one part of the plan, and the examples by which all filters of the plan are documented."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import ansible_collections.fediops.mastodon.plugins.plugin_utils.plan as library
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.capacity_plan import capacity_plan

PARTS = {
    "puma_workers": ("web",),
    "sidekiq_processes": ("sidekiq", "processes"),
    "streaming_processes": ("streaming", "processes"),
    "pgbouncer_pools": ("pgbouncer", "pools"),
    "postgres_settings": ("postgres", "settings"),
    "redis_settings": ("redis", "settings"),
}
BOX = {"box": {"vm_vcpus": 4, "vm_memory_mb": 8192}}
HOSTS = {
    "app": {"vm_vcpus": 8, "vm_memory_mb": 16384, "vm_address": "10.0.0.1"},
    "pool": {"vm_vcpus": 2, "vm_memory_mb": 4096, "vm_address": "10.0.0.2"},
    "data": {"vm_vcpus": 4, "vm_memory_mb": 16384, "vm_address": "10.0.0.3"},
}
GROUPS = {
    **{tier: ["app"] for tier in ("nginx", "web", "streaming", "sidekiq")},
    **{tier: ["data"] for tier in ("postgres", "postgres_primary", "redis", "redis_core")},
    "pgbouncer": ["pool"],
}
PYTHON = f"ansible_python_interpreter={sys.executable}"
COLLECTIONS = str(Path(library.__file__).parents[6])
PLUGINS = Path(library.__file__).parents[2]


def filter_named(name):
    module = importlib.import_module(f"ansible_collections.fediops.mastodon.plugins.filter.{name}")
    return module.FilterModule().filters()[name]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_that_of_the_whole_plan(name):
    whole = capacity_plan(HOSTS, GROUPS)["hosts"]
    component, *key = PARTS[name]
    parts = filter_named(name)(HOSTS, GROUPS)
    assert parts == {
        host: plan[component][key[0]] if key else plan[component] for host, plan in whole.items() if component in plan
    }
    assert parts
    assert json.loads(json.dumps(parts)) == parts


@pytest.mark.parametrize("name", ["capacity_plan", *PARTS])
def test_one_host_needs_neither_groups_nor_address(name):
    assert filter_named(name)(BOX) is not None


def test_settings_and_overrides_count():
    coefficients = {"mastodon_plan_coefficients": {"web_workers_per_vcpu_shared": 0.5}}
    assert filter_named("puma_workers")(BOX, None, coefficients)["box"]["workers"] == 2
    assert filter_named("puma_workers")({"box": {**BOX["box"], "web_workers": 1}})["box"]["workers"] == 1


@pytest.mark.parametrize("name", PARTS)
def test_an_error_names_filter_host_value_and_what_is_allowed(name):
    with pytest.raises(AnsibleFilterError) as raised:
        filter_named(name)({"box": {"vm_vcpus": "many", "vm_memory_mb": 8192}})
    for words in (f"fediops.mastodon.{name}: ", "box: vm_vcpus is 'many'", "from 1 to 1024", "Type vm_vcpus:"):
        assert words in str(raised.value)


@pytest.mark.parametrize("name", ["capacity_plan", *PARTS])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((["box"],), "hosts must be a mapping, not list"),
        ((BOX, ["web"]), "groups must be a mapping or null, not list"),
        ((BOX, {"web": "box"}), "group web must be a list, not str"),
        ((BOX, None, [1]), "settings must be a mapping or null, not list"),
        (({"box": None},), "what is given for box must be a mapping, not NoneType"),
        ((HOSTS,), "groups are needed for 3 hosts; they may be left out for exactly one"),
    ],
)
def test_wrong_types(name, arguments, told):
    with pytest.raises(AnsibleFilterError, match=f"fediops.mastodon.{name}: {told}"):
        filter_named(name)(*arguments)


def examples(name):
    """The tasks of a filter's documentation."""
    tree = ast.parse((PLUGINS / f"filter/{name}.py").read_text(encoding="utf-8"))
    (text,) = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES"
    ]
    return yaml.safe_load(text)


def test_the_examples_of_the_documentation_work(tmp_path):
    tasks = [task for name in ("capacity_plan", *PARTS) for task in examples(name)]
    play = {"hosts": "localhost", "gather_facts": True, "gather_subset": ["!all", "hardware"], "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            "localhost,",
            "-c",
            "local",
            "-e",
            PYTHON,
            "play.yml",
        ],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS, "ANSIBLE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok={len(tasks) + 1} " in done.stdout
    assert "[WARNING]" not in done.stderr
