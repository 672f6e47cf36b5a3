# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL and Redis keep what they are given, and let in nobody but the application."""

from __future__ import annotations

import json
import time

import pytest

POSTGRES = "postgresql@17-main.service"
REDIS = "redis-server.service"


def sql(host, query):
    """Ask PostgreSQL as its superuser."""
    done = host.run("runuser -u postgres -- psql -XAtqc %s", query)
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.5)


def main_pid(host, unit):
    return host.check_output(f"systemctl show --property MainPID --value {unit}")


@pytest.fixture(scope="module")
def app(host, fleet):
    """Ask PostgreSQL as the application does: over the network address, with its password or another one."""
    right = fleet.secrets()["mastodon_postgres_password"]

    def ask(query, password=right, role="mastodon", database="mastodon_production", options=""):
        command = "PGPASSWORD=%s PGOPTIONS=%s psql -XAtq -h 127.0.0.1 -U %s -d %s -c %s"
        return host.run(command, password, options, role, database, query)

    return ask


@pytest.fixture(scope="module")
def redis(host, fleet):
    """Ask Redis as the application does."""
    right = fleet.secrets()["mastodon_redis_password"]

    def ask(*command, password=right):
        words = " ".join(f"'{word}'" for word in command)
        return host.run(f"REDISCLI_AUTH='{password}' redis-cli --no-auth-warning {words}").stdout.strip()

    return ask


class TestWhoIsLetIn:
    def test_the_application(self, app):
        assert app("SELECT current_user").stdout.strip() == "mastodon"

    def test_nobody_with_a_wrong_password(self, app):
        done = app("SELECT 1", password="wrong")
        assert done.rc != 0
        assert "password authentication failed" in done.stderr

    @pytest.mark.parametrize("role", ["postgres", "root"])
    def test_no_other_role_over_the_network(self, app, role):
        done = app("SELECT 1", role=role)
        assert done.rc != 0
        assert "no pg_hba.conf entry" in done.stderr

    @pytest.mark.parametrize("database", ["postgres", "template1"])
    def test_the_application_to_no_other_database(self, app, database):
        done = app("SELECT 1", database=database)
        assert done.rc != 0
        assert "no pg_hba.conf entry" in done.stderr

    def test_no_other_system_user_over_the_socket(self, host):
        done = host.run("runuser -u nobody -- psql -XAtqc 'SELECT 1' -U postgres postgres")
        assert done.rc != 0
        assert "Peer authentication failed" in done.stderr

    def test_no_role_without_being_named(self, host):
        sql(host, "CREATE ROLE passer_by LOGIN")
        try:
            assert sql(host, "SELECT has_database_privilege('passer_by', 'mastodon_production', 'CONNECT')") == "f"
        finally:
            sql(host, "DROP ROLE passer_by")

    def test_nobody_into_redis_without_the_password(self, redis, host):
        assert "NOAUTH" in host.run("redis-cli get a").stdout
        assert "NOAUTH" in redis("ping", password="wrong")
        assert redis("ping") == "PONG"


class TestLeastPrivilege:
    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE DATABASE more",
            "CREATE ROLE more",
            "ALTER ROLE mastodon CREATEDB",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('/etc/passwd')",
        ],
    )
    def test_refused(self, app, statement):
        done = app(statement)
        assert done.rc != 0
        assert "permission denied" in done.stderr

    def test_its_own_tables(self, app):
        done = app("BEGIN; CREATE TABLE more (id int); INSERT INTO more VALUES (1); SELECT id FROM more; ROLLBACK")
        assert done.rc == 0, done.stderr
        assert done.stdout.strip() == "1"

    def test_number_of_connections(self, host, plan):
        limit = sql(host, "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'mastodon'")
        assert int(limit) == plan["postgres"]["app_connection_limit"]

    def test_long_statements_end(self, app):
        done = app("SELECT pg_sleep(5)", options="-c statement_timeout=1s")
        assert "statement timeout" in done.stderr
        assert app("SHOW statement_timeout").stdout.strip() == "2min"

    def test_migrations_may_take_longer(self, app):
        assert app("SHOW statement_timeout", options="-c statement_timeout=0 -c lock_timeout=5s").stdout.strip() == "0"

    def test_the_password_is_not_in_postgresql(self, host, fleet):
        verifier = sql(host, "SELECT rolpassword FROM pg_authid WHERE rolname = 'mastodon'")
        assert verifier.startswith("SCRAM-SHA-256$")
        assert fleet.secrets()["mastodon_postgres_password"] not in verifier


class TestHowTheClusterWasMade:
    def test_checksums(self, host):
        assert sql(host, "SHOW data_checksums") == "on"

    def test_encoding_and_locale(self, host):
        columns = "pg_encoding_to_char(encoding), datcollate, datctype"
        assert (
            sql(host, f"SELECT {columns} FROM pg_database WHERE datname = 'mastodon_production'")
            == "UTF8|C.UTF-8|C.UTF-8"
        )

    def test_owner(self, host):
        query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'mastodon_production'"
        assert sql(host, query) == "mastodon"

    def test_record_of_the_instance(self, host, fleet):
        record = host.file("/var/lib/postgresql/fediops-instance.json")
        assert (record.user, record.mode) == ("root", 0o600)
        assert [name for name, value in fleet.secrets().items() if value in record.content_string] == []


class TestKilled:
    def test_postgresql_comes_back(self, host, app):
        before = main_pid(host, POSTGRES)
        host.check_output(f"kill -KILL {before}")
        wait_until(lambda: main_pid(host, POSTGRES) not in ("0", before) and app("SELECT 1").rc == 0)

    def test_redis_comes_back_with_its_data(self, host, redis):
        assert redis("set", "fediops:test", "kept") == "OK"
        try:
            time.sleep(1.5)  # the append-only file is synced every second
            before = main_pid(host, REDIS)
            host.check_output(f"kill -KILL {before}")
            wait_until(lambda: main_pid(host, REDIS) not in ("0", before) and redis("ping") == "PONG")
            assert redis("get", "fediops:test") == "kept"
        finally:
            redis("del", "fediops:test")


def test_redis_never_starts_empty_over_a_dump(host, redis):
    """With `appendonly yes` and no append-only file Redis itself would begin empty, and then overwrite dump.rdb."""
    assert redis("set", "fediops:test", "kept") == "OK"
    assert redis("save") == "OK"
    assert host.run(f"systemctl stop {REDIS} && mv /var/lib/redis/appendonlydir /var/lib/redis/aside").rc == 0
    try:
        assert host.run(f"systemctl start {REDIS}").rc != 0
        journal = host.check_output(f"journalctl --unit {REDIS} --lines 20 --no-pager")
        assert "dump.rdb holds data" in journal
        assert "mastodon-redis load-dump" in journal
        done = host.run(f"systemctl stop {REDIS} && mastodon-redis load-dump && systemctl start {REDIS}")
        assert done.rc == 0, done.stderr
        assert redis("get", "fediops:test") == "kept"
        host.run("rm -r /var/lib/redis/aside")
    finally:
        host.run(
            f"cd /var/lib/redis; [ ! -e aside ] || {{ systemctl stop {REDIS}; rm -rf appendonlydir; "
            f"mv aside appendonlydir; }}; systemctl start {REDIS}"
        )
    redis("del", "fediops:test")


class TestUpgrades:
    def test_only_security_upgrades_are_automatic(self, host):
        dump = host.check_output("apt-config dump Unattended-Upgrade::Origins-Pattern").splitlines()
        origins = [line for line in dump if "::Origins-Pattern::" in line]
        assert len(origins) == 1
        assert "Debian-Security" in origins[0]

    @pytest.mark.parametrize("package", ["postgresql-17", "postgresql-common", "redis-server", "pgbouncer"])
    def test_never_those_of_the_data(self, host, package):
        # Asked of the program itself, which reads the list as apt does.
        program = (
            "import importlib.machinery, importlib.util as u;"
            "l = importlib.machinery.SourceFileLoader('uu', '/usr/bin/unattended-upgrade');"
            "m = u.module_from_spec(u.spec_from_loader('uu', l)); l.exec_module(m);"
            "import apt_pkg; apt_pkg.init();"
            "listed = apt_pkg.config.value_list('Unattended-Upgrade::Package-Blacklist');"
            f"print(m.is_pkgname_in_blacklist('{package}', listed))"
        )
        assert host.check_output("python3 -c %s", program) == "True"

    def test_services_may_restart_when_they_are_upgraded(self, host):
        assert not host.file("/usr/sbin/policy-rc.d").exists


def extra(**variables):
    """Variables for one run, as arguments of ansible-playbook."""
    return ["--extra-vars", json.dumps(variables)]


class TestRunAgain:
    """What a run does to services that hold data already."""

    def test_what_a_person_changed_inside_is_put_right(self, host, run_site):
        sql(host, "ALTER ROLE mastodon CREATEDB")
        sql(host, "ALTER ROLE mastodon SET work_mem = '1GB'")
        sql(host, "GRANT CONNECT ON DATABASE mastodon_production TO PUBLIC")
        run = run_site("--tags", "postgres")
        assert len(run.changed) == 2
        role = sql(
            host, "SELECT rolcreatedb, rolconfig::text LIKE '%work_mem%' FROM pg_roles WHERE rolname = 'mastodon'"
        )
        assert role == "f|f"
        privileges = sql(host, "SELECT datacl FROM pg_database WHERE datname = 'mastodon_production'")
        assert privileges == "{mastodon=CTc/mastodon}"

    def test_a_setting_that_needs_a_restart_is_in_force_at_once(self, host, run_site, plan):
        planned = plan["postgres"]["settings"]["max_connections"]
        try:
            run_site("--tags", "postgres", *extra(postgres_extra_settings={"max_connections": planned + 10}))
            assert int(sql(host, "SHOW max_connections")) == planned + 10
        finally:
            run_site("--tags", "postgres")
        assert int(sql(host, "SHOW max_connections")) == planned

    def test_a_setting_that_postgresql_does_not_know_changes_nothing(self, host, run_site):
        file = "/etc/postgresql/17/main/conf.d/fediops.conf"
        before = host.check_output(f"sha256sum {file}")
        run = run_site("--tags", "postgres", *extra(postgres_extra_settings={"work_memory": "4MB"}), check=False)
        assert run.status != 0
        assert 'unrecognized configuration parameter "work_memory"' in run.output
        assert host.check_output(f"sha256sum {file}") == before

    def test_a_setting_that_a_person_made_stronger_is_named(self, host, run_site):
        sql(host, "ALTER SYSTEM SET work_mem = '64MB'")
        host.check_output(f"systemctl reload {POSTGRES}")
        try:
            run = run_site("--tags", "postgres", check=False)
            assert run.status != 0
            assert "ALTER SYSTEM RESET work_mem" in run.output
        finally:
            sql(host, "ALTER SYSTEM RESET work_mem")
            host.check_output(f"systemctl reload {POSTGRES}")

    def test_data_of_another_version_are_refused(self, host, run_site):
        host.check_output("mkdir -p /var/lib/postgresql/15/main && echo 15 > /var/lib/postgresql/15/main/PG_VERSION")
        try:
            run = run_site("--tags", "postgres", check=False)
            assert run.status != 0
            assert "PostgreSQL 15" in " ".join(run.output.split())
            assert run.changed == []
        finally:
            host.check_output("rm -r /var/lib/postgresql/15")

    def test_memory_of_redis_changes_without_a_restart(self, host, run_site, redis, plan):
        before = main_pid(host, REDIS)
        try:
            run_site("--tags", "redis", *extra(redis_extra_settings={"maxmemory": "100mb"}))
            assert redis("config", "get", "maxmemory").split() == ["maxmemory", str(100 * 2**20)]
        finally:
            run_site("--tags", "redis")
        planned = int(plan["redis"]["settings"]["maxmemory"].removesuffix("mb"))
        assert redis("config", "get", "maxmemory").split() == ["maxmemory", str(planned * 2**20)]
        assert main_pid(host, REDIS) == before

    def test_a_setting_that_redis_does_not_know_changes_nothing(self, host, run_site, redis):
        run = run_site("--tags", "redis", *extra(redis_extra_settings={"maxmemry": "100mb"}), check=False)
        assert run.status != 0
        assert "maxmemry" in run.output
        assert host.run("grep -r maxmemry /etc/redis").rc == 1
        assert redis("ping") == "PONG"

    def test_redis_without_an_append_only_file_keeps_its_data(self, host, run_site, redis):
        """As Debian's own configuration runs it, with keys that are in memory alone."""
        redis("config", "set", "appendonly", "no")
        host.check_output("rm -r /var/lib/redis/appendonlydir && sed -i '$a# touched' /etc/redis/redis.conf")
        assert redis("set", "fediops:test", "kept") == "OK"
        before = main_pid(host, REDIS)
        run_site("--tags", "redis")
        assert main_pid(host, REDIS) != before
        assert redis("get", "fediops:test") == "kept"
        assert redis("config", "get", "appendonly").split() == ["appendonly", "yes"]
        redis("del", "fediops:test")
