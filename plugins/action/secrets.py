# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the secrets of an instance on the control machine, and keeps them in a vault file of the inventory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import VaultLib
from ansible.plugins.action import ActionBase
from ansible_collections.fediops.mastodon.plugins.plugin_utils.files import write_private
from ansible_collections.fediops.mastodon.plugins.plugin_utils.secrets import (
    CRYPTOGRAPHY_MISSING,
    NAMES,
    REPLACEABLE,
    make_secrets,
    missing_secrets,
)

_HEADER = "---\n# Made once. Every one of these belongs into your backup: an instance cannot live without them.\n"


class ActionModule(ActionBase):
    """Decides whether anything may be made, makes it, and writes it encrypted."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Keep what exists, make what is missing where that is safe."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if CRYPTOGRAPHY_MISSING:
            raise AnsibleActionFail(
                "Keys are made with the Python library cryptography, which this Python does not have. "
                "Type: python3 -m pip install cryptography"
            ) from CRYPTOGRAPHY_MISSING
        _validated, arguments = self.validate_argument_spec(
            {
                "data_hosts": {"type": "list", "elements": "str", "required": True},
                "make_missing": {"type": "bool", "default": False},
                "hosts_are_new": {"type": "bool", "default": False},
                "path": {"type": "path"},
            }
        )
        path = arguments["path"] or _beside_inventory(task_vars)
        text = self._read(path)
        present = _present(text, task_vars)
        missing = missing_secrets(present)
        if missing:
            if vital := [name for name in missing if name not in REPLACEABLE]:
                _refuse_partial(vital, arguments["make_missing"])
                _refuse_living(arguments["data_hosts"], task_vars["hostvars"], arguments["hosts_are_new"], vital)
            try:
                made = make_secrets(present)
            except ValueError as exc:
                raise AnsibleActionFail(f"{exc}.") from exc
            encrypted = self._encrypt(path, (text or _HEADER) + _yaml(made))
            if not self._task.check_mode:
                write_private(path, encrypted)
        kept = [name for name in NAMES if name not in missing]
        return {**result, "changed": bool(missing), "path": path, "made": missing, "kept": kept}

    def _read(self, path: str) -> str:
        """The file in clear; empty if there is none."""
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return ""
        if not VaultLib.is_encrypted(text):
            raise AnsibleActionFail(f"{path} is not encrypted. Type: ansible-vault encrypt {path}")
        clear = self._vault().decrypt(text).decode()
        return clear if clear.endswith("\n") else f"{clear}\n"

    def _encrypt(self, path: str, text: str) -> str:
        vault = self._vault()
        if not vault.secrets:
            raise AnsibleActionFail(
                f"The secrets are kept encrypted in {path}, and Ansible was given no vault password. Type the same "
                f"command "
                "again with --ask-vault-pass, or with --vault-password-file and a file that holds a long random "
                "password; "
                "every later run needs it too."
            )
        return vault.encrypt(text).decode()

    def _vault(self) -> VaultLib:
        return VaultLib(self._loader._vault.secrets)


def _beside_inventory(task_vars: Mapping[str, Any]) -> str:
    """`group_vars/all/vault.yml` beside the inventory, which Ansible reads by itself."""
    source, directory = task_vars.get("inventory_file"), task_vars.get("inventory_dir")
    # Of a list of hosts on the command line Ansible says that it lies in the current folder.
    if not directory or not source or not os.path.exists(source):
        raise AnsibleActionFail(
            "The inventory is not a file or a folder, so there is no place beside it for the secrets. "
            "Type -i and the folder of your inventory."
        )
    group_vars = os.path.join(str(directory), "group_vars")
    for name in ("all.yml", "all.yaml", "all.json"):
        # Ansible reads the folder `all` or a file of that name, never both: the file would be read no more.
        if os.path.exists(os.path.join(group_vars, name)):
            raise AnsibleActionFail(
                f"{group_vars}/{name} would no longer be read once there is a folder {group_vars}/all for the secrets. "
                f"Type: mkdir {group_vars}/all && mv {group_vars}/{name} {group_vars}/all/main.yml"
            )
    return os.path.join(group_vars, "all", "vault.yml")


def _present(text: str, task_vars: Mapping[str, Any]) -> dict[str, str]:
    """The secrets that exist: in the file, or anywhere else in the inventory."""
    try:
        in_file = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        # The error of the parser would show lines of the file.
        raise AnsibleActionFail("The vault file is not valid YAML. Type: ansible-vault edit, and correct it.") from None
    elsewhere = task_vars["hostvars"][task_vars["inventory_hostname"]]
    found = {name: elsewhere[name] if name in elsewhere else in_file.get(name) for name in NAMES}
    return {name: str(value) for name, value in found.items() if value is not None}


def _refuse_partial(missing: Iterable[str], make_missing: bool) -> None:
    if make_missing or set(missing) == set(NAMES) - set(REPLACEABLE):
        return
    raise AnsibleActionFail(
        f"Some secrets exist, and these do not: {', '.join(missing)}. If they were lost, restore them from a backup; "
        "if there never were any, type the same command again with -e secrets_make_missing=true"
    )


def _refuse_living(
    hosts: Iterable[str], hostvars: Mapping[str, Any], hosts_are_new: bool, missing: Iterable[str]
) -> None:
    """No key is made for data that exist: they were encrypted and signed with other keys."""
    living, unasked = [], []
    for host in hosts:
        state = hostvars[host].get("mastodon_host_state") if host in hostvars else None
        if not state or state.get("unreachable") or state.get("failed") or "components" not in state:
            unasked.append(host)
        elif state.get("instance") or state["components"].get("postgres", {}).get("data"):
            living.append(host)
    if living:
        raise AnsibleActionFail(
            f"{', '.join(living)} holds the data of an instance, and the inventory lacks {', '.join(missing)}. New "
            f"ones would "
            "destroy the instance: what is encrypted could never be read again. Restore group_vars/all/vault.yml from "
            "your "
            "backup."
        )
    if unasked and not hosts_are_new:
        raise AnsibleActionFail(
            f"{', '.join(unasked)} could not be asked whether it holds the data of an instance, whose secrets must "
            f"not be made "
            "anew. Make it reachable, or, if the machine does not exist yet, type the same command again with "
            "-e secrets_hosts_are_new=true"
        )


class _BlockDumper(yaml.SafeDumper):
    """Writes text of several lines as a block, so that a person can read it in the vault."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_BlockDumper.add_representer(str, _represent_text)


def _yaml(values: Mapping[str, str]) -> str:
    return yaml.dump(dict(values), Dumper=_BlockDumper, sort_keys=False, width=10**6)
