# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal's modules are imported from the checkout, as rehearsal/fleet.py does it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
