#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# All tests, by `make test`, which makes .venv first. One pytest runs everything: its last lines tell of every layer, and
# its status is the status. One of its two processes runs all that needs a fleet, in order; the other the rest meanwhile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec .venv/bin/pytest -v --durations=15 --numprocesses 2 --dist loadscope tests/lint tests/unit tests/e2e --scenario single_box --scenario split_tier "$@"
