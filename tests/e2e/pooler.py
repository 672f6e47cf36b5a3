# SPDX-License-Identifier: GPL-3.0-or-later
"""A PgBouncer, as its administrator sees it."""

from __future__ import annotations


class Pooler:
    """A PgBouncer, asked by its administrator."""

    def __init__(self, host) -> None:
        self.host = host

    def show(self, what):
        """The rows of a SHOW, as {column: value}."""
        psql = ["psql", "-XAq", "-h", "/run/postgresql", "-p", "6432", "-U", "pgbouncer", "-d", "pgbouncer"]
        said = self.host.output("runuser", "-u", "postgres", "--", *psql, "-P", "footer=off", "-c", f"SHOW {what}")
        names, *rows = (line.split("|") for line in said.splitlines())
        return [dict(zip(names, row, strict=True)) for row in rows]

    def pools(self):
        """{pool: its counters} of the application's pools."""
        return {row["database"]: row for row in self.show("POOLS") if row["user"] == "mastodon"}

    def config(self, name):
        return next(row["value"] for row in self.show("CONFIG") if row["key"] == name)

    def leads(self):
        """The process that takes who connects."""
        return self.host.output("systemctl", "show", "--property", "MainPID", "--value", "pgbouncer.service")

    def processes(self):
        """All of its processes: beside the one that leads, those that wait for their last client to go."""
        return self.host.run("pgrep", "--exact", "pgbouncer").stdout.split()
