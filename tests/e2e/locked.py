# SPDX-License-Identifier: GPL-3.0-or-later
"""A table that nearly everything reads, locked: whoever asks for it holds a connection and waits."""

from __future__ import annotations

from contextlib import contextmanager

from e2e.instance import wait_until

HELD_SECONDS = 60
# Whoever reads the table waits for this, holding a connection; it ends by itself.
HOLD = """
BEGIN;
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;
SELECT 'held';
SELECT pg_sleep({seconds});
"""
# Replicas learn of a lock with the next transaction that is written.
WRITE = "SELECT pg_logical_emit_message(true, 'test', '')"
LOCKED = "SELECT count(*) FROM pg_locks WHERE relation = '{}'::regclass AND mode = 'AccessExclusiveLock'"


@contextmanager
def table_locked(instance, table="statuses", seconds=HELD_SECONDS):
    """Lock a table, that which nearly everything reads, on replicas too, as PostgreSQL's own administrator."""
    holder = instance.primary.begin("runuser", "-u", "postgres", "--", "psql", "-XAtq", "mastodon_production")
    holder.stdin.write(HOLD.format(table=table, seconds=seconds))
    holder.stdin.close()
    assert holder.stdout.readline().strip() == "held"
    try:
        instance.sql(WRITE)
        for host in instance.hosts_of("postgres_replica"):
            wait_until(lambda host=host: host.sql(LOCKED.format(table)) == ["1"], 15, f"the lock on {host.name}")
        yield
    finally:
        instance.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        holder.wait(timeout=30)


def processed(instance):
    """How many jobs Sidekiq has done, since ever."""
    return int((instance.queues("GET", "stat:processed") or ["0"])[0] or 0)
