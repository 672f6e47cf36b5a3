# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of a rehearsal: a person's own, without its secrets and with what containers of this machine need."""

from __future__ import annotations

import filecmp
import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from rehearsal import machine
from rehearsal.console import RehearsalError, run
from rehearsal.state import BIN, State, secret_in

HERE = Path(__file__).resolve().parent
VAULT_FILE_START = b"$ANSIBLE_VAULT"
OVERLAY_FILE = "zz_rehearsal.yml"  # the last of a host's files, which wins
SECRETS_FILE = Path("group_vars/all/vault.yml")
ADMIN = "admin"  # may use sudo, with a password
WORLD = "world"  # the container that stands for everything outside the fleet
OBJECTS_PORT, BUCKET, ACCESS_KEY = 8333, "mastodon-media", "rehearsal"  # of the world's object storage
MARKER_PYTHON = "/opt/rehearsal/bin/python3"
UNDECLARED_VCPUS, UNDECLARED_MEMORY_MB = 2, 4096
SMALLEST_HOST_MB = 1024
SHARE_OF_MACHINE = 0.8  # the rest is for Docker, for Ansible and for the person


@dataclass(frozen=True)
class Size:
    """A host's size."""

    vcpus: int
    memory_mb: int

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.vcpus} vCPU, {self.memory_mb} MB"


@dataclass(frozen=True)
class Settings:
    """What a rehearsal must know of an inventory: groups hold the names of hosts, sizes are as declared."""

    groups: Mapping[str, Sequence[str]]
    sizes: Mapping[str, Size]
    local_domain: str
    web_domain: str
    admin_email: str
    admin_username: str

    @property
    def hosts(self) -> Sequence[str]:
        """All hosts in the inventory's order."""
        return self.groups["all"]

    @property
    def media_domain(self) -> str:
        """The name of the media in object storage; empty where one host has all that reads or writes them."""
        users = {host for group in self.groups for host in self.groups[group] if needs_media(group)}
        return f"media.{self.local_domain}" if len(users) > 1 else ""

    @property
    def domains(self) -> list[str]:
        """All names of the instance."""
        return sorted({self.local_domain, self.web_domain, self.media_domain} - {""})

    def groups_of(self, host: str) -> list[str]:
        """The groups of a host, without those that every host is in."""
        return sorted(g for g, hosts in self.groups.items() if host in hosts and g not in ("all", "ungrouped"))


def needs_media(group: str) -> bool:
    """Whether the hosts of a group read or write media."""
    return group in ("nginx", "web", "sidekiq") or group.startswith("sidekiq_")


def copy_without_secrets(source: Path, target: Path) -> None:
    """Copy an inventory, leaving out files encrypted by Ansible Vault and values tagged `!vault` inside of others.

    `source` is the inventory's folder, or its file; beside a file, group_vars and host_vars belong to it.
    Raises RehearsalError when there is no such inventory or a file of it is no YAML.
    """
    if source.is_dir():
        paths = [path for path in sorted(source.rglob("*")) if path.is_file()]
        root = source
    elif source.is_file():
        root = source.parent
        beside = [path for name in ("group_vars", "host_vars") for path in sorted((root / name).rglob("*"))]
        paths = [source, *(path for path in beside if path.is_file())]
    else:
        raise RehearsalError(f"There is no inventory at {source}; name a folder, e.g. inventories/single_box.")
    for path in paths:
        content = path.read_bytes()
        if content.startswith(VAULT_FILE_START) or path.relative_to(root) == SECRETS_FILE:
            continue
        if path.suffix in (".yml", ".yaml"):
            content = without_vault_values(content, path)
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        copy.chmod(path.stat().st_mode & 0o700)  # a dynamic inventory stays a program


def without_vault_values(content: bytes, path: Path) -> bytes:
    """The YAML text without every entry whose value is tagged `!vault`; all other tags and styles stay.

    Raises RehearsalError naming the file and the line when it is no YAML: Ansible names neither for some files.
    """
    try:
        root = yaml.compose(content)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RehearsalError(f"The inventory does not parse: {path}{line}: {error.problem}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RehearsalError(f"The inventory does not parse: {path}: {error}") from None
    if b"!vault" not in content:
        return content
    drop_vault_values(root)
    return yaml.serialize(root).encode()


def drop_vault_values(item: yaml.Node | None) -> None:
    """Remove entries tagged `!vault` below a YAML node."""
    if isinstance(item, yaml.MappingNode):
        item.value = [(key, value) for key, value in item.value if value.tag != "!vault"]
        below = [value for _key, value in item.value]
    elif isinstance(item, yaml.SequenceNode):
        item.value = below = [value for value in item.value if value.tag != "!vault"]
    else:
        below = []
    for value in below:
        drop_vault_values(value)


def read_settings(inventory: Path, state: State) -> Settings:
    """Ask Ansible what an inventory says. Raises RehearsalError when it does not parse, is empty or lacks a need."""
    if not any(path.is_file() for path in inventory.iterdir()):
        raise RehearsalError("The inventory has no hosts: no file of its folder names any.")
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "settings.json"
        variables = json.dumps({"settings_file": str(answer)})
        argv = [BIN / "ansible-playbook", "-i", inventory, "-e", variables, HERE / "settings.yml"]
        env = {**state.environment(), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1"}
        try:
            run(argv, env=env, timeout_seconds=300)
        except RehearsalError as error:
            said = str(error)
            raise RehearsalError(f"The inventory does not parse: {said[max(0, said.find('[ERROR]')) :]}") from None
        if not answer.is_file():
            raise RehearsalError("The inventory has no hosts.")
        return parse_settings(json.loads(answer.read_text()))


def parse_settings(answer: Mapping) -> Settings:
    """Settings from what settings.yml wrote. Raises RehearsalError naming what is missing or no number."""
    hosts = answer["groups"]["all"]
    for group, why in (("nginx", "nothing would answer"), ("web", "nothing would run the application")):
        if not answer["groups"].get(group):
            raise RehearsalError(f"The inventory has no host in the group {group}: {why}.")
    for name in ("local_domain", "admin_email"):
        if not answer[name]:
            raise RehearsalError(f"The inventory does not set mastodon_{name}; set it in group_vars/all/main.yml.")
    sizes = {}
    for host, vcpus, memory in zip(hosts, answer["vcpus"], answer["memory_mb"], strict=True):
        sizes[host] = Size(
            whole_number(host, "vm_vcpus", vcpus, UNDECLARED_VCPUS),
            whole_number(host, "vm_memory_mb", memory, UNDECLARED_MEMORY_MB),
        )
    names = ("local_domain", "web_domain", "admin_email", "admin_username")
    return Settings(groups=answer["groups"], sizes=sizes, **{name: answer[name] for name in names})


def whole_number(host: str, name: str, value: object, default: int) -> int:
    """A declared size as a number, or the default where nothing is declared."""
    if value is None:
        return default
    if str(value).isdecimal() and int(str(value)) > 0:
        return int(str(value))
    raise RehearsalError(f"{host}: {name} is {value!r}; a whole number above 0 is allowed, e.g. {name}: {default}")


def scale(
    declared: Mapping[str, Size], vcpus: int, memory_mb: int, before: Mapping[str, tuple[Size, Size]] | None = None
) -> dict[str, Size]:
    """The sizes that a machine can give, memory shared in proportion; hosts that fit anyway are not changed.

    `vcpus` and `memory_mb` are the machine's own, in all, so that a fleet that runs already is scaled alike.
    `before` are the hosts that are there, {name: (declared, given)}: those declared as before keep what they have,
    for a host that is added must change no other. The new ones are made as much smaller as they were, or more.
    Raises RehearsalError when not even the smallest hosts fit.
    """
    before = before or {}
    kept = {host: before[host][1] for host, size in declared.items() if host in before and before[host][0] == size}
    new = {host: size for host, size in declared.items() if host not in kept}
    smallest = {host: min(size.memory_mb, SMALLEST_HOST_MB) for host, size in new.items()}
    share_mb = int(memory_mb * SHARE_OF_MACHINE)
    if sum(smallest.values()) > share_mb:
        raise RehearsalError(
            f"{len(new)} hosts need at least {sum(smallest.values())} MB and this machine can give {share_mb} MB "
            f"of its {memory_mb} MB; rehearse fewer hosts, or on a larger machine."
        )
    wanted_mb = sum(size.memory_mb for size in new.values())
    factors = [size.memory_mb / declared[host].memory_mb for host, size in kept.items()]
    factor = min([1.0, *factors, *([share_mb / wanted_mb] if wanted_mb else [])])
    added = {
        host: Size(min(size.vcpus, vcpus), max(smallest[host], int(size.memory_mb * factor)))
        for host, size in new.items()
    }
    return {host: (kept | added)[host] for host in declared}


def host_variables(
    state: State, settings: Settings, sizes: Mapping[str, Size], addresses: Mapping[str, str], files: Sequence[Path]
) -> dict[str, dict]:
    """What a container needs, and what keeps it from the real world, for each host.

    `files` are YAML files of more variables; a later one wins.
    """
    ssh_options = [f"UserKnownHostsFile={state.known_hosts}", "GlobalKnownHostsFile=/dev/null"]
    ssh_options += ["StrictHostKeyChecking=yes", "IdentitiesOnly=yes"]
    common = {
        "ansible_become_method": "sudo",
        "ansible_become_password": secret_in(state.admin_password),
        "ansible_connection": "ssh",
        "ansible_control_path_dir": str(state.control_path_dir),
        # Only fleet.py puts this interpreter on a host: no rehearsal can change a real one by mistake.
        "ansible_python_interpreter": MARKER_PYTHON,
        "ansible_ssh_common_args": shlex.join(word for option in ssh_options for word in ("-o", option)),
        "ansible_ssh_extra_args": "",
        "ansible_ssh_pass": None,
        "certificates_source": "own_ca",
        "mastodon_apt_mirror": "",  # the image has this machine's
        "mastodon_cdn_enabled": False,
        "mastodon_cdn_host": "",
        "mastodon_cdn_networks": [],
        # The same for whoever runs a playbook, so that each plan is compared with the last.
        "mastodon_plan_file": str(state.plan),
        **object_storage(state, settings),
        "mastodon_search_enabled": False,
        "mastodon_sso_enabled": False,
        "mastodon_smtp_server": WORLD,
        "mastodon_smtp_port": 25,
        "mastodon_smtp_login": "",
        "mastodon_smtp_password": "",
    }
    # Ansible has two names for each; the older one would win over ours.
    for name, value in {"user": ADMIN, "port": 22, "private_key_file": str(state.key), "password": None}.items():
        common |= {f"ansible_{name}": value, f"ansible_ssh_{name}": value}
    if registry := machine.npm_registry():
        common["mastodon_npm_mirror"] = registry
    for path in files:
        common |= read_variables(path)
    return {
        host: common
        | {
            "ansible_host": addresses[host],
            "ansible_ssh_host": addresses[host],
            "rehearsal_declared_vcpus": settings.sizes[host].vcpus,
            "rehearsal_declared_memory_mb": settings.sizes[host].memory_mb,
            "vm_address": addresses[host],
            "vm_memory_mb": sizes[host].memory_mb,
            "vm_vcpus": sizes[host].vcpus,
        }
        for host in settings.hosts
    }


def object_storage(state: State, settings: Settings) -> dict[str, object]:
    """The variables that lead media to the world's object storage, where they cannot stay on one host."""
    if not settings.media_domain:
        return {"mastodon_s3_enabled": False, "mastodon_media_proxy_enabled": False}
    return {
        "mastodon_media_proxy_enabled": True,
        "mastodon_s3_enabled": True,
        "mastodon_s3_access_key": ACCESS_KEY,
        "mastodon_s3_alias_host": settings.media_domain,
        "mastodon_s3_bucket": BUCKET,
        "mastodon_s3_endpoint": f"http://{WORLD}:{OBJECTS_PORT}",
        "mastodon_s3_region": "us-east-1",
        "mastodon_s3_secret_key": secret_in(state.objects_secret),
    }


def read_variables(path: Path) -> dict:
    """The variables of a YAML file. Raises RehearsalError when it cannot be read or holds something else."""
    try:
        variables = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise RehearsalError(f"The variables of {path} cannot be read: {error}") from None
    if not isinstance(variables, dict):
        raise RehearsalError(f"{path} holds no variables: lines such as `mastodon_version: v1.1.0` are expected.")
    return variables


def variables_folder(inventory: Path, kind: str, name: str) -> Path:
    """The folder of a host's or group's variables; `kind` is host_vars or group_vars.

    Ansible reads either that folder or the file of the same name, so a file moves into the folder.
    """
    folder = inventory / kind / name
    files = [path for suffix in ("", ".yml", ".yaml", ".json") if (path := folder.parent / (name + suffix)).is_file()]
    for path in files[:1]:
        aside = path.rename(path.with_name(path.name + ".moved"))
        folder.mkdir(exist_ok=True)
        aside.rename(folder / f"main{path.suffix if path != folder else '.yml'}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_host_variables(inventory: Path, host: str, variables: Mapping) -> None:
    """Put variables last among a host's own, where they win."""
    path = variables_folder(inventory, "host_vars", host) / OVERLAY_FILE
    path.write_text("---\n" + yaml.safe_dump(dict(variables), sort_keys=True))


def bring_up_to_date(new: Path, old: Path) -> bool:
    """Make the folder `old` hold what `new` does, its own secrets kept; whether anything differed.

    Only files that differ are written, and the secrets never: a run that is killed here loses nothing.
    """
    wanted = {path.relative_to(new): path for path in sorted(new.rglob("*")) if path.is_file()}
    wanted.pop(SECRETS_FILE, None)
    changed = False
    for path in sorted(old.rglob("*"), reverse=True):
        relative = path.relative_to(old)
        if path.is_file() and relative not in wanted and relative != SECRETS_FILE:
            path.unlink()
            changed = True
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for relative, source in wanted.items():
        target = old / relative
        if target.is_file() and filecmp.cmp(source, target, shallow=False):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        changed = True
    (old / SECRETS_FILE).parent.mkdir(parents=True, exist_ok=True)
    return changed
