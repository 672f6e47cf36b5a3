# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of one rehearsal."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from rehearsal.console import RehearsalError

CHECKOUT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all of it or nothing."""
    new = path.with_name(f".{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.rename(path)


def secret_in(path: Path) -> str:
    """The secret that a file keeps, made at its first use."""
    if not path.is_file():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()


class State:
    """The folder of one rehearsal: everything in it belongs to this rehearsal, and nobody else may read it."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.folder = folder.resolve()
        self.inventory = self.folder / "inventory"
        self.key = self.folder / "ssh_key"
        self.known_hosts = self.folder / "known_hosts"
        self.vault_password = self.folder / "vault_password"
        self.admin_password = self.folder / "admin_password"
        self.objects_secret = self.folder / "objects_secret"
        self.objects_program = self.folder / "weed"
        self.summary = self.folder / "summary.json"
        self.plan = self.folder / "plan.json"
        self.declared_plan = self.folder / "declared_plan.json"
        self.ca = self.folder / "ca.pem"
        self.logs = self.folder / "log"
        self.record = self.folder / "fleet.json"
        self.lock = self.folder / "lock"
        self.new = self.folder / "new"  # what is being made, until it is checked
        self.calf = self.folder / "calf.git"
        self.facts = self.folder / "facts"
        self.host_keys = self.folder / "host_keys"
        self.name = name or self.read().get("name") or self.default_name()

    def default_name(self) -> str:
        """A name for containers and network that two rehearsals on one machine do not share."""
        word = re.sub(r"[^a-z0-9]+", "-", self.folder.name.lower()).strip("-") or "rehearsal"
        return f"{word[:24]}-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:4]}"

    def command(self, name: str) -> str:
        """What a person types to have something done with it."""
        return f"make {name}" if self.folder == CHECKOUT / ".rehearsal" else f"make {name} STATE={self.folder}"

    @property
    def control_path_dir(self) -> Path:
        """Where connections are kept open: short, as sockets want it, and no other fleet's, as addresses recur."""
        return Path.home() / ".ansible/cp" / hashlib.sha256(self.name.encode()).hexdigest()[:8]

    def read(self) -> dict:
        """The record of what was made; empty when nothing was."""
        return json.loads(self.record.read_text()) if self.record.is_file() else {}

    def write(self, **changes: object) -> None:
        """Add to the record."""
        write_private(self.record, json.dumps({**self.read(), **changes}, indent=2) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second command out of this rehearsal. Raises RehearsalError when the folder is someone else's."""
        if self.folder.is_dir() and any(self.folder.iterdir()) and not self.lock.is_file():
            raise RehearsalError(f"{self.folder} holds something that is no rehearsal; name an empty or a new folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with self.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RehearsalError(f"Another command is at work on the rehearsal in {self.folder}.") from None
            yield

    def remove(self) -> None:
        """Remove everything that belongs to the rehearsal, and the folder if nothing else is in it."""
        for path in (self.inventory, self.new, self.logs, self.calf, self.facts, self.host_keys):
            shutil.rmtree(path, ignore_errors=True)
        files = [self.key, self.key.with_suffix(".pub"), self.known_hosts, self.vault_password, self.admin_password]
        files += [self.objects_secret, self.objects_program]
        for path in [*files, self.summary, self.plan, self.declared_plan, self.ca, self.record, self.lock]:
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def environment(self) -> dict[str, str]:
        """The environment for Ansible: this checkout's configuration, this rehearsal's secrets and cache."""
        return {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.vault_password),
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.facts),
        }
