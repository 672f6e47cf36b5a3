#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads how a host and what runs on it are doing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Read how a host, its units and its databases are doing
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - In one call it reads all that the playbook C(status) needs of a host - files, what systemd says, and an answer of
    each of PostgreSQL, PgBouncer, Redis and Alertmanager where they are set up. It changes nothing and judges nothing;
    M(fediops.mastodon.fleet_status) does.
  - What does not answer is told as C(error) in its place, and hides nothing else.
options:
  timeout_seconds:
    description: How long to wait for each of PostgreSQL, PgBouncer, Redis and Alertmanager.
    type: int
    default: 3
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
seealso:
  - module: fediops.mastodon.fleet_status
"""

EXAMPLES = r"""
- name: Read how the host is doing
  fediops.mastodon.status:
  register: status_reading
"""

RETURN = r"""
hostname:
  description: What the host calls itself.
  returned: success
  type: str
uptime_seconds:
  description: For how long it has run.
  returned: success
  type: int
reboot:
  description:
    - Why it wants to be started anew, or nothing. Of a container only C(/run/reboot-required) counts; the kernel is not
      its own.
  returned: success
  type: str
units:
  description:
    - The units of all components that systemd knows on this host, and whatever else has failed, by name.
    - Of each C(active) and C(sub), its state; C(since_seconds), for how long it has had it; C(restarts), how often
      systemd has started it anew by itself; C(result), how it ended; C(text), what it says of itself; and C(folder),
      the name of the folder that its main process runs in, which is the release.
  returned: success
  type: dict
  sample:
    mastodon-web.service:
      active: active
      sub: running
      since_seconds: 60
      restarts: 0
      result: success
      text: "Puma 6.6.0: cluster: 2/2, worker_status: [{ 3/3 threads, 3 available, 0 backlog }]"
      folder: v4.6.5-0123456789-abcdef
packages:
  description: The versions of the components' packages that are installed.
  returned: success
  type: dict
  sample: {nginx: 1.26.3-3+deb13u1}
release:
  description: The release that C(/opt/mastodon/current) points to, or nothing.
  returned: success
  type: str
drained:
  description: The ports that M(fediops.mastodon.drain) keeps new connections from.
  returned: success
  type: list
  elements: int
owed:
  description: What the host owes to those of its services that are there.
  returned: success
  type: list
  elements: str
  sample: [restart redis-server.service]
filesystems:
  description:
    - The file systems that matter, by mount point - C(size_mb), C(free_mb), C(used_percent) and C(inodes_percent).
  returned: success
  type: dict
  sample:
    /: {size_mb: 40960, free_mb: 20480, used_percent: 48, inodes_percent: 3}
certificates:
  description: The certificates that the host shows, as PEM, by path.
  returned: success
  type: dict
postgres:
  description: What PostgreSQL tells; nothing where there is no cluster of this collection.
  returned: success
  type: dict
pgbouncer:
  description: What PgBouncer tells - C(pools) by database, C(clients); nothing where it is not set up.
  returned: success
  type: dict
redis:
  description: What Redis tells; nothing where it is not set up.
  returned: success
  type: dict
sidekiq:
  description: Where the queues are in the Redis of this host, what M(fediops.mastodon.sidekiq_state) returns.
  returned: success
  type: dict
alerts:
  description:
    - What Alertmanager tells of the fleet - C(firing), the alerts that fire and that nobody silenced, oldest first;
      nothing where it is not set up.
  returned: success
  type: dict
  sample:
    firing:
      - name: DiskLow
        severity: warning
        instance: db1
        since: "2026-11-28T12:00:00.000Z"
        summary: db1 has 9 GB left
        runbook: https://example.org/docs/runbooks/DiskLow.md
"""

import contextlib
import csv
import glob
import json
import os
import socket
import time
import urllib.request

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fediops.mastodon.plugins.module_utils.drained import closed_ports
from ansible_collections.fediops.mastodon.plugins.module_utils.owed import STATE_DIRECTORY, Owed
from ansible_collections.fediops.mastodon.plugins.module_utils.redis_client import RedisClient, RedisError
from ansible_collections.fediops.mastodon.plugins.module_utils.sidekiq import read_state

PATTERNS = (
    "nginx.service", "mastodon-web.service", "mastodon-web.socket", "mastodon-streaming@*.service",
    "mastodon-sidekiq@*.service", "pgbouncer.service", "haproxy.service", "postgresql@*.service",
    "fediops-replica-health.socket", "redis-server.service", "certbot.timer", "prometheus-*-exporter.service",
    "mastodon-prometheus-exporter.service", "prometheus.service", "prometheus-alertmanager.service",
)  # fmt: skip
PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "NRestarts", "Result", "StatusText", "MainPID",
    "StateChangeTimestampMonotonic",
)  # fmt: skip
PACKAGES = ("nginx", "haproxy", "pgbouncer", "postgresql-[0-9]*", "redis-server", "prometheus")
# Where data, releases, logs and caches are; several of them may be on one file system.
FOLDERS = (
    "/", "/boot", "/opt/mastodon", "/var/cache/nginx", "/var/lib/mastodon", "/var/lib/postgresql",
    "/var/lib/prometheus", "/var/lib/redis", "/var/log",
)  # fmt: skip
CERTIFICATES = ("/etc/ssl/mastodon/fullchain.pem", "/etc/ssl/mastodon/internal.pem")
ALERTMANAGER = "/etc/systemd/system/prometheus-alertmanager.service.d/fediops.conf"
ALERTS = "http://127.0.0.1:9093/alertmanager/api/v2/alerts?active=true&silenced=false&inhibited=false"
REDIS_SOCKET = "/run/redis/redis-server.sock"
REDIS_NUMBERS = ("used_memory", "maxmemory", "connected_clients", "maxclients", "loading", "aof_enabled")
REDIS_TEXTS = ("role", "maxmemory_policy", "master_link_status", "aof_last_write_status", "rdb_last_bgsave_status")
# A standby that is behind what it had received half a second ago is behind; any other has only just received it.
SQL = r"""
SELECT coalesce(pg_last_wal_receive_lsn()::text, '') AS received \gset
SELECT pg_sleep(0.5)
 WHERE pg_is_in_recovery() AND pg_last_wal_replay_lsn() < nullif(:'received', '')::pg_lsn \g /dev/null
SELECT json_build_object(
  'standby', pg_is_in_recovery(),
  'version', split_part(current_setting('server_version'), ' ', 1),
  'max_connections', current_setting('max_connections')::int,
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'replicas', (SELECT coalesce(json_object_agg(application_name, json_build_object(
      'state', state,
      'lag_bytes', CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint END
    )), '{}') FROM pg_stat_replication WHERE application_name NOT LIKE 'pg\_basebackup%'),
  'slots', (SELECT coalesce(json_object_agg(slot_name, json_build_object(
      'active', active,
      'wal', wal_status,
      'kept_mb', CASE WHEN NOT pg_is_in_recovery()
                      THEN (pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) / 1048576)::bigint END
    )), '{}') FROM pg_replication_slots WHERE NOT temporary),
  'receiving', EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'),
  'replay', CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END,
  'lag_seconds', CASE WHEN pg_is_in_recovery() THEN CASE
      WHEN pg_last_wal_replay_lsn() < nullif(:'received', '')::pg_lsn
      THEN round(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::numeric, 1) ELSE 0 END END);
"""
BREAK = "-- next --"
POOLS = f"SHOW POOLS;\n\\qecho {BREAK}\nSHOW DATABASES;\n\\qecho {BREAK}\nSHOW LISTS;\n"


class SilentError(Exception):
    """A component does not answer, for the reason given."""


def run(module: AnsibleModule, argv: list[str], **more: object) -> str:
    """Return what a command prints. Raises SilentError with the end of its complaint."""
    rc, out, err = module.run_command(argv, **more)
    if rc == 124:
        raise SilentError("no answer in time")
    if rc != 0:
        raise SilentError((err or out).strip().splitlines()[-1] if (err or out).strip() else f"{argv[0]}: status {rc}")
    return out


def sql(module: AnsibleModule, script: str, *arguments: str) -> str:
    """Return what the administrator's psql answers to a script over the socket of this host. Raises SilentError."""
    # Debian's own psql finds out first which version to be, which takes longer than the question.
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"), key=lambda path: float(path.split("/")[4]))
    if not programs:
        raise SilentError("psql is not installed")
    user = ["timeout", str(module.params["timeout_seconds"]), "runuser", "-u", "postgres", "--"]
    psql = [programs[-1], "--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", "--host=/run/postgresql"]
    return run(module, [*user, *psql, *arguments], data=script, cwd="/")


def units(module: AnsibleModule, more: list[str]) -> dict[str, dict]:
    """Return the units of all components, those that failed, and more by their names, as far as they are there."""
    listed = run(module, ["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--full"])
    failed = [line.split()[0] for line in listed.splitlines() if line.strip()]
    shown = run(module, ["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *PATTERNS, *failed, *more])
    found = {}
    for block in shown.strip().split("\n\n"):
        about = dict(line.split("=", 1) for line in block.splitlines())
        if about.get("LoadState") in ("loaded", "masked", "bad-setting", "error"):
            found[about["Id"]] = unit(about, time.monotonic())
    return found


def unit(about: dict[str, str], now: float) -> dict:
    """Return what systemd's properties say of one unit; now is on the clock of its timestamps."""
    changed = int(about.get("StateChangeTimestampMonotonic") or 0) / 1_000_000
    folder = ""
    with contextlib.suppress(OSError):
        if int(about.get("MainPID") or 0):
            folder = os.path.basename(os.readlink(f"/proc/{about['MainPID']}/cwd"))
    return {
        "active": about["ActiveState"],
        "sub": about["SubState"],
        "since_seconds": round(now - changed) if changed else None,
        "restarts": int(about.get("NRestarts") or 0),
        "result": about.get("Result", ""),
        "text": about.get("StatusText", ""),
        "folder": folder,
    }


def packages(module: AnsibleModule) -> dict[str, str]:
    """Return the versions of the components' packages."""
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${Package} ${Version}\n", *PACKAGES]
    lines = [line.split() for line in module.run_command(command)[1].splitlines()]
    return {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == "ii"}


def reboot() -> str | None:
    """Return why the host wants to be started anew, or nothing."""
    if os.path.exists("/run/reboot-required"):
        return "/run/reboot-required is there"
    # Debian's link to the kernel that the next start takes.
    if not os.path.exists("/run/systemd/container") and os.path.islink("/vmlinuz"):
        newest = os.path.basename(os.readlink("/vmlinuz")).removeprefix("vmlinuz-")
        if newest != os.uname().release:
            return f"it runs the kernel {os.uname().release}, and {newest} is installed"
    return None


def filesystems() -> dict[str, dict[str, int]]:
    """Return the file systems that matter, by mount point."""
    found = {}
    for folder in filter(os.path.isdir, FOLDERS):
        place = os.path.realpath(folder)
        while not os.path.ismount(place):
            place = os.path.dirname(place)
        status = os.statvfs(place)
        taken, files = status.f_blocks - status.f_bfree, status.f_files - status.f_ffree
        found[place] = {
            "size_mb": status.f_blocks * status.f_frsize >> 20,
            "free_mb": status.f_bavail * status.f_frsize >> 20,
            # As `df` has it: what only root may use is not free.
            "used_percent": -(-100 * taken // max(1, taken + status.f_bavail)),
            "inodes_percent": -(-100 * files // max(1, status.f_files)),
        }
    return found


def postgres(module: AnsibleModule) -> dict | None:
    """Return what PostgreSQL tells, or nothing where it is not set up. Raises SilentError."""
    if not glob.glob("/etc/postgresql/*/*/conf.d/fediops.conf"):
        return None
    return json.loads(sql(module, SQL, "--no-align", "--tuples-only", "--dbname=postgres"))


def pgbouncer(module: AnsibleModule) -> dict | None:
    """Return what PgBouncer tells, or nothing where it is not set up. Raises SilentError."""
    if not os.path.exists("/etc/pgbouncer/start.ini"):
        return None
    port = "6432"
    with open("/etc/pgbouncer/start.ini", encoding="utf-8") as settings:
        for line in settings:
            if line.startswith("listen_port"):
                port = line.split("=")[1].strip()
    return pools(sql(module, POOLS, "--csv", f"--port={port}", "--username=pgbouncer", "--dbname=pgbouncer"))


def pools(answers: str) -> dict:
    """Return the pools by database, and the clients, from PgBouncer's answers to POOLS."""
    parts = (list(csv.DictReader(part.strip().splitlines())) for part in answers.split(BREAK))
    users, databases, lists = parts
    found = {}
    for database in databases:
        if database["name"] == "pgbouncer":
            continue
        of_it = [row for row in users if row["database"] == database["name"]]
        found[database["name"]] = {
            "pool_size": int(database["pool_size"]),
            "connections": int(database["current_connections"]),
            "working": sum(int(row["sv_active"]) for row in of_it),
            "waiting": sum(int(row["cl_waiting"]) for row in of_it),
            "waiting_seconds": max((int(row["maxwait"]) for row in of_it), default=0),
            "paused": database["paused"] == "1" or database["disabled"] == "1",
        }
    return {"pools": found, "clients": next(int(row["items"]) for row in lists if row["list"] == "used_clients")}


def redis(module: AnsibleModule) -> tuple[dict | None, dict | None]:
    """Return what Redis tells, and what Sidekiq keeps there; nothing where they are not. Raises SilentError."""
    path = "/etc/redis/live.conf"
    if not os.path.exists(path):
        return None, None
    with open("/etc/redis/redis.conf", encoding="utf-8") as settings:
        words = [line.split() for line in settings if line.startswith("requirepass ")]
    password = words[-1][1].strip('"') if words else None
    record = {}
    with contextlib.suppress(OSError, ValueError), open(f"{STATE_DIRECTORY}/redis.json", encoding="utf-8") as file:
        record = json.load(file)
    try:
        seconds = module.params["timeout_seconds"]
        with contextlib.closing(RedisClient.over(REDIS_SOCKET, password=password, timeout_seconds=seconds)) as client:
            about = information(client.ask("INFO").decode("utf-8", "replace"))
            serves = record.get("queues") is True and record.get("role") != "replica" and not about["loading"]
            return about, read_state(client) if serves else None
    except RedisError as error:
        raise SilentError(str(error)) from error


def information(text: str) -> dict:
    """Return what counts of the answer to INFO."""
    told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {
        "version": told.get("redis_version", ""),
        **{name: int(told.get(name) or 0) for name in REDIS_NUMBERS},
        **{name: told.get(name, "") for name in REDIS_TEXTS},
    }


def alerts(module: AnsibleModule) -> dict | None:
    """Return the alerts that fire and that nobody silenced, or nothing where Alertmanager is not set up."""
    if not os.path.exists(ALERTMANAGER):
        return None
    # Not by a proxy of the host's environment: it would look on its own loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(ALERTS, timeout=module.params["timeout_seconds"]) as answer:
        return firing(json.load(answer))


def firing(found: list[dict]) -> dict:
    """Return what counts of the alerts that Alertmanager tells, oldest first."""
    told = [
        {
            "name": alert["labels"]["alertname"],
            "severity": alert["labels"].get("severity", "warning"),
            "instance": alert["labels"].get("instance", ""),
            "since": alert["startsAt"],
            "summary": alert["annotations"].get("summary", ""),
            "runbook": alert["annotations"].get("runbook", ""),
        }
        for alert in found
    ]
    return {"firing": sorted(told, key=lambda alert: (alert["since"], alert["name"], alert["instance"]))}


def certificates() -> dict[str, str]:
    """Return the certificates that the host shows, as PEM without what follows the first, by path."""
    found = {}
    for path in CERTIFICATES:
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
            text = file.read()
            found[path] = text.partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    return found


def told(question: object, module: AnsibleModule) -> dict | None:
    """Return the answer of a component, or its silence as an error."""
    try:
        return question(module)
    except (SilentError, OSError, ValueError, KeyError, StopIteration) as error:
        return {"error": str(error) or type(error).__name__}


def look(module: AnsibleModule) -> dict:
    """Return all that there is to read. Raises SilentError where systemd does not answer."""
    current = "/opt/mastodon/current"
    # By what is owed, the unit that it is owed to, or nothing.
    debts = {debt: debt.partition(" ")[2] for debt in sorted(Owed(STATE_DIRECTORY).pending())}
    found = units(module, [name for name in debts.values() if name])
    of_redis = told(redis, module)
    with open("/proc/uptime", encoding="utf-8") as file:
        uptime = float(file.read().split()[0])
    return {
        "hostname": socket.gethostname(),
        "uptime_seconds": int(uptime),
        "reboot": reboot(),
        "units": found,
        "packages": packages(module),
        "release": os.path.basename(os.readlink(current)) if os.path.islink(current) else None,
        "drained": closed_ports(),
        "owed": [debt for debt, name in debts.items() if not name or name in found],
        "filesystems": filesystems(),
        "certificates": certificates(),
        "postgres": told(postgres, module),
        "pgbouncer": told(pgbouncer, module),
        "redis": of_redis if isinstance(of_redis, dict) else of_redis[0],
        "sidekiq": None if isinstance(of_redis, dict) else of_redis[1],
        "alerts": told(alerts, module),
    }


def main() -> None:
    """Run the module."""
    arguments = {"timeout_seconds": {"type": "int", "default": 3}}
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    try:
        reading = look(module)
    except (SilentError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **reading)


if __name__ == "__main__":
    main()
