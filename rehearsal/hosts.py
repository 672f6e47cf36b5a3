# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a rehearsal, one container each, and a container that stands for the world around them."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rehearsal import engine, machine, overlay
from rehearsal.console import RehearsalError, run, say, step
from rehearsal.engine import docker
from rehearsal.overlay import ADMIN, WORLD, Settings
from rehearsal.state import CHECKOUT, State, secret_in, write_private

WORLD_NUMBER, FIRST_HOST_NUMBER = 2, 11  # within the fleet's network
BOOT_SECONDS = 120
CALF = CHECKOUT / "rehearsal/calf"
OBJECTS_PROGRAM = "/usr/local/bin/weed"
CALF_REPOSITORY = "srv/rehearsal/calf.git"


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
        kind, public = Path(f"{key}.pub").read_text().split()[:2]
        lines.append(f"{address} {kind} {public}\n")
    write_private(state.known_hosts, "".join(lines))


def host_key(state: State, host: str) -> Path:
    """Where the host's own SSH key is kept on the control machine."""
    return state.host_keys / safe_name(host)


def safe_name(host: str) -> str:
    """A host's name as Docker, DNS and file systems take it."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", host).strip("-.")[:63]


def make_containers(
    state: State,
    settings: Settings,
    addresses: Mapping[str, str],
    images: tuple[str, str],
    arguments: argparse.Namespace,
) -> bool:
    """Make and start what is missing of the fleet; whether anything was."""
    present = engine.containers(state.name)
    if gone := left_over(state, settings):
        say(f"No longer in the inventory, but still there: {', '.join(gone)}; to remove them: {state.command('prune')}")
    host_image, world_image = images
    made = make_world(state, present.get(""), world_image, settings, addresses)
    # A host counts when its container is the one that was finished, not one that a killed run left half made.
    ready = state.read().get("ready", {})
    missing = [host for host in settings.hosts if host not in present or present[host]["Id"] != ready.get(host)]
    stopped = [host for host in settings.hosts if host not in missing and not present[host]["State"]["Running"]]
    if missing:
        with step(f"Making {len(missing)} host(s)"):
            for host in missing:
                if host in present:
                    docker("rm", "--force", "--volumes", container_name(state, host))
                create_host(state, host, addresses[host], host_image, settings, arguments)
                docker("cp", "-", f"{container_name(state, host)}:/", stdin=host_files(state, host))
    calf = calf_revision() if arguments.app == "calf" else None
    outdated = settings.hosts if calf != state.read().get("calf") else missing
    if calf and outdated:
        give_calf(state, outdated)
        state.write(calf=calf)
    for host in missing + stopped:
        docker("start", container_name(state, host))
    if missing or stopped:
        forget_connections(state)
        password = secret_in(state.admin_password)
        with step("Waiting for systemd and sshd"), ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda host: finish_boot(state, host, addresses[host], password), missing + stopped))
        state.write(ready={host: entry["Id"] for host, entry in engine.containers(state.name).items() if host})
    if settings.groups["nginx"][0] in missing:
        state.write(https_port=arguments.https_port)
    return bool(made or missing or stopped)


def left_over(state: State, settings: Settings) -> dict[str, dict]:
    """What Docker says of the containers of hosts that are no longer in the inventory, by their names."""
    present = engine.containers(state.name)
    return {host: present[host] for host in sorted(set(present) - set(settings.hosts) - {""})}


def container_name(state: State, host: str) -> str:
    """The name of a host's container."""
    return f"{state.name}-{safe_name(host)}"


def make_world(
    state: State, present: dict | None, image: str, settings: Settings, addresses: Mapping[str, str]
) -> bool:
    """The container that answers for names, takes mail and keeps media; whether it was made or started."""
    name = f"{state.name}-{WORLD}."  # no host's container has a dot at its end
    address = addresses[settings.hosts[0]].rsplit(".", 1)[0] + f".{WORLD_NUMBER}"
    files = {"etc/dnsmasq.conf": (world_config(settings, addresses[settings.groups["nginx"][0]], address), 0o644)}
    if settings.media_domain:
        files["etc/objects.json"] = (objects_config(secret_in(state.objects_secret)), 0o600)
    if present and present["Config"]["Image"] != image:
        docker("rm", "--force", "--volumes", name)
        present = None
    config = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    if present is None:
        argv = ["create", "--name", name, "--hostname", WORLD, "--label", f"{engine.LABEL}={state.name}"]
        argv += ["--network", state.name, "--network-alias", WORLD, "--ip", address]
        docker(*argv, image)
    if present is None or state.read().get("world") != config:
        if settings.media_domain:
            docker("cp", machine.object_storage(state.objects_program), f"{name}:{OBJECTS_PROGRAM}")
        docker("cp", "-", f"{name}:/", stdin=tarball(files))
        docker("restart", "--time", "2", name)
        state.write(world=config)
        return True
    if not present["State"]["Running"]:
        docker("start", name)
        return True
    return False


def objects_config(secret: str) -> str:
    """Whom the world's object storage lets do what: the application everything, everybody read in its bucket."""
    owner = {
        "name": "mastodon",
        "credentials": [{"accessKey": overlay.ACCESS_KEY, "secretKey": secret}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    everybody = {"name": "anonymous", "actions": [f"Read:{overlay.BUCKET}"]}
    return json.dumps({"bucket": overlay.BUCKET, "identities": [owner, everybody]}) + "\n"


def world_config(settings: Settings, nginx_address: str, world_address: str) -> str:
    """dnsmasq.conf: the fleet's own names lead to nginx, the admin's mail to the sink, all else to the machine."""
    mail_domain = settings.admin_email.rsplit("@", 1)[-1]
    own_domains = settings.domains
    lines = ["# Docker's resolver knows the containers, and asks the machine's own about everything else."]
    lines += ["no-resolv", "no-hosts", "server=127.0.0.11", "bind-interfaces", f"listen-address={world_address}"]
    lines += [f"address=/{domain}/{nginx_address}" for domain in own_domains]
    if mail_domain not in own_domains:
        lines.append(f"address=/{mail_domain}/{world_address}")
    lines += [f"address=/mail.{mail_domain}/{world_address}", f"mx-host={mail_domain},mail.{mail_domain},10"]
    return "\n".join(lines) + "\n"


def create_host(
    state: State, host: str, address: str, image: str, settings: Settings, arguments: argparse.Namespace
) -> None:
    """Create one host's container without starting it."""
    # One that starts itself anew comes back, as a VM does; one that Docker stops or kills stays down.
    argv = ["create", "--restart", "always", "--name", container_name(state, host), "--hostname", safe_name(host)]
    argv += ["--label", f"{engine.LABEL}={state.name}", "--label", f"{engine.LABEL}.host={host}"]
    argv += ["--network", state.name, "--ip", address, "--network-alias", safe_name(host)]
    argv += ["--dns", address.rsplit(".", 1)[0] + f".{WORLD_NUMBER}", *engine.systemd_options()]
    if arguments.https_port and host == settings.groups["nginx"][0]:
        argv += ["--publish", f"127.0.0.1:{arguments.https_port}:443"]
    for mount in arguments.mount:
        source, _colon, target = mount.partition(":")
        argv += ["--volume", f"{Path(source).resolve()}:{target or Path(source).resolve()}:ro"]
    docker(*argv, image)


def calf_revision() -> str:
    """What the stand-in application is made of, as one word: it changes with any of its files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in CALF.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(CALF)}\0{path.stat().st_mode}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def give_calf(state: State, hosts: Iterable[str]) -> None:
    """Put the repository of the stand-in application on hosts, as root's; its own script makes it."""
    run([sys.executable, CALF / "make_repository.py", state.calf], timeout_seconds=300)
    archive = tarball({}, trees={CALF_REPOSITORY: state.calf})
    for host in hosts:
        docker("cp", "-", f"{container_name(state, host)}:/", stdin=archive)


def host_files(state: State, host: str) -> bytes:
    """What a provider puts on a new VM (keys), and what marks a host of a rehearsal, as a tar archive."""
    key = host_key(state, host)
    files: dict[str, tuple[str, int]] = {
        "etc/ssh/ssh_host_ed25519_key": (key.read_text(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (Path(f"{key}.pub").read_text(), 0o644),
        # sshd insists on the owner's or root's: root keeps it here.
        "etc/ssh/authorized_keys/admin": (Path(f"{state.key}.pub").read_text(), 0o644),
        "etc/ssh/sshd_config.d/20-keys.conf": ("AuthorizedKeysFile /etc/ssh/authorized_keys/%u\n", 0o644),
        # Git refuses to read a repository of another user, and this one is root's.
        "etc/gitconfig": (f"[safe]\n\tdirectory = /{CALF_REPOSITORY}\n", 0o644),
    }
    return tarball(files, links={overlay.MARKER_PYTHON.lstrip("/"): "/usr/bin/python3"})


def tarball(
    files: Mapping[str, tuple[str, int]],
    links: Mapping[str, str] | None = None,
    trees: Mapping[str, Path] | None = None,
) -> bytes:
    """A tar archive, all of it root's: files as (text, mode), symbolic links, and whole folders, world-readable."""

    def as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mode |= 0o555 if info.isdir() else 0o444
        return info

    def entry(path: str, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path)
        info.mode, info.mtime = mode, int(time.time())
        return info

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        parents = {str(p) for path in [*files, *(links or {}), *(trees or {})] for p in list(Path(path).parents)[:-1]}
        for folder in sorted(parents - {"etc", "srv", "opt", "etc/ssh"}):
            info = entry(folder, 0o755)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for path, (text, mode) in files.items():
            info = entry(path, mode)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
        for path, target in (links or {}).items():
            info = entry(path, 0o777)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        for path, folder in (trees or {}).items():
            archive.add(folder, path, filter=as_root)
    return out.getvalue()


def finish_boot(state: State, host: str, address: str, password: str) -> None:
    """Wait until a host is up and takes connections, and give the admin a password for sudo."""
    name = container_name(state, host)
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        asked = subprocess.run(
            ["docker", "exec", name, "systemctl", "is-system-running", "--wait"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
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
        subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "any"], capture_output=True, check=False)
        path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
