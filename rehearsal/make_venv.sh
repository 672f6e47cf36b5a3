#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Make .venv in the checkout, install a requirements file, link the checkout into it: make_venv.sh PYTHON REQUIREMENTS
set -eu
python=$1
requirements=$2
cd "$(dirname "$0")/.."

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or later is needed and $python is older; for example: make venv PYTHON=python3.13" >&2
    exit 1
}
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "The module venv of $python is missing: install python3-venv (on Debian, as root: apt-get install python3-venv)." >&2
        exit 1
    fi
    echo "Installing python3-venv"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv >/dev/null
fi

# An environment whose Python is gone, after an upgrade of the system, is of no use.
if ! .venv/bin/python -c '' 2>/dev/null; then
    "$python" -m venv --clear .venv
fi
echo "Installing $requirements into .venv: about a minute"
if ! said=$(.venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" 2>&1); then
    echo "$said" >&2
    exit 1
fi
mkdir -p .venv/collections/ansible_collections/fediops
ln -sfn ../../../.. .venv/collections/ansible_collections/fediops/mastodon
