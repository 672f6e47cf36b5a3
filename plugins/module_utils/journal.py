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
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.fediops.mastodon.plugins.module_utils.owed import sync_directory

PRIVATE_DIRECTORY_MODE = 0o700


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
        return {
            line.split()[4].encode("latin-1", "replace").decode("unicode_escape") if "\\" in line else line.split()[4]
            for line in mounts
        }


def write_file(path: str, content: bytes, mode: int, uid: int, gid: int, flags: int = os.O_CREAT | os.O_EXCL) -> None:
    """Write a file that has its owner and mode before it has its content, and wait until it is on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def set_attributes(directory: str, mode: int, uid: int, gid: int) -> None:
    """Give a directory its owner and mode; a symbolic link put in its place meanwhile is refused."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


class Journal:
    """The switches of one host, recorded below ``state_directory``, of which at most one is under way."""

    def __init__(self, state_directory: str) -> None:
        self.directory = os.path.join(state_directory, "journal")

    def recover(self) -> list[str]:
        """Take back every switch that was not finished; return the paths concerned."""
        recovered = []
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.directory)):
                recovered += _Switch(os.path.join(self.directory, name)).take_back()
        return recovered

    def unfinished(self) -> list[str]:
        """Return the paths that recover would take back."""
        paths = []
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.directory)):
                paths += [undo["path"] for undo in _Switch(os.path.join(self.directory, name)).read()["undo"]]
        return paths

    def switch(self, changes: list[Change], before: Callable[[str], None], after: Callable[[], None]) -> None:
        """Make all changes, directories first and in the order given, or none of them.

        before: called ahead of the first change with a private directory that lives as long as the switch.
        after: called with all changes in place. What either raises is raised again when everything is as it was.
        """
        os.makedirs(self.directory, mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
        switch = _Switch(tempfile.mkdtemp(dir=self.directory))
        try:
            staged = switch.stage(changes)
            before(switch.home)
            switch.make(changes, staged)
            after()
        except BaseException:
            switch.take_back()
            raise
        switch.finish()


class _Switch:
    """One switch: its directory in the journal, and a staging directory on each other file system it touches."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.record_path = os.path.join(home, "journal.json")

    def read(self) -> dict:
        """Return {stages: staging directories elsewhere, undo: how to take back each step}."""
        try:
            with open(self.record_path, encoding="utf-8") as record:
                return json.load(record)
        except FileNotFoundError:
            return {"stages": [], "undo": []}

    def write(self, stages: list[str], undo: list[dict]) -> None:
        """Replace the record, and wait until the disk has it."""
        text = json.dumps({"stages": stages, "undo": undo})
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.record_path + ".new")
        write_file(self.record_path + ".new", text.encode(), 0o600, os.geteuid(), os.getegid())
        os.rename(self.record_path + ".new", self.record_path)
        sync_directory(self.home)

    def stage(self, changes: list[Change]) -> dict[str, str]:
        """Put new files and links, and a second name of what they replace, where a rename reaches the target."""
        self.mounts = mount_points()
        here = self._mount_of(self.home)
        stage_of = {}
        for change in changes:
            mount = self._mount_of(os.path.dirname(change.path))
            on_this_one = mount == here or change.path in self.mounts
            stage_of[change.path] = self.home if on_this_one else os.path.join(
                mount, f".fediops-{os.path.basename(self.home)}")
        self.stages = sorted(set(stage_of.values()) - {self.home})
        self.write(self.stages, [])
        for stage in self.stages:
            os.mkdir(stage, PRIVATE_DIRECTORY_MODE)
        self.undo, staged = [], {}
        for number, change in enumerate(changes):
            new, old = (os.path.join(stage_of[change.path], f"{number}.{what}") for what in ("new", "old"))
            if change.kind == "file":
                write_file(new, change.content, change.mode, change.uid, change.gid)
                staged[change.path] = new
            elif change.kind == "link":
                os.symlink(os.fsdecode(change.content), new)
                staged[change.path] = new
            self.undo.append({"path": change.path, **self._undo(change, old)})
        self.write(self.stages, self.undo)
        return staged

    def _mount_of(self, path: str) -> str:
        path = os.path.realpath(path)
        while path not in self.mounts:
            path = os.path.dirname(path)
        return path

    def _undo(self, change: Change, old: str) -> dict:
        try:
            now = os.lstat(change.path)
        except FileNotFoundError:
            return {"do": "rmdir" if change.kind == "directory" else "unlink"}
        attributes = {"mode": stat.S_IMODE(now.st_mode), "uid": now.st_uid, "gid": now.st_gid}
        if change.kind == "directory":
            return {"do": "attributes", **attributes}
        if change.path in self.mounts:
            with open(change.path, "rb") as present:
                write_file(old, present.read(), 0o600, os.geteuid(), os.getegid())
            return {"do": "rewrite", "old": old, **attributes}
        if change.kind != "absent":
            os.link(change.path, old, follow_symlinks=False)
        return {"do": "rename", "old": old}

    def make(self, changes: list[Change], staged: dict[str, str]) -> None:
        """Make the changes, and wait until the disk has them."""
        for change, undo in zip(changes, self.undo, strict=True):
            if change.kind == "directory":
                if undo["do"] == "rmdir":
                    os.mkdir(change.path, PRIVATE_DIRECTORY_MODE)
                set_attributes(change.path, change.mode, change.uid, change.gid)
            elif change.kind == "absent":
                os.rename(change.path, undo["old"])
            elif undo["do"] == "rewrite":
                write_file(change.path, change.content, change.mode, change.uid, change.gid, flags=os.O_TRUNC)
            else:
                os.rename(staged[change.path], change.path)
        for directory in {os.path.dirname(change.path) for change in changes}:
            with contextlib.suppress(FileNotFoundError):
                sync_directory(directory)

    def take_back(self) -> list[str]:
        """Bring back what was there; it may be called again when it was itself cut short."""
        record = self.read()
        for undo in reversed(record["undo"]):
            with contextlib.suppress(FileNotFoundError):
                self._take_back_one(**undo)
        if record["undo"]:
            self.write(record["stages"], [])
        self._clean(record["stages"])
        return [undo["path"] for undo in record["undo"]]

    @staticmethod
    def _take_back_one(path: str, do: str, old: str = "", mode: int = 0, uid: int = 0, gid: int = 0) -> None:
        if do == "unlink":
            os.unlink(path)
        elif do == "rmdir":
            # A directory that others have filled meanwhile is left to them.
            with contextlib.suppress(OSError):
                os.rmdir(path)
        elif do == "attributes":
            set_attributes(path, mode, uid, gid)
        elif do == "rename":
            os.rename(old, path)
        else:
            with open(old, "rb") as saved:
                write_file(path, saved.read(), mode, uid, gid, flags=os.O_TRUNC)

    def finish(self) -> None:
        """Make the switch final: from here on nobody takes it back."""
        self.write(self.stages, [])
        self._clean(self.stages)

    def _clean(self, stages: list[str]) -> None:
        for stage in (*stages, self.home):
            shutil.rmtree(stage, ignore_errors=True)
