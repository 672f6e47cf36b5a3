# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: where the collection is found under its full name."""

from __future__ import annotations

import os
import sys

# pyproject.toml names .venv/collections; who keeps the environment elsewhere says so as he says it to Ansible.
sys.path[:0] = [path for path in os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep) if path]
