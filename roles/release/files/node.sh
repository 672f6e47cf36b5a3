# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Give the release Yarn as its package.json names it, and Node as its .nvmrc does: the distribution's where that is new
# enough, else the one that is published as a package.
set -eu
tree=$(pwd -P)
wanted=$(sed 's/^v//' .nvmrc)
case $wanted in
  [0-9]*) ;;
  *) echo "The release asks for Node '$wanted' in its .nvmrc; a version number was expected." >&2 && exit 1 ;;
esac
have=$(/usr/bin/node --print process.versions.node)
# "yarn@4.16.0+sha224.…" in package.json
yarn=$(/usr/bin/node --print "JSON.parse(fs.readFileSync('package.json')).packageManager.match(/^yarn@([^+]+)/)[1]")
set -- "@yarnpkg/cli-dist@$yarn"
if [ "${have%%.*}" -ge "${wanted%%.*}" ]; then
  ln --symbolic --force /usr/bin/node .runtime/bin
else
  set -- "$@" "node-linux-$(/usr/bin/node --print process.arch)@$wanted"
fi
# Both come through the older Yarn that the distribution's corepack knows: it works behind a mirror, and with any Node.
mkdir "$HOME/tools"
cd "$HOME/tools"
echo '{"private": true}' > package.json
corepack yarn add --ignore-scripts --non-interactive --no-progress "$@"
mv node_modules "$tree/.runtime"
rm -rf "$HOME/tools"
cd "$tree/.runtime/bin"
for tool in ../node_modules/.bin/*; do
  ln --symbolic --force "$tool" .
done
