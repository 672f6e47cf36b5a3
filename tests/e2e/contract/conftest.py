# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the contract share."""

from __future__ import annotations

import secrets

import pytest


@pytest.fixture(scope="session")
def client(instance):
    """The owner's client."""
    return instance.client()


@pytest.fixture
def tag():
    """A word that nobody used before."""
    return f"t{secrets.token_hex(6)}"
