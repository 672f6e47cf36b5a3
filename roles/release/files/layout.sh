# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# layout ID REVISION: put a commit's files into a fresh directory ID. Other directories are remains of broken builds.
set -eu
rm -rf -- */
mkdir -p "$1/.runtime/bin"
git -C ../repo archive --output "$(pwd -P)/$1/.source.tar" "$2"
tar --extract --file "$1/.source.tar" --directory "$1"
rm "$1/.source.tar"
