# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, links and directories that change together or not at all, even when the process is killed in between.

A switch is made of renames, each of which is atomic. Before the first one a journal says how to take each back; after
the last one it is emptied. Whoever finds a journal that is not empty takes its switch back first. So a host is in the
old state or in the new one whenever a run begins.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from ansible_collections.fediops.mastodon.plugins.module_utils.owed import sync_directory

PRIVATE = 0o700


@dataclass(frozen=True)
class Change:
    """One path and what it becomes, or what is there now.

    kind: ``file`` (content: its bytes), ``link`` (content: its target), ``directory`` or ``absent``.
    """

    path: str
    kind: str
    content: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0


def look(path: str) -> Change:
    """Return what is at a path now, in the terms of what may be wanted there; links are not followed."""
    try:
        now = os.lstat(path)
    except FileNotFoundError:
        return Change(path, "absent")
    if stat.S_ISLNK(now.st_mode):
        return Change(path, "link", os.fsencode(os.readlink(path)))
    kind, content = "directory" if stat.S_ISDIR(now.st_mode) else "device, pipe or socket", b""
    if stat.S_ISREG(now.st_mode):
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            kind, content = "file", file.read()
    return Change(path, kind, content, stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid)


def mount_points() -> set[str]:
    """Return where file systems begin, bind mounts of single files included, which no device number shows."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        return {re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mount.split()[4]) for mount in mounts}


def write_file(path: str, content: bytes, mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Write a file that has its owner and mode before it has its content, and wait until it is on the disk."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
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
    return [Switch(home) for home in glob.glob(os.path.join(glob.escape(state_directory), "journal", "*"))]


@contextlib.contextmanager
def switch(state_directory: str, changes: list[Change]) -> Iterator[Switch]:
    """Give a switch that is ready to ``make`` all changes, in the order given.

    They are final when the block ends. What is raised in it is raised again when everything is as it was.
    """
    journal = os.path.join(state_directory, "journal")
    os.makedirs(journal, mode=PRIVATE, exist_ok=True)
    attempt = Switch(tempfile.mkdtemp(dir=journal))
    try:
        attempt.stage(changes)
        yield attempt
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

    def _record(self) -> None:
        path = os.path.join(self.home, "record")
        write_file(f"{path}.new", json.dumps([self.stages, self.undo]).encode())
        os.rename(f"{path}.new", path)
        sync_directory(self.home)

    def stage(self, changes: list[Change]) -> None:
        """Put new files and links, and a second name of what they replace, where a rename reaches the target."""
        self.changes, mounts = changes, mount_points()
        here, elsewhere = mount_of(self.home, mounts), f".fediops-{os.path.basename(self.home)}"
        for number, change in enumerate(changes):
            mount = mount_of(os.path.dirname(change.path), mounts)
            place = os.path.join(self.home if mount == here else os.path.join(mount, elsewhere), str(number))
            undo = how_to_take_back(change, mounts)
            self.undo.append({"path": change.path, "new": f"{place}.new", "old": f"{place}.old", **undo})
        self.stages = sorted({os.path.dirname(undo["new"]) for undo in self.undo} - {self.home})
        # From here on a killed switch leaves nothing that the next run does not find.
        self._record()
        for stage in self.stages:
            os.mkdir(stage, PRIVATE)
        for change, undo in zip(changes, self.undo, strict=True):
            if change.kind == "file":
                write_file(undo["new"], change.content, change.mode, change.uid, change.gid)
            elif change.kind == "link":
                os.symlink(os.fsdecode(change.content), undo["new"])
            if undo["do"] == "rename" and change.kind != "absent":
                os.link(change.path, undo["old"], follow_symlinks=False)

    def make(self) -> None:
        """Make the changes, and wait until the disk has them."""
        for change, undo in zip(self.changes, self.undo, strict=True):
            if change.kind == "directory":
                if undo["do"] == "rmdir":
                    os.mkdir(change.path, PRIVATE)
                set_attributes(change.path, change.mode, change.uid, change.gid)
            elif undo["do"] == "rewrite":
                write_file(change.path, change.content, change.mode, change.uid, change.gid)
            elif change.kind == "absent":
                os.rename(change.path, undo["old"])
            else:
                os.rename(undo["new"], change.path)
        for directory in {os.path.dirname(change.path) for change in self.changes}:
            with contextlib.suppress(FileNotFoundError):
                sync_directory(directory)

    def take_back(self) -> None:
        """Bring back what was there; it may be called again when it was itself cut short."""
        for undo in reversed(self.undo):
            with contextlib.suppress(FileNotFoundError):
                take_back_one(**undo)
        self.finish()

    def finish(self) -> None:
        """Make what is there final: from here on nobody takes it back."""
        if self.undo:
            self.undo = []
            self._record()
        for stage in (*self.stages, self.home):
            shutil.rmtree(stage, ignore_errors=True)


def mount_of(path: str, mounts: set[str]) -> str:
    """Return the mount point that a path is below; a path that does not exist yet will be below it."""
    real = PurePath(os.path.realpath(path))
    return max((mount for mount in mounts if real.is_relative_to(mount)), key=len)


def how_to_take_back(change: Change, mounts: set[str]) -> dict:
    """Return what ``take_back_one`` needs to know besides the names, all of it fit for JSON."""
    now = look(change.path)
    attributes = {"mode": now.mode, "uid": now.uid, "gid": now.gid}
    if now.kind == "absent":
        return {"do": "rmdir" if change.kind == "directory" else "unlink"}
    if change.kind == "directory":
        return {"do": "attributes", **attributes}
    if change.kind == "file" and change.path in mounts:
        return {"do": "rewrite", "content": now.content.decode("latin-1"), **attributes}
    return {"do": "rename"}


def take_back_one(do: str, path: str, new: str, old: str, content: str = "", **attributes: int) -> None:
    """Take back one change of a switch, whether or not it was made already."""
    if do == "unlink":
        os.unlink(path)
    elif do == "rename":
        os.rename(old, path)
    elif do == "attributes":
        set_attributes(path, **attributes)
    elif do == "rewrite":
        write_file(path, content.encode("latin-1"), **attributes)
    else:
        # A directory that others have filled meanwhile is left to them.
        with contextlib.suppress(OSError):
            os.rmdir(path)
