# SPDX-License-Identifier: GPL-3.0-or-later
"""Each linter is a test, so that one report tells of everything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

LINT = Path(__file__).resolve().parents[1] / "lint.sh"
LINTERS = subprocess.run([LINT, "--list"], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("linter", LINTERS)
def test_is_content(linter):
    done = subprocess.run([LINT, linter], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"tests/lint.sh {linter}:\n{done.stdout}"
