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

# Pages that people have open, and hosts that are not switched yet, ask for assets of the release before: they stay for
# 14 days after another took its place. All have a hash in their name.
now=$(date +%s)
if [ -d "$part/public" ] && [ -d current/public ]; then
  {
    cat current/.superseded 2>/dev/null || true
    cd current/public
    find packs assets -type f -printf "$now %p\n" 2>/dev/null || true
  } | awk -v since=$((now - 14 * 86400)) '!seen[$2]++ && $1 > since' | while read -r time file; do
    if [ ! -e "$part/public/$file" ] && [ -e "current/public/$file" ]; then
      mkdir -p "$part/public/$(dirname "$file")"
      ln "current/public/$file" "$part/public/$file"
      echo "$time $file" >> "$part/.superseded"
    fi
  done
fi

touch "$part"
sync --file-system "$part"
if [ -e "$directory" ]; then
  # A host that had only the public files, and gets all of them.
  mv --exchange --no-target-directory "$part" "$directory"
  rm -rf "$part"
else
  mv --no-target-directory "$part" "$directory"
fi
