# SPDX-License-Identifier: GPL-3.0-or-later
"""The story is told on any deployed instance: REHEARSAL_SUMMARY names its summary.json."""

from __future__ import annotations

import os

import pytest
from e2e.instance import Instance


@pytest.fixture(scope="session")
def instance(request):
    """The instance that REHEARSAL_SUMMARY describes, else that of the fleet under test."""
    path = os.environ.get("REHEARSAL_SUMMARY")
    return Instance.read(path) if path else Instance(request.getfixturevalue("summary"))
