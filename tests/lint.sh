#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Run the linters, or only those that are named:  tests/lint.sh [--list] [NAME ...]
# All of them run even when one fails; the last line names those that did. Needs the environment of `make venv`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

linters=(yamllint ruff shellcheck ansible-lint changelog docs sanity galaxy-importer)
venv=$(realpath -m "${VENV:-.venv}")
work=$PWD/.cache/lint
tree=$work/ansible_collections/fediops/mastodon
export PATH="$venv/bin:$PATH"
export ANSIBLE_HOME=$PWD/.cache/ansible NO_COLOR=1 PIP_QUIET=2

# The files that git would commit, in the folders where Ansible's tools want a collection to be: a checkout may be in a
# folder of any name, and ansible-test follows no link. It asks git what there is, so the copy is a repository too.
# The stand-in application is Rails', and Ansible's tools would take its files for their own.
copy_tree() {
  rm -rf "$tree" && mkdir -p "$tree" &&
    git ls-files -z --cached --others --exclude-standard --deduplicate -- ':!rehearsal/calf' |
    while IFS= read -r -d "" path; do if [ -e "$path" ]; then printf "%s\0" "$path"; fi; done |
      tar --create --null --files-from - | tar --extract --directory "$tree" &&
    git -C "$tree" init --quiet && git -C "$tree" add --all
}

site_packages() { "$1" -c 'import site; print(site.getsitepackages()[0])'; }

# Tools that cannot share an environment with the tests, made anew when what they are made of changes.
tools() {
  local core wanted
  core=$(python -c 'import ansible.release; print(ansible.release.__version__)') || return
  wanted=$({ python --version; echo "$core"; cat tests/lint/requirements.txt; } | sha256sum)
  if [ "$(cat "$work/venv/made-of" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$work/venv"
    python -m venv "$work/venv" &&
      "$work/venv/bin/pip" install --requirement tests/lint/requirements.txt "ansible-core==$core" &&
      # Where these tools look for the collections that ours depends on.
      ln -s "$(site_packages python)/ansible_collections" "$(site_packages "$work/venv/bin/python")/" &&
      echo "$wanted" >"$work/venv/made-of"
  fi
}

lint_yamllint() { yamllint --strict .; }

lint_ruff() { ruff check --quiet --cache-dir .cache/ruff .; }

lint_shellcheck() {
  local -a scripts
  mapfile -t scripts < <(git grep --untracked --files-with-matches --extended-regexp '^#!.*\b(ba)?sh\b' -- ':!*.md' ':!*.j2' ':!*.py')
  shellcheck "${scripts[@]}"
}

lint_ansible-lint() { ANSIBLE_COLLECTIONS_PATH="$venv/collections" ansible-lint --offline --strict; }

lint_changelog() { tools && "$work/venv/bin/antsibull-changelog" lint; }

lint_docs() {
  tools && copy_tree && cd "$tree" && PATH="$work/venv/bin:$PATH" \
    antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self --skip-rstcheck .
}

lint_sanity() {
  if compgen -G 'tests/sanity/ignore*' >/dev/null; then
    echo "tests/sanity/ignore*: this collection ignores no sanity test" && return 1
  fi
  python tests/lint/pip_bootstrap.py && copy_tree && cd "$tree" &&
    ansible-test sanity --color no --python "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
}

lint_galaxy-importer() {
  local log=$work/galaxy-importer.log
  tools && copy_tree && rm -rf "$work/artifact" &&
    ansible-galaxy collection build "$tree" --output-path "$work/artifact" >"$log" || return
  (cd "$work" && PATH="$work/venv/bin:$PATH" python -m galaxy_importer.main artifact/*.tar.gz) >>"$log" 2>&1
  local status=$?
  cat "$log"
  # The importer ends well although Galaxy would show the reader errors and warnings.
  [ "$status" -eq 0 ] && ! grep --quiet --extended-regexp '^(WARNING|ERROR|CRITICAL)' "$log"
}

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${linters[@]}"
  exit
fi
[ -x "$venv/bin/ansible-lint" ] || { echo "$venv has no ansible-lint: run 'make venv' first" >&2; exit 1; }
mkdir -p "$work"
failed=()
for linter in "${@:-${linters[@]}}"; do
  declare -F "lint_$linter" >/dev/null || { echo "no linter is called '$linter'; there are: ${linters[*]}" >&2; exit 1; }
  echo "== $linter"
  ("lint_$linter") || failed+=("$linter")
done
[ ${#failed[@]} -eq 0 ] || { echo "lint: failed: ${failed[*]}" >&2; exit 1; }
echo "lint: clean"
