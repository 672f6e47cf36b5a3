# SPDX-License-Identifier: GPL-3.0-or-later
"""The readers of env files, and what the real ones made of each written form."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _readers():
    spec = importlib.util.spec_from_file_location("env_readers", HERE / "env_readers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.READERS


@pytest.fixture(scope="session")
def readers():
    return _readers()


@pytest.fixture(scope="session")
def seen():
    return json.loads((HERE / "dotenv_readers.json").read_text(encoding="utf-8"))["forms"]
