# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the collection as a whole."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from collection_tree import ROLES, ROOT, committed_files, load, values_of

# Written in halves, so that this file does not name what no file may name: a mirror, or nothing at all, may stand where
# these are expected, so tools have to be asked for the address that this machine uses.
REGISTRIES = [
    first + "." + second
    for first, second in [
        ("pypi", "org"), ("pythonhosted", "org"), ("registry.npmjs", "org"), ("registry.yarnpkg", "com"),
        ("rubygems", "org"), ("registry-1.docker", "io"), ("hub.docker", "com"), ("ghcr", "io"),
        ("galaxy.ansible", "com"), ("nodesource", "com"), ("crates", "io"),
    ]
]  # fmt: skip
SPDX = re.compile(r"SPDX-License-Identifier: GPL-3\.0-or-later")
CODE = {".py", ".sh", ".rb", ".js", ".mjs", ".rake"}
COLLECTION = re.compile(r"^\s*(?:- )?([a-z0-9_]+\.[a-z0-9_]+)\.[a-z0-9_]+:", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def relative(path):
    return str(path.relative_to(ROOT))


def text_of(path):
    return path.read_text(encoding="utf-8")


def is_code(path):
    return path.suffix in CODE or text_of(path).startswith("#!")


def test_roles_playbooks_and_inventories_can_be_called_by_their_names():
    named = [*ROLES, *ROOT.glob("playbooks/*.yml"), *ROOT.glob("inventories/*"), *ROOT.glob("molecule/*/")]
    assert [relative(path) for path in named if not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem)] == []


def test_no_file_names_a_package_registry():
    assert [(relative(path), name) for path in committed_files() for name in REGISTRIES if name in text_of(path)] == []


def test_every_code_file_states_its_licence():
    assert [relative(path) for path in committed_files() if is_code(path) and not SPDX.search(text_of(path))] == []


def test_every_yaml_file_begins_a_document():
    # The stand-in application is Rails', and looks like it.
    found = [path for path in committed_files() if path.suffix == ".yml" and "/calf/" not in str(path)]
    assert [relative(path) for path in found if not text_of(path).startswith("---\n")] == []


def test_handlers_have_names_of_their_own():
    # Of two handlers with the same name only the last that was loaded ever runs, whichever role notifies it.
    names = [name for role in ROLES for path in role.glob("handlers/*.yml") for name in values_of("name", load(path))]
    assert len(names) == len(set(names))


def test_galaxy_asks_for_the_collections_that_are_used():
    files = [path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")]
    used = {name for path in files if "argument_specs" not in path.name for name in COLLECTION.findall(text_of(path))}
    assert set(load(ROOT / "galaxy.yml")["dependencies"]) == used - {"ansible.builtin", "fediops.mastodon"}


def test_a_checkout_asks_for_what_galaxy_asks_for():
    wanted = {entry["name"]: entry["version"] for entry in load(ROOT / "requirements.yml")["collections"]}
    assert wanted == load(ROOT / "galaxy.yml")["dependencies"]


def test_galaxy_sets_no_upper_bound():
    assert [bound for bound in load(ROOT / "galaxy.yml")["dependencies"].values() if not bound.startswith(">=")] == []
    assert "<" not in load(ROOT / "meta/runtime.yml")["requires_ansible"]


def test_a_person_copies_no_older_collection_than_this():
    wanted = {
        entry["name"]: entry["version"] for entry in load(ROOT / "examples/my_instance/requirements.yml")["collections"]
    }
    assert wanted["fediops.mastodon"] == f">={load(ROOT / 'galaxy.yml')['version']}"


@pytest.mark.parametrize("page", [path for path in committed_files() if path.suffix == ".md"], ids=relative)
def test_links_lead_somewhere(page):
    assert [link for link in LINK.findall(text_of(page)) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("maker", ["make_variables", "make_measured"])
def test_a_page_that_is_made_is_fresh(maker):
    spec = importlib.util.spec_from_file_location(maker, ROOT / f"docs/{maker}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stale = text_of(Path(module.PAGE)) != module.page()
    assert not stale, f"{relative(module.PAGE)} is not what it is made from: run `make docs`"
