# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# prune KEEP builder|follower: remove all releases but the one in force and the newest others, KEEP in all, with their
# archives and Rubies. A release that holds media of its own is never removed. Who only follows keeps no archive.
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
  rm -rf "releases/$release"
  echo "removed $release"
done
for ruby in /opt/ruby/*; do
  readlink releases/*/.runtime/bin/ruby | grep --quiet "^$ruby/" || rm -rf "$ruby"
done
# What a download or a packing that was broken off has left goes as well.
find archives -mindepth 1 -maxdepth 1 -printf '%f\n' |
while read -r archive; do
  name=${archive%.tar.zst}
  name=${name%.public}
  if [ "$2" = follower ] || [ "$name" = "$archive" ] ||
    { [ ! -d "releases/$name" ] && [ ! -d "/opt/ruby/${name#ruby-}" ]; }; then
    rm -rf "archives/$archive"
  fi
done
