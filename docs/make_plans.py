# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the plan of each inventory that is shipped into its README.

The lines between the marks are never edited by hand; a test compares them with what this makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- Made by `make docs`: the plan -->\n\n```\n", "```\n\n<!-- end of the plan -->\n"
# single_box declares no sizes; this is the smallest machine that its README speaks of.
UNDECLARED = {"single_box": {"vm_vcpus": 2, "vm_memory_mb": 4096, "vm_address": "10.0.0.11"}}


def plan_of(inventory: Path) -> str:
    """Return the table of an inventory's plan. Raises CalledProcessError where it cannot be planned."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {"plan_directory": folder, **UNDECLARED.get(inventory.name, {})}
        subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                *("-i", inventory, "-e", json.dumps(variables), "playbooks/plan.yml"),
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CACHE_PLUGIN_CONNECTION": f"{folder}/facts"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return json.loads((Path(folder) / "plan.json").read_text(encoding="utf-8"))["table"]


def with_plan(text: str, plan: str) -> str:
    """Return the text of a README with another plan between its marks. Raises ValueError where it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no place for the plan; expected the lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}{plan.rstrip()}\n{end}{after}"


def readmes() -> list[Path]:
    """Return the READMEs of all inventories that are shipped."""
    return sorted(ROOT.glob("inventories/*/README.md"))


def main() -> None:
    """Write what differs."""
    for path in readmes():
        old = path.read_text(encoding="utf-8")
        new = with_plan(old, plan_of(path.parent))
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} was written anew")


if __name__ == "__main__":
    main()
