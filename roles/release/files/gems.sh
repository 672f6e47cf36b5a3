# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# gems bundle|distribution: install what the release's lock file names into the release, or be content with the gems that
# the distribution has. How is kept in .bundle/config, which the units read as well.
set -eu
bundle config set --local without 'development test'
case $1 in
  bundle)
    bundle config set --local deployment true
    bundle config set --local path vendor/bundle
    bundle install
    ;;
  distribution)
    bundle config set --local path.system true
    bundle check || bundle install --local
    ;;
esac
