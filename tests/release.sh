#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The steps of a release (docs/releasing.md):  tests/release.sh notes | build | publish
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
artifact=.cache/artifact
export PATH="$PWD/.venv/bin:$PATH"

case "${1:-}" in
  notes)
    # The linters' own environment has the changelog's tool; linting makes it, and a changelog that fails is not released.
    tests/lint.sh changelog
    .cache/lint/venv/bin/antsibull-changelog release
    ;;
  build)
    tests/lint.sh galaxy-importer
    rm -rf "$artifact" && mkdir -p "$artifact"
    cp .cache/lint/artifact/*.tar.gz "$artifact/"
    ls -l "$artifact"
    ;;
  publish)
    : "${GALAXY_TOKEN:?is not set: the token of the account that publishes}"
    # By the environment: arguments can be read by every process of the machine.
    export ANSIBLE_GALAXY_SERVER_LIST=release ANSIBLE_GALAXY_SERVER_RELEASE_TOKEN=$GALAXY_TOKEN
    : "${ANSIBLE_GALAXY_SERVER_RELEASE_URL:=$(ansible-config dump --format json |
      python -c 'import json, sys; print(next(s["value"] for s in json.load(sys.stdin) if s.get("name") == "GALAXY_SERVER"))')}"
    export ANSIBLE_GALAXY_SERVER_RELEASE_URL
    ansible-galaxy collection publish "$artifact"/*.tar.gz
    ;;
  *)
    echo "usage: tests/release.sh notes | build | publish" >&2
    exit 1
    ;;
esac
