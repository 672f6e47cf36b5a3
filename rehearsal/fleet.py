#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any inventory, in containers of this machine: up, deploy, status, run, down.

`up` makes an engine, an image, one systemd container for each host, an inventory and secrets; `deploy` runs the
same site.yml as production against them, over SSH; `down` removes exactly what was made. All state is in one
folder (.rehearsal), and several of them can be used beside each other.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import http.client
import importlib.util
import io
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

import yaml

from rehearsal import engine, machine, overlay
from rehearsal.console import RehearsalError, run, say, step, stop
from rehearsal.engine import docker
from rehearsal.overlay import Settings

ADMIN = "admin"
WORLD = "world"
WORLD_NUMBER, FIRST_HOST_NUMBER = 2, 11  # within the fleet's network
IMAGES_MB, HOST_MB = 3000, 2500  # disk
BOOT_SECONDS = 120
CALF_REPOSITORY = "/srv/rehearsal/calf.git"
APP_VARIABLES = {"calf": CHECKOUT / "rehearsal/calf/variables.yml", "mastodon": None}
OWNER_PASSWORD_FILE = "/etc/mastodon/owner_password"  # noqa: S105 (a path)
BIN = Path(sys.executable).parent


class State:
    """The folder of one rehearsal: everything in it belongs to this rehearsal, and nobody else may read it."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.folder = folder.resolve()
        self.inventory = self.folder / "inventory"
        self.key = self.folder / "ssh_key"
        self.known_hosts = self.folder / "known_hosts"
        self.vault_password = self.folder / "vault_password"
        self.admin_password = self.folder / "admin_password"
        self.summary = self.folder / "summary.json"
        self.plan = self.folder / "plan.json"
        self.ca = self.folder / "ca.pem"
        self.logs = self.folder / "log"
        self.record = self.folder / "fleet.json"
        self.name = name or self.read().get("name") or self.default_name()

    def default_name(self) -> str:
        """A name for containers and network that two rehearsals on one machine do not share."""
        word = re.sub(r"[^a-z0-9]+", "-", self.folder.name.lower()).strip("-") or "rehearsal"
        return f"{word[:24]}-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:4]}"

    @property
    def control_path_dir(self) -> Path:
        """Where connections are kept open. The path of a socket is short, and addresses are used again: so one for each fleet."""
        return Path.home() / ".ansible/cp" / hashlib.sha256(self.name.encode()).hexdigest()[:8]

    def read(self) -> dict:
        """The record of what was made; empty when nothing was."""
        return json.loads(self.record.read_text()) if self.record.is_file() else {}

    def write(self, **changes: object) -> None:
        """Add to the record."""
        write_private(self.record, json.dumps({**self.read(), **changes}, indent=2) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second command out of this rehearsal."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RehearsalError(f"Another command is at work on the rehearsal in {self.folder}.") from None
            yield

    def environment(self) -> dict[str, str]:
        """The environment for Ansible: this checkout's configuration, this rehearsal's secrets and cache."""
        return {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.vault_password),
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.folder / "facts"),
        }


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all of it or nothing."""
    new = path.with_name(f".{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.rename(path)


def secret_in(path: Path) -> str:
    """The secret that a file keeps, made at its first use."""
    if not path.is_file():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()


# up


def up(state: State, arguments: argparse.Namespace) -> None:
    """Make everything that a deployment needs, or nothing when it is there."""
    machine.require_tools({"ssh": "openssh-client", "git": "git"})
    state.folder.chmod(0o700)
    secret_in(state.vault_password)
    with tempfile.TemporaryDirectory(dir=state.folder) as folder:
        new = Path(folder) / "inventory"
        new.mkdir(mode=0o700)
        overlay.copy_without_secrets(arguments.inventory, new)
        settings = overlay.read_settings(new, state.environment(), BIN / "ansible-playbook")
        sizes = overlay.scale(settings.sizes, machine.vcpus(), machine.memory_mb()[0])
        require_room(state, settings, arguments.https_port)
        engine.ensure()
        with machine_lock():
            images = engine.ensure_images(state.logs)
            subnet = engine.ensure_network(state.name)
        state.write(name=state.name, source=str(arguments.inventory.resolve()), app=arguments.app)
        addresses = give_addresses(state.read().get("addresses", {}), settings, str(subnet.network_address))
        state.write(addresses=addresses)
        make_keys(state, addresses)
        for host, variables in host_variables(state, settings, sizes, addresses, arguments).items():
            overlay.write_host_variables(new, host, variables)
        overlay.variables_folder(new, "group_vars", "all")  # where the secrets will be
        overlay.replace_folder(new, state.inventory)
    made = make_containers(state, settings, addresses, images, arguments)
    make_secrets(state)
    for host, size in settings.sizes.items():
        note = "as declared" if size == sizes[host] else f"declared: {size}"
        say(f"{host} at {addresses[host]}: {sizes[host]} ({note})")
    if not made:
        say("All hosts are up; nothing was changed")


def require_room(state: State, settings: Settings, https_port: int) -> None:
    """Raise RehearsalError, before anything is started, when this machine cannot carry what is still to be made."""
    if platform_is_not_linux():
        raise RehearsalError("A rehearsal needs Linux: the hosts are systemd containers that this machine connects to.")
    present = engine.containers(state.name) if engine.answers() else {}
    to_make = [host for host in settings.hosts if host not in present]
    if not to_make:
        return
    available_mb = machine.memory_mb()[1]
    needed_mb = overlay.SMALLEST_HOST_MB * len(to_make)
    if available_mb < needed_mb:
        raise RehearsalError(
            f"{len(to_make)} new hosts need at least {needed_mb} MB of memory and {available_mb} MB are available; "
            "stop something, or rehearse fewer hosts."
        )
    root = docker("info", "--format", "{{.DockerRootDir}}") if engine.answers() else "/var/lib/docker"
    machine.require_disk(Path(root), IMAGES_MB + HOST_MB * len(to_make))
    if https_port and settings.groups["nginx"][0] in to_make:
        machine.require_port(https_port)
    machine.raise_inotify_limit(len(settings.hosts))


def platform_is_not_linux() -> bool:
    """Whether containers would run in some virtual machine that this one cannot reach."""
    return sys.platform != "linux"


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """One rehearsal at a time makes images and networks, which they share."""
    with (Path(tempfile.gettempdir()) / f"fediops-rehearsal-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def give_addresses(known: Mapping[str, str], settings: Settings, network: str) -> dict[str, str]:
    """An address for each host, kept for those that have one already."""
    prefix = network.rsplit(".", 1)[0]
    addresses = {host: address for host, address in known.items() if address.startswith(prefix + ".")}
    free = (f"{prefix}.{number}" for number in range(FIRST_HOST_NUMBER, 255))
    for host in settings.hosts:
        if host not in addresses:
            addresses[host] = next((a for a in free if a not in addresses.values()), "")
            if not addresses[host]:
                raise RehearsalError(f"A rehearsal has room for {255 - FIRST_HOST_NUMBER} hosts.")
    return addresses


def make_keys(state: State, addresses: Mapping[str, str]) -> None:
    """A key pair to sign in with, and a host key for each host, known before the first connection."""
    if not state.key.is_file():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", state.name, "-f", state.key])
    lines = []
    for host, address in addresses.items():
        key = host_key(state, host)
        if not key.is_file():
            key.parent.mkdir(parents=True, exist_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host, "-f", key])
        kind, public = key.with_suffix(".pub").read_text().split()[:2]
        lines.append(f"{address} {kind} {public}\n")
    write_private(state.known_hosts, "".join(lines))


def host_key(state: State, host: str) -> Path:
    """Where the host's own SSH key is kept on the control machine."""
    return state.folder / "host_keys" / safe_name(host)


def safe_name(host: str) -> str:
    """A host's name as Docker, DNS and file systems take it."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", host).strip("-.")[:63]


def host_variables(
    state: State, settings: Settings, sizes: Mapping, addresses: Mapping[str, str], arguments: argparse.Namespace
) -> dict[str, dict]:
    """What a container needs, and what keeps it from the real world, for each host."""
    common = {
        "ansible_become_method": "sudo",
        "ansible_become_password": secret_in(state.admin_password),
        "ansible_connection": "ssh",
        "ansible_control_path_dir": str(state.control_path_dir),
        # Only fleet.py puts this interpreter on a host: no rehearsal can change a real one by mistake.
        "ansible_python_interpreter": overlay.MARKER_PYTHON,
        "ansible_ssh_common_args": shlex.join(
            ["-o", f"UserKnownHostsFile={state.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
            + ["-o", "IdentitiesOnly=yes", "-o", "GlobalKnownHostsFile=/dev/null"]
        ),
        "ansible_ssh_extra_args": "",
        "certificates_source": "own_ca",
        "mastodon_s3_enabled": False,
        "mastodon_smtp_server": WORLD,
        "mastodon_smtp_port": 25,
        "mastodon_smtp_login": "",
        "mastodon_smtp_password": "",
    }
    # Ansible has two names for each; the older one would win over ours.
    for name, value in {"user": ADMIN, "port": 22, "private_key_file": str(state.key), "password": None}.items():
        common |= {f"ansible_{name}": value, f"ansible_ssh_{name}": value}
    common["ansible_ssh_pass"] = None
    if registry := machine.npm_registry():
        common["mastodon_npm_mirror"] = registry
    for path in (APP_VARIABLES[arguments.app], arguments.vars):
        if path and path.is_file():
            common |= yaml.safe_load(path.read_text()) or {}
    return {
        host: common
        | {
            "ansible_host": addresses[host],
            "ansible_ssh_host": addresses[host],
            "vm_address": addresses[host],
            "vm_vcpus": sizes[host].vcpus,
            "vm_memory_mb": sizes[host].memory_mb,
        }
        for host in settings.hosts
    }


def make_containers(
    state: State,
    settings: Settings,
    addresses: Mapping[str, str],
    images: tuple[str, str],
    arguments: argparse.Namespace,
) -> bool:
    """Make and start what is missing of the fleet; whether anything was."""
    present = engine.containers(state.name)
    for host in sorted(set(present) - set(settings.hosts) - {""}):
        say(f"{host} is no longer in the inventory; its container stays until `down`, as a VM would")
    host_image, world_image = images
    made = make_world(state, present.get(""), world_image, settings, addresses)
    missing = [host for host in settings.hosts if host not in present]
    stopped = [host for host in settings.hosts if host in present and not present[host]["State"]["Running"]]
    if missing:
        with step(f"Making {len(missing)} host(s)"):
            calf = calf_repository(state)
            for host in missing:
                create_host(state, host, addresses[host], host_image, settings, arguments)
                docker("cp", "-", f"{container_name(state, host)}:/", stdin=host_files(state, host, calf))
    for host in missing + stopped:
        docker("start", container_name(state, host))
    if missing or stopped:
        forget_connections(state)
        password = secret_in(state.admin_password)
        with step("Waiting for systemd and sshd"), ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda host: finish_boot(state, host, addresses[host], password), missing + stopped))
    if missing and arguments.https_port and settings.groups["nginx"][0] in missing:
        state.write(https_port=arguments.https_port)
    return bool(made or missing or stopped)


def container_name(state: State, host: str) -> str:
    """The name of a host's container."""
    return f"{state.name}-{safe_name(host)}"


def make_world(
    state: State, present: dict | None, image: str, settings: Settings, addresses: Mapping[str, str]
) -> bool:
    """The container that answers for the fleet's names and takes its mail; whether it was made or started."""
    name = f"{state.name}-{WORLD}."  # no host's container has a dot at its end
    address = addresses[settings.hosts[0]].rsplit(".", 1)[0] + f".{WORLD_NUMBER}"
    config = world_config(settings, addresses[settings.groups["nginx"][0]], address)
    if present is None:
        argv = ["create", "--name", name, "--hostname", WORLD, "--label", f"{engine.LABEL}={state.name}"]
        argv += ["--network", state.name, "--network-alias", WORLD, "--ip", address]
        docker(*argv, image)
    if present is None or state.read().get("world") != config:
        docker("cp", "-", f"{name}:/", stdin=tarball({"etc/dnsmasq.conf": (config, 0o644)}))
        docker("restart", "--time", "2", name)
        state.write(world=config)
        return True
    if not present["State"]["Running"]:
        docker("start", name)
        return True
    return False


def world_config(settings: Settings, nginx_address: str, world_address: str) -> str:
    """dnsmasq's: the fleet's own names lead to nginx, the admin's mail to the sink, all else to the machine's resolver."""
    mail_domain = settings.admin_email.rsplit("@", 1)[-1]
    lines = ["# Docker's resolver knows the containers, and asks the machine's own about everything else."]
    lines += ["no-resolv", "no-hosts", "server=127.0.0.11", "bind-interfaces", f"listen-address={world_address}"]
    lines += [f"address=/{domain}/{nginx_address}" for domain in sorted({settings.local_domain, settings.web_domain})]
    if mail_domain not in (settings.local_domain, settings.web_domain):
        lines.append(f"address=/{mail_domain}/{world_address}")
    lines.append(f"mx-host={mail_domain},{WORLD},10")
    return "\n".join(lines) + "\n"


def create_host(
    state: State, host: str, address: str, image: str, settings: Settings, arguments: argparse.Namespace
) -> None:
    """Create one host's container without starting it."""
    argv = ["create", "--name", container_name(state, host), "--hostname", safe_name(host)]
    argv += ["--label", f"{engine.LABEL}={state.name}", "--label", f"{engine.LABEL}.host={host}"]
    argv += ["--network", state.name, "--ip", address, "--network-alias", safe_name(host)]
    argv += ["--dns", address.rsplit(".", 1)[0] + f".{WORLD_NUMBER}", *engine.systemd_options()]
    if arguments.https_port and host == settings.groups["nginx"][0]:
        argv += ["--publish", f"127.0.0.1:{arguments.https_port}:443"]
    for mount in arguments.mount:
        source, _colon, target = mount.partition(":")
        argv += ["--volume", f"{Path(source).resolve()}:{target or Path(source).resolve()}:ro"]
    docker(*argv, image)


def calf_repository(state: State) -> Path | None:
    """The repository of the stand-in application, made by its own script; None where the checkout has no such script."""
    script = CHECKOUT / "rehearsal/calf/make_repository.py"
    repository = state.folder / "calf.git"
    if not script.is_file():
        return None
    if repository.exists():
        shutil.rmtree(repository)
    run([sys.executable, script, repository], timeout_seconds=300)
    return repository


def host_files(state: State, host: str, calf: Path | None) -> bytes:
    """What a provider puts on a new VM (keys), and what marks a host of a rehearsal, as a tar archive."""
    key = host_key(state, host)
    files: dict[str, tuple[str, int]] = {
        "etc/ssh/ssh_host_ed25519_key": (key.read_text(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (key.with_suffix(".pub").read_text(), 0o644),
        # sshd insists on the owner's or root's: root keeps it here.
        "etc/ssh/authorized_keys/admin": (state.key.with_suffix(".pub").read_text(), 0o644),
        "etc/ssh/sshd_config.d/20-keys.conf": ("AuthorizedKeysFile /etc/ssh/authorized_keys/%u\n", 0o644),
        # Git refuses to read a repository of another user, and this one is root's.
        "etc/gitconfig": (f"[safe]\n\tdirectory = {CALF_REPOSITORY}\n", 0o644),
    }
    return tarball(files, links={overlay.MARKER_PYTHON[1:]: "/usr/bin/python3"}, trees={CALF_REPOSITORY[1:]: calf})


def tarball(
    files: Mapping[str, tuple[str, int]],
    links: Mapping[str, str] | None = None,
    trees: Mapping[str, Path | None] | None = None,
) -> bytes:
    """A tar archive, all of it root's: files as (text, mode), symbolic links, and whole folders, world-readable."""

    def as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mode |= 0o555 if info.isdir() else 0o444
        return info

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        parents = {str(p) for path in [*files, *(links or {}), *(trees or {})] for p in list(Path(path).parents)[:-1]}
        for folder in sorted(parents - {"etc", "srv", "opt", "etc/ssh"}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path, (text, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
        for path, target in (links or {}).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        for path, folder in (trees or {}).items():
            if folder:
                archive.add(folder, path, filter=as_root)
    return out.getvalue()


def finish_boot(state: State, host: str, address: str, password: str) -> None:
    """Wait until a host is up and takes connections, and give the admin a password for sudo."""
    name = container_name(state, host)
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        asked = subprocess.run(
            ["docker", "exec", name, "systemctl", "is-system-running", "--wait"], capture_output=True, text=True
        )
        if asked.stdout.strip() in ("running", "degraded") and reachable(address, 22):
            break
        if time.monotonic() > deadline:
            raise RehearsalError(
                f"{host} is not up after {BOOT_SECONDS} s (systemd: {asked.stdout.strip() or asked.stderr.strip()}); "
                f"see: docker logs {name}"
            )
        time.sleep(0.5)
    docker("exec", "--interactive", name, "chpasswd", stdin=f"{ADMIN}:{password}\n")


def reachable(address: str, port: int) -> bool:
    """Whether something takes connections there."""
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def forget_connections(state: State) -> None:
    """End the connections kept open by Ansible: their hosts are gone or new."""
    folder = state.control_path_dir
    for path in folder.glob("*") if folder.is_dir() else ():
        subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "any"], capture_output=True)
        path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def make_secrets(state: State) -> None:
    """The rehearsal's own secrets, by the playbook that makes a person's."""
    playbook = CHECKOUT / "playbooks/secrets.yml"
    if playbook.is_file() and not (state.inventory / overlay.SECRETS_FILE).is_file():
        with step("Making secrets for this rehearsal"):
            ansible = [BIN / "ansible-playbook", "-i", state.inventory, playbook]
            run(ansible, env=state.environment(), cwd=CHECKOUT, timeout_seconds=300)


# deploy


def deploy(state: State, arguments: argparse.Namespace) -> None:
    """Run site.yml, sign in as the owner, and write down how to reach what is there now."""
    ansible_playbook(state, CHECKOUT / "site.yml", "-e", json.dumps({"mastodon_plan_file": str(state.plan)}))
    settings = overlay.read_settings(state.inventory, state.environment(), BIN / "ansible-playbook")
    found = engine.containers(state.name)
    addresses = {host: engine.address(entry, state.name) for host, entry in found.items() if host}
    nginx = settings.groups["nginx"][0]
    write_private(state.ca, read_from(state, nginx, "/etc/ssl/mastodon/ca.pem"))
    summary = {
        "url": f"https://{settings.web_domain}",
        "ca_file": str(state.ca),
        "resolve": {domain: addresses[nginx] for domain in sorted({settings.local_domain, settings.web_domain})},
        "owner": {
            "email": settings.admin_email,
            "username": settings.admin_username,
            "password": read_from(state, settings.groups["web"][0], OWNER_PASSWORD_FILE).strip(),
        },
        "hosts": {
            host: {
                "address": addresses[host],
                "container": container_name(state, host),
                "groups": settings.groups_of(host),
            }
            for host in settings.hosts
        },
        "inventory": str(state.inventory),
        "app": state.read()["app"],
    }
    summary["token"] = token(state, summary)
    write_private(state.summary, json.dumps(summary, indent=2) + "\n")
    show_result(state, summary, settings)


def ansible_playbook(state: State, *arguments: str | Path) -> None:
    """Run a playbook on the rehearsal's inventory, its output shown. Raises RehearsalError when it fails."""
    argv = [BIN / "ansible-playbook", "-i", state.inventory, *arguments]
    with step(f"ansible-playbook {Path(arguments[0]).name}"):
        status = subprocess.run(argv, env=state.environment(), cwd=CHECKOUT).returncode
        if status:
            raise RehearsalError(f"ansible-playbook ended with status {status}; what failed is said above.")


def read_from(state: State, host: str, path: str) -> str:
    """The text of a file of a host."""
    return docker("exec", container_name(state, host), "cat", path) + "\n"


def token(state: State, summary: Mapping) -> str:
    """A token of the owner's: the last one while it is good, else one from signing in as a person does."""
    if state.summary.is_file():
        last = json.loads(state.summary.read_text())
        if (last.get("url"), last.get("owner")) == (summary["url"], summary["owner"]) and token_is_good(summary, last):
            return last["token"]
    spec = importlib.util.spec_from_file_location("rehearsal_client", CHECKOUT / "tests/e2e/client.py")
    client = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = client
    spec.loader.exec_module(client)
    owner = summary["owner"]
    with step("Signing in as the owner"):
        return client.sign_in(
            summary["url"], summary["ca_file"], owner["email"], owner["password"], resolve=summary["resolve"]
        )


class ResolvedConnection(http.client.HTTPSConnection):
    """HTTPS to a name whose address is given, not looked up."""

    def __init__(self, host: str, address: str, context: ssl.SSLContext) -> None:
        super().__init__(host, timeout=15, context=context)
        self.context, self.address = context, address

    def connect(self) -> None:
        """Connect to the address and check the certificate against the name."""
        plain = socket.create_connection((self.address, 443), self.timeout)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.host)


def token_is_good(summary: Mapping, last: Mapping) -> bool:
    """Whether the application still takes the token of the last run."""
    domain = summary["url"].removeprefix("https://")
    context = ssl.create_default_context(cafile=summary["ca_file"])
    connection = ResolvedConnection(domain, summary["resolve"][domain], context)
    try:
        headers = {"Authorization": f"Bearer {last.get('token')}"}
        connection.request("GET", "/api/v1/accounts/verify_credentials", headers=headers)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def show_result(state: State, summary: Mapping, settings: Settings) -> None:
    """What a person wants to see at the end: where, who, how large, and what to try."""
    domain = settings.web_domain
    address = summary["resolve"][domain]
    owner = summary["owner"]
    print("\n" + json.loads(state.plan.read_text())["table"])
    port = state.read().get("https_port")
    target = f"127.0.0.1:{port}" if port else f"{address}:443"
    print(f"""
Address    {summary["url"]}   (here only: {domain} is {address}; certificates by {summary["ca_file"]})
Login      {owner["email"]}   password: {owner["password"]}

Three things to try
  1. Ask it:             curl --cacert {summary["ca_file"]} --resolve {domain}:443:{address} {summary["url"]}/api/v2/instance
  2. Open it:            chromium --ignore-certificate-errors --host-resolver-rules="MAP {domain} {target}" {summary["url"]}
  3. Look around inside: docker exec -it {next(iter(summary["hosts"].values()))["container"]} bash

For scripts: {state.summary}. When you are done: make down
""")


# down, status, run


def down(state: State, arguments: argparse.Namespace) -> None:
    """Remove exactly what was made."""
    if engine.answers():
        forget_connections(state)
        ids = [entry["Id"] for entry in engine.containers(state.name).values()]
        if ids:
            with step(f"Removing {len(ids)} container(s)"):
                docker("rm", "--force", "--volumes", *ids, timeout_seconds=300)
        if docker("network", "ls", "--quiet", "--filter", f"label={engine.LABEL}={state.name}"):
            docker("network", "rm", state.name)
            say("Removed the network")
        if not arguments.keep_images:
            with machine_lock():
                for tag in engine.remove_unused_images():
                    say(f"Removed the image {tag}")
        if engine.stop_own():
            say("Stopped the Docker engine that a rehearsal had started")
    shutil.rmtree(state.folder)
    say(f"Removed {state.folder}")


def status(state: State, arguments: argparse.Namespace) -> None:
    """Print what there is of the rehearsal."""
    found = engine.containers(state.name) if engine.answers() else {}
    if not found:
        print(f"Nothing is up of the rehearsal in {state.folder}.")
    for host, entry in sorted(found.items()):
        address = engine.address(entry, state.name)
        print(f"{host or WORLD:24} {address:16} {entry['State']['Status']:10} {entry['Name'].lstrip('/')}")


def run_playbook(state: State, arguments: argparse.Namespace) -> None:
    """Run any playbook against the rehearsal."""
    ansible_playbook(state, *arguments.playbook)


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rehearse an inventory in containers of this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--state", type=Path, default=CHECKOUT / ".rehearsal", help="folder of the rehearsal")

    def command(function, summary: str) -> argparse.ArgumentParser:
        name = function.__name__.removesuffix("_playbook")
        added = commands.add_parser(name, parents=[shared], help=summary, description=summary)
        added.set_defaults(function=function)
        return added

    added = command(up, "make the hosts, their inventory and secrets")
    added.add_argument("--inventory", type=Path, default=CHECKOUT / "inventories/single_box")
    added.add_argument("--app", choices=sorted(APP_VARIABLES), default="calf", help="what will be deployed")
    added.add_argument("--name", help="name of containers and network (default: from the state folder)")
    added.add_argument(
        "--https-port", type=int, default=int(os.environ.get("REHEARSE_HTTPS_PORT", "8443")), metavar="PORT",
        help="port of 127.0.0.1 for the first nginx host; 0 publishes none",
    )  # fmt: skip
    added.add_argument("--vars", type=Path, help="YAML file of variables for all hosts, e.g. another mastodon_repo")
    added.add_argument("--mount", action="append", default=[], metavar="SOURCE:TARGET", help="folder to show to hosts")
    command(deploy, "run site.yml and write summary.json")
    command(status, "show what is up")
    command(down, "remove what was made").add_argument("--keep-images", action="store_true")
    command(run_playbook, "run any playbook").add_argument(
        "playbook", nargs=argparse.REMAINDER, help="a playbook and its options"
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = parse_arguments(words)
    try:
        state = State(arguments.state, getattr(arguments, "name", None))
        if arguments.function is not up and not state.record.is_file():
            if arguments.function in (down, status):
                print(f"There is no rehearsal in {state.folder}.")
                return 0
            raise RehearsalError(f"There is no rehearsal in {state.folder}; make one: make rehearse")
        with state.locked():
            arguments.function(state, arguments)
    except RehearsalError as error:
        return stop(error)
    except KeyboardInterrupt:
        return stop(RehearsalError("interrupted. Run the same command again to go on, or make down to remove it."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
