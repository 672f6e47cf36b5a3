# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that rehearsal/fleet.py made, as the tests use it: from outside, and through its command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RUN_SECONDS = 1800
# Of a run that failed, in characters: what it died of stands at its end.
OUTPUT_SHOWN = 6000
HEADING = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<task>.*)\] \*+$")
CHANGED = re.compile(r"^changed: \[(?P<host>[^\]]+)\]")
RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>ok=\d+ .*)$")


@dataclass
class Run:
    """A run of a playbook: how it ended, its output, {host: {"ok": 3, "changed": 0, ...}}, and (task, host) changed."""

    status: int
    output: str
    recap: dict[str, dict[str, int]] = field(default_factory=dict)
    changed: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, status: int, output: str) -> Run:
        """Read the output of ansible-playbook."""
        run, task = cls(status, output), ""
        for line in output.splitlines():
            if heading := HEADING.match(line):
                task = heading["task"]
            elif changed := CHANGED.match(line):
                run.changed.append((task, changed["host"]))
            elif recap := RECAP.match(line):
                counts = (pair.split("=") for pair in recap["counts"].split())
                run.recap[recap["host"]] = {name: int(count) for name, count in counts}
        return run


def _listed(inventory: Path, environment: Mapping[str, str]) -> dict:
    done = subprocess.run(
        [BIN / "ansible-inventory", "-i", inventory, "--list"],
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def groups(inventory: Path, **environment: str) -> dict[str, list[str]]:
    """{group: its hosts} of an inventory, as Ansible reads it; groups without hosts are left out."""
    listed = _listed(inventory, environment)

    def hosts(group: str) -> set[str]:
        entry = listed.get(group, {})
        return set(entry.get("hosts", [])).union(*map(hosts, entry.get("children", [])))

    return {group: sorted(found) for group in listed if group != "_meta" and (found := hosts(group))}


class Fleet:
    """What is in a rehearsal's folder, and what can be done with it."""

    def __init__(self, state: Path) -> None:
        self.state = state.resolve()

    @property
    def inventory(self) -> Path:
        """The inventory that Ansible is given."""
        return self.state / "inventory"

    @property
    def made(self) -> dict:
        """What it was made of: source, app, addresses, sizes."""
        return json.loads((self.state / "fleet.json").read_text())

    @property
    def summary(self) -> dict:
        """What a deployment wrote down: url, ca_file, owner, token, hosts."""
        return json.loads((self.state / "summary.json").read_text())

    @property
    def containers(self) -> dict[str, str]:
        """{host: name of its container}"""
        return {words[0]: words[-1] for words in self.status()}

    def status(self) -> list[list[str]]:
        """[host, address, state of its container, name of it] of each host, and of the world around them."""
        return [words for line in self.command("status").output.splitlines() if len(words := line.split()) == 4]

    def release(self) -> dict[str, str] | None:
        """The version that is in force and the Ruby it runs on, as a host itself says; None where it cannot tell."""
        ask = "cat /var/lib/fediops/release.json; /opt/mastodon/current/.runtime/bin/ruby --version"
        for container in self.containers.values():
            done = subprocess.run(
                ["docker", "exec", container, "sh", "-c", ask], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                recorded, _brace, ruby = done.stdout.rpartition("}")
                return {"version": json.loads(recorded + "}")["version"], "ruby": ruby.split("(")[0].strip()}
        return None

    def hosts(self) -> list[str]:
        """All hosts of the inventory, as Ansible reads it."""
        return self.groups()["all"]

    def groups(self) -> dict[str, list[str]]:
        """{group: its hosts} of the inventory."""
        return groups(self.inventory, **self.environment())

    def variables(self) -> dict[str, dict]:
        """{host: its variables}, those of its groups among them."""
        return _listed(self.inventory, self.environment())["_meta"]["hostvars"]

    def secrets(self) -> dict[str, str]:
        """{variable: value} of everything in the vault file."""
        done = subprocess.run(
            [BIN / "ansible-vault", "view", self.inventory / "group_vars/all/vault.yml"],
            env=self.environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return yaml.safe_load(done.stdout)

    def command(self, name: str, *arguments: str | Path, check: bool = True) -> Run:
        """Run a command of rehearsal/fleet.py."""
        done = subprocess.run(
            self.argv(name, *arguments),
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=RUN_SECONDS, check=False,
        )  # fmt: skip
        run = Run.of(done.returncode, done.stdout)
        assert not check or run.status == 0, run.output[-OUTPUT_SHOWN:]
        return run

    def site(self, *arguments: str, check: bool = True) -> Run:
        """Run site.yml with these arguments; without `check` a failure is the caller's business."""
        return self.command("run", "site.yml", *arguments, check=check)

    def run_killed(
        self,
        when: Callable[[str, str], bool],
        *arguments: str,
        later_seconds: float = 0,
        playbook: str = "site.yml",
    ) -> str:
        """Run a playbook and kill it at the first line for which `when(task, line)` holds, or so many seconds later.

        Killed is all of it, with its connections, and nothing is asked: as when the control machine loses its power.
        Returns the output up to there. Fails when the run ends before.
        """
        process = subprocess.Popen(
            self.argv("run", playbook, *arguments),
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        task, seen = "", []
        try:
            for line in process.stdout:
                seen.append(line)
                if heading := HEADING.match(line.rstrip()):
                    task = heading["task"]
                if when(task, line):
                    time.sleep(later_seconds)
                    return "".join(seen)
        finally:
            self.kill(process)
        raise AssertionError("the run ended before it could be killed:\n" + "".join(seen))

    @staticmethod
    def kill(process: subprocess.Popen) -> None:
        """Kill a run and everything that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()

    def argv(self, name: str, *arguments: str | Path) -> list[str | Path]:
        """The command line of a command of rehearsal/fleet.py."""
        return [sys.executable, CHECKOUT / "rehearsal/fleet.py", name, "--state", self.state, *arguments]

    def environment(self) -> dict[str, str]:
        """The environment in which Ansible reads this fleet's inventory."""
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.state / "vault_password"),
        }
