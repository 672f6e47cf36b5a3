# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of conventions."""

from __future__ import annotations

import pytest
from collection_tree import ROOT


@pytest.fixture
def root():
    return ROOT
