# SPDX-License-Identifier: GPL-3.0-or-later
"""A variable that a page names in prose is one that a role or the plan takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.inventory import OVERRIDES

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PAGES = [
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md"))
    if page.name != "CHANGELOG.md"
]
# Groups of an inventory look like variables of a role.
OTHERS = {"postgres_primary", "postgres_replica", "redis_core", "redis_replica", "redis_cache", "redis_sidekiq"}
NAME = re.compile(rf"`((?:{'|'.join(ROLES)})_[a-z0-9_]+)(?=[`:= ])")


def variables():
    """Every option of every entry point of every role."""
    specs = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    return {name for spec in specs for entry in spec["argument_specs"].values() for name in entry.get("options", {})}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_named_is_one(page):
    named = set(NAME.findall(page.read_text(encoding="utf-8")))
    assert named - variables() - set(OVERRIDES) - OTHERS == set()
