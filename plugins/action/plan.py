# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hands the inventory and the facts to the planning library, once for all hosts, and reports what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.fediops.mastodon.plugins.plugin_utils.files import write_private
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan import from_inventory
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.explain import describe
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.inventory import OVERRIDES, SIZES

_FLEET_SETTINGS = ("mastodon_s3_enabled", "mastodon_plan_coefficients")


class ActionModule(ActionBase):
    """Reads chosen variables only, so nothing that depends on the plan is ever templated here."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Compute, report, and fail if a constraint does not hold."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _validated, arguments = self.validate_argument_spec({"file": {"type": "path"}})
        hostvars = task_vars["hostvars"]
        groups = {str(group): [str(host) for host in hosts] for group, hosts in task_vars["groups"].items()}
        hosts = {host: _variables_of(hostvars[host]) for host in groups["all"]}
        first = hostvars[groups["all"][0]] if groups["all"] else {}
        settings = {name: _plain(first[name]) for name in _FLEET_SETTINGS if name in first}
        plan = from_inventory(hosts, groups, settings)
        for finding in plan.warnings:
            Display().warning(f"[{finding.constraint}] {finding.message} {finding.advice}")
        if plan.errors:
            count = "One constraint does" if len(plan.errors) == 1 else f"{len(plan.errors)} constraints do"
            raise AnsibleActionFail(f"{count} not hold, and nothing was changed:\n{describe(plan.errors)}")
        result["plan"] = plan.as_mapping()
        result["changed"] = False
        if arguments["file"]:
            text = json.dumps(result["plan"], indent=2, sort_keys=True) + "\n"
            result["changed"] = _write(arguments["file"], text, check_mode=self._task.check_mode)
        return result


def _variables_of(host: Mapping[str, Any]) -> dict[str, Any]:
    """What takes part in the plan: overrides, and sizes as declared, else as the facts say."""
    facts = host.get("ansible_facts") or {}
    addresses = [facts.get(family) or {} for family in ("default_ipv4", "default_ipv6")]
    found = {
        "vm_vcpus": facts.get("processor_vcpus"),
        "vm_memory_mb": facts.get("memtotal_mb"),
        "vm_address": next((address["address"] for address in addresses if address.get("address")), None),
    }
    declared = {name: _plain(host[name]) for name in (*SIZES, *OVERRIDES) if name in host and host[name] is not None}
    return {**found, **declared, "found_memory_mb": found["vm_memory_mb"]}


def _plain(value: Any) -> Any:
    """A variable without Ansible's own types: the library knows only Python's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return value


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
