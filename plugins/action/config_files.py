# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The control machine's part of config_files: it renders a role's files and sends them in one call."""

from __future__ import annotations

import base64
import os
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.datatag import native_type_name
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

MANAGED = "Managed by Ansible (fediops.mastodon). Changes made here are overwritten."
LARGEST_PAYLOAD_BYTES = 5_000_000
SOURCES = ("template", "content", "src")


class ActionModule(ActionBase):
    """Renders, sends, and keeps the answer fit to print."""

    TRANSFERS_FILES = False
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result = super().run(tmp, task_vars)
        files = self._task.args.get("files") or []
        if not isinstance(files, list) or not all(isinstance(file, dict) and file.get("dest") for file in files):
            raise AnsibleActionFail("fediops.mastodon.config_files: files must be a list of mappings with a dest each")
        contents = {file["dest"]: self._bytes(file, task_vars or {}) for file in files}
        size = sum(map(len, contents.values()))
        if size > LARGEST_PAYLOAD_BYTES:
            raise AnsibleActionFail(
                f"fediops.mastodon.config_files: the files hold {size / 1e6:.1f} MB, the most is "
                f"{LARGEST_PAYLOAD_BYTES / 1e6:.0f} MB; ship larger ones with ansible.builtin.copy"
            )
        args = {
            **self._task.args,
            "files": [{key: value for key, value in file.items() if key not in SOURCES} for file in files],
            "payload": {dest: base64.b64encode(content).decode() for dest, content in contents.items()},
        }
        result.update(self._execute_module(module_args=args, task_vars=task_vars))
        result.pop("invocation", None)
        limit = constants.MAX_FILE_SIZE_FOR_DIFF
        for diff in result.get("diff", []):
            for side, mark in (("before", "dst_larger"), ("after", "src_larger")):
                if 0 < limit < len(diff.get(side, "")):
                    diff[mark] = limit
                    del diff[side]
        return result

    def _bytes(self, file: dict[str, Any], task_vars: dict[str, Any]) -> bytes:
        given = [source for source in SOURCES if file.get(source) is not None]
        if len(given) != 1:
            raise AnsibleActionFail(
                f"fediops.mastodon.config_files: {file['dest']} needs exactly one of {', '.join(SOURCES)}, "
                f"got {' and '.join(given) or 'none of them'}"
            )
        if given == ["src"]:
            with open(self._loader.get_real_file(self._find_needle("files", file["src"])), "rb") as source:
                return source.read()
        text = self._rendered(file, task_vars) if given == ["template"] else file["content"]
        if not isinstance(text, str):
            raise AnsibleActionFail(
                f"fediops.mastodon.config_files: {file['dest']} would hold a {native_type_name(text)} instead of text; "
                "add `| to_json` or `| string`, or end the template with a newline"
            )
        return text.encode()

    def _rendered(self, file: dict[str, Any], task_vars: dict[str, Any]) -> Any:
        path = self._find_needle("templates", file["template"])
        text = self._loader.get_text_file_contents(path)
        roots = [*task_vars.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(path)]
        variables = {
            "ansible_managed": MANAGED,
            **task_vars,
            "template_path": file["template"],
            "template_fullpath": path,
            "template_destpath": file["dest"],
        }
        templar = self._templar.copy_with_new_env(
            searchpath=[directory for root in roots for directory in (os.path.join(root, "templates"), root)],
            available_variables=variables,
        )
        try:
            rendered = templar.template(trust_as_template(text), escape_backslashes=False)
        except AnsibleError as error:
            line = getattr(error.__cause__, "lineno", None)
            where = f"{file['template']}, line {line}" if line else file["template"]
            raise AnsibleActionFail(f"{where}, for {file['dest']}: {error}") from error
        # A template without a final newline that renders to nothing gives None.
        return "" if rendered is None else rendered
