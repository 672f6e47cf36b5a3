# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hands the inventory and the facts to the planning library, once for all hosts, and reports what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.fediops.mastodon.plugins.plugin_utils.files import write_private
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.compare import (
    announce,
    as_record,
    compare,
    describe_changes,
    from_record,
)
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.explain import refusal
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.inventory import FLEET_SETTINGS, HOST_VARIABLES
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.page import page
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.propose import propose_for
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.queues import queue_name
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.words import listed

_ARGUMENTS = {
    "file": {"type": "path"},
    "gone": {"type": "list", "elements": "str", "default": []},
    "leaving": {"type": "list", "elements": "str", "default": []},
    "page": {"type": "path"},
    "previous": {"type": "path"},
    "propose": {"type": "bool", "default": False},
    "provisional": {"type": "bool", "default": False},
    "running": {"type": "path"},
    "show_warnings": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """Reads chosen variables only, so nothing that depends on the plan is ever templated here."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Compute, compare, report, and fail if a constraint does not hold."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validated, arguments = self.validate_argument_spec(_ARGUMENTS)
        hostvars = task_vars["hostvars"]
        groups = {str(group): [str(host) for host in hosts] for group, hosts in task_vars["groups"].items()}
        hosts = {host: _variables_of(hostvars[host]) for host in groups["all"]}
        first = hostvars[groups["all"][0]] if groups["all"] else {}
        before = _read(path) if (path := arguments["previous"] or arguments["file"]) else None
        running = _read(arguments["running"]) if arguments["running"] else before
        settings = {name: _plain(first[name]) for name in (*FLEET_SETTINGS, "mastodon_price_table") if name in first}
        plan = from_inventory(
            hosts,
            groups,
            settings,
            provisional=arguments["provisional"],
            children=_child_groups(hostvars),
            scheduler=scheduler_of(hostvars, groups.get("sidekiq", []), running),
            earlier=_earlier(running, [*arguments["leaving"], *arguments["gone"]]),
            leaving=arguments["leaving"],
            gone=arguments["gone"],
        )
        for finding in plan.warnings if arguments["show_warnings"] else ():
            Display().warning(f"[{finding.constraint}] {finding.message} {finding.advice}")
        result["refusal"] = refusal(plan.errors)
        if plan.errors and not arguments["provisional"]:
            raise AnsibleActionFail(result["refusal"])
        result["plan"] = plan.as_mapping()
        outside = sorted(set(hosts) - set(task_vars.get("ansible_play_hosts_all", hosts)))
        result |= self._compare(result["plan"], before, outside)
        if arguments["propose"]:
            result["proposal"] = _propose(settings)
        written = {}
        # A fleet that would be refused is shown, and not kept: the next plan is compared with the last that holds.
        if arguments["file"] and not plan.errors:
            record = as_record(result["plan"], before or {"hosts": {}}, result["outside_limit"])
            written[arguments["file"]] = json.dumps(record, indent=2, sort_keys=True) + "\n"
        if arguments["page"]:
            title = str(first.get("mastodon_local_domain", "the fleet"))
            written[arguments["page"]] = page(result["plan"], title=title)
        try:
            changes = [_write(path, text, check_mode=self._task.check_mode) for path, text in written.items()]
        except OSError as error:
            raise AnsibleActionFail(
                f"{error.filename} cannot be written ({error.strerror}), and nothing was changed. Set "
                "mastodon_plan_file, or plan_directory where it is the playbook plan that runs, to where it can."
            ) from error
        result["changed"] = any(changes)
        return result

    def _compare(self, plan: dict[str, Any], before: dict[str, Any] | None, outside: list[str]) -> dict[str, Any]:
        """What differs from an earlier plan, and which of the hosts outside `--limit` that concerns."""
        if before is None or not plan["hosts"]:
            return {"comparison": None, "outside_limit": []}
        comparison = compare(before, plan)
        text = describe_changes(comparison, plan)
        waiting = [host for host in outside if host in comparison.hosts]
        if waiting:
            Display().warning(
                f"{listed(waiting)} {'needs' if len(waiting) == 1 else 'need'} a run too: outside of --limit, and "
                "planned with other sizes than before."
            )
        words = {"text": text, "announcement": announce(comparison, plan, outside)}
        found = {"comparison": {**comparison.as_mapping(), **words}, "outside_limit": waiting}
        return {**found, "diff": {"prepared": f"{text}\n"}} if self._task.diff and comparison else found


def _propose(settings: dict[str, Any]) -> dict[str, Any] | None:
    """The cheapest layout for the people whom the inventory names; None where it names none."""
    try:
        proposal = propose_for(settings)
    except ValueError as error:
        Display().warning(f"No layout is proposed: {error}")
        return None
    return proposal.as_mapping() if proposal else None


def _variables_of(host: Mapping[str, Any]) -> dict[str, Any]:
    """What takes part in the plan: overrides, and sizes as declared, else as the facts say."""
    facts = host.get("ansible_facts") or {}
    addresses = [facts.get(family) or {} for family in ("default_ipv4", "default_ipv6")]
    found = {
        "vm_vcpus": facts.get("processor_vcpus"),
        "vm_memory_mb": facts.get("memtotal_mb"),
        "vm_address": next((address["address"] for address in addresses if address.get("address")), None),
    }
    declared = {name: _plain(_value_of(host, name)) for name in HOST_VARIABLES if name in host}
    known = {name: value for name, value in declared.items() if value is not None}
    return {**found, **known, "found_memory_mb": found["vm_memory_mb"]}


def _value_of(host: Mapping[str, Any], name: str) -> Any:
    """The value of a variable; None for an environment of Mastodon's that is made from the plan, which there is not."""
    try:
        return host[name]
    except AnsibleUndefinedVariable as error:
        if name != "mastodon_env" or not any(plan in str(error) for plan in ("mastodon_plan", "mastodon_fleet")):
            raise
        Display().warning(f"mastodon_env of {host['inventory_hostname']} reads the plan, so the plan cannot check it.")
        return None


def scheduler_of(hostvars: Any, names: Sequence[str], before: Mapping[str, Any] | None) -> str | None:
    """The host whose Sidekiq serves `scheduler` now: as the hosts say in this run, else as the earlier plan has it."""
    states = {name: hostvars[name].get("mastodon_host_state") or {} for name in names}
    if any("schedulers" in state for state in states.values()):
        return next((name for name, state in states.items() if state.get("schedulers")), None)
    parts = before["hosts"] if before else {}
    for name in names:
        processes = (parts.get(name, {}).get("sidekiq") or {}).get("processes", [])
        if any(queue_name(entry) == "scheduler" for process in processes for entry in process["queues"]):
            return name
    return None


def _earlier(running: Mapping[str, Any] | None, away: Sequence[str]) -> dict[str, Any]:
    """The hosts of the plan that runs; those that leave it with what they had, also when that is begun again."""
    if running is None:
        return {}
    left = {name: part for name, part in running["leaving"].items() if name in away}
    return left | running["hosts"]


def _child_groups(hostvars: Any) -> dict[str, list[str]] | None:
    """For each group its child groups; None where Ansible does not say, which has no public way to."""
    inventory = getattr(hostvars, "_inventory", None)
    groups = getattr(inventory, "groups", {})
    return {str(name): [str(child.name) for child in group.child_groups] for name, group in groups.items()} or None


def _plain(value: Any) -> Any:
    """A variable without Ansible's own types: the library knows only Python's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return value


def _read(path: str) -> dict[str, Any] | None:
    """An earlier plan; None where there is none, or none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return from_record(json.load(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        Display().warning(f"Nothing is compared with {path}: {error}")
        return None


def _write(path: str, text: str, *, check_mode: bool) -> bool:
    """Write the file if its content differs; True if it does."""
    try:
        with open(path, encoding="utf-8") as file:
            same = file.read() == text
    except FileNotFoundError:
        same = False
    if not same and not check_mode:
        write_private(path, text)
    return not same
