#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The vault password of a scenario's fleet. Ansible asks for it even to make the fleet, or to remove what is not there.
cat "$MOLECULE_PROJECT_DIRECTORY/.cache/fleets/$MOLECULE_SCENARIO_NAME/vault_password" 2>/dev/null || echo "no fleet yet"
