# SPDX-License-Identifier: GPL-3.0-or-later
"""The action in Ansible itself: where the file goes, who may read it, and when nothing may be made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ansible_collections.fediops.mastodon.plugins.plugin_utils.secrets as library
import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

PASSWORD = "a long random vault password"
COLLECTIONS = str(Path(library.__file__).parents[5])
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
NEW = {"components": {"postgres": {"installed": False, "data": False}}, "instance": None}
LIVING = {"components": {"postgres": {"installed": True, "data": True}}, "instance": None}
RECORDED = {"components": {"postgres": {"installed": True, "data": False}}, "instance": {"version": 1}}
UNREACHABLE = {"unreachable": True, "changed": False}

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        mastodon_host_state: "{{ state }}"
      when: state is not none
    - fediops.mastodon.secrets:
        data_hosts: [box]
        make_missing: "{{ make_missing | default(false) }}"
        hosts_are_new: "{{ hosts_are_new | default(false) }}"
      register: result
      run_once: true
    - ansible.builtin.debug:
        msg: "{{ result | ansible.builtin.to_json }}"
    - ansible.builtin.debug:
        msg: "{{ mastodon_redis_password | default('not read again') }}"
      when: show is defined
"""


class Inventory:
    """A folder with one host that is never connected to, and a way to run the action on it."""

    def __init__(self, root: Path):
        self.root = root
        self.folder = root / "inventory"
        self.folder.mkdir()
        (self.folder / "hosts.yml").write_text("all: {hosts: {box: }}\n")
        (root / "play.yml").write_text(PLAYBOOK)
        (root / "password").write_text(PASSWORD)
        self.file = self.folder / "group_vars/all/vault.yml"

    def run(self, state, *arguments, vault=True, inventory=None, **variables):
        command = [ANSIBLE, "-i", inventory or self.folder, self.root / "play.yml", *arguments]
        command += ["-e", json.dumps({"state": state, **variables})]
        command += ["--vault-password-file", self.root / "password"] if vault else []
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_HOME": str(self.root / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
        }
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    @property
    def values(self):
        vault = VaultLib([("default", VaultSecret(PASSWORD.encode()))])
        return yaml.safe_load(vault.decrypt(self.file.read_text()))

    def write(self, values):
        vault = VaultLib([("default", VaultSecret(PASSWORD.encode()))])
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(vault.encrypt(yaml.safe_dump(values)).decode())


@pytest.fixture
def inventory(tmp_path):
    if not ANSIBLE.exists():
        pytest.fail(f"{ANSIBLE} is missing: run the tests with the Python of an environment that has Ansible")
    return Inventory(tmp_path)


@pytest.fixture(scope="module")
def made():
    return library.make_secrets({})


def test_made_once_then_kept(inventory):
    first = inventory.run(NEW)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "changed=1" in first.stdout
    assert set(inventory.values) == set(library.NAMES)
    assert inventory.file.stat().st_mode & 0o777 == 0o600
    assert inventory.file.read_text().startswith("$ANSIBLE_VAULT;")
    before = inventory.file.read_bytes()
    second = inventory.run(LIVING)
    assert "changed=0" in second.stdout
    assert inventory.file.read_bytes() == before
    told = first.stdout + first.stderr + second.stdout + second.stderr
    assert [name for name, value in inventory.values.items() if value in told or value[:60] in told] == []


def test_what_no_data_depend_on_is_made_beside_a_living_instance(inventory, made):
    kept = {name: value for name, value in made.items() if name not in library.REPLACEABLE}
    inventory.write(kept)
    done = inventory.run(LIVING)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(inventory.values) == set(library.NAMES)
    assert {name: value for name, value in inventory.values.items() if name in kept} == kept


def test_check_mode_says_what_would_be_made_and_writes_nothing(inventory):
    checked = inventory.run(NEW, "--check")
    assert checked.returncode == 0
    assert "changed=1" in checked.stdout
    assert "mastodon_vapid_private_key" in checked.stdout
    assert not inventory.file.exists()


def test_without_a_vault_password_it_says_what_to_type(inventory):
    refused = inventory.run(NEW, vault=False)
    assert refused.returncode != 0
    assert "--ask-vault-pass" in refused.stdout + refused.stderr
    assert not inventory.file.exists()


@pytest.mark.parametrize(
    ("state", "lost", "asked"),
    [
        (LIVING, "all", {}),
        (LIVING, "all", {"hosts_are_new": True}),
        (LIVING, "one", {"make_missing": True, "hosts_are_new": True}),
        (RECORDED, "one", {"make_missing": True}),
    ],
)
def test_nothing_is_made_for_living_data_requested_or_not(inventory, made, state, lost, asked):
    if lost == "one":
        inventory.write({name: value for name, value in made.items() if name != "mastodon_secret_key_base"})
    refused = inventory.run(state, **asked)
    assert refused.returncode != 0
    assert "box holds the data of an instance" in refused.stdout + refused.stderr
    assert "Restore" in refused.stdout + refused.stderr
    assert not inventory.file.exists() or "mastodon_secret_key_base" not in inventory.values


@pytest.mark.parametrize("state", [UNREACHABLE, None], ids=["unreachable", "not asked"])
def test_a_host_that_cannot_be_asked(inventory, state):
    refused = inventory.run(state)
    assert refused.returncode != 0
    assert "box could not be asked" in refused.stdout + refused.stderr
    assert "-e secrets_hosts_are_new=true" in refused.stdout + refused.stderr
    assert not inventory.file.exists()
    assert inventory.run(state, hosts_are_new=True).returncode == 0
    assert set(inventory.values) == set(library.NAMES)


def test_a_missing_one_is_named_and_made_only_on_request(inventory, made):
    inventory.write({**{name: value for name, value in made.items() if name != "mastodon_redis_password"}, "own": 1})
    before = inventory.file.read_bytes()
    refused = inventory.run(NEW)
    assert refused.returncode != 0
    assert "these do not: mastodon_redis_password." in refused.stdout + refused.stderr
    assert inventory.file.read_bytes() == before
    assert inventory.run(NEW, make_missing=True).returncode == 0
    assert {name: value for name, value in inventory.values.items() if name != "mastodon_redis_password"} == {
        **{name: value for name, value in made.items() if name != "mastodon_redis_password"},
        "own": 1,
    }
    assert inventory.values["mastodon_redis_password"]


def test_secrets_set_elsewhere_in_the_inventory_are_not_made(inventory, made):
    (inventory.folder / "group_vars/all").mkdir(parents=True)
    (inventory.folder / "group_vars/all/own.yml").write_text(yaml.safe_dump(made))
    kept = inventory.run(LIVING)
    assert "changed=0" in kept.stdout
    assert not inventory.file.exists()


def test_beside_a_single_file(inventory):
    assert inventory.run(NEW, inventory=inventory.folder / "hosts.yml").returncode == 0
    assert inventory.file.exists()


def test_a_file_in_clear_is_refused(inventory, made):
    inventory.file.parent.mkdir(parents=True)
    inventory.file.write_text(yaml.safe_dump(made))
    refused = inventory.run(NEW)
    assert refused.returncode != 0
    assert "is not encrypted. Type: ansible-vault encrypt" in refused.stdout + refused.stderr


def test_variables_that_the_new_folder_would_hide_are_noticed(inventory):
    (inventory.folder / "group_vars").mkdir()
    (inventory.folder / "group_vars/all.yml").write_text("mastodon_local_domain: example.org\n")
    refused = inventory.run(NEW)
    assert refused.returncode != 0
    assert "Type: mkdir" in refused.stdout + refused.stderr
    assert not inventory.file.parent.exists()


def test_an_inventory_without_a_place(inventory):
    refused = inventory.run(NEW, inventory="box,")
    assert refused.returncode != 0
    assert "no place beside it for the secrets" in refused.stdout + refused.stderr


def test_a_link_is_followed_so_that_the_file_stays_where_it_is_kept(inventory, made):
    kept = inventory.root / "elsewhere"
    inventory.write({name: value for name, value in made.items() if name != "mastodon_redis_password"})
    shutil.move(inventory.file, kept)
    inventory.file.symlink_to(kept)
    assert inventory.run(NEW, make_missing=True).returncode == 0
    assert inventory.file.is_symlink()
    assert set(inventory.values) == set(library.NAMES)
