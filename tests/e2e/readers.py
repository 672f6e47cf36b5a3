# SPDX-License-Identifier: GPL-3.0-or-later
"""People who read their timelines: on which database that happens, and whether they notice anything."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle

from e2e.instance import wait_until

CLUSTER = "postgresql@17-main.service"
HOME, NOTIFICATIONS = "/api/v1/timelines/home", "/api/v1/notifications"
CROWD = 4
READS = 10
ANSWERS = 10
# Counters are shown when a connection has been idle for a while.
COUNTED_SECONDS = 11
OUT_SECONDS, BACK_SECONDS = 60, 90
SCANS = "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = '{table}'"


def post(client):
    """Post, and return the number."""
    return str(client.post(f"Read from a replica? {uuid.uuid4()}")["id"])


def read(client, path):
    """The newest of a timeline; anything but 200 is a failure."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def at_home(client):
    """The newest statuses of the home timeline."""
    return [status["id"] for status in read(client, HOME)]


def crowd(instance):
    """Several clients that have not asked for anything yet: how often each may ask is limited."""
    return [instance.another_client() for _number in range(CROWD)]


def scans(host, table="statuses"):
    """How often a host has read a table."""
    return int(host.sql(SCANS.format(table=table))[0])


def wait_until_read_on(hosts, clients, seconds, path=HOME, table="statuses"):
    """Let all clients ask at once, about twice a second, until that is read on each of these hosts."""
    before = {host.name: scans(host, table) for host in hosts}

    def all_read():
        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(lambda client: read(client, path), clients))
        time.sleep(0.3)
        return all(scans(host, table) - before[host.name] >= READS for host in hosts)

    wait_until(all_read, seconds, f"{path} read on {[host.name for host in hosts]}")


@contextmanager
def nothing_is_noticed(instance, readers=2):
    """Ask for timelines until the end; every answer must be 200."""
    # Each may ask so often within minutes; two by turns may twice as often.
    clients, answers, over = cycle([instance.another_client() for _number in range(readers)]), [], threading.Event()

    def ask():
        while not over.is_set():
            for path in (HOME, NOTIFICATIONS):
                asked = time.monotonic()
                try:
                    said = next(clients).get(path).status_code
                except OSError as error:
                    said = str(error)
                answers.append((round(time.monotonic() - began, 1), round(time.monotonic() - asked, 1), path, said))
            time.sleep(0.5)

    began = time.monotonic()
    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answers
        # What was waited for may have come at once: people go on to read for a moment.
        wait_until(lambda: len(answers) > ANSWERS, OUT_SECONDS, f"more than {ANSWERS} answers")
    finally:
        over.set()
        asker.join()
    assert [answer for answer in answers if answer[-1] != 200] == []
