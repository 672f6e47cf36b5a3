# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker engine of a rehearsal: found, else installed and started; images made, containers and networks."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rehearsal import machine
from rehearsal.console import RehearsalError, run, say, step, succeeds

HERE = Path(__file__).resolve().parent
REPOSITORY = "fediops-rehearsal"  # every image of ours is in it, so that `down` knows them
LABEL = "org.fediops.rehearsal"  # on containers and networks: the name of their fleet
NETWORKS = ipaddress.IPv4Network("10.86.0.0/16")  # private, so that the plan takes it for a network of one's own
PULL_SECONDS = 90
ENGINE_SECONDS = 60
RECORD = Path("/run/fediops-rehearsal-engine.json")
ENGINE_LOG = Path("/var/log/fediops-rehearsal-dockerd.log")


def docker(*arguments: str | Path, stdin: str | bytes | None = None, timeout_seconds: float = 120) -> str:
    """Run a command of Docker's and return what it prints."""
    return run(["docker", *arguments], stdin=stdin, timeout_seconds=timeout_seconds)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Let one rehearsal at a time make or remove images and networks, which they share."""
    with (Path(tempfile.gettempdir()) / f"fediops-rehearsal-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def answers() -> bool:
    """Whether a Docker engine answers this user."""
    return succeeds(["docker", "info"])


def ensure() -> None:
    """Make sure that a Docker engine answers; what had to be started is recorded, so that `stop_own` can end it."""
    if answers():
        return
    if os.geteuid() != 0:
        raise RehearsalError(
            "No Docker engine answers this user: install docker.io and start it, add yourself to the group docker, "
            "or run the command as root."
        )
    if not shutil.which("dockerd") or not shutil.which("docker"):
        known = succeeds(["apt-cache", "show", "docker-cli"])  # a package of its own since Debian 13
        machine.install_packages(["docker.io", "iptables", *(["docker-cli"] if known else [])], "No Docker engine here")
    with_systemd = Path("/run/systemd/system").is_dir()
    if not answers():
        say("Starting the Docker engine")
        if with_systemd:
            run(["systemctl", "start", "docker.service"], timeout_seconds=120)
        else:
            with ENGINE_LOG.open("ab") as log:
                subprocess.Popen(
                    ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
                )
        wait_for_engine()
    if not with_systemd and Path("/run/docker.pid").is_file():
        RECORD.write_text(json.dumps({"pid": int(Path("/run/docker.pid").read_text())}))


def wait_for_engine() -> None:
    """Wait until the engine answers, or raise RehearsalError with the end of its log."""
    deadline = time.monotonic() + ENGINE_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            end = ENGINE_LOG.read_text(errors="replace").splitlines()[-5:] if ENGINE_LOG.is_file() else []
            raise RehearsalError("The Docker engine does not start:\n" + "\n".join(end))
        time.sleep(0.5)


def stop_own() -> bool:
    """Stop the engine if a rehearsal started it and no container is left on it; whether it was stopped."""
    if not RECORD.is_file():
        return False
    pid = json.loads(RECORD.read_text())["pid"]
    command = Path(f"/proc/{pid}/comm")
    if not command.is_file() or command.read_text().strip() != "dockerd":
        RECORD.unlink()
        return False
    if docker("ps", "--all", "--quiet"):
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + ENGINE_SECONDS
    while command.is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    RECORD.unlink()
    return True


# Images


def ensure_images(log_dir: Path) -> tuple[str, str]:
    """The images of a host and of the outside world, made where they are missing; named after what they hold."""
    sources = "\n".join(machine.apt_sources().lines()) + "\n"
    settings = "\n".join(machine.apt_settings()) + "\n"
    host_files = {"Dockerfile": HERE / "image/Dockerfile", **{f"ca/{path.name}": path for path in machine.ca_files()}}
    host_tag = image_tag("host", [sources, settings], host_files)
    world_files = {name: HERE / "world" / name for name in ("Dockerfile", "world.py")}
    world_tag = image_tag("world", [host_tag], world_files)
    if not succeeds(["docker", "image", "inspect", host_tag]):
        base = ensure_base(sources, log_dir)
        with step("Building the host image (Debian 13, systemd, sshd)"):
            build(host_tag, base, host_files, {"sources.list": sources, "apt.conf": settings}, log_dir / "image.log")
    if not succeeds(["docker", "image", "inspect", world_tag]):
        with step("Building the image of the outside world (DNS, mail)"):
            build(world_tag, host_tag, world_files, {}, log_dir / "world.log")
    return host_tag, world_tag


def image_tag(name: str, texts: list[str], files: dict[str, Path]) -> str:
    """A tag that changes with anything that the image is made of."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for path, source in sorted(files.items()):
        digest.update(path.encode() + b"\0" + source.read_bytes() + b"\0")
    return f"{REPOSITORY}/{name}:{digest.hexdigest()[:12]}"


def ensure_base(sources: str, log_dir: Path) -> str:
    """Debian 13 without anything: the public image where a registry answers, else made from the machine's mirror."""
    base = f"{REPOSITORY}/debian:13"
    if succeeds(["docker", "image", "inspect", base]):
        return base
    had_public = succeeds(["docker", "image", "inspect", "debian:13"])
    if had_public or succeeds(["docker", "pull", "--quiet", "debian:13"], PULL_SECONDS):
        docker("tag", "debian:13", base)
        if not had_public:
            docker("rmi", "debian:13")  # takes the name only: ours keeps the image until `down`
        return base
    machine.require_tools({"mmdebstrap": "mmdebstrap"})
    with tempfile.TemporaryDirectory() as folder, step("No registry answers: bootstrapping Debian 13 from the mirror"):
        tarball = Path(folder) / "debian.tar"
        options = [f"--aptopt={line.rstrip(';')}" for line in machine.apt_settings()]
        argv = ["mmdebstrap", "--variant=minbase", *options, machine.SUITE, str(tarball), "-"]
        run(argv, stdin=sources, log=log_dir / "mmdebstrap.log", timeout_seconds=1800)
        docker("import", tarball, base, timeout_seconds=600)
    return base


def build(tag: str, base: str, files: dict[str, Path], texts: dict[str, str], log: Path) -> None:
    """Build an image from a folder made for it: `files` are copied, `texts` are written."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "ca").mkdir()
        for path, source in files.items():
            shutil.copyfile(source, context / path)
        for path, text in texts.items():
            (context / path).write_text(text)
        argv = ["docker", "build", "--build-arg", f"BASE={base}", "--tag", tag, context]
        run(argv, log=log, timeout_seconds=1800)


def remove_unused_images() -> list[str]:
    """Remove the images of rehearsals that no container uses; their names."""
    removed = []
    # Children first: an image cannot go before those that were built on it.
    for name in ("world", "host", "debian"):
        for tag in docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{REPOSITORY}/{name}").splitlines():
            if not docker("ps", "--all", "--quiet", "--filter", f"ancestor={tag}") and succeeds(["docker", "rmi", tag]):
                removed.append(tag)
    return removed


# Networks and containers


def ensure_network(name: str) -> ipaddress.IPv4Network:
    """The network of a fleet, made where it is missing from a part of 10.86.0.0/16 that nothing else uses."""
    if succeeds(["docker", "network", "inspect", name]):
        subnet = docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", name)
        return ipaddress.IPv4Network(subnet)
    taken = machine.networks_in_use()
    for subnet in NETWORKS.subnets(new_prefix=24):
        if any(subnet.overlaps(other) for other in taken):
            continue
        argv = ["docker", "network", "create", "--label", f"{LABEL}={name}", "--subnet", str(subnet), name]
        if succeeds(argv):
            return subnet
    raise RehearsalError(f"Docker cannot make a network in {NETWORKS}: {docker('network', 'ls')}")


def containers(fleet: str) -> dict[str, dict]:
    """What Docker says of the containers of a fleet, by the name of their host; the outside world is ''."""
    ids = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={fleet}").split()
    found = json.loads(docker("inspect", *ids)) if ids else []
    return {entry["Config"]["Labels"].get(f"{LABEL}.host", ""): entry for entry in found}


def address(entry: dict, network: str) -> str:
    """The address that a container has, or will have when it is started, in its network."""
    settings = entry["NetworkSettings"]["Networks"][network]
    return settings["IPAddress"] or settings["IPAMConfig"]["IPv4Address"]


def systemd_options() -> list[str]:
    """What Docker must allow for systemd, its sandboxes and PostgreSQL to work as on a VM, short of --privileged.

    The same for both versions of control groups: the tree is shared and writable, since with a private
    namespace Docker mounts it read-only.
    """
    options = ["--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--env", "container=docker"]
    options += ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--shm-size", "256m"]
    # SYS_PTRACE: PrivateUsers with ProtectProc, as in Debian's Redis unit, fails without it.
    for capability in ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_NICE"):
        options += ["--cap-add", capability]
    options += ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
    if Path("/proc/sys/net/ipv6").is_dir():
        options += ["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"]  # a VM has ::1
    if Path("/proc/sys/net/ipv4/tcp_migrate_req").exists():
        options += ["--sysctl", "net.ipv4.tcp_migrate_req=1"]  # the plan's, which a container may not set
    return options
