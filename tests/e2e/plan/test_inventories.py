# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventories that are shipped can be planned, and their READMEs show the plan that they have."""

from __future__ import annotations

import sys

import pytest
from e2e.fleet import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "docs"))

import make_plans


@pytest.mark.parametrize("path", make_plans.readmes(), ids=lambda path: path.parent.name)
def test_readme_shows_its_plan(path):
    text = path.read_text(encoding="utf-8")
    assert make_plans.with_plan(text, make_plans.plan_of(path.parent)) == text, "run `make docs`"
