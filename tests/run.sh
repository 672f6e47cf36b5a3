#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# All tests, by `make test`, which makes .venv first. One pytest runs everything: its last lines tell of every layer, and
# its status is the status. Of its two processes one makes the larger fleet and tests it; the other runs what needs none,
# and then the smaller fleet. Under heavy load one has the machine alone: see turns.py. Tests with Chromium come early,
# when no container is made or removed: it gives up what it has asked for when an interface of the machine comes or goes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec .venv/bin/pytest -v --durations=40 --numprocesses 2 --dist loadscope tests/lint tests/e2e tests/unit --scenario single_box --scenario split_tier "$@"
