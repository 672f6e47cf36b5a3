# SPDX-License-Identifier: GPL-3.0-or-later
"""What Galaxy would publish is enough for a person who has nothing else; a checkout needs no more than its set-up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from collection_tree import ROOT, committed_files

BIN = Path(sys.executable).parent
PASSWORD = "a password for this test alone\n"


def run(*argv, cwd, home, status=0):
    """Run one of Ansible's programs as a person would, whose home is empty; return its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [BIN / argv[0], *argv[1:]],
        cwd=cwd,
        env={**environment, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / ".my_instance_vault_password").write_text(PASSWORD)
    return home


@pytest.fixture(scope="module")
def artifact(tmp_path_factory, home):
    """The artifact, built from what git would commit."""
    tree = tmp_path_factory.mktemp("tree")
    for path in committed_files():
        copy = tree / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    run("ansible-galaxy", "collection", "build", tree, "--output-path", tree / "built", cwd=tree, home=home)
    (built,) = (tree / "built").glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def instance(tmp_path_factory, artifact, home):
    """The folder of a person who copied the example, and installed the artifact beside it."""
    folder = tmp_path_factory.mktemp("persons") / "my_instance"
    install = ["ansible-galaxy", "collection", "install", artifact, "--offline", "--no-deps", "-p", "collections"]
    folder.mkdir()
    run(*install, cwd=folder, home=home)
    example = folder / "collections/ansible_collections/fediops/mastodon/examples/my_instance"
    shutil.copytree(example, folder, dirs_exist_ok=True)
    # Nobody is to be asked outside of this machine, and nobody answers inside.
    hosts = folder / "inventory/hosts.yml"
    hosts.write_text(
        hosts.read_text().replace("ansible_host: 192.0.2.10", "ansible_host: 127.0.0.1\n      ansible_port: 1")
    )
    return folder


def test_secrets_are_made_into_the_inventory(instance, home):
    run("ansible-playbook", "fediops.mastodon.secrets", "-e", "secrets_hosts_are_new=true", cwd=instance, home=home)
    vault = instance / "inventory/group_vars/all/vault.yml"
    assert vault.read_text().startswith("$ANSIBLE_VAULT")
    assert "mastodon_secret_key_base" in yaml.safe_load(run("ansible-vault", "view", vault, cwd=instance, home=home))


def test_site_is_found_by_its_full_name(instance, home):
    tasks = run("ansible-playbook", "fediops.mastodon.site", "--list-tasks", cwd=instance, home=home)
    roles = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
    assert {role for role in roles if f"fediops.mastodon.{role} : " in tasks} == roles


def test_plan_is_shown_without_a_host_to_ask(instance, home):
    output = run("ansible-playbook", "fediops.mastodon.plan", cwd=instance, home=home)
    assert "2 vCPU, 4096 MB, 198.18.0.1, assumed" in output
    assert (instance / "inventory/.plan/plan.html").read_text().startswith("<!DOCTYPE html>")


def test_metrics_host_without_its_password_is_refused_before_a_host_is_asked(instance, home, tmp_path):
    hosts = yaml.safe_load((instance / "inventory/hosts.yml").read_text())
    hosts["all"]["children"]["metrics"] = {"hosts": {"box1": None}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump(hosts))
    output = run("ansible-playbook", "fediops.mastodon.site", "-i", inventory, cwd=instance, home=home, status=2)
    assert "mastodon_metrics_password" in output
    assert "fediops.mastodon.secrets" in output
    assert "UNREACHABLE" not in output


def test_artifact_holds_what_people_need_and_no_tools(instance):
    content = instance / "collections/ansible_collections/fediops/mastodon"
    assert {"CHANGELOG.md", "LICENSE", "README.md"} <= {path.name for path in content.iterdir()}
    assert {"docs", "examples", "meta", "playbooks", "plugins", "roles"} <= {path.name for path in content.iterdir()}
    assert {"Makefile", "molecule", "rehearsal", "tests"} & {path.name for path in content.iterdir()} == set()


def test_checkout_finds_itself_by_its_full_name(tmp_path, home):
    checkout = tmp_path / "a folder of any name"
    for path in committed_files():
        copy = checkout / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    # The set-up's link, as `make venv` makes it.
    link = checkout / ".venv/collections/ansible_collections/fediops/mastodon"
    link.parent.mkdir(parents=True)
    link.symlink_to(checkout)
    run("ansible-playbook", "site.yml", "-i", "inventories/single_box", "--syntax-check", cwd=checkout, home=home)
