# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# prune KEEP: remove all releases but the one in force and the newest others, KEEP in all, with their archives and Rubies.
# A release that holds media of its own is never removed.
set -eu
current=$(basename "$(readlink -f current)")
kept=1
find releases -mindepth 1 -maxdepth 1 -name '[!.]*' -printf '%T@ %f\n' | sort --reverse --numeric-sort |
while read -r _time release; do
  [ "$release" != "$current" ] || continue
  kept=$((kept + 1))
  [ "$kept" -gt "$1" ] || continue
  media=releases/$release/public/system
  if [ -d "$media" ] && [ ! -L "$media" ] && [ -n "$(ls -A "$media")" ]; then
    echo "$(pwd -P)/$media holds media. Move them to /var/lib/mastodon/system, then remove the release." >&2
    continue
  fi
  rm -rf "releases/$release" "archives/$release.tar.zst"
  echo "removed $release"
done
for archive in archives/*.tar.zst; do
  [ -d "releases/$(basename "$archive" .tar.zst)" ] || rm -f "$archive"
done
for ruby in /opt/ruby/*; do
  readlink releases/*/.runtime/bin/ruby | grep --quiet "^$ruby/" || rm -rf "$ruby"
done
