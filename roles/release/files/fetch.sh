# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# fetch REPO VERSION: print the commit that a tag, a branch or a whole commit hash of a repository means, fetched here.
set -eu
repo=$1 version=$2
git init --quiet --bare .
if ! git cat-file -e "$version^{commit}" 2>/dev/null; then
  git fetch --quiet --force --no-tags --depth 1 "$repo" "$version:refs/fetched" || {
    echo "There is no tag, branch or commit (all 40 digits of it) '$version' in $repo, or it cannot be reached." >&2
    exit 1
  }
  version=refs/fetched
fi
git rev-parse --verify "$version^{commit}"
