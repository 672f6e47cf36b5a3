# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on a fleet, each by its own cause. Context managers: at their end it is mended, whatever happened."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import yaml
from e2e.fleet import Fleet
from e2e.instance import LOOPBACK, Host, Instance, wait_until
from e2e.jobs import Inbox
from e2e.locked import table_locked

from . import inside

# Longer than the longest of all alerts takes, and ended before.
HELD_SECONDS = 300
# More than all threads of any fleet of the tests do meanwhile, if each takes so long.
DELIVERIES, DELIVERY_SECONDS = 1500, 8
BOOT_SECONDS, ASKED_SECONDS = 120, 5
# People stay for longer than what is measured of them takes.
CROWD_SECONDS = 1200
FULL_DISK = "/srv/full"
# Runs beside the host, in its file systems, and may do what the host may not: make a disk of a file, and mount it.
MAKE_DISK = f"""
set -e
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
truncate --size 64M {FULL_DISK}.img
mkfs.ext4 -q {FULL_DISK}.img
mkdir -p {FULL_DISK}
for number in $(seq 0 63); do
  [ -e /dev/loop$number ] || mknod /dev/loop$number b 7 $number
done
mount -o loop {FULL_DISK}.img {FULL_DISK}
"""
REMOVE_DISK = f"umount {FULL_DISK}; rm -rf {FULL_DISK} {FULL_DISK}.img; rm -f /dev/loop*"
CERTIFICATE = "/etc/ssl/mastodon/fullchain.pem"
LOOK_AT_CERTIFICATES = "fediops-exporter-certificates.service"


@contextmanager
def stopped(host: Host, *patterns: str) -> Iterator[None]:
    """Units do not run."""
    units = host.active(*patterns)
    assert units, f"{host.name} has nothing of {patterns}"
    host.output("systemctl", "stop", *units)
    try:
        yield
    finally:
        host.output("systemctl", "start", *units)


@contextmanager
def broken(host: Host, unit: str) -> Iterator[None]:
    """A service has a program that fails at once, and is started again and again."""
    folder = f"/run/systemd/system/{unit}.d"
    fails = section(["ExecStart=", "ExecStart=/bin/false"])
    host.output("install", "-D", "-m", "0644", "/dev/stdin", f"{folder}/broken.conf", stdin=fails)
    host.shell(f"systemctl daemon-reload; systemctl restart {unit} || true")
    try:
        yield
    finally:
        host.shell(f"rm {folder}/broken.conf; systemctl daemon-reload; systemctl reset-failed {unit} || true")
        host.output("systemctl", "restart", unit)


@contextmanager
def away(host: Host) -> Iterator[None]:
    """A host is switched off."""
    subprocess.run(["docker", "stop", "--time", "30", host.container], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "start", host.container], check=True, capture_output=True)
        up = ["systemctl", "is-system-running", "--wait"]
        states = ("running", "degraded")
        wait_until(lambda: host.run(*up).stdout.strip() in states, BOOT_SECONDS, f"{host.name} runs again")


@contextmanager
def locked_table(instance: Instance, web: Host, people: int, table: str = "statuses") -> Iterator[None]:
    """So many people ask a host with Puma, again and again, and somebody locks a table that they all read."""
    tokens = [instance.another_client().token for _number in range(4)]
    headers = [instance.proxied(Authorization=f"Bearer {token}") for token in tokens]
    # With TLS between the hosts Puma itself is at the loopback address, behind what ends it.
    wanted = [[LOOPBACK, web.address], people, "/api/v1/timelines/public", headers, HELD_SECONDS]
    with inside.running(web, "python3", "-c", inside.ASK_AGAIN, told=wanted):
        # One that was just started asks first what columns there are, all threads for one.
        time.sleep(ASKED_SECONDS)
        with table_locked(instance, table, HELD_SECONDS):
            yield


@contextmanager
def exhausted_pool(pooler: Host, clients: int, password: str, seconds: int = 60) -> Iterator[None]:
    """So many clients of a PgBouncer hold a connection for so long, again and again."""
    hold = ["bash", "-c", inside.HOLD_CONNECTIONS, "hold", str(clients), pooler.address, str(seconds)]
    with inside.running(pooler, *hold, told=password):
        yield


@contextmanager
def slow_neighbour(instance: Instance) -> Iterator[None]:
    """Another instance takes deliveries slowly: all threads of `push` wait for it, and whatever is behind is late."""
    # This machine, as the fleet's own network knows it.
    address = instance.host_of("redis").address.rpartition(".")[0] + ".1"
    (sender,) = instance.sql("SELECT min(id) FROM accounts WHERE domain IS NULL")
    with Inbox(address, seconds=DELIVERY_SECONDS) as inbox:
        jobs = []
        for _number in range(DELIVERIES):
            jid, now = secrets.token_hex(12), int(time.time() * 1000)
            job = {"class": "DeliveryWorker", "queue": "push", "jid": jid, "retry": False}
            job |= {"args": [json.dumps({"id": jid}), int(sender), inbox.url], "created_at": now, "enqueued_at": now}
            jobs.append(json.dumps(job))
        for first in range(0, len(jobs), 100):
            instance.queues("LPUSH", "queue:push", *jobs[first : first + 100])
        try:
            yield
        finally:
            inbox.seconds = 0
            wait_until(lambda: instance.queues("LLEN", "queue:push") == ["0"], 120, "what was late is delivered")


@contextmanager
def full_disk(host: Host, share: float = 1) -> Iterator[None]:
    """Of a disk of the host's such a share is in use."""
    _beside(host, MAKE_DISK)
    try:
        room, free = map(int, host.shell(f"df --block-size=1 --output=size,avail {FULL_DISK} | tail -1").split())
        taken = min(free, int(free - (1 - share) * room))
        host.shell(f"fallocate --length {taken} {FULL_DISK}/full")
        yield
    finally:
        _beside(host, REMOVE_DISK)


def _beside(host: Host, script: str) -> None:
    """Run a script in the file systems of a host, with all that the machine may do."""
    asked = ["docker", "inspect", "--format", "{{.State.Pid}} {{.Image}}", host.container]
    process, image = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    enter = ["nsenter", "--target", process, "--mount", "--", "sh", "-c", script]
    options = ["--rm", "--pid", "host", "--network", "none", "--entrypoint", ""]
    options += [word for name in ("SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "MKNOD") for word in ("--cap-add", name)]
    options += [word for name in ("seccomp", "apparmor") for word in ("--security-opt", f"{name}=unconfined")]
    # Loop devices, and what gives them.
    options += [word for rule in ("b 7:* rwm", "c 10:237 rwm") for word in ("--device-cgroup-rule", rule)]
    done = subprocess.run(["docker", "run", *options, image, *enter], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def certificate_near_its_end(host: Host) -> Iterator[None]:
    """Nobody renewed the certificate of people's domain: it ends within a day."""
    host.shell(
        f"cp -a {CERTIFICATE} {CERTIFICATE}.kept; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        f"-keyout /dev/null -subj /CN=old -days 1 -out {CERTIFICATE} 2>&1"
    )
    try:
        host.output("systemctl", "start", LOOK_AT_CERTIFICATES)
        yield
    finally:
        host.shell(f"mv {CERTIFICATE}.kept {CERTIFICATE}")
        host.output("systemctl", "start", LOOK_AT_CERTIFICATES)


@contextmanager
def redis_nearly_full(instance: Instance, share: float = 0.95) -> Iterator[None]:
    """Redis holds such a share of what it may."""
    (allowed,) = instance.redis("CONFIG", "GET", "maxmemory")[1:]
    (used,) = (line.split(":")[1] for line in instance.redis("INFO", "memory") if line.startswith("used_memory:"))
    instance.redis("CONFIG", "SET", "maxmemory", str(int(int(used) / share)))
    try:
        yield
    finally:
        instance.redis("CONFIG", "SET", "maxmemory", allowed)


@contextmanager
def redis_cannot_save(instance: Instance) -> Iterator[None]:
    """Redis may not write to its folder."""
    host, folder = instance.host_of("redis_core"), "/var/lib/redis"
    host.output("chmod", "0550", folder)
    try:
        instance.redis("BGSAVE")
        yield
    finally:
        host.output("chmod", "0750", folder)
        instance.redis("BGSAVE")


@contextmanager
def many_connections(host: Host, share: float = 0.98) -> Iterator[None]:
    """Of the connections that PostgreSQL has, somebody's program holds what others leave of such a share."""
    hold = ["runuser", "-u", "postgres", "--", "python3", "-c", inside.HOLD_SHARE, str(share), str(HELD_SECONDS)]
    with inside.running(host, *hold, ready="held"):
        yield


@contextmanager
def replay_paused(replica: Host, primary: Host) -> Iterator[None]:
    """A replica receives what is written, and does not apply it."""
    replica.sql("SELECT pg_wal_replay_pause()", "postgres")
    primary.sql("SELECT pg_logical_emit_message(true, 'test', 'behind')")
    try:
        yield
    finally:
        replica.sql("SELECT pg_wal_replay_resume()", "postgres")


@contextmanager
def by_hand(host: Host, unit: str, *settings: str) -> Iterator[None]:
    """An administrator set something else for a service by hand, and restarted it."""
    folder = f"/run/systemd/system/{unit}.d"
    host.output("install", "-D", "-m", "0644", "/dev/stdin", f"{folder}/zz-by-hand.conf", stdin=section(settings))
    host.shell(f"systemctl daemon-reload; systemctl restart {unit}")
    try:
        yield
    finally:
        host.shell(f"rm {folder}/zz-by-hand.conf; systemctl daemon-reload; systemctl restart {unit}")


def section(settings: Iterable[str]) -> str:
    """What a drop-in of a service says."""
    return "\n".join(["[Service]", *settings, ""])


@contextmanager
def environment(host: Host, unit: str, name: str, value: str) -> Iterator[None]:
    """A service has another value in its environment."""
    # What a file says wins over what the unit itself does.
    file = f"/run/{unit}.env"
    host.output("tee", file, stdin=f"{name}={value}\n")
    try:
        with by_hand(host, unit, f"EnvironmentFile={file}"):
            yield
    finally:
        host.output("rm", file)


@contextmanager
def fewer_workers(host: Host) -> Iterator[None]:
    """Puma has one worker."""
    with environment(host, "mastodon-web.service", "WEB_CONCURRENCY", "1"):
        yield
        count = ["pgrep", "--full", "--count", "^puma: cluster worker"]
        wait_until(lambda: host.run(*count).stdout.strip() == "1", BOOT_SECONDS, "one worker, as set by hand")


@contextmanager
def many_clients(pooler: Host, clients: int, password: str) -> Iterator[None]:
    """So many clients are connected to a PgBouncer, and want nothing."""
    stay, wanted = ["python3", "-c", inside.STAY_CONNECTED], [pooler.address, clients, password]
    with inside.running(pooler, *stay, told=wanted, ready=str(clients)):
        yield


@contextmanager
def dying_jobs(instance: Instance) -> Iterator[None]:
    """There are jobs of which nobody knows any more what they were; in the end somebody throws them away."""
    now = time.time()
    jobs = [
        {"class": "GoneWorker", "queue": "default", "jid": secrets.token_hex(12), "args": [], "retry": 0}
        | {"created_at": now, "enqueued_at": now}
        for _number in range(40)
    ]
    instance.queues("LPUSH", "queue:default", *map(json.dumps, jobs))
    try:
        yield
    finally:
        instance.queues("DEL", "dead")


@contextmanager
def second_scheduler(instance: Instance) -> Iterator[None]:
    """Somebody starts a process by hand that listens to `scheduler` too."""
    command = ["bundle", "exec", "sidekiq", "-c", "1", "-q", "scheduler"]
    with instance.process("mastodon-sidekiq*.service", *command):
        yield


@contextmanager
def stuttering(host: Host, pattern: str) -> Iterator[None]:
    """A process gets no processor for most of the time."""
    (process,) = host.processes(pattern).values()
    with inside.running(host, "bash", "-c", inside.STUTTER, "stutter", process):
        yield


@dataclass(frozen=True)
class Crowd:
    """People with a stream each: they come, are cut off, and come back."""

    process: subprocess.Popen

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """All streams end, and nobody comes back."""
        inside.say(self.process, "go")
        try:
            yield
        finally:
            inside.say(self.process, "come")


@contextmanager
def crowd(host: Host, plan: Mapping, count: int, token: str) -> Iterator[Crowd]:
    """So many people have a stream of the first process that a host's plan names."""
    where = plan["streaming"]["processes"][0]
    wanted = [where["bind"], where["port"], count, token, CROWD_SECONDS]
    with inside.running(host, "python3", "-c", inside.STREAMS, told=wanted) as people:
        yield Crowd(people)


@contextmanager
def redis_full_of_clients(instance: Instance) -> Iterator[None]:
    """Redis takes no more clients than there are, and somebody's program connects and leaves, again and again."""
    host = instance.host_of("redis_core")
    (allowed,) = instance.redis("CONFIG", "GET", "maxclients")[1:]
    (there,) = (it.split(":")[1] for it in instance.redis("INFO", "clients") if it.startswith("connected_clients:"))
    instance.redis("CONFIG", "SET", "maxclients", str(int(there) + 10))
    try:
        with inside.running(host, "python3", "-c", inside.COME_AND_GO, host.address):
            yield
    finally:
        instance.redis("CONFIG", "SET", "maxclients", allowed)


@contextmanager
def killed_for_memory(host: Host) -> Iterator[None]:
    """A program wants more memory than it may have."""
    wants = ["-p", "MemoryMax=32M", "-p", "MemorySwapMax=0", "python3", "-c", "bytearray(200 << 20)"]
    assert host.run("systemd-run", "--wait", "--collect", "--quiet", *wants).status != 0
    yield


@contextmanager
def little_memory(host: Host, share: float = 0.07) -> Iterator[None]:
    """A program holds nearly all memory of the host, which is that of this machine: such a share is left."""
    hold = ["python3", "-c", inside.HOLD_MEMORY, str(share), str(HELD_SECONDS)]
    with inside.running(host, *hold, ready="held"):
        yield


@contextmanager
def lost_replica(primary: Host, replica: Host, fleet: Fleet) -> Iterator[None]:
    """A replica is away while more is written than is kept for it; it is made anew."""
    primary.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'")
    primary.sql("SELECT pg_reload_conf()")
    try:
        with stopped(replica, "postgresql@*.service"):
            for _number in range(12):
                primary.sql(
                    "SELECT pg_logical_emit_message(false, 'test', repeat('x', 1 << 24)); SELECT pg_switch_wal()"
                )
            primary.sql("CHECKPOINT")
            states = primary.sql("SELECT wal_status FROM pg_replication_slots")
            assert states == ["lost"], states
            yield
    finally:
        primary.sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
        primary.sql("SELECT pg_reload_conf()")
        fleet.command("run", "playbooks/rebuild_replica.yml", "-e", f"host={replica.name}")


@contextmanager
def own_rule(watch: Host, expression: str) -> Iterator[None]:
    """Prometheus has a rule of the administrator's own, too."""
    rules = {"groups": [{"name": "own", "rules": [{"record": "own", "expr": expression}]}]}
    with another_file(watch, "/etc/prometheus/rules/own.yml", json.dumps(rules)):
        yield


@contextmanager
def no_targets(watch: Host, job: str) -> Iterator[None]:
    """Somebody's list of what Prometheus asks is empty, for a job."""
    path = "/etc/prometheus/prometheus.yml"
    whole = yaml.safe_load(watch.output("cat", path))
    (asked,) = (one for one in whole["scrape_configs"] if one["job_name"] == job)
    asked["static_configs"] = []
    with another_file(watch, path, yaml.safe_dump(whole)):
        yield


@contextmanager
def another_file(watch: Host, path: str, text: str) -> Iterator[None]:
    """Prometheus reads another text in a file of its configuration."""
    there = watch.run("test", "-e", path).status == 0
    watch.shell(f"cp -a {path} /run/kept" if there else f"install -m 0644 /dev/null {path}")
    watch.output("sh", "-c", f"cat > {path}", stdin=text)
    watch.output("systemctl", "reload", "prometheus.service")
    try:
        yield
    finally:
        watch.shell(f"cp -a /run/kept {path} && rm /run/kept" if there else f"rm {path}")
        watch.output("systemctl", "reload", "prometheus.service")
