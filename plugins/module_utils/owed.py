# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host owes to its services, kept on its disk so that a run that was killed leaves it to the next one.

A debt is a sentence such as ``restart redis-server.service``, ``reload nginx.service`` or ``daemon-reload``, and on
disk it is an empty file of that name: making and removing one is atomic, and ``ls`` shows what is owed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator

from ansible.module_utils.basic import AnsibleModule

STATE_DIRECTORY = "/var/lib/fediops"
DAEMON_RELOAD = "daemon-reload"
UNIT_TYPES = ("service", "socket", "timer", "target", "path", "mount", "slice")


class RefusedError(Exception):
    """What was asked for cannot be done, for the reason given."""


class BusyError(RefusedError):
    """Another run is at work on this host."""


def full_name(unit: str) -> str:
    """Return the name of a unit with its type, as systemd completes it: ``nginx`` is ``nginx.service``."""
    return unit if unit.rpartition(".")[2] in UNIT_TYPES else f"{unit}.service"


def sync_directory(path: str) -> None:
    """Have the disk keep the names in a directory, which writing the files themselves does not ensure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_run(state_directory: str, wait_seconds: float = 120) -> Iterator[None]:
    """Hold the host's lock, because two runs that switch files at once would roll each other back.

    Raises BusyError when another process still holds it after ``wait_seconds``.
    """
    os.makedirs(state_directory, mode=0o700, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with open(os.path.join(state_directory, "lock"), "w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    waited = f"another run has held {lock.name} for {wait_seconds:.0f} s"
                    raise BusyError(f"{waited}: wait for it to end, then run again") from None
                time.sleep(0.5)
        yield


def answer(module: AnsibleModule, work: Callable[[AnsibleModule], dict]) -> None:
    """Do a module's work while no other run is at work on this host, and end the module with what came of it."""
    lock = contextlib.nullcontext() if module.check_mode else only_run(module.params["state_directory"])
    try:
        with lock:
            result = work(module)
    except (RefusedError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


class Owed:
    """The debts of one host, below ``state_directory``."""

    def __init__(self, state_directory: str) -> None:
        self.directory = os.path.join(state_directory, "owed")

    def pending(self) -> set[str]:
        """Return the debts on disk."""
        with contextlib.suppress(FileNotFoundError):
            return set(os.listdir(self.directory))
        return set()

    def add(self, debts: Iterable[str]) -> set[str]:
        """Write the debts down, wait until the disk has them, and return those that are new."""
        new = set(debts) - self.pending()
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        for debt in new:
            os.close(os.open(os.path.join(self.directory, debt), os.O_CREAT, 0o600))
        sync_directory(self.directory)
        return new

    def written(self) -> dict[str, int]:
        """Return when each debt on disk was written down, in nanoseconds since 1970."""
        found = {}
        for debt in self.pending():
            with contextlib.suppress(FileNotFoundError):
                found[debt] = os.stat(os.path.join(self.directory, debt)).st_mtime_ns
        return found

    def clear(self, debts: Iterable[str]) -> None:
        """Strike out the debts; those that are not there do no harm."""
        for debt in debts:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.directory, debt))
