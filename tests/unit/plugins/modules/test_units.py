# SPDX-License-Identifier: GPL-3.0-or-later
"""What units decides, and what it does when systemd answers as a small imitation of it does."""

from __future__ import annotations

import copy
import fnmatch

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.fediops.mastodon.plugins.module_utils.owed import Owed
from ansible_collections.fediops.mastodon.plugins.modules import units

UP = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}
DOWN = {"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "UnitFileState": "disabled"}
LOOPING = {**UP, "ActiveState": "activating", "SubState": "auto-restart"}
MISSING = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "UnitFileState": ""}


class Host:
    """systemctl and journalctl in memory: a unit in ``broken`` never comes up, one in ``slow`` at its second try.

    One in ``owing`` writes debts down when it is started.
    """

    def __init__(self, tmp_path, **known):
        self.known, self.broken, self.calls, self.check_mode = copy.deepcopy(known), set(), [], False
        self.slow, self.owing = set(), {}
        self.state, self.owed = tmp_path, Owed(str(tmp_path))

    def run(self, *wanted, check_mode=False, **options):
        """Run the module's work for units given by name or in full."""
        given = {
            "units": [{"name": unit} if isinstance(unit, str) else unit for unit in wanted],
            "wait_seconds": 0,
            "state_directory": str(self.state),
            **options,
        }
        validated = ArgumentSpecValidator(units.arguments()).validate(given)
        assert validated.error_messages == []
        self.params, self.check_mode, self.calls = validated.validated_parameters, check_mode, []
        return {key: value for key, value in units.bring_about(self).items() if value}

    def run_command(self, command, check_rc=False):
        if command[0] == "journalctl":
            return 0, f"the end of {command[-1]}\n", ""
        options, names = command[1 : command.index("--")], command[command.index("--") + 1 :]
        verb = next(option for option in options if not option.startswith("--"))
        if verb == "show":
            return 0, self.show(names), ""
        self.calls.append(" ".join([verb, *names]))
        for name in names:
            unit = self.known[name]
            self.owed.add(self.owing.get(name, ()))
            if verb in ("start", "restart", "reload-or-restart"):
                unit.update(LOOPING if name in self.broken else {**UP, "UnitFileState": unit["UnitFileState"]})
            elif verb == "stop":
                unit["ActiveState"] = "inactive"
            elif verb in ("enable", "disable"):
                unit["UnitFileState"] = f"{verb}d"
        refused = self.slow.intersection(names) if verb in ("start", "restart", "reload-or-restart") else set()
        return (1, "", f"Job for {refused.pop()} failed") if refused else (0, "", "")

    def show(self, names):
        # A pattern is answered with what runs, a name always.
        asked = [unit for name in names for unit in ([name] if "*" not in name else self.matching(name))]
        blocks = [{"Id": unit, "NeedDaemonReload": "no", **self.known.get(unit, MISSING)} for unit in asked]
        return "\n\n".join("\n".join(f"{key}={value}" for key, value in block.items()) for block in blocks) + "\n"

    def matching(self, pattern):
        running = [name for name, unit in self.known.items() if unit["ActiveState"] == "active"]
        return [name for name in running if fnmatch.fnmatchcase(name, pattern)]


@pytest.fixture
def no_links(monkeypatch, tmp_path):
    """Look for enabled units below a directory of the test's own."""
    monkeypatch.setattr(units, "ENABLED_LINKS", str(tmp_path / "*.wants"))
    monkeypatch.setattr(units, "POLL_SECONDS", 0)


pytestmark = pytest.mark.usefixtures("no_links")


def test_a_finished_host_is_asked_one_question_and_nothing_is_done(tmp_path):
    host = Host(tmp_path, **{"a.service": UP, "b.socket": UP})
    assert host.run("a", "b.socket") == {}
    assert host.calls == []


def test_all_that_is_down_is_enabled_and_started_in_one_call_each(tmp_path):
    host = Host(tmp_path, **{"a.service": DOWN, "b.service": {**DOWN, "UnitFileState": "static"}, "c.service": UP})
    assert host.run("a", "b", "c") == {
        "changed": True,
        "enabled": ["a.service"],
        "started": ["a.service", "b.service"],
    }
    assert host.calls == ["enable a.service", "start a.service b.service"]


def test_a_unit_that_is_started_anyway_is_not_restarted_and_owes_nothing_any_more(tmp_path):
    host = Host(tmp_path, **{"a.service": DOWN})
    host.owed.add({"restart a.service", "reload a.service", "restart other.service"})
    assert "restarted" not in host.run("a")
    assert host.owed.pending() == {"restart other.service"}


def test_a_unit_that_comes_up_by_itself_after_a_failed_start_is_up(tmp_path):
    host = Host(tmp_path, **{"a.service": DOWN})
    host.slow.add("a.service")
    assert host.run("a")["started"] == ["a.service"]
    assert host.run("a") == {}


def test_a_reload_that_fails_is_told_though_the_unit_is_up(tmp_path):
    host = Host(tmp_path, **{"a.service": UP})
    host.slow.add("a.service")
    host.owed.add({"reload a.service"})
    with pytest.raises(units.UnitError, match=r"Job for a[.]service failed"):
        host.run("a")
    assert host.owed.pending() == {"reload a.service"}


def test_what_is_owed_is_done_once_for_all_units_and_struck_out(tmp_path):
    host = Host(tmp_path, **{"a.service": UP, "b.service": UP, "c.service": UP})
    host.owed.add({"restart a.service", "reload a.service", "restart b.service", "reload c.service", "daemon-reload"})
    assert host.run("a", "b", "c") == {
        "changed": True,
        "daemon_reloaded": True,
        "restarted": ["a.service", "b.service"],
        "reloaded": ["c.service"],
    }
    assert host.calls == ["daemon-reload", "restart a.service b.service", "reload-or-restart c.service"]
    assert host.owed.pending() == set()


def test_a_unit_file_newer_than_what_systemd_read_is_read_again(tmp_path):
    host = Host(tmp_path, **{"a.service": {**UP, "NeedDaemonReload": "yes"}})
    assert host.run("a") == {"changed": True, "daemon_reloaded": True}
    assert host.calls == ["daemon-reload"]


def test_units_that_match_and_are_not_named_go(tmp_path):
    (tmp_path / "multi-user.target.wants").mkdir()
    (tmp_path / "multi-user.target.wants/q@idle.service").symlink_to("/nowhere")
    (tmp_path / "multi-user.target.wants/other.service").symlink_to("/nowhere")
    idle = {**DOWN, "UnitFileState": "enabled"}
    host = Host(tmp_path, **{"q@a.service": UP, "q@b.service": UP, "q@idle.service": idle})
    host.owed.add({"restart q@b.service"})
    assert host.run("q@a", exclusive=["q@*.service"]) == {
        "changed": True,
        "stopped": ["q@b.service"],
        "disabled": ["q@b.service", "q@idle.service"],
    }
    assert host.owed.pending() == set()
    assert host.calls == ["disable q@b.service q@idle.service", "stop q@b.service"]


def test_a_unit_wanted_down_is_stopped_and_disabled_and_may_be_missing(tmp_path):
    host = Host(tmp_path, **{"a.timer": UP})
    wanted = [{"name": name, "state": "stopped", "enabled": False} for name in ("a.timer", "gone.timer")]
    assert host.run(*wanted) == {"changed": True, "stopped": ["a.timer"], "disabled": ["a.timer"]}
    assert host.calls == ["disable a.timer", "stop a.timer"]


def test_a_unit_that_systemd_keeps_trying_to_start_is_down_and_shown_with_its_journal(tmp_path):
    host = Host(tmp_path, **{"a.service": LOOPING, "b.service": UP})
    host.broken = {"a.service"}
    host.owed.add({"restart a.service", "restart b.service"})
    with pytest.raises(units.UnitError, match=r"a\.service is not up\. .*\nthe end of --unit=a\.service"):
        host.run("a", "b")
    # What was done is struck out; what was not stays owed.
    assert host.owed.pending() == {"restart a.service"}


def test_a_missing_unit_is_named_and_nothing_is_started(tmp_path):
    host = Host(tmp_path, **{"a.service": DOWN})
    with pytest.raises(units.UnitError, match=r"b\.service: no such unit"):
        host.run("a", "b")
    assert host.calls == []


def test_check_mode_says_what_would_be_done_on_an_empty_host(tmp_path):
    host = Host(tmp_path, **{"b.service": UP})
    host.owed.add({"restart b.service", "daemon-reload"})
    assert host.run("a", "b", check_mode=True) == {
        "changed": True,
        "daemon_reloaded": True,
        "enabled": ["a.service"],
        "started": ["a.service"],
        "restarted": ["b.service"],
    }
    assert host.calls == []
    assert host.owed.pending() == {"restart b.service", "daemon-reload"}


def test_a_restart_that_is_left_for_later_stays_owed_while_the_rest_is_done(tmp_path):
    host = Host(tmp_path, **{"a.service": UP, "b.service": DOWN, "c.service": UP})
    host.owed.add({"restart a.service", "reload c.service"})
    assert host.run("a", "b", "c", restarts="later") == {
        "changed": True,
        "left": ["a.service"],
        "enabled": ["b.service"],
        "started": ["b.service"],
        "reloaded": ["c.service"],
    }
    assert host.owed.pending() == {"restart a.service"}
    # Asked again, nothing changes; a run without changes would still make it, and check mode says so.
    assert host.run("a", "b", "c", restarts="later") == {"left": ["a.service"]}
    assert host.run("a", "b", "c", restarts="later", check_mode=True) == {"changed": True, "left": ["a.service"]}


def test_a_restart_that_is_asked_for_is_written_down_before_it_is_made(tmp_path):
    host = Host(tmp_path, **{"a.service": UP, "b.service": DOWN})
    again = [{"name": name, "state": "restarted"} for name in ("a", "b")]
    assert host.run(*again, restarts="later", check_mode=True) == {
        "changed": True,
        "left": ["a.service"],
        "enabled": ["b.service"],
        "started": ["b.service"],
    }
    assert host.owed.pending() == set()
    # One that is down is only started.
    assert host.run(*again, restarts="later")["left"] == ["a.service"]
    assert host.owed.pending() == {"restart a.service"}
    assert host.run(*again) == {"changed": True, "restarted": ["a.service", "b.service"]}
    assert host.calls == ["restart a.service b.service"]
    assert host.owed.pending() == set()


def test_a_unit_that_systemd_keeps_trying_to_start_begins_anew_with_what_is_there_now(tmp_path):
    host = Host(tmp_path, **{"a.service": {**LOOPING}, "b.service": DOWN})
    host.owed.add({"restart a.service"})
    assert host.run("a", "b", restarts="later")["started"] == ["a.service", "b.service"]
    assert host.calls == ["enable b.service", "start b.service", "restart a.service"]
    assert host.owed.pending() == set()


def test_a_unit_that_may_wait_for_another_host_is_up_while_systemd_keeps_trying_to_start_it(tmp_path):
    host, unit = Host(tmp_path, **{"a.service": DOWN}), {"name": "a", "may_wait": True}
    host.broken = {"a.service"}
    assert host.run(unit) == {"changed": True, "started": ["a.service"], "enabled": ["a.service"]}
    assert host.run(unit) == {}
    host.owed.add({"restart a.service"})
    assert host.run(unit)["restarted"] == ["a.service"]
    assert host.owed.pending() == set()
    host.known["a.service"]["ActiveState"] = "failed"
    assert host.run(unit)["started"] == ["a.service"]


def test_what_a_service_finds_out_at_its_start_stays_owed(tmp_path):
    host = Host(tmp_path, **{"rules.service": DOWN})
    host.owing["rules.service"] = ["reload rules.service"]
    assert host.run("rules")["started"] == ["rules.service"]
    host.owing.clear()
    assert host.run("rules") == {"changed": True, "reloaded": ["rules.service"]}
    assert host.owed.pending() == set()
