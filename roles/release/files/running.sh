# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# running UNIT...: print each release that the main processes of units run in, once. A process that is down runs none.
set -eu
systemctl list-units --all --plain --no-legend "$@" | awk '$2 == "loaded" { print $1 }' |
while read -r unit; do
  pid=$(systemctl show --property=MainPID --value "$unit")
  basename "$(readlink "/proc/$pid/cwd" || echo "(none: $unit is down)")"
done | sort --unique
