# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on a fleet, each by its own cause. Context managers: at their end it is mended, whatever happened."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.instance import Host, Instance, wait_until
from e2e.jobs import Inbox
from e2e.locked import statuses_locked

# Longer than the longest of all alerts takes, and ended before.
HELD_SECONDS = 300
# More than all threads of any fleet of the tests do meanwhile, if each takes so long.
DELIVERIES, DELIVERY_SECONDS = 1500, 8
BOOT_SECONDS = 120
# Runs inside a host: so many people who ask again and again, until its input ends.
ASK_AGAIN = """
import http.client, json, os, sys, threading, time
address, count, path, headers, seconds = json.loads(sys.stdin.readline())
until = time.monotonic() + seconds
def ask(number):
    while time.monotonic() < until:
        try:
            connection = http.client.HTTPConnection(address, 3000, timeout=seconds)
            connection.request("GET", path, headers=headers[number % len(headers)])
            connection.getresponse().read()
        except OSError:
            pass
        time.sleep(0.5)
for number in range(count):
    threading.Thread(target=ask, args=[number], daemon=True).start()
sys.stdin.read()
os._exit(0)
"""
# Runs inside a host, until its input ends: clients of the pooler there, each with a long transaction after the other.
HOLD_CONNECTIONS = """
read -r PGPASSWORD
export PGPASSWORD
hold() {
  while sleep 0.2; do
    psql -X -h "$1" -p 6432 -U mastodon -d mastodon_production -c "SELECT pg_sleep(60)"
  done
}
for _number in $(seq "$1"); do hold "$2" > /dev/null 2>&1 & done
cat > /dev/null
trap "" TERM
kill 0
"""
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
    host.shell(f"mkdir -p {folder}; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {folder}/broken.conf")
    host.shell(f"systemctl daemon-reload; systemctl restart {unit} || true")
    try:
        yield
    finally:
        host.shell(f"rm -r {folder}; systemctl daemon-reload; systemctl reset-failed {unit} || true")
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
def locked_table(instance: Instance, web: Host, people: int) -> Iterator[None]:
    """Somebody locks the table that everybody reads, and so many people go on asking a host with Puma."""
    tokens = [instance.another_client().token for _number in range(4)]
    headers = [instance.proxied(Authorization=f"Bearer {token}") for token in tokens]
    wanted = [web.address, people, "/api/v1/timelines/public", headers, HELD_SECONDS]
    with statuses_locked(instance, HELD_SECONDS):
        asking = web.begin("python3", "-c", ASK_AGAIN)
        asking.stdin.write(json.dumps(wanted) + "\n")
        asking.stdin.flush()
        try:
            yield
        finally:
            asking.stdin.close()
            asking.wait(timeout=30)


@contextmanager
def exhausted_pool(pooler: Host, clients: int, password: str) -> Iterator[None]:
    """So many clients of a PgBouncer hold a connection for longer than others would wait."""
    holding = pooler.begin("bash", "-c", HOLD_CONNECTIONS, "hold", str(clients), pooler.address)
    holding.stdin.write(f"{password}\n")
    holding.stdin.flush()
    try:
        yield
    finally:
        holding.stdin.close()
        holding.wait(timeout=60)


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
def full_disk(host: Host) -> Iterator[None]:
    """A disk of the host's has no room left."""
    _beside(host, MAKE_DISK)
    try:
        host.shell(f"fallocate --length 60M {FULL_DISK}/full || dd if=/dev/zero of={FULL_DISK}/full bs=1M || true")
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
def redis_nearly_full(instance: Instance) -> Iterator[None]:
    """Redis holds 19 twentieths of what it may."""
    (allowed,) = instance.redis("CONFIG", "GET", "maxmemory")[1:]
    (used,) = (line.split(":")[1] for line in instance.redis("INFO", "memory") if line.startswith("used_memory:"))
    instance.redis("CONFIG", "SET", "maxmemory", str(int(int(used) / 0.95)))
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
def many_connections(host: Host) -> Iterator[None]:
    """Somebody's program holds nearly all connections that PostgreSQL has."""
    (most,) = host.sql("SHOW max_connections", "postgres")
    (there,) = host.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'", "postgres")
    script = f"SELECT pg_sleep({HELD_SECONDS});"
    count = int(int(most) * 0.98) - int(there)
    holder = host.begin(
        "sh",
        "-c",
        f"""
        cd /tmp; echo '{script}' > held.sql
        exec runuser -u postgres -- $(ls /usr/lib/postgresql/*/bin/pgbench) -n -c {count} -t 1 -f held.sql postgres
        """,
    )
    try:
        yield
    finally:
        # A backend that sleeps does not see that its client has gone.
        host.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgbench'", "postgres"
        )
        holder.wait(timeout=30)


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
def environment(host: Host, unit: str, **values: str) -> Iterator[None]:
    """An administrator set something else by hand, and restarted the unit."""
    folder, file = f"/run/systemd/system/{unit}.d", f"/run/{unit}.env"
    lines = "".join(f"{name}={value}\\n" for name, value in values.items())
    host.shell(f"printf '{lines}' > {file}; mkdir -p {folder}")
    host.shell(f"printf '[Service]\\nEnvironmentFile={file}\\n' > {folder}/zz-by-hand.conf")
    host.shell(f"systemctl daemon-reload; systemctl restart {unit}")
    try:
        yield
    finally:
        host.shell(f"rm {folder}/zz-by-hand.conf {file}; systemctl daemon-reload; systemctl restart {unit}")


@contextmanager
def fewer_workers(host: Host) -> Iterator[None]:
    """Puma has one worker."""
    with environment(host, "mastodon-web.service", WEB_CONCURRENCY="1"):
        yield
        count = ["pgrep", "--full", "--count", "^puma: cluster worker"]
        wait_until(lambda: host.run(*count).stdout.strip() == "1", BOOT_SECONDS, "one worker, as set by hand")
