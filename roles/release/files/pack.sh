# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# pack ID: finish a release and pack it. What outlives releases is linked in: media, temporary files, the environment.
set -eu
yarn workspaces focus --production "$(node --print "JSON.parse(fs.readFileSync('streaming/package.json')).name")"
rm -rf node_modules/.cache vendor/bundle/ruby/*/cache/*.gem spec .git* log tmp public/system .env.production
mkdir log
ln --symbolic /var/lib/mastodon/system public/system
ln --symbolic /var/lib/mastodon/tmp tmp
ln --symbolic /etc/mastodon/env.production .env.production
archive=/opt/mastodon/archives/$1.tar.zst
tar --create --zstd --file "$archive.part" --owner=root --group=root .
sync "$archive.part"
mv "$archive.part" "$archive"
# What was downloaded is kept for the next try of a build that failed; after one that did not, it is only in the way.
cd ..
rm -rf "./$1" .yarn .cache .bundle
