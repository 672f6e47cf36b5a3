#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Loads the rules of the firewall, and never locks anybody out: new rules are in force on trial, until `keep` says that
# somebody could connect anew, or until the time is over and those before are put back. Only kept rules outlive a reboot.
#   firewall start | stop | try SECONDS | keep | roll-back
set -eu

wanted=/etc/fediops/firewall.nft
kept=/var/lib/fediops/firewall.nft
trial=/run/fediops-firewall-trial.nft
timer=fediops-firewall-rollback
debts=/var/lib/fediops/owed
debt="$debts/reload fediops-firewall.service"

# nftables takes all of a file or nothing.
remove() { printf 'table inet fediops\ndelete table inet fediops\n' | nft -f -; }

# Without kept rules there was no firewall before. What is wanted and not in force is tried by the next run.
put_back() {
  if [ -e "$kept" ]; then nft -f "$kept"; else remove; fi
  cmp -s "$wanted" "$kept" || { mkdir -p "$debts" && touch "$debt"; }
}

exec 9> /run/fediops-firewall.lock
flock 9
case ${1:-} in
  start) put_back ;;
  stop) remove ;;
  try)
    nft -c -f "$wanted"
    cp "$wanted" "$trial"
    systemctl stop "$timer.timer" 2> /dev/null || true
    systemd-run --quiet --collect --unit="$timer" --on-active="$2" --timer-property=AccuracySec=1s "$0" roll-back
    nft -f "$trial"
    ;;
  keep)
    if [ -e "$trial" ]; then
      systemctl stop "$timer.timer"
      cp "$trial" "$kept.new"
      sync "$kept.new"
      mv "$kept.new" "$kept"
      rm -f "$trial" "$debt"
    elif ! cmp -s "$wanted" "$kept"; then
      echo 'The time was over before a new connection was made, so the rules before are back in force.' >&2
      exit 1
    fi
    ;;
  roll-back)
    [ -e "$trial" ] || exit 0
    rm "$trial"
    put_back
    echo 'Nobody connected anew under the new rules, so those before are back in force. The next run tries again.'
    ;;
  *)
    echo "usage: $0 start|stop|try SECONDS|keep|roll-back" >&2
    exit 2
    ;;
esac
