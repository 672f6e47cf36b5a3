# SPDX-License-Identifier: GPL-3.0-or-later
"""Count, for each task, the modules that it ran on each host."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

from ansible.plugins.callback import CallbackBase

# These are done by the control machine alone; a host does not notice them.
ON_THE_CONTROL_MACHINE = {
    *("ansible.builtin." + name for name in ("add_host", "assert", "debug", "fail", "group_by", "meta", "pause")),
    *("ansible.builtin." + name for name in ("import_role", "import_tasks", "include_role", "include_tasks")),
    *("ansible.builtin." + name for name in ("include_vars", "set_fact", "set_stats", "validate_argument_spec")),
    "fediops.mastodon.plan",
}


class CallbackModule(CallbackBase):
    """Writes [{host: modules}, ...], a task each in the run's order, to the file that MODULE_TASKS_FILE names."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "module_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.tasks = defaultdict(Counter)

    def count(self, result):
        """Count what one task did on one host; every item of a loop is a module of its own."""
        task = result.task
        if task.resolved_action in ON_THE_CONTROL_MACHINE or task.delegate_to in ("localhost", "127.0.0.1"):
            return
        items = result.result.get("results") if task.loop else None
        ran = len([i for i in items if not i.get("skipped")]) if items is not None else 1
        self.tasks[task._uuid][result.host.get_name()] += ran

    def v2_runner_on_ok(self, result):
        """Count a task that succeeded."""
        self.count(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Count a task that failed."""
        self.count(result)

    def v2_playbook_on_stats(self, stats):
        """Write the counts."""
        Path(os.environ["MODULE_TASKS_FILE"]).write_text(json.dumps(list(self.tasks.values())), encoding="utf-8")
