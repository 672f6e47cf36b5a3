# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that grows, as a person lets it: hosts are added to the inventory, and the same command is run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.fleet import Fleet, Run
from e2e.instance import Instance, wait_until

# Read after hosts.yml, so that hosts that are there stay the first of their groups.
ADDED = "hosts_added.yml"
SLOT_SECONDS = 30


class Growth:
    """The inventory of a fleet, copied into a folder, to which hosts are added.

    `options` are those of `rehearsal/fleet.py up` with which the fleet was made, beyond its inventory.
    """

    def __init__(self, fleet: Fleet, folder: Path, options: Sequence[str | Path] = ()) -> None:
        self.fleet, self.inventory, self._options = fleet, folder / "inventory", options
        self._made = fleet.made
        shutil.copytree(self._made["source"], self.inventory)

    def add(self, hosts: Mapping[str, Mapping], variables: Mapping[str, Mapping] | None = None) -> None:
        """Make hosts: {name: {"groups": [...], "vcpus": 2, "memory_mb": 4096}}; `variables` are those of new groups.

        A group may be written with the one it belongs to: "sidekiq/sidekiq_push".
        """
        added: dict[str, dict] = {"all": {"hosts": {}}}
        for name, host in hosts.items():
            added["all"]["hosts"][name] = {"vm_vcpus": host["vcpus"], "vm_memory_mb": host["memory_mb"]}
            for group in host["groups"]:
                *parents, own = group.split("/")
                added.setdefault(own, {"hosts": {}})["hosts"][name] = {}
                for parent in parents:
                    added.setdefault(parent, {}).setdefault("children", {})[own] = {}
        (self.inventory / ADDED).write_text(json.dumps(added, indent=2))
        for group, values in (variables or {}).items():
            (self.inventory / f"group_vars/{group}.yml").write_text(json.dumps(values))
        self._up(self.inventory)

    def instance(self) -> Instance:
        """The instance with all hosts that there are now."""
        groups = self.fleet.groups()
        addresses = {words[0]: words[1] for words in self.fleet.status()}
        hosts = {
            name: {
                "address": addresses[name],
                "container": container,
                "groups": sorted(group for group, members in groups.items() if name in members and group != "all"),
            }
            for name, container in self.fleet.containers.items()
            if name in groups["all"]
        }
        return Instance({**self.fleet.summary, "hosts": hosts})

    def take_out(self) -> Run:
        """Give the fleet its old inventory again, let the others know, and remove what was added."""
        added = set(self.fleet.hosts())
        self._up(Path(self._made["source"]))
        run = self.fleet.site()
        self.fleet.command("prune")
        for name in added - set(self.fleet.hosts()):
            self._forget_replica(name)
        return run

    def _forget_replica(self, name: str) -> None:
        """A replica that was not retired, but is gone, has left its slot on the primary."""
        slots, primary = f"FROM pg_replication_slots WHERE slot_name = '{name}'", self.instance().primary
        primary.sql(f"SELECT pg_terminate_backend(active_pid) {slots} AND active")

        def is_gone():
            primary.sql(f"SELECT pg_drop_replication_slot(slot_name) {slots} AND NOT active")
            return not primary.sql(f"SELECT slot_name {slots}")

        wait_until(is_gone, SLOT_SECONDS, f"no slot of {name}")

    def _up(self, inventory: Path) -> None:
        self.fleet.command(
            "up", "--inventory", inventory, "--app", self._made["app"], "--https-port", "0", *self._options
        )
