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
  - It is meant for units that stay active. A oneshot service without C(RemainAfterExit) never is; name its timer.
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
        description:
          - Whether it runs.
          - V(restarted) writes down that a restart is owed to a unit that is up, before anything is done, so that a
            call that is killed leaves it to the next one.
        type: str
        choices: [started, stopped, restarted]
        default: started
      enabled:
        description:
          - Whether it starts with the host.
          - A unit that has nothing to enable (static, generated) is left as it is.
        type: bool
        default: true
      may_wait:
        description:
          - Whether it may wait for another host, which may be away. While systemd starts it over and over it counts as
            up.
        type: bool
        default: false
  exclusive:
    description:
      - Shell patterns. Units that match one, run or are enabled, and are not in O(units), are stopped and disabled.
    type: list
    elements: str
    default: []
  restarts:
    description:
      - When the restarts that are owed are made.
      - V(later) starts, stops and reloads, and leaves those restarts owed, to be made one host after the other; they
        are returned as RV(left).
    type: str
    choices: [now, later]
    default: now
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

- name: Start Puma where it is down, and tell whether it must be restarted
  fediops.mastodon.units:
    units:
      - name: mastodon-web.service
    restarts: later

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
left:
  description: Units whose owed restart was left for later.
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

import glob
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fediops.mastodon.plugins.module_utils import owed

ENABLED_LINKS = "/etc/systemd/system/*.*s"
JOURNAL_LINES = 15
POLL_SECONDS = 0.5
PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload"
UP = ("active", "reloading", "refreshing")
DOWN = ("inactive", "failed")
# What is returned of a unit, and the verb that makes it true, in the order in which they are carried out.
VERBS = {
    "enabled": "enable",
    "disabled": "disable",
    "stopped": "stop",
    "started": "start",
    "restarted": "restart",
    "reloaded": "reload-or-restart",
}


class UnitError(owed.RefusedError):
    """A unit is not in the state it should be in."""


def show(module: AnsibleModule, units: list[str], patterns: list[str]) -> dict[str, dict[str, str]]:
    """Return systemd's properties of units by the name asked for, and of whatever is loaded and matches a pattern.

    A unit that may wait is active while it does.
    """
    if not units and not patterns:
        return {}
    command = ["systemctl", "show", f"--property={PROPERTIES}", "--", *units, *patterns]
    texts = filter(None, module.run_command(command, check_rc=True)[1].strip().split("\n\n"))
    blocks = [dict(line.split("=", 1) for line in text.splitlines()) for text in texts]
    # Aliases answer with another Id, but in the order of the question.
    found = dict(zip([*units, *(block["Id"] for block in blocks[len(units) :])], blocks, strict=True))
    for name in {owed.full_name(unit["name"]) for unit in module.params["units"] if unit["may_wait"]} & found.keys():
        if found[name]["ActiveState"] == "activating":
            found[name]["ActiveState"] = "active"
    return found


def decide(wanted: list[dict], now: dict[str, dict[str, str]], debts: set[str]) -> dict[str, list[str]]:
    """Return the steps from the present states to the wanted ones: units by what becomes of them, as in ``VERBS``.

    wanted: {name, state, enabled}; now: as ``show`` returns it. A unit that is started over and over is down.
    """
    steps = {outcome: [] for outcome in VERBS}
    for unit in wanted:
        name = unit["name"]
        active, at_boot = now[name]["ActiveState"], now[name]["UnitFileState"]
        if unit["enabled"] and at_boot in ("disabled", "bad", ""):
            steps["enabled"].append(name)
        if not unit["enabled"] and at_boot in ("enabled", "enabled-runtime"):
            steps["disabled"].append(name)
        if unit["state"] == "stopped":
            if active not in DOWN:
                steps["stopped"].append(name)
        elif active not in UP:
            steps["started"].append(name)
        elif f"restart {name}" in debts:
            steps["restarted"].append(name)
        elif f"reload {name}" in debts:
            steps["reloaded"].append(name)
    return steps


def not_up(module: AnsibleModule, units: list[str], seconds: float) -> list[str]:
    """Return those that are not up twice in a row before the time is over: a service may crash after its start."""
    deadline, calm, down = time.monotonic() + seconds, 0, []
    while units and calm < 2:
        now = show(module, units, [])
        down = [name for name in units if now[name]["ActiveState"] not in UP]
        calm = 0 if down else calm + 1
        if time.monotonic() > deadline or any(now[name]["ActiveState"] == "failed" for name in down):
            break
        time.sleep(POLL_SECONDS)
    return down


def carry_out(module: AnsibleModule, steps: dict[str, list[str]], now: dict[str, dict[str, str]]) -> None:
    """Do the steps, each verb once, and strike out what was owed to the units that are up. Raises UnitError."""
    acted = steps["started"] + steps["restarted"] + steps["reloaded"]
    missing = sorted(name for name in {*acted, *steps["enabled"]} if now[name]["LoadState"] in ("not-found", "masked"))
    if missing:
        raise UnitError(f"{', '.join(missing)}: no such unit here, or it is masked; is its package installed?")
    failed = [name for name in steps["started"] if now[name]["ActiveState"] == "failed"]
    # One that systemd keeps trying to start is at it with what it read before; it begins anew with what is there now.
    trying = [name for name in steps["started"] if now[name]["ActiveState"] == "activating"]
    verbs = [(VERBS[outcome], [name for name in units if name not in trying]) for outcome, units in steps.items()]
    debts_here = owed.Owed(module.params["state_directory"])
    complaints, hopeful, owed_before = [], [], debts_here.written()
    for verb, units in [("reset-failed", failed), *verbs, ("restart", trying)]:
        rc, _out, err = module.run_command(["systemctl", verb, "--", *units]) if units else (0, "", "")
        if rc != 0:
            # A unit that starts itself again may be up all the same in the end.
            (hopeful if verb in ("start", "restart") else complaints).append(err.strip() or f"systemctl {verb} failed")
    down = not_up(module, acted, module.params["wait_seconds"])
    complaints += hopeful if down else []
    if down or not complaints:
        done = [name for name in steps["stopped"] + acted if name not in down]
        paid = {f"{what} {name}" for name in done for what in ("restart", "reload")}
        # A service may have found out at its start that something is owed, such as rules that are to be tried.
        debts_here.clear(debt for debt, when in debts_here.written().items() & owed_before.items() if debt in paid)
    for name in reversed(down):
        journal = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={JOURNAL_LINES}", f"--unit={name}"]
        end = module.run_command(journal)[1].strip()
        complaints.insert(0, f"{name} is not up. The end of its journal:\n{end}")
    if complaints:
        raise UnitError("\n".join(complaints))


def bring_about(module: AnsibleModule) -> dict:
    """Bring the units to their states, or in check mode find out what that would take; return the result."""
    debts_here, patterns = owed.Owed(module.params["state_directory"]), module.params["exclusive"]
    wanted = [{**unit, "name": owed.full_name(unit["name"])} for unit in module.params["units"]]
    named = [unit["name"] for unit in wanted]
    links = [link for pattern in patterns for link in glob.glob(os.path.join(ENABLED_LINKS, pattern))]
    enabled = {os.path.basename(link) for link in links} - set(named)
    debts, now = debts_here.pending(), show(module, [*named, *enabled], patterns)
    asked = [unit["name"] for unit in wanted if unit["state"] == "restarted"]
    new = {f"restart {name}" for name in asked if now[name]["ActiveState"] in UP} - debts
    if new and not module.check_mode:
        debts_here.add(new)
    debts |= new
    stale = owed.DAEMON_RELOAD in debts or any(unit["NeedDaemonReload"] == "yes" for unit in now.values())
    if stale and not module.check_mode:
        module.run_command(["systemctl", "daemon-reload", "--"], check_rc=True)
        debts_here.clear([owed.DAEMON_RELOAD])
        now = show(module, [*named, *enabled], patterns)
    others = sorted(enabled | {name for name in now.keys() - named if now[name]["ActiveState"] not in DOWN})
    steps = decide(wanted + [{"name": name, "state": "stopped", "enabled": False} for name in others], now, debts)
    left = []
    if module.params["restarts"] == "later":
        left, steps["restarted"] = steps["restarted"], []
    if not module.check_mode:
        carry_out(module, steps, now)
    # A run makes them, if not this call.
    due = bool(left) and module.check_mode
    changed = stale or due or bool(new or any(steps.values()))
    return {"changed": changed, "daemon_reloaded": stale, "left": left, **steps}


def arguments() -> dict:
    """Return the argument specification."""
    unit = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["started", "stopped", "restarted"], "default": "started"},
        "enabled": {"type": "bool", "default": True},
        "may_wait": {"type": "bool", "default": False},
    }
    return {
        "units": {"type": "list", "elements": "dict", "default": [], "options": unit},
        "exclusive": {"type": "list", "elements": "str", "default": []},
        "restarts": {"type": "str", "choices": ["now", "later"], "default": "now"},
        "wait_seconds": {"type": "int", "default": 15},
        "state_directory": {"type": "path", "default": owed.STATE_DIRECTORY},
    }


def main() -> None:
    """Run the module."""
    owed.answer(AnsibleModule(argument_spec=arguments(), supports_check_mode=True), bring_about)


if __name__ == "__main__":
    main()
