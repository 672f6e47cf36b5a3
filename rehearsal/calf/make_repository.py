#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the git repository of the stand-in application: python make_repository.py DEST.git

The folder ``app`` is v1.0.0; the folders named after a later version are laid over what came before. Author and
dates are fixed, so the same files give the same commits on every machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSIONS = ("v1.0.0", "v1.1.0")
RELEASED = {"v1.0.0": "2026-01-10T12:00:00+00:00", "v1.1.0": "2026-03-10T12:00:00+00:00"}
LEFTOVERS = shutil.ignore_patterns("node_modules", "tmp", ".yarn", ".bundle", "packs", "assets", "Gemfile.lock")


def _git(*arguments: str, cwd: Path, **extra_environment: str) -> None:
    """Run git untouched by the settings of the person or of a surrounding repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Calf"), ("EMAIL", "calf@localhost"))
    }
    environment |= identity | extra_environment | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *arguments], cwd=cwd, env=environment, check=True)


def make_repository(destination: Path) -> None:
    """Write a bare repository with a tag for each version and the branch ``main``; replaces what is there."""
    with tempfile.TemporaryDirectory() as scratch:
        tree, bare = Path(scratch, "tree"), Path(scratch, "bare.git")
        tree.mkdir()
        _git("init", "--quiet", "--initial-branch=main", cwd=tree)
        for version in VERSIONS:
            source = HERE / ("app" if version == VERSIONS[0] else version)
            shutil.copytree(source, tree, symlinks=True, dirs_exist_ok=True, ignore=LEFTOVERS)
            date = RELEASED[version]
            dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
            _git("add", "--all", cwd=tree)
            _git("commit", "--quiet", "--no-gpg-sign", "--message", f"Release {version}", cwd=tree, **dates)
            _git("tag", "--annotate", "--message", version, version, cwd=tree, **dates)
        _git("clone", "--quiet", "--bare", str(tree), str(bare), cwd=tree)
        _git("remote", "remove", "origin", cwd=bare)
        shutil.rmtree(destination, ignore_errors=True)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(bare, destination)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("destination", type=Path, help="the bare repository to write, for example calf.git")
    make_repository(parser.parse_args().destination.resolve())
