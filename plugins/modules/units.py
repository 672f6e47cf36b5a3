#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings a list of systemd units to their state and pays what the host owes them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Run a list of systemd units, and restart or reload those that are owed it
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Enables, starts, stops, restarts and reloads units, each verb in one call of C(systemctl) for all units together.
    A host on which nothing is to be done is asked one question.
  - What M(fediops.mastodon.config_files) wrote down as owed is done for the units named here, and then struck out. A
    unit that is started anyway is not restarted as well. When a restart is owed, a reload is no longer.
  - A unit that does not stay up fails the task, with the last lines of its journal.
options:
  units:
    description: The units, and only those that this task answers for.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name, such as V(redis-server.service); V(.service) may be left out.
        type: str
        required: true
      state:
        description: Whether it runs.
        type: str
        choices: [started, stopped]
        default: started
      enabled:
        description:
          - Whether it starts with the host.
          - A unit that has nothing to enable (static, generated) is left as it is.
        type: bool
        default: true
  exclusive:
    description:
      - Shell patterns. Units that match one, run or are enabled, and are not in O(units), are stopped and disabled.
    type: list
    elements: str
    default: []
  wait_seconds:
    description: How long a unit that was just started may take until it is up and stays so.
    type: int
    default: 15
  state_directory:
    description: Where the host keeps what is owed.
    type: path
    default: /var/lib/fediops
attributes:
  check_mode:
    description: Says what would be done. A unit that does not exist yet would be started and enabled.
    support: full
  diff_mode:
    description: There is nothing to show beyond the lists that are returned.
    support: none
  idempotent:
    description: A second call does nothing.
    support: full
  platform:
    description: Linux with systemd.
    platforms: linux
    support: full
seealso:
  - module: fediops.mastodon.config_files
"""

EXAMPLES = r"""
- name: Run Redis, restarted when its configuration asks for it
  fediops.mastodon.units:
    units:
      - name: redis-server.service

- name: Run these two queue processes, and no others
  fediops.mastodon.units:
    units:
      - name: mastodon-sidekiq@default.service
      - name: mastodon-sidekiq@push.service
    exclusive: ["mastodon-sidekiq@*.service"]

- name: Keep the distribution's own timer off
  fediops.mastodon.units:
    units:
      - name: certbot.timer
        state: stopped
        enabled: false
"""

RETURN = r"""
started:
  description: Units that were down and are up.
  returned: always
  type: list
  elements: str
stopped:
  description: Units that were up and are down.
  returned: always
  type: list
  elements: str
restarted:
  description: Units whose owed restart was made.
  returned: always
  type: list
  elements: str
reloaded:
  description: Units whose owed reload was made.
  returned: always
  type: list
  elements: str
enabled:
  description: Units that start with the host from now on.
  returned: always
  type: list
  elements: str
disabled:
  description: Units that no longer start with the host.
  returned: always
  type: list
  elements: str
daemon_reloaded:
  description: Whether systemd read its unit files again.
  returned: always
  type: bool
"""

import contextlib
import glob
import os
import time
from dataclasses import dataclass, field

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fediops.mastodon.plugins.module_utils.owed import (
    DAEMON_RELOAD,
    STATE_DIRECTORY,
    BusyError,
    Owed,
    full_name,
    only_run,
)

ENABLED_LINKS = "/etc/systemd/system/*.*s"
JOURNAL_LINES = 15
POLL_SECONDS = 0.5
PROPERTIES = "Id,LoadState,ActiveState,SubState,Result,UnitFileState,NeedDaemonReload,Triggers"
CAN_BE_ENABLED = ("disabled", "bad", "")


class UnitError(Exception):
    """A unit is not in the state it should be in."""


@dataclass
class Steps:
    """What is to be done, by verb; the fields are what the module returns."""

    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    reloaded: list[str] = field(default_factory=list)
    enabled: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)


def is_up(unit: dict[str, str]) -> bool:
    """Tell whether a unit does its work; one that systemd keeps trying to start does not."""
    return unit.get("ActiveState") in ("active", "reloading", "refreshing")


def decide(wanted: list[dict], strangers: list[str], now: dict[str, dict[str, str]], owed: set[str]) -> Steps:
    """Return the steps from the present states to the wanted ones.

    wanted: {name, state, enabled}; strangers: units to get rid of; now: systemd's properties of each of them.
    """
    steps = Steps()
    for unit in wanted + [{"name": name, "state": "stopped", "enabled": False} for name in strangers]:
        name, state = unit["name"], now[unit["name"]]
        file_state = state.get("UnitFileState", "")
        if unit["enabled"] and file_state in CAN_BE_ENABLED:
            steps.enabled.append(name)
        if not unit["enabled"] and file_state in ("enabled", "enabled-runtime"):
            steps.disabled.append(name)
        if unit["state"] == "stopped":
            if state.get("ActiveState") not in ("inactive", "failed"):
                steps.stopped.append(name)
        elif not is_up(state):
            steps.started.append(name)
        elif f"restart {name}" in owed:
            steps.restarted.append(name)
        elif f"reload {name}" in owed:
            steps.reloaded.append(name)
    # A socket does not start while its service runs, so both restart in one go.
    for name in [name for name in steps.started if is_up(now.get(now[name].get("Triggers", ""), {}))]:
        service = now[name]["Triggers"]
        steps.started.remove(name)
        steps.restarted += [unit for unit in (name, service) if unit not in steps.restarted]
    return steps


class Systemd:
    """The commands of systemd that are needed here."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def call(self, verb: str, units: list[str]) -> str:
        """Have systemctl do one thing to all units; return what it complains of, which is nothing when all is well."""
        rc, _out, err = self.module.run_command(["systemctl", "--no-ask-password", verb, "--", *units])
        return err.strip() or f"systemctl {verb} failed" if rc != 0 else ""

    def show(self, units: list[str], patterns: list[str]) -> dict[str, dict[str, str]]:
        """Return the properties of units by the name asked for, and of whatever runs and matches a pattern."""
        if not units and not patterns:
            return {}
        command = ["systemctl", "show", f"--property={PROPERTIES}", "--", *units, *patterns]
        rc, out, err = self.module.run_command(command)
        if rc != 0:
            raise UnitError(f"systemd does not answer: {err.strip()}")
        blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n")]
        blocks = [block for block in blocks if block]
        # Aliases answer with another Id, but in the order of the question.
        return dict(zip([*units, *(block["Id"] for block in blocks[len(units):])], blocks, strict=True))

    def journal(self, unit: str) -> str:
        """Return the end of a unit's journal."""
        command = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={JOURNAL_LINES}", f"--unit={unit}"]
        return self.module.run_command(command)[1].strip()


def find_strangers(patterns: list[str], running: dict[str, dict[str, str]], named: set[str]) -> list[str]:
    """Return the units that match a pattern, run or are enabled, and are not named."""
    found = {name for name, unit in running.items() if unit.get("ActiveState") not in ("inactive", "failed")}
    for pattern in patterns:
        found.update(os.path.basename(link) for link in glob.glob(os.path.join(ENABLED_LINKS, pattern)))
    return sorted(found - named)


def wait_until_up(systemd: Systemd, units: list[str], seconds: float) -> list[str]:
    """Return the units that are not up twice in a row before the time is over; a service may crash after its start."""
    deadline, calm = time.monotonic() + seconds, 0
    down = list(units)
    while units and calm < 2:
        now = systemd.show(units, [])
        down = [name for name in units if not is_up(now[name])]
        calm = 0 if down else calm + 1
        if time.monotonic() > deadline or any(now[name]["ActiveState"] == "failed" for name in down):
            break
        time.sleep(POLL_SECONDS if calm < 2 else 0)
    return down


def carry_out(systemd: Systemd, steps: Steps, now: dict[str, dict[str, str]], owed: Owed, wait_seconds: float) -> None:
    """Do the steps, each verb once, and strike out what was owed to the units that are up. Raises UnitError."""
    acted = steps.started + steps.restarted + steps.reloaded
    missing = [name for name in {*acted, *steps.enabled} if now[name]["LoadState"] in ("not-found", "masked")]
    if missing:
        names = ", ".join(sorted(missing))
        raise UnitError(f"{names}: no such unit on this host, or it is masked; is its package installed?")
    failed = [name for name in steps.started if now[name]["ActiveState"] == "failed"]
    complaints = []
    for verb, units in (
        ("enable", steps.enabled),
        ("disable", steps.disabled),
        ("stop", steps.stopped),
        ("reset-failed", failed),
        ("start", steps.started),
        ("restart", steps.restarted),
        ("reload-or-restart", steps.reloaded),
    ):
        complaints.append(systemd.call(verb, units) if units else "")
    down = wait_until_up(systemd, acted, wait_seconds)
    done = [name for name in steps.stopped + acted if name not in down]
    if down or not any(complaints):
        owed.clear(f"{what} {name}" for name in done for what in ("restart", "reload"))
    ends = [f"{name} is not up. The end of its journal:\n{systemd.journal(name)}" for name in down]
    if any([*ends, *complaints]):
        raise UnitError("\n".join(filter(None, [*ends, *complaints])))


def bring_about(module: AnsibleModule) -> dict:
    """Bring the units to their states, or in check mode find out what that would take; return the result."""
    systemd, owed = Systemd(module), Owed(module.params["state_directory"])
    wanted = [{**unit, "name": full_name(unit["name"])} for unit in module.params["units"]]
    named, patterns = [unit["name"] for unit in wanted], module.params["exclusive"]
    debts, now = owed.pending(), systemd.show(named, patterns)
    reload_needed = DAEMON_RELOAD in debts or any(unit["NeedDaemonReload"] == "yes" for unit in now.values())
    if reload_needed and not module.check_mode:
        complaint = systemd.call("daemon-reload", [])
        if complaint:
            raise UnitError(complaint)
        owed.clear([DAEMON_RELOAD])
        now = systemd.show(named, patterns)
    running = {name: unit for name, unit in now.items() if name not in named}
    strangers = find_strangers(patterns, running, set(named))
    now |= systemd.show([name for name in strangers if name not in now], [])
    steps = decide(wanted, strangers, now, debts)
    if not module.check_mode:
        carry_out(systemd, steps, now, owed, module.params["wait_seconds"])
    result = vars(steps)
    return {"changed": reload_needed or any(result.values()), "daemon_reloaded": reload_needed, **result}


def arguments() -> dict:
    """Return the argument specification."""
    unit = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
        "enabled": {"type": "bool", "default": True},
    }
    return {
        "units": {"type": "list", "elements": "dict", "default": [], "options": unit},
        "exclusive": {"type": "list", "elements": "str", "default": []},
        "wait_seconds": {"type": "int", "default": 15},
        "state_directory": {"type": "path", "default": STATE_DIRECTORY},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    lock = contextlib.nullcontext() if module.check_mode else only_run(module.params["state_directory"])
    try:
        with lock:
            result = bring_about(module)
    except (UnitError, BusyError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
