# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hands what was read of all hosts to the library that judges it, and shows what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.fediops.mastodon.plugins.plugin_utils.files import write_private
from ansible_collections.fediops.mastodon.plugins.plugin_utils.status import Thresholds, fleet_status

_ARGUMENTS = {
    "readings": {"type": "dict", "required": True},
    "plan": {"type": "dict", "required": True},
    "refusal": {"type": "str", "default": ""},
    "thresholds": {"type": "dict", "default": {}},
    "output": {"type": "str", "choices": ["table", "json"], "default": "table"},
    "file": {"type": "path"},
}


class ActionModule(ActionBase):
    """Judges on the control machine, once for all hosts."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Judge, show, and write it down where that was asked for."""
        result = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(_ARGUMENTS)
        readings = {str(host): reading for host, reading in arguments["readings"].items()}
        silent = {host: why(reading) for host, reading in readings.items() if "units" not in reading}
        hosts = arguments["plan"]
        try:
            status = fleet_status(
                {host: reading for host, reading in readings.items() if host not in silent},
                hosts,
                datetime.now(UTC),
                silent=silent,
                thresholds=Thresholds.of(arguments["thresholds"]),
                refusal="" if hosts else arguments["refusal"],
            )
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from error
        text = status.pop("text")
        document = json.dumps(status, default=str)
        # Not by way of a callback: each of them shows text in its own way, and JSON in none that can be read again.
        Display().display(document if arguments["output"] == "json" else f"\n{text}\n")
        if arguments["file"]:
            try:
                write_private(arguments["file"], f"{document}\n")
            except OSError as error:
                raise AnsibleActionFail(
                    f"{error.filename} cannot be written ({error.strerror}): set status_file to where it can."
                ) from error
        return {**result, "changed": False, **status, "text": text}


def why(reading: Mapping[str, Any]) -> str:
    """What Ansible says of a host that it could not read: the last line, before which is what led to it."""
    lines = str(reading.get("msg", "")).strip().splitlines()
    return lines[-1].strip() if lines else "no reason is known"
