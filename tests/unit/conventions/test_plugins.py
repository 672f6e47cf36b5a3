# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that nothing else compares: no linter notices a filter that is documented under another name."""

from __future__ import annotations

import ast
import importlib

import pytest
import yaml
from collection_tree import ROOT

PLUGINS = ROOT / "plugins"
FILTERS = sorted(PLUGINS.glob("filter/*.py"))
MODULES = sorted(PLUGINS.glob("modules/*.py"))
ACTIONS = sorted(PLUGINS.glob("action/*.py"))
# All but what the filters share, whose business is Ansible's own errors.
PURE = sorted({*PLUGINS.glob("plugin_utils/**/*.py")} - {PLUGINS / "plugin_utils/filters.py"})


def name_of(path):
    return path.stem


def constants(path):
    """Return the module's string constants, by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


@pytest.mark.parametrize("path", FILTERS, ids=name_of)
def test_filter_has_one_name(path):
    module = importlib.import_module(f"ansible_collections.fediops.mastodon.plugins.filter.{path.stem}")
    assert yaml.safe_load(constants(path)["DOCUMENTATION"])["name"] == path.stem
    assert list(module.FilterModule().filters()) == [path.stem]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_has_one_name(path):
    assert yaml.safe_load(constants(path)["DOCUMENTATION"])["module"] == path.stem


@pytest.mark.parametrize("path", [*FILTERS, *MODULES], ids=name_of)
def test_plugin_is_documented_with_examples_and_results(path):
    documented = constants(path)
    assert [part for part in ("DOCUMENTATION", "EXAMPLES", "RETURN") if not documented.get(part, "").strip()] == []


@pytest.mark.parametrize("path", ACTIONS, ids=name_of)
def test_action_plugin_has_its_module(path):
    assert (PLUGINS / "modules" / path.name).is_file(), "ansible-doc reads the documentation from the module"


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_library_knows_nothing_of_ansible(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    assert [name for name in imported if name.split(".")[0] == "ansible"] == []
