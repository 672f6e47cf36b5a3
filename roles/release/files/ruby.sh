# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# ruby SOURCE RUBY_BUILD_REPO USER: link the Ruby of the distribution into the release, or the exact one that the release
# names, which is compiled once, as USER, and belongs to root.
set -eu
prefix=/usr
if [ "$1" = release ]; then
  version=$(sed 's/^ruby-//' .ruby-version)
  prefix=/opt/ruby/$version
  if [ ! -e "$prefix/.complete" ]; then
    rm -rf "$prefix" "$RUBY_BUILD_BUILD_PATH"
    install --directory --owner="$3" "$prefix"
    # By its path: what builds a release is not given /usr/sbin.
    # shellcheck disable=SC2016 # the inner shell expands them
    /usr/sbin/runuser --user "$3" -- env HOME="$HOME" sh -euc '
      tool=$HOME/.ruby-build
      git init --quiet "$tool"
      git -C "$tool" fetch --quiet --depth 1 "$1" HEAD
      git -C "$tool" checkout --quiet --force FETCH_HEAD
      "$tool/bin/ruby-build" "$2" "$3"
    ' ruby "$2" "$version" "$prefix"
    chown --recursive root:root "$prefix"
    rm -rf "$RUBY_BUILD_BUILD_PATH"
    touch "$prefix/.complete"
  fi
fi
ln --symbolic --force "$prefix/bin/ruby" "$prefix/bin/bundle" .runtime/bin
