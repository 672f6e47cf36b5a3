#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at what a host holds already, before anything is decided about it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: See what a host is and what it holds already - system, components, data, instance and release
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Reads a few files and runs no command, so it costs no more than a ping. It changes nothing.
  - With it a playbook refuses to touch data that is not the inventory's own, before the first change.
options:
  root:
    description: The directory below which the host's files lie.
    type: path
    default: /
attributes:
  check_mode:
    description: It only reads.
    support: full
  diff_mode:
    description: It only reads.
    support: none
  platform:
    description: Debian.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Look at what the host holds already
  fediops.mastodon.host_state:
  register: mastodon_host_state

- name: Refuse the data of another major version
  ansible.builtin.assert:
    that: mastodon_host_state.components.postgres.versions in ([], [17])
"""

RETURN = r"""
system:
  description:
    - C(id), C(version), C(codename) and C(name), as C(/etc/os-release) has them; empty where there is none.
    - C(container), the kind of container that the host is, or nothing.
  returned: always
  type: dict
  sample: {id: debian, version: "13", codename: trixie, name: Debian GNU/Linux 13 (trixie), container: ""}
components:
  description: What is installed, and whether it holds data.
  returned: always
  type: dict
  contains:
    postgres:
      description:
        - C(installed), C(data), and C(versions), the major versions of the clusters that hold data.
        - Of the cluster of the highest version - C(standby), whether it follows a primary; C(system_identifier), as
          text, which a primary and its standbys have in common, and C(timeline), which rises with each promotion, both
          as of its last checkpoint; C(untouched), whether nothing was ever made in it.
        - C(settings), those that a standby must not have less of than its primary, as they were last written; they
          need not be in force yet.
      type: dict
      sample:
        installed: true
        data: true
        versions: [17]
        standby: false
        system_identifier: "7710741844895325545"
        timeline: 1
        untouched: false
        settings: {max_connections: "100"}
    redis:
      description:
        - C(installed), C(data), and C(record), what Redis was set up as by this collection, or nothing.
        - In the record are C(role) and C(queues), whether the queues of Sidekiq are in it.
      type: dict
      sample: {installed: true, data: true, record: {role: core, queues: true}}
    nginx:
      description: C(installed).
      type: dict
      sample: {installed: true}
    haproxy:
      description: C(installed).
      type: dict
      sample: {installed: false}
    exporters:
      description: C(installed), as this collection does it.
      type: dict
      sample: {installed: false}
    ruby:
      description: C(installed), the distribution's, and C(versions), those below C(/opt/ruby).
      type: dict
      sample: {installed: false, versions: ["3.4.7"]}
instance:
  description: The record of the instance whose data this is, or nothing.
  returned: always
  type: dict
release:
  description: The record of the release that was deployed last, or nothing.
  returned: always
  type: dict
current_release:
  description: The release that C(/opt/mastodon/current) points to, or nothing.
  returned: always
  type: str
release_archives:
  description: The archives below C(/opt/mastodon/archives), each with its size in bytes and its time of change.
  returned: always
  type: dict
  sample: {v4.6.5-0123456789-abcdef.tar.zst: 2705773-1795298806}
schedulers:
  description: The Sidekiq processes of the host that serve the queue C(scheduler), by their names.
  returned: always
  type: list
  elements: str
  sample: [core]
drained:
  description: Ports that M(fediops.mastodon.drain) closed and that are closed still.
  returned: always
  type: list
  elements: int
  sample: [3000]
owed:
  description: What the host owes to its services.
  returned: always
  type: list
  elements: str
  sample: [restart redis-server.service]
users:
  description: Which of the users of all components exist, with C(home) and C(shell).
  returned: always
  type: dict
  sample: {mastodon: {home: /opt/mastodon, shell: /usr/sbin/nologin}}
swap_mb:
  description: Size of the swap in MB, or nothing where the kernel does not tell.
  returned: always
  type: int
  sample: 2048
ssh_port:
  description: The port of this host that the connection of this run came in by, or nothing without SSH.
  returned: always
  type: int
  sample: 22
"""

import contextlib
import json
import os
import re
import shlex
import struct
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fediops.mastodon.plugins.module_utils.drained import MARK, closed_ports
from ansible_collections.fediops.mastodon.plugins.module_utils.owed import STATE_DIRECTORY, Owed

INSTANCE_RECORD = "var/lib/postgresql/fediops-instance.json"
REDIS_RECORD = f"{STATE_DIRECTORY}/redis.json".lstrip("/")
RELEASE_RECORD = f"{STATE_DIRECTORY}/release.json".lstrip("/")
# Of pg_control: the system identifier at 0; of the last checkpoint the timeline at 48 and the next OID at 72. They have
# had these places for more major versions than are supported.
CONTROL = struct.Struct("<Q40xI20xI")
FIRST_OID_OF_USERS = 16384
SHARED_SETTING = re.compile(
    r"^(max_(?:connections|locks_per_transaction|prepared_transactions|wal_senders|worker_processes)) = '(\d+)'$",
    re.MULTILINE,
)
SCHEDULER = re.compile(r"^SIDEKIQ_QUEUES=.*-q scheduler\b", re.MULTILINE)
# The unit of this collection, not that of the package.
EXPORTER = "etc/systemd/system/prometheus-node-exporter.service"
USERS = ("mastodon", "postgres", "redis", "www-data")


def look(root: Path) -> dict:
    """Return the state of the host whose files lie below root. Raises ValueError for a record that is no JSON."""
    redis = root / "var/lib/redis"
    return {
        "system": system(root),
        "components": {
            "postgres": postgres(root),
            "redis": {
                "installed": (root / "usr/bin/redis-server").exists(),
                "data": any(redis.glob("*.rdb")) or any(redis.glob("appendonlydir/*")),
                "record": record(root / REDIS_RECORD),
            },
            "nginx": {"installed": (root / "usr/sbin/nginx").exists()},
            "haproxy": {"installed": (root / "usr/sbin/haproxy").exists()},
            "exporters": {"installed": (root / EXPORTER).exists()},
            "ruby": {
                "installed": (root / "usr/bin/ruby").exists(),
                "versions": sorted(path.parts[-3] for path in root.glob("opt/ruby/*/bin/ruby")),
            },
        },
        "instance": record(root / INSTANCE_RECORD),
        "release": record(root / RELEASE_RECORD),
        "current_release": current_release(root / "opt/mastodon/current"),
        "release_archives": release_archives(root / "opt/mastodon/archives"),
        "schedulers": schedulers(root / "etc/mastodon/sidekiq"),
        "drained": closed_ports(root / MARK.lstrip("/")),
        "owed": sorted(Owed(str(root / STATE_DIRECTORY.lstrip("/"))).pending()),
        "users": users(root / "etc/passwd"),
        "swap_mb": swap_mb(root / "proc/meminfo"),
        "ssh_port": ssh_port(root / "proc", os.getpid()),
    }


def system(root: Path) -> dict[str, str]:
    """Return which system the host runs, and in which kind of container, as systemd found it at its start."""
    release, container = {}, ""
    with contextlib.suppress(FileNotFoundError):
        lines = shlex.split((root / "etc/os-release").read_text(encoding="utf-8"), comments=True)
        release = dict(line.split("=", 1) for line in lines if "=" in line)
    with contextlib.suppress(FileNotFoundError):
        container = (root / "run/systemd/container").read_text(encoding="utf-8").strip()
    names = {"id": "ID", "version": "VERSION_ID", "codename": "VERSION_CODENAME", "name": "PRETTY_NAME"}
    return {**{name: release.get(key, "") for name, key in names.items()}, "container": container}


def postgres(root: Path) -> dict:
    """Return what there is of PostgreSQL. Raises ValueError for data without a control file."""
    found = root.glob("var/lib/postgresql/[0-9]*/*/PG_VERSION")
    clusters = sorted((int(path.parts[-3]), path.parent) for path in found)
    return {
        "installed": any(root.glob("usr/lib/postgresql/*/bin/postgres")),
        "data": bool(clusters),
        "versions": sorted({version for version, _data in clusters}),
        **cluster(root, *(clusters or [(0, None)])[-1]),
    }


def cluster(root: Path, version: int, data: Path | None) -> dict:
    """Return what the files of one cluster tell; data is its directory. Raises ValueError for one that is damaged."""
    told = {"standby": False, "system_identifier": None, "timeline": None, "untouched": False, "settings": {}}
    if data is None:
        return told
    control, conf = data / "global/pg_control", root / f"etc/postgresql/{version}/{data.name}/conf.d/fediops.conf"
    try:
        identifier, timeline, next_oid = CONTROL.unpack_from(control.read_bytes())
    except (FileNotFoundError, struct.error) as error:
        # Nothing may be decided about data that nobody can read.
        raise ValueError(f"{data} holds data of PostgreSQL and no control file ({error}); restore a backup") from error
    databases = [int(path.name) for path in data.glob("base/*") if path.name.isdigit()]
    with contextlib.suppress(FileNotFoundError):
        told["settings"] = dict(SHARED_SETTING.findall(conf.read_text(encoding="utf-8")))
    return told | {
        "standby": (data / "standby.signal").exists(),
        "system_identifier": str(identifier),
        "timeline": timeline,
        "untouched": max([next_oid, *databases]) <= FIRST_OID_OF_USERS,
    }


def record(path: Path) -> dict | None:
    """Return what a record says, or nothing where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        # To go on as if there were no record would be to treat a living instance as a new one.
        raise ValueError(f"{path} is not readable as JSON ({error}); put back the copy of your last backup") from error


def current_release(link: Path) -> str | None:
    """Return the name of the release that a link points to, or nothing."""
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def release_archives(directory: Path) -> dict[str, str]:
    """Return the archives of a directory with their sizes in bytes and times of change, as "SIZE-SECONDS"."""
    found = {path.name: path.stat() for path in sorted(directory.glob("*.tar.zst"))}
    return {name: f"{status.st_size}-{int(status.st_mtime)}" for name, status in found.items()}


def schedulers(folder: Path) -> list[str]:
    """Return the names of the Sidekiq processes whose environment, a file each in a folder, has that queue."""
    return sorted(path.stem for path in folder.glob("*.env") if SCHEDULER.search(path.read_text(encoding="utf-8")))


def users(path: Path) -> dict[str, dict[str, str]]:
    """Return home and shell of the components' users that are in a passwd file."""
    with contextlib.suppress(FileNotFoundError):
        lines = [line.split(":") for line in path.read_text(encoding="utf-8").splitlines()]
        return {line[0]: {"home": line[5], "shell": line[6]} for line in lines if len(line) == 7 and line[0] in USERS}
    return {}


def swap_mb(path: Path) -> int | None:
    """Return the size of the swap in MB that a file like /proc/meminfo tells, or nothing."""
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("SwapTotal:"):
                return int(line.split()[1]) // 1024
    return None


def ssh_port(processes: Path, pid: int) -> int | None:
    """Return the port of the SSH connection that a process came by, or nothing; /proc is at ``processes``.

    sudo keeps the variable that tells from its children, so the nearest ancestor that has it is asked.
    """
    with contextlib.suppress(OSError):
        while pid:
            environment = (processes / str(pid) / "environ").read_bytes().split(b"\0")
            for variable in environment:
                if variable.startswith(b"SSH_CONNECTION="):
                    return int(variable.split()[-1])
            # The name of a program, in brackets, may hold anything.
            pid = int((processes / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    try:
        state = look(Path(module.params["root"]))
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **state)


if __name__ == "__main__":
    main()
