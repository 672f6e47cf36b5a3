# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that roles and people run in a release: exit status, and what is said where."""

from __future__ import annotations

import re
import zlib

import pytest
from e2e.instance import plain

DOTENV = "[dotenv] Loaded .env.production"


@pytest.mark.parametrize(
    ("without", "environment"),
    [
        ("RAILS_ENV", {}),
        (None, {"REDIS_NAMESPACE": "old"}),
        (None, {"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY": ""}),
    ],
    ids=["RAILS_ENV is missing", "REDIS_NAMESPACE is set", "a key is blank"],
)
def test_does_not_boot(instance, without, environment):
    done = instance.app("bundle", "exec", "rails", "db:version", without=without, **environment)
    assert done.status == 1
    assert (without or next(iter(environment))) in done.stdout + done.stderr


class TestDatabase:
    def rails(self, instance, *argv):
        return instance.app("bundle", "exec", "rails", *argv)

    def test_nothing_is_pending(self, instance):
        assert self.rails(instance, "db:abort_if_pending_migrations").status == 0

    def test_seeding_again_is_silent(self, instance):
        done = self.rails(instance, "db:seed")
        assert (done.status, plain(done.stdout.strip())) == (0, DOTENV)

    def test_the_role_may_not_create_a_database(self, instance):
        done = self.rails(instance, "db:setup")
        assert done.status == 1
        # Refused for what it may do, or before that for where it may connect to.
        assert re.search(
            "permission denied to create database|no pg_hba.conf entry|no such database", done.stdout + done.stderr
        )

    def test_two_migrations_at_a_time_are_refused(self, instance):
        """Rails takes a lock of the session, of a number made from the database's name."""
        lock = 2053462845 * zlib.crc32(b"mastodon_production")
        other = instance.primary.begin("runuser", "-u", "postgres", "--", "psql", "-XAtq", "mastodon_production")
        try:
            other.stdin.write(f"SELECT pg_advisory_lock({lock}) IS NOT NULL;\n")
            other.stdin.flush()
            assert other.stdout.readline().strip() == "t"
            done = self.rails(instance, "db:migrate")
        finally:
            other.stdin.close()
            other.wait()
        assert done.status == 1
        assert "ConcurrentMigrationError" in done.stdout + done.stderr


class TestAccounts:
    def tootctl(self, instance, *argv, **environment):
        return instance.app("bundle", "exec", "bin/tootctl", "accounts", *argv, **environment)

    def test_a_new_account_and_a_new_password_for_it(self, instance, tag):
        domain = instance.owner["email"].split("@")[1]
        address = ("--email", f"{tag}@{domain}", "--confirmed", "--approve")
        done = self.tootctl(instance, "create", tag, *address, EMAIL_DOMAIN_ALLOWLIST=domain)
        lines = plain(done.stdout).splitlines()
        assert done.status == 0, done.stderr
        assert DOTENV in lines
        assert lines[-2] == "OK"
        assert re.fullmatch(r"New password: [0-9a-f]{32}", lines[-1])

        again = self.tootctl(instance, "modify", tag, "--reset-password")
        assert again.status == 0, again.stderr
        assert re.search(r"^New password: [0-9a-f]{32}$", plain(again.stdout), re.MULTILINE)
        assert lines[-1] not in again.stdout

    def test_an_address_that_is_taken(self, instance, tag):
        done = self.tootctl(instance, "create", tag, "--email", instance.owner["email"], "--confirmed", "--approve")
        assert done.status == 1
        assert re.search(r"Failure/Error: email\n    taken", done.stderr)

    def test_an_address_whose_domain_does_not_exist(self, instance, tag):
        done = self.tootctl(instance, "create", tag, "--email", f"{tag}@{tag}.invalid", "--confirmed", "--approve")
        assert done.status == 1
        assert re.search(r"Failure/Error: email\n    .*unreachable", done.stderr)

    def test_a_role_that_does_not_exist(self, instance, tag):
        done = self.tootctl(instance, "create", tag, "--email", f"{tag}@{tag}.invalid", "--role", tag)
        assert done.status == 1


def test_removing_media_says_how_much(instance):
    done = instance.app("bundle", "exec", "bin/tootctl", "media", "remove", "--days", "3650")
    assert done.status == 0
    assert re.search(r"Removed 0 media attachments \(approx\. 0 Bytes\)", done.stdout)
