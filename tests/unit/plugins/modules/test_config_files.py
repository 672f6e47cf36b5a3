# SPDX-License-Identifier: GPL-3.0-or-later
"""What config_files does on a host, in a directory of its own: results, refusals, checks, and death at every step."""

from __future__ import annotations

import base64
import getpass
import grp
import itertools
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.fediops.mastodon.plugins.module_utils import journal
from ansible_collections.fediops.mastodon.plugins.module_utils.owed import BusyError, Owed, only_run
from ansible_collections.fediops.mastodon.plugins.modules import config_files

ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getegid()).gr_name}
# Every call by which the journal, what is owed and the files themselves change something on disk.
MUTATING = ("open", "rename", "link", "symlink", "unlink", "mkdir", "rmdir", "fchown", "fchmod")
LINES = 50
OWED = {"restart x.service"}
FEWEST_STEPS = 60


class Module:
    """An AnsibleModule as far as config_files uses one; commands are answered by ``answer``."""

    def __init__(self, state, options, check_mode=False):
        files = [dict(file) for file in options.get("files", [])]
        payload = {file["dest"]: base64.b64encode(file.pop("content").encode()).decode() for file in files}
        given = {**ME, **options, "files": files, "payload": payload, "state_directory": str(state)}
        validated = ArgumentSpecValidator(config_files.arguments()).validate(given)
        assert validated.error_messages == []
        self.params, self.check_mode, self._diff = validated.validated_parameters, check_mode, True
        self.commands = []

    @staticmethod
    def get_bin_path(name):
        return shutil.which(name)

    def answer(self, command):
        """Answer as a kernel that lets nobody mount."""
        if command[0] == "unshare":
            return 1, "", "unshare failed: Operation not permitted"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def run_command(self, command, check_rc=False):
        self.commands.append(command)
        rc, out, err = self.answer(command)
        assert rc == 0 or not check_rc, err
        return rc, out, err


@pytest.fixture
def host(tmp_path):
    """Give a directory for files and a function that calls the module on it."""
    state, files = tmp_path / "state", tmp_path / "files"
    state.mkdir()
    files.mkdir()

    def call(check_mode=False, answer=None, **options):
        module = Module(state, options, check_mode)
        if answer:
            module.answer = answer
        call.commands = module.commands
        return config_files.bring_about(module)

    call.state, call.files, call.owed = state, files, Owed(str(state))
    return call


def tree(directory):
    """Return all that is in a directory: kind, mode and content by path."""
    return {
        str(path.relative_to(directory)): (
            (path.lstat().st_mode, os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes())
        )
        for path in sorted(directory.rglob("*"))
    }


def test_everything_named_is_made_in_one_call_and_a_second_changes_nothing(host):
    here = host.files
    (here / "gone").write_text("old")
    (here / "q").mkdir()
    (here / "q/stranger.env").write_text("old")
    (here / "q/notes.txt").write_text("a person's")
    wanted = {
        "directories": [{"path": f"{here}/d", "mode": "0700"}],
        "files": [
            {"dest": f"{here}/d/a.conf", "content": "a", "mode": "0640", "restart": ["a", "a.socket"]},
            {"dest": f"{here}/new/deep/b.conf", "content": "b", "reload": ["b.service"]},
            {"dest": f"{here}/q/mine.env", "content": "m"},
        ],
        "links": [{"path": f"{here}/current", "target": "releases/1"}],
        "absent": [f"{here}/gone"],
        "exclusive": [{"directory": f"{here}/q", "pattern": "*.env", "restart": ["q.service"]}],
    }
    first = host(**wanted)
    made = ("d", "d/a.conf", "new", "new/deep", "new/deep/b.conf", "q/mine.env", "current")
    assert sorted(first["changed_files"]) == sorted(f"{here}/{path}" for path in (*made, "gone", "q/stranger.env"))
    assert first["owed"] == ["reload b.service", "restart a.service", "restart a.socket", "restart q.service"]
    assert (here / "d/a.conf").stat().st_mode & 0o7777 == 0o640
    assert (here / "d").stat().st_mode & 0o7777 == 0o700
    assert os.readlink(here / "current") == "releases/1"
    assert not (here / "gone").exists()
    assert sorted(path.name for path in (here / "q").iterdir()) == ["mine.env", "notes.txt"]
    second = host(**wanted)
    assert (second["changed"], second["changed_files"], host.commands) == (False, [], [])


def test_check_mode_says_the_same_and_touches_nothing(host):
    wanted = {"files": [{"dest": f"{host.files}/x/a", "content": "a\n", "restart": ["a"], "owner": "nobody-here"}]}
    before = tree(host.files), tree(host.state)
    said = host(check_mode=True, **wanted)
    assert said["changed_files"] == [f"{host.files}/x", f"{host.files}/x/a"]
    assert said["owed"] == ["restart a.service"]
    assert "would be owned by nobody-here" in said["diff"][1]["after_header"]
    assert (tree(host.files), tree(host.state)) == before
    with pytest.raises(config_files.RefusedError, match="the user nobody-here does not exist"):
        host(**wanted)


def test_a_file_changed_by_hand_is_repaired_and_its_restart_owed(host):
    wanted = {"files": [{"dest": f"{host.files}/a", "content": "ours", "restart": ["a"]}]}
    host(**wanted)
    host.owed.clear(host.owed.pending())
    (host.files / "a").write_text("by hand")
    assert host(**wanted)["owed"] == ["restart a.service"]
    os.chmod(host.files / "a", 0o666)
    assert host(**wanted)["diff"][0]["before"].endswith("mode: 0666\n")
    assert (host.files / "a").stat().st_mode & 0o7777 == 0o644


def test_a_secret_is_in_no_diff(host):
    wanted = {"files": [{"dest": f"{host.files}/a", "content": "TOKEN=abcdefgh\n", "secret": True}]}
    (host.files / "a").write_text("TOKEN=oldsecret\n")
    diff = host(**wanted)["diff"][0]
    assert (diff["before"], diff["after"]) == ("(secret, as it was)\n", "(secret, changed)\n")


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("line 3: requirepass 'hunter2hunter2' is wrong", "line 3: requirepass '********' is wrong"),
        ("bad MIIEvQIBADANBgkqhkiG", "bad ********"),
        ("near s3cret:pass@host", "near ********"),
        ("unknown directive in /etc/redis/redis.conf", "unknown directive in /etc/redis/redis.conf"),
    ],
)
def test_nothing_of_a_secret_is_left_in_what_a_checker_says(said, left):
    contents = [b'requirepass "hunter2hunter2"\n\nMIIEvQIBADANBgkqhkiG\nURL=s3cret:pass@host\n']
    assert config_files.without_secrets(said, contents) == left


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"files": [{"dest": "{}/dir", "content": ""}]}, "there is a directory where a file is wanted"),
        ({"files": [{"dest": "{}/pipe", "content": ""}]}, "there is a device, pipe or socket where a file is wanted"),
        ({"links": [{"path": "{}/dir", "target": "x"}]}, "there is a directory where a link is wanted"),
        ({"directories": [{"path": "{}/link"}]}, "there is a link where a directory is wanted"),
        ({"files": [{"dest": "{}/a", "content": ""}], "absent": ["{}/a"]}, "named twice"),
        ({"files": [{"dest": "{}/../a", "content": ""}]}, "expected an absolute path"),
        ({"files": [{"dest": "{}/a", "content": "", "mode": "420"}]}, "mode 420 must be octal"),
        ({"files": [{"dest": "{}/a", "content": "", "group": "no-such"}]}, "the group no-such does not exist"),
        ({"absent": [{"name": "{}/a"}]}, "absent: expected a path"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(host, wanted, message):
    (host.files / "dir").mkdir()
    (host.files / "link").symlink_to("dir")
    os.mkfifo(host.files / "pipe")
    before = tree(host.files)

    def filled(value):
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return [filled(inner) for inner in value] if isinstance(value, list) else value.format(host.files)

    with pytest.raises(config_files.RefusedError, match=message):
        host(**{"links": [{"path": f"{host.files}/other", "target": "x"}], **filled(wanted)})
    assert tree(host.files) == before


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(host):
    (host.files / "target").write_text("precious")
    (host.files / "a").symlink_to("target")
    host(files=[{"dest": f"{host.files}/a", "content": "ours"}])
    assert (host.files / "target").read_text() == "precious"
    assert not (host.files / "a").is_symlink()


def test_a_path_through_the_link_of_an_ordinary_user_is_refused(host, monkeypatch):
    (host.files / "theirs").symlink_to(host.state)
    lstat = os.lstat

    def owned_by_somebody(path):
        mode, inode, device, links, _uid, *rest = lstat(path)
        return os.stat_result([mode, inode, device, links, os.geteuid() + 1, *rest])

    wanted = config_files.look(str(host.files / "theirs/a"))
    monkeypatch.setattr(config_files.os, "lstat", owned_by_somebody)
    assert "belongs to an ordinary user" in config_files.obstacle(wanted, wanted)


class TestChecks:
    """A checker that refuses the new files."""

    @pytest.fixture
    def site(self, host):
        (host.files / "conf").mkdir()
        (host.files / "conf/old").write_text("good")
        (host.files / "conf/rest").write_text("good")
        return {
            "files": [{"dest": f"{host.files}/conf/old", "content": "bad", "restart": ["a"]}],
            "absent": [f"{host.files}/conf/rest"],
            "validate": [{"argv": ["grep", "-q", "good", f"{host.files}/conf/old"], "over": f"{host.files}/conf"}],
        }

    def test_on_the_real_files_takes_them_back(self, host, site):
        before = tree(host.files)
        with pytest.raises(config_files.RefusedError, match=r"grep -q good .* refuses the new files"):
            host(**site)
        assert tree(host.files) == before
        assert host.owed.pending() == set()
        assert os.listdir(host.state / "journal") == []

    def test_on_a_copy_sees_the_new_files_ahead_of_everybody(self, host, site):
        seen = []

        def answer(command):
            if "sh" in command:
                copy = Path(command[command.index("sh") + 3])
                seen.append((tree(copy).keys(), (copy / "old").read_text(), (host.files / "conf/old").read_text()))
                return 1, "", "line 1: bad"
            return (0, "", "") if command[0] == "unshare" else Module.answer(None, command)

        before = tree(host.files)
        with pytest.raises(config_files.RefusedError, match="line 1: bad"):
            host(answer=answer, **site)
        assert seen == [({"old"}, "bad", "good")]
        assert tree(host.files) == before
        assert host.owed.pending() == set()

    def test_that_accepts_lets_the_change_stand(self, host, site):
        site["files"][0]["content"] = "still good"
        assert host(**site)["changed"]
        assert (host.files / "conf/old").read_text() == "still good"

    def test_runs_only_when_something_below_its_directory_changes(self, host, site):
        site["files"], site["absent"] = [{"dest": f"{host.files}/elsewhere", "content": "bad"}], []
        assert host(**site)["changed"]
        assert host.commands == []

    def test_that_is_not_installed_is_named(self, host, site):
        site["validate"][0]["argv"] = ["no-such-checker"]
        with pytest.raises(config_files.RefusedError, match="no-such-checker, which is to check"):
            host(**site)


def test_a_pattern_stands_for_the_units_that_run(host):
    def answer(command):
        assert command[:2] == ["systemctl", "list-units"]
        return 0, "q@a.service loaded active running A\nq@b.service loaded activating auto-restart B\n", ""

    result = host(answer=answer, files=[{"dest": f"{host.files}/a", "content": "", "restart": ["q@*.service"]}])
    assert result["owed"] == ["restart q@a.service", "restart q@b.service"]


def test_a_changed_unit_file_owes_a_daemon_reload(host, monkeypatch):
    monkeypatch.setattr(config_files, "UNIT_FILES", f"{host.files}/")
    assert host(files=[{"dest": f"{host.files}/a.service", "content": ""}])["owed"] == ["daemon-reload"]


def test_two_runs_at_once_do_not_meet(tmp_path):
    with only_run(str(tmp_path)), pytest.raises(BusyError, match="another run has held"), only_run(str(tmp_path), 0):
        pass


class TestDeath:
    """SIGKILL ahead of each single change on disk: nothing is lost, and the next call makes it whole."""

    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        """Give a function that builds a host in which every way of staging, saving and switching is taken."""

        def build(name):
            here = Path(os.path.realpath(tmp_path)) / name
            files = here / "files"
            (files / "other").mkdir(parents=True)
            (here / "state").mkdir()
            for path in ("a.conf", "mounted", "gone", "other/b.conf", "q.env"):
                (files / path).write_text(f"old {path}\n" * LINES)
            (files / "current").symlink_to("releases/1")
            # A killed process loses nothing that it handed to the kernel, so waiting for the disk tests nothing.
            monkeypatch.setattr(os, "fsync", lambda descriptor: None)
            monkeypatch.setattr(journal, "mount_points", lambda: {"/", str(files / "other"), str(files / "mounted")})
            changed = ("a.conf", "mounted", "other/b.conf", "d/e/new.conf")
            return (
                here,
                files,
                {
                    "directories": [{"path": f"{files}/d", "mode": "0700"}, {"path": f"{files}/other", "mode": "0700"}],
                    "files": [
                        {"dest": f"{files}/{path}", "content": f"new {path}\n" * LINES, "restart": ["x"]}
                        for path in changed
                    ],
                    "links": [{"path": f"{files}/current", "target": "releases/2"}],
                    "absent": [f"{files}/gone"],
                    "exclusive": [{"directory": str(files), "pattern": "*.env"}],
                },
            )

        return build

    @staticmethod
    def run_and_die(here, wanted, step):
        """Call in a child process that is killed ahead of its ``step``-th change; tell whether it was.

        A step that is a word is the rename to the path that ends so.
        """
        child = os.fork()
        if child == 0:
            left = [step]
            for name in MUTATING:
                setattr(os, name, dying(getattr(os, name), left))
            try:
                config_files.bring_about(Module(here / "state", wanted))
                os._exit(0)
            except BaseException:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)

    def test_at_every_step(self, world):
        for step in itertools.count(1):
            here, files, wanted = world(f"step{step}")
            old = tree(files)
            died = self.run_and_die(here, wanted, step)
            now = {path: entry for path, entry in tree(files).items() if ".fediops-" not in path}
            owed = Owed(str(here / "state")).pending()
            assert now == old or owed == OWED, f"step {step}: changed, and nothing is owed"
            # A file that is a mount point is the one that cannot be replaced in one move.
            torn = [path for path, (_mode, text) in now.items() if path != "mounted" and torn_apart(text)]
            assert torn == [], f"step {step}"
            config_files.bring_about(Module(here / "state", wanted))
            self.assert_whole(here, files, wanted)
            if not died:
                break
        assert step > FEWEST_STEPS, "the steps were not counted"

    def test_at_every_step_of_a_recovery(self, world):
        for step in itertools.count(1):
            here, files, wanted = world(f"step{step}")
            # Dead just before the link is switched, the last but two of all.
            assert self.run_and_die(here, wanted, "current")
            assert (files / "a.conf").read_text().startswith("new")
            died = self.run_and_die(here, wanted, step)
            config_files.bring_about(Module(here / "state", wanted))
            self.assert_whole(here, files, wanted)
            if not died:
                break

    def test_a_recovery_alone_brings_back_the_old_state_or_leaves_the_new_one(self, world):
        seen = []
        for step in itertools.count(1):
            here, files, wanted = world(f"step{step}")
            old = tree(files)
            if not self.run_and_die(here, wanted, step):
                break
            for killed in journal.unfinished(str(here / "state")):
                killed.take_back()
            now = tree(files)
            seen.append("old" if now == old else "new")
            if now != old:
                assert_new(files, wanted)
        # Once it is new, it is new for good.
        assert seen == sorted(seen, reverse=True)
        assert set(seen) == {"old", "new"}

    @staticmethod
    def assert_whole(here, files, wanted):
        assert_new(files, wanted)
        assert os.listdir(here / "state/journal") == []
        assert Owed(str(here / "state")).pending() == OWED
        assert config_files.bring_about(Module(here / "state", wanted))["changed"] is False


def torn_apart(text):
    return isinstance(text, bytes) and (text.count(b"\n") != LINES or len(set(text.splitlines())) != 1)


def assert_new(files, wanted):
    """Require the new state and nothing else, the traces of staging included."""
    for file in wanted["files"]:
        assert Path(file["dest"]).read_text() == file["content"]
    assert os.readlink(files / "current") == "releases/2"
    left = {str(path.relative_to(files)) for path in files.rglob("*")}
    assert left == {"a.conf", "mounted", "other", "other/b.conf", "current", "d", "d/e", "d/e/new.conf"}


def dying(real, left):
    def call(*args, **kwargs):
        if isinstance(left[0], int):
            left[0] -= 1
        elif real.__name__ == "rename" and str(args[1]).endswith(left[0]):
            left[0] = 0
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    return call
