# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that run inside a host, until their input ends: who asks, holds and disturbs there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.instance import Host

END_SECONDS = 60
# So many people who ask again and again.
ASK_AGAIN = """
import http.client, json, os, sys, threading, time
addresses, count, path, headers, seconds = json.loads(sys.stdin.readline())
until = time.monotonic() + seconds
def ask(number):
    while time.monotonic() < until:
        # At the first address that takes it.
        for address in addresses:
            try:
                connection = http.client.HTTPConnection(address, 3000, timeout=seconds)
                connection.request("GET", path, headers=headers[number % len(headers)])
                connection.getresponse().read()
                break
            except OSError:
                pass
        time.sleep(0.5)
for number in range(count):
    threading.Thread(target=ask, args=[number], daemon=True).start()
sys.stdin.read()
os._exit(0)
"""
# Clients of a pooler, each with a long transaction after the other.
HOLD_CONNECTIONS = """
read -r PGPASSWORD
export PGPASSWORD
hold() {
  while sleep 0.2; do
    psql -X -h "$1" -p 6432 -U mastodon -d mastodon_production -c "SELECT pg_sleep($2)"
  done
}
for _number in $(seq "$1"); do hold "$2" "$3" > /dev/null 2>&1 & done
cat > /dev/null
trap "" TERM
kill 0
"""
# So many clients of a pooler, each of which wants nothing once it is there.
STAY_CONNECTED = """
import json, os, subprocess, sys
address, clients, password = json.loads(sys.stdin.readline())
command = ["psql", "-XAtq", "-h", address, "-p", "6432", "-U", "mastodon", "-d", "mastodon_production"]
there = []
for number in range(clients):
    pipe = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    there.append(subprocess.Popen(command, env=os.environ | {"PGPASSWORD": password}, **pipe))
    there[-1].stdin.write("SELECT 1;\\n")
    there[-1].stdin.flush()
print(sum(one.stdout.readline() == "1\\n" for one in there), flush=True)
sys.stdin.read()
for one in there:
    one.kill()
"""
# A process stands still for seven tenths of the time.
STUTTER = """
while read -r -t 0.3 _line; [ $? -gt 128 ]; do
  kill -STOP "$1"
  sleep 0.7
  kill -CONT "$1"
done
"""
# People with a stream each, who come again where they are cut off; they go, and come, when they are told.
STREAMS = """
import contextlib, json, os, socket, sys, threading, time
address, port, count, token, seconds = json.loads(sys.stdin.readline())
until, here, streams = time.monotonic() + seconds, threading.Event(), set()
ask = f"GET /api/v1/streaming/public HTTP/1.1\\r\\nHost: streams\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n"
def listen():
    while time.monotonic() < until:
        here.wait()
        with socket.socket() as stream:
            streams.add(stream)
            try:
                stream.connect((address, port))
                stream.sendall(ask.encode())
                while stream.recv(4096):
                    pass
            except OSError:
                pass
            streams.discard(stream)
        time.sleep(1)
here.set()
for number in range(count):
    threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin:
    if line == "come\\n":
        here.set()
    else:
        here.clear()
        for stream in list(streams):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
os._exit(0)
"""
# Twenty clients of Redis that come, and leave two seconds later.
COME_AND_GO = """
import select, socket, sys
while not select.select([sys.stdin], [], [], 7)[0]:
    there = [socket.create_connection((sys.argv[1], 6379), timeout=5) for number in range(20)]
    if select.select([sys.stdin], [], [], 2)[0]:
        break
    for one in there:
        one.close()
"""
# All memory of the machine, but for a share of it.
HOLD_MEMORY = """
import select, sys
with open("/proc/meminfo") as file:
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in file}
# Rather this than anything else, if others want it.
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("1000")
chunks = int(kilobytes["MemAvailable"] - float(sys.argv[1]) * kilobytes["MemTotal"]) >> 16
held = [b"x" * (1 << 26) for number in range(chunks)]
print("held", flush=True)
select.select([sys.stdin], [], [], int(sys.argv[2]))
"""
# What others leave of a share of PostgreSQL's connections.
HOLD_SHARE = """
import contextlib, psycopg2, select, sys, time
share, until = float(sys.argv[1]), time.monotonic() + float(sys.argv[2])
held = [psycopg2.connect(dbname="postgres")]
held[0].autocommit = True
ask = "SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity WHERE backend_type LIKE 'client%'"
def fill():
    with held[0].cursor() as cursor:
        cursor.execute(ask)
        there, most = cursor.fetchone()
    for number in range(int(most * share) - there):
        # Others come meanwhile.
        with contextlib.suppress(psycopg2.OperationalError):
            held.append(psycopg2.connect(dbname="postgres"))
fill()
print("held", flush=True)
while time.monotonic() < until and not select.select([sys.stdin], [], [], 2)[0]:
    fill()
"""


@contextmanager
def running(host: Host, *argv: str, told: object = None, ready: str | None = None) -> Iterator[subprocess.Popen]:
    """Run a program inside a host until the end; it is told something first, as JSON or a word, and says `ready`."""
    process = host.begin(*argv)
    try:
        if told is not None:
            say(process, told if isinstance(told, str) else json.dumps(told))
        said = process.stdout.readline().strip() if ready is not None else None
        assert said == ready, f"{host.name}: {said!r} instead of {ready!r}"
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=END_SECONDS)


def say(process: subprocess.Popen, line: str) -> None:
    """Give a program another line."""
    process.stdin.write(line + "\n")
    process.stdin.flush()
