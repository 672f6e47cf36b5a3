# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# unpack ID: unpack an archive into releases/ID, which exists only when it is whole. Nothing in it belongs to the
# application, or gains rights because an archive says so.
set -eu
part=releases/.$1.part
rm -rf "$part"
mkdir "$part"
tar --extract --zstd --file "archives/$1.tar.zst" --directory "$part" --no-same-owner --no-same-permissions
touch "$part"
sync --file-system "$part"
mv --no-target-directory "$part" "releases/$1"
