# SPDX-License-Identifier: GPL-3.0-or-later
"""A Molecule scenario, as the tests drive it: step by step, its output shown while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


class Scenario:
    """One scenario of molecule/; its fleet lives under .cache/fleets, apart from a person's own rehearsal."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = CHECKOUT / ".cache/fleets" / name

    def step(self, command: str) -> None:
        """Run one step (create, converge, destroy, ...). Raises CalledProcessError when it fails."""
        binaries = Path(sys.executable).parent
        subprocess.run(
            [binaries / "molecule", "--base-config", "molecule/config.yml", command, "--scenario-name", self.name],
            cwd=CHECKOUT,
            env={
                **os.environ,
                # Molecule starts ansible-playbook by its bare name.
                "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
                # By itself Molecule would share a directory between all checkouts whose folders have the same name.
                "MOLECULE_EPHEMERAL_DIRECTORY": str(CHECKOUT / ".cache/molecule" / self.name),
                # Otherwise it looks for a scenario called default, and calls it critical that there is none.
                "MOLECULE_GLOB": f"molecule/{self.name}/molecule.yml",
            },
            # What one of several processes of pytest writes to its standard output is seen by nobody.
            stdout=sys.__stderr__,
            check=True,
        )
