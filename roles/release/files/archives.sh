# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# archives ID: make what is missing or broken of the archives that other hosts fetch, and print of each
# "NAME SHA256 BYTES-MODIFIED"; by the last one a later run sees that it is still the same. What went away is packed again
# from what was unpacked, which nobody but root can have changed, without what earlier releases left there.
set -eu
release=../releases/$1
cd archives

provide() { # ARCHIVE DIRECTORY MEMBER...
  archive=$1 directory=$2
  shift 2
  if ! zstd --test --quiet "$archive" 2>/dev/null; then
    sed 's#^[0-9]* #./public/#' "$release/.superseded" 2>/dev/null |
      tar --create --zstd --file "$archive.part" --owner=root --group=root --directory "$directory" \
        --no-wildcards --exclude=./.superseded --exclude-from=- "$@"
    sync "$archive.part"
    mv "$archive.part" "$archive"
  fi
  chmod 0644 "$archive"
  echo "$archive $(sha256sum < "$archive" | cut --delimiter=' ' --fields=1) $(stat --format=%s-%Y "$archive")"
}

provide "$1.tar.zst" "$release" .
# For hosts with nothing but nginx. Media are never there: they would be in object storage.
provide "$1.public.tar.zst" "$release" --exclude=./public/system ./public
ruby=$(readlink "$release/.runtime/bin/ruby")
case $ruby in
  /opt/ruby/*)
    version=${ruby#/opt/ruby/}
    version=${version%%/*}
    provide "ruby-$version.tar.zst" "/opt/ruby/$version" .
    ;;
esac
