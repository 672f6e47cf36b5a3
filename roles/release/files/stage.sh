# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# stage ID: print how far a release has come: unpacked, archived or absent. A broken archive goes away.
set -eu
archive=archives/$1.tar.zst
if [ -e "releases/$1/.runtime" ]; then
  echo unpacked
elif [ -e "$archive" ] && zstd --test --quiet "$archive"; then
  echo archived
else
  rm -f "$archive"
  echo absent
fi
