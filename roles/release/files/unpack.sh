# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# unpack ARCHIVE DIRECTORY: unpack an archive into a directory, which is there only when it is whole. Nothing in it
# belongs to the application, or gains rights because an archive says so.
set -eu
directory=$2
part=$(dirname "$directory")/.$(basename "$directory").part
rm -rf "$part"
mkdir -p "$part"
tar --extract --zstd --file "archives/$1" --directory "$part" --no-same-owner --no-same-permissions
touch "$part"
sync --file-system "$part"
if [ -e "$directory" ]; then
  # A host that had only the public files, and gets all of them.
  mv --exchange --no-target-directory "$part" "$directory"
  rm -rf "$part"
else
  mv --no-target-directory "$part" "$directory"
fi
