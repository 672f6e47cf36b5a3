# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal tells the person who waits for it, and how it runs other programs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

STARTED = time.monotonic()


class RehearsalError(Exception):
    """One sentence or two: what is wrong, and what to do about it."""


def say(text: str) -> None:
    """Print one line with the seconds since the command was started."""
    print(f"[{time.monotonic() - STARTED:4.0f} s] {text}", flush=True)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step that takes long, and say how long it took."""
    say(f"{text} ...")
    begun = time.monotonic()
    yield
    say(f"{text}: done in {time.monotonic() - begun:.0f} s")


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float | None = None,
    log: Path | None = None,
) -> str:
    """Run a program quietly and return its standard output, stripped.

    `stdin` carries what must not be seen in the process list. With `log`, everything the program
    prints goes to that file instead and the returned text is empty.
    Raises RehearsalError with the end of what the program printed when it fails or takes too long.
    """
    program = Path(argv[0]).name
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        if log is None:
            done = subprocess.run(
                argv, input=data, env=env, cwd=cwd, timeout=timeout_seconds, capture_output=True, check=False
            )
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as out:
                done = subprocess.run(
                    argv, input=data, env=env, cwd=cwd, timeout=timeout_seconds, stdout=out, stderr=subprocess.STDOUT,
                    check=False,
                )
    except FileNotFoundError:
        raise RehearsalError(f"The program {program} is not installed.") from None
    except subprocess.TimeoutExpired:
        raise RehearsalError(f"{program} did not finish within {timeout_seconds:.0f} seconds.") from None
    if done.returncode:
        said = log.read_bytes() if log else done.stdout + done.stderr
        end = "\n".join(said.decode(errors="replace").strip().splitlines()[-15:])
        where = f" (all of it: {log})" if log else ""
        raise RehearsalError(f"{program} failed with status {done.returncode}{where}:\n{end}")
    return "" if log else done.stdout.decode(errors="replace").strip()


def succeeds(argv: Sequence[str | Path], timeout_seconds: float = 30) -> bool:
    """Whether a program can be started and ends with status 0."""
    try:
        return not subprocess.run(argv, capture_output=True, timeout=timeout_seconds, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def stop(error: RehearsalError) -> int:
    """Print an error where errors belong and return the exit status."""
    print(f"\nThe rehearsal stopped: {error}", file=sys.stderr, flush=True)
    return 1
