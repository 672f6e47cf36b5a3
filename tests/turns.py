# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes of pytest share one machine: while one measures under heavy load, the others begin no test."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

CACHE = Path(__file__).resolve().parents[1] / ".cache"


@cache
def _open(name: str, _process: int) -> TextIO:
    CACHE.mkdir(exist_ok=True)
    return (CACHE / f"{name}.lock").open("w")


def _files() -> tuple[TextIO, TextIO]:
    """The machine, and the queue for it: whoever wants it alone holds up those who come later, and is not starved."""
    return _open("machine", os.getpid()), _open("queue", os.getpid())


@contextmanager
def beside_others() -> Iterator[None]:
    """Use the machine as everybody does; waits for whoever has it alone."""
    machine, queue = _files()
    fcntl.flock(queue, fcntl.LOCK_EX)
    fcntl.flock(machine, fcntl.LOCK_SH)
    fcntl.flock(queue, fcntl.LOCK_UN)
    try:
        yield
    finally:
        fcntl.flock(machine, fcntl.LOCK_UN)


@contextmanager
def alone() -> Iterator[None]:
    """Have the machine alone, within a test of the same process that uses it beside others."""
    machine, queue = _files()
    fcntl.flock(queue, fcntl.LOCK_EX)
    fcntl.flock(machine, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(machine, fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
