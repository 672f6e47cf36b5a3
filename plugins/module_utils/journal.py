# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, links and directories that change together or not at all, even when the process is killed in between.

A switch is made of renames, each of which is atomic. Before the first one a journal says how to take each back; after
the last one it is emptied. Whoever finds a journal that is not empty takes its switch back first. So a host is in the
old state or in the new one whenever a run begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.fediops.mastodon.plugins.module_utils.owed import sync_directory

PRIVATE = 0o700


@dataclass(frozen=True)
class Change:
    """One path and what it becomes.

    kind: ``file`` (content: its bytes), ``link`` (content: its target), ``directory`` or ``absent``.
    """

    path: str
    kind: str
    content: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0


def mount_points() -> set[str]:
    """Return where file systems begin, bind mounts of single files included, which no device number shows."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        return {re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mount.split()[4]) for mount in mounts}


def write_file(path: str, content: bytes, mode: int = 0o600, uid: int = -1, gid: int = -1, in_place=False) -> None:
    """Write a file that has its owner and mode before it has its content, and wait until it is on the disk."""
    how = os.O_TRUNC if in_place else os.O_CREAT | os.O_EXCL
    with open(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | how, 0o600), "wb") as file:
        os.fchown(file.fileno(), uid, gid)
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def set_attributes(directory: str, mode: int, uid: int, gid: int) -> None:
    """Give a directory its owner and mode; a symbolic link put in its place meanwhile is refused."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def unfinished(state_directory: str) -> list[Switch]:
    """Return the switches that were killed; there is at most one that changed anything."""
    try:
        return [Switch(entry.path) for entry in os.scandir(os.path.join(state_directory, "journal"))]
    except FileNotFoundError:
        return []


def switch(
    state_directory: str, changes: list[Change], before: Callable[[str], None], after: Callable[[], None]
) -> None:
    """Make all changes, in the order given, or none of them.

    before: called ahead of the first change with a private directory that lives as long as the switch.
    after: called with all changes in place. What either raises is raised again when everything is as it was.
    """
    journal = os.path.join(state_directory, "journal")
    os.makedirs(journal, mode=PRIVATE, exist_ok=True)
    attempt = Switch(tempfile.mkdtemp(dir=journal))
    try:
        attempt.stage(changes)
        before(attempt.home)
        attempt.make(changes)
        after()
    except BaseException:
        attempt.take_back()
        raise
    attempt.finish()


class Switch:
    """One switch: its directory in the journal, and a staging directory on each other file system that it touches."""

    def __init__(self, home: str) -> None:
        self.home, self.stages, self.undo = home, [], []
        with contextlib.suppress(FileNotFoundError), open(os.path.join(home, "record"), encoding="utf-8") as record:
            self.stages, self.undo = json.load(record)

    def _record(self, undo: list[dict]) -> None:
        path = os.path.join(self.home, "record")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}.new")
        write_file(f"{path}.new", json.dumps([self.stages, undo]).encode())
        os.rename(f"{path}.new", path)
        sync_directory(self.home)
        self.undo = undo

    def stage(self, changes: list[Change]) -> None:
        """Put new files and links, and a second name of what they replace, where a rename reaches the target."""
        self.mounts = mount_points()
        here, stage_of = self._mount_of(self.home), {}
        for change in changes:
            mount = self._mount_of(os.path.dirname(change.path))
            near = mount == here or change.path in self.mounts
            stage_of[change] = self.home if near else os.path.join(mount, f".fediops-{os.path.basename(self.home)}")
        self.stages = sorted({*stage_of.values()} - {self.home})
        self._record([])
        for stage in self.stages:
            os.mkdir(stage, PRIVATE)
        undo = []
        for number, change in enumerate(changes):
            new, old = (os.path.join(stage_of[change], f"{number}.{what}") for what in ("new", "old"))
            if change.kind == "file":
                write_file(new, change.content, change.mode, change.uid, change.gid)
            elif change.kind == "link":
                os.symlink(os.fsdecode(change.content), new)
            undo.append({"path": change.path, "new": new, "old": old, **self._save(change, old)})
        self._record(undo)

    def _mount_of(self, path: str) -> str:
        path = os.path.realpath(path)
        while path not in self.mounts:
            path = os.path.dirname(path)
        return path

    def _save(self, change: Change, old: str) -> dict:
        try:
            now = os.lstat(change.path)
        except FileNotFoundError:
            return {"do": "rmdir" if change.kind == "directory" else "unlink"}
        attributes = {"mode": stat.S_IMODE(now.st_mode), "uid": now.st_uid, "gid": now.st_gid}
        if change.kind == "directory":
            return {"do": "attributes", **attributes}
        if change.path in self.mounts:
            with open(change.path, "rb") as present:
                write_file(old, present.read())
            return {"do": "rewrite", **attributes}
        if change.kind != "absent":
            os.link(change.path, old, follow_symlinks=False)
        return {"do": "rename"}

    def make(self, changes: list[Change]) -> None:
        """Make the changes, and wait until the disk has them."""
        for change, undo in zip(changes, self.undo, strict=True):
            if change.kind == "directory":
                if undo["do"] == "rmdir":
                    os.mkdir(change.path, PRIVATE)
                set_attributes(change.path, change.mode, change.uid, change.gid)
            elif undo["do"] == "rewrite":
                write_file(change.path, change.content, change.mode, change.uid, change.gid, in_place=True)
            elif change.kind == "absent":
                os.rename(change.path, undo["old"])
            else:
                os.rename(undo["new"], change.path)
        for directory in {os.path.dirname(change.path) for change in changes}:
            with contextlib.suppress(FileNotFoundError):
                sync_directory(directory)

    def take_back(self) -> None:
        """Bring back what was there; it may be called again when it was itself cut short."""
        for undo in reversed(self.undo):
            with contextlib.suppress(FileNotFoundError):
                self._take_back_one(**undo)
        self.finish()

    @staticmethod
    def _take_back_one(do: str, path: str, new: str, old: str, **attributes: int) -> None:
        if do == "unlink":
            os.unlink(path)
        elif do == "rename":
            os.rename(old, path)
        elif do == "attributes":
            set_attributes(path, **attributes)
        elif do == "rewrite":
            with open(old, "rb") as saved:
                write_file(path, saved.read(), **attributes, in_place=True)
        else:
            # A directory that others have filled meanwhile is left to them.
            with contextlib.suppress(OSError):
                os.rmdir(path)

    def finish(self) -> None:
        """Make what is there final: from here on nobody takes it back."""
        if self.undo:
            self._record([])
        for stage in (*self.stages, self.home):
            shutil.rmtree(stage, ignore_errors=True)
