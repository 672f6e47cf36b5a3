# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus's own checker, promtool, from where it can be had without changing the machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache/promtool"
# Debian 13 has it in a package of its own, earlier ones beside Prometheus.
PACKAGES = ("promtool", "prometheus")


def promtool() -> str:
    """The path of promtool: the machine's own, else Debian's package, unpacked in .cache and not installed.

    AssertionError says what to do where neither can be had.
    """
    unpacked = CACHE / "usr/bin/promtool"
    path = shutil.which("promtool")
    if path is None and shutil.which("apt-get"):
        CACHE.mkdir(parents=True, exist_ok=True)
        # Several processes of pytest may want it at once.
        with open(CACHE / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not unpacked.exists():
                _unpack()
        path = str(unpacked) if unpacked.exists() else None
    assert path, "promtool is missing. On Debian it is downloaded where its archive can be reached; else install it."
    return path


def _unpack() -> None:
    """Download the package and unpack it, with lists and settings of apt in .cache: for that nobody has to be root."""
    for folder in ("lists/partial", "archives/partial"):
        (CACHE / folder).mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "--quiet", "--quiet", "-o", f"Dir::State::lists={CACHE}/lists", "-o", f"Dir::Cache={CACHE}"]
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run([*apt, "update"], env=environment, capture_output=True, check=False)
    for package in PACKAGES:
        done = subprocess.run(
            [*apt, "download", package], cwd=CACHE, env=environment, capture_output=True, text=True, check=False
        )
        for archive in CACHE.glob(f"{package}_*.deb") if done.returncode == 0 else ():
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as package_files:
                subprocess.run(
                    ["tar", "--extract", "--directory", CACHE, "./usr/bin/promtool"],
                    stdin=package_files.stdout,
                    check=False,
                )
            archive.unlink()
        if (CACHE / "usr/bin/promtool").exists():
            break
    shutil.rmtree(CACHE / "lists")
