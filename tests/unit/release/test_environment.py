# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that the variables of an inventory make, as the release role writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from collection_tree import ROOT

ANSIBLE = Path(sys.executable).parent / "ansible-playbook"
ROLE = ROOT / "roles/release"
BUCKET = {
    "mastodon_s3_enabled": True,
    "mastodon_s3_bucket": "media",
    "mastodon_s3_access_key": "an access key",
    "mastodon_s3_secret_key": "a secret key",
}
INVENTORY = {
    "release_system": "trixie",
    "mastodon_local_domain": "example.org",
    "mastodon_admin_email": "owner@example.org",
    "mastodon_secret_key_base": "secret key base",
    "mastodon_active_record_encryption_primary_key": "primary",
    "mastodon_active_record_encryption_deterministic_key": "deterministic",
    "mastodon_active_record_encryption_key_derivation_salt": "salt",
    "mastodon_vapid_private_key": "private",
    "mastodon_vapid_public_key": "public",
    "mastodon_postgres_password": "postgres password",
    "mastodon_redis_password": "p@ss/word:#",
    "mastodon_plan": {
        "endpoints": {
            "postgres": {"host": "192.0.2.1", "port": 5432},
            "database": {"host": "192.0.2.1", "port": 5432},
            "redis": {"host": "192.0.2.2", "port": 6379},
        }
    },
}


FILE = "(__release_env | fediops.mastodon.dotenv(extra_names=release_env_extra_names))"
MIGRATIONS = "(__release_database_environment | fediops.mastodon.dotenv(process=true, extra_names=['HOME', 'LANG']))"


def play(path, expression=FILE, **variables):
    """Return the environment as {name: value}, and what Ansible said."""
    written = path / "written.json"
    path.joinpath("play.yml").write_text(json.dumps([{
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "tasks": [{"ansible.builtin.copy": {
            "dest": str(written),
            "content": "{{ " + expression + " | to_json }}",
        }}],
    }]))  # fmt: skip
    path.joinpath("variables.json").write_text(json.dumps(INVENTORY | variables))
    done = subprocess.run(
        [ANSIBLE, "-i", "localhost,", "-c", "local", "-e", "@variables.json", "play.yml"],
        cwd=path,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if not written.exists():
        return {}, done.stdout
    lines = json.loads(written.read_text()).splitlines()
    return {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}, done.stdout


@pytest.fixture
def environment(tmp_path):
    """Return the environment that variables make."""

    def make(**variables):
        found, said = play(tmp_path, **variables)
        assert found, said
        return found

    return make


class TestOneBox:
    @pytest.fixture
    def found(self, environment):
        return environment()

    def test_reaches_postgresql_directly(self, found):
        assert {name: found[name] for name in ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER")} == {
            "DB_HOST": "192.0.2.1", "DB_PORT": "5432", "DB_NAME": "mastodon_production", "DB_USER": "mastodon",
        }  # fmt: skip

    def test_reaches_redis_by_one_address_whatever_the_password(self, found):
        assert found["REDIS_URL"] == "redis://:p%40ss%2Fword%3A%23@192.0.2.2:6379/0"

    def test_keeps_media_outside_of_releases(self, found):
        assert found["PAPERCLIP_ROOT_PATH"] == "/var/lib/mastodon/system"

    def test_leaves_sizes_to_the_units(self, found):
        sizes = {"DB_POOL", "MAX_THREADS", "WEB_CONCURRENCY", "SIDEKIQ_CONCURRENCY", "RAILS_ENV", "PORT", "BIND"}
        assert sizes & set(found) == set()

    def test_has_no_name_of_what_is_not_used(self, found):
        assert [name for name in found if name.startswith(("S3_", "AWS_", "ES_", "OIDC_"))] == []
        assert "WEB_DOMAIN" not in found

    def test_has_no_name_of_other_hosts(self, found):
        fleet = ("REPLICA_", "CACHE_", "SIDEKIQ_", "TRUSTED_", "CDN_", "PREPARED_", "PGSSL", "REDIS_DRIVER")
        assert [name for name in found if name.startswith(fleet)] == []


class TestObjectStorage:
    """With an endpoint and no host name, the pages would link to Amazon and their own policy would block that."""

    def test_host_name_is_that_of_the_endpoint(self, environment):
        found = environment(**BUCKET, mastodon_s3_endpoint="https://objects.example.net")
        assert (found["S3_HOSTNAME"], found["S3_PROTOCOL"]) == ("objects.example.net", "https")

    def test_port_and_protocol_are_those_of_the_endpoint(self, environment):
        found = environment(**BUCKET, mastodon_s3_endpoint="http://192.0.2.9:9000")
        assert (found["S3_HOSTNAME"], found["S3_PROTOCOL"]) == ("192.0.2.9:9000", "http")

    def test_links_to_an_alias_are_https_whatever_the_endpoint_speaks(self, environment):
        found = environment(
            **BUCKET, mastodon_s3_endpoint="http://192.0.2.9:9000", mastodon_s3_alias_host="files.example.org"
        )
        assert (found["S3_PROTOCOL"], found["S3_ENDPOINT"]) == ("https", "http://192.0.2.9:9000")

    def test_the_cache_in_front_is_told_what_is_deleted(self, environment):
        found = environment(**BUCKET, mastodon_media_proxy_enabled=True)
        assert (found["CACHE_BUSTER_ENABLED"], found["CACHE_BUSTER_SECRET_HEADER"]) == ("true", "X-Cache-Buster")
        assert found["CACHE_BUSTER_SECRET"] != INVENTORY["mastodon_secret_key_base"]
        assert len(found["CACHE_BUSTER_SECRET"]) >= 32

    def test_amazon_needs_neither(self, environment):
        found = environment(**BUCKET, mastodon_s3_region="eu-central-1")
        assert "S3_HOSTNAME" not in found
        assert (found["S3_ENABLED"], found["S3_REGION"]) == ("true", "eu-central-1")

    def test_switched_off_it_leaves_no_trace(self, environment):
        found = environment(**BUCKET | {"mastodon_s3_enabled": False})
        assert [name for name in found if name.startswith(("S3_", "AWS_"))] == []


class TestCDN:
    def test_static_files_come_from_there(self, environment):
        assert environment(mastodon_cdn_host="static.example.org")["CDN_HOST"] == "https://static.example.org"

    def test_is_part_of_the_release_because_assets_are_built_with_it(self, tmp_path):
        shapes = [
            play(tmp_path, "('ID=' ~ __release_shape ~ '\n')", mastodon_cdn_host=host)[0]["ID"]
            for host in ("", "static.example.org", "other.example.org")
        ]
        assert len(set(shapes)) == 3


class TestWhatAPersonSets:
    def test_any_other_variable(self, environment):
        assert environment(mastodon_env={"AUTHORIZED_FETCH": True})["AUTHORIZED_FETCH"] == "true"

    def test_wins(self, environment):
        found = environment(mastodon_env={"SMTP_FROM_ADDRESS": "us@example.org"})
        assert found["SMTP_FROM_ADDRESS"] == "us@example.org"

    def test_wrong_name_is_refused_with_the_nearest(self, tmp_path):
        found, said = play(tmp_path, mastodon_env={"AUTHORISED_FETCH": True})
        assert not found
        assert "AUTHORIZED_FETCH" in said

    def test_mail_search_and_sign_in(self, environment):
        found = environment(
            mastodon_smtp_server="mail.example.org",
            mastodon_registration_email_domains=["example.org", "example.net"],
            mastodon_search_enabled=True, mastodon_search_host="search.example.org",
            mastodon_sso_enabled=True, mastodon_sso_issuer="https://id.example.org",
            mastodon_web_domain="social.example.org",
        )  # fmt: skip
        assert (found["SMTP_SERVER"], found["SMTP_PORT"]) == ("mail.example.org", "587")
        assert found["EMAIL_DOMAIN_ALLOWLIST"] == "example.org|example.net"
        assert (found["ES_ENABLED"], found["ES_PORT"]) == ("true", "9200")
        assert found["OIDC_REDIRECT_URI"] == "https://social.example.org/auth/auth/openid_connect/callback"


POOLED = {
    "postgres": {"host": "192.0.2.1", "port": 5432},
    "database": {"host": "192.0.2.3", "port": 6432},
    "database_replica": {"host": "192.0.2.3", "port": 6432, "name": "mastodon_production_read"},
    "prepared_statements": False,
    "redis": {"host": "192.0.2.2", "port": 6379},
    "redis_cache": {"host": "192.0.2.4", "port": 6379},
    "redis_sidekiq": {"host": "2001:db8::5", "port": 6379},
    "trusted_proxies": ["127.0.0.0/8", "::1/128", "10.0.0.0/8"],
}
SHARED = (
    "LOCAL_DOMAIN",
    "SECRET_KEY_BASE",
    "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY",
    "ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY",
    "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT",
    "VAPID_PRIVATE_KEY",
    "VAPID_PUBLIC_KEY",
)


class TestConstraints:
    """What docs/sizing.md says of the file that all processes of all hosts read: C7, C8, C9, C11, C13, C19, C20."""

    @pytest.fixture
    def found(self, environment):
        return environment(mastodon_plan={"endpoints": POOLED})

    def test_c7_prepared_statements_never_meet_a_pooler(self, found):
        assert (found["DB_HOST"], found["DB_PORT"]) == ("192.0.2.3", "6432")
        assert (found["PREPARED_STATEMENTS"], found["REPLICA_PREPARED_STATEMENTS"]) == ("false", "false")

    def test_c7_a_pooler_that_follows_prepared_statements_may_have_them(self, environment):
        found = environment(mastodon_plan={"endpoints": POOLED | {"prepared_statements": True}})
        assert [name for name in found if name.endswith("PREPARED_STATEMENTS")] == []

    def test_c8_migrations_go_round_the_pooler(self, tmp_path):
        built = {"release_built": {"id": "v1"}}
        found, said = play(tmp_path, MIGRATIONS, mastodon_plan={"endpoints": POOLED}, **built)
        assert found, said
        assert (found["DB_HOST"], found["DB_PORT"]) == ("192.0.2.1", "5432")
        assert "DB_POOL" not in found

    def test_reads_go_to_the_replica_and_migrations_never(self, found):
        assert {name: value for name, value in found.items() if name.startswith("REPLICA_DB_")} == {
            "REPLICA_DB_HOST": "192.0.2.3", "REPLICA_DB_PORT": "6432", "REPLICA_DB_NAME": "mastodon_production_read",
            "REPLICA_DB_USER": found["DB_USER"], "REPLICA_DB_PASS": found["DB_PASS"], "REPLICA_DB_TASKS": "false",
        }  # fmt: skip

    def test_c15_edges_elsewhere_are_trusted(self, found):
        assert found["TRUSTED_PROXY_IP"] == "127.0.0.0/8,::1/128,10.0.0.0/8"

    def test_c9_c11_connections_have_no_name_and_no_mode_of_their_own(self, found):
        assert {"PGAPPNAME", "DB_SSLMODE", "DATABASE_URL"} & set(found) == set()
        assert [value for value in found.values() if "application_name" in value or "sslmode" in value] == []

    def test_c11_inside_tls_every_certificate_is_looked_at(self, environment):
        found = environment(mastodon_plan={"endpoints": POOLED}, mastodon_internal_tls_enabled=True)
        assert (found["DB_SSLMODE"], found["PGSSLROOTCERT"]) == ("verify-full", "/etc/ssl/mastodon/ca.pem")
        assert found["REDIS_DRIVER"] == "ruby"
        assert {value.split(":")[0] for name, value in found.items() if name.endswith("REDIS_URL")} == {"rediss"}

    def test_c13_hosts_with_other_neighbours_share_keys_and_domain(self, found, tmp_path):
        other, said = play(tmp_path, mastodon_plan={"endpoints": POOLED | {"database": POOLED["postgres"]}})
        assert other, said
        assert other["DB_HOST"] != found["DB_HOST"]
        assert {name: other[name] for name in SHARED} == {name: found[name] for name in SHARED}

    def test_c19_every_redis_is_named_by_one_whole_address(self, found):
        named = {name: value for name, value in found.items() if "REDIS" in name}
        assert named == {
            "REDIS_URL": "redis://:p%40ss%2Fword%3A%23@192.0.2.2:6379/0",
            "CACHE_REDIS_URL": "redis://:p%40ss%2Fword%3A%23@192.0.2.4:6379/0",
            "SIDEKIQ_REDIS_URL": "redis://:p%40ss%2Fword%3A%23@[2001:db8::5]:6379/0",
        }

    @pytest.mark.parametrize("name", ["SELF_DESTRUCT", "PGAPPNAME", "DB_POOL"])
    def test_c20_c9_c3_what_no_process_may_read_is_refused(self, tmp_path, name):
        found, said = play(tmp_path, mastodon_env={name: "1"})
        assert not found
        assert f"{name} must not be" in said
