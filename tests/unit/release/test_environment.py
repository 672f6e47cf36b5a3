# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that the variables of an inventory make, as the release role writes it."""

from __future__ import annotations

import json
import os
import re
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
        "endpoints": {"postgres": {"host": "192.0.2.1", "port": 5432}, "redis": {"host": "192.0.2.2", "port": 6379}}
    },
}


def play(path, **variables):
    """Return the environment as {name: value}, and what Ansible said."""
    written = path / "written.json"
    path.joinpath("play.yml").write_text(json.dumps([{
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "tasks": [{"ansible.builtin.copy": {
            "dest": str(written),
            "content": "{{ (__release_env | fediops.mastodon.dotenv(extra_names=release_env_extra_names)) | to_json }}",
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


class TestObjectStorage:
    """With an endpoint and no host name, the pages would link to Amazon and their own policy would block that."""

    def test_host_name_is_that_of_the_endpoint(self, environment):
        found = environment(**BUCKET, mastodon_s3_endpoint="https://objects.example.net")
        assert (found["S3_HOSTNAME"], found["S3_PROTOCOL"]) == ("objects.example.net", "https")

    def test_port_and_protocol_are_those_of_the_endpoint(self, environment):
        found = environment(**BUCKET, mastodon_s3_endpoint="http://192.0.2.9:9000")
        assert (found["S3_HOSTNAME"], found["S3_PROTOCOL"]) == ("192.0.2.9:9000", "http")

    def test_amazon_needs_neither(self, environment):
        found = environment(**BUCKET, mastodon_s3_region="eu-central-1")
        assert "S3_HOSTNAME" not in found
        assert (found["S3_ENABLED"], found["S3_REGION"]) == ("true", "eu-central-1")

    def test_switched_off_it_leaves_no_trace(self, environment):
        found = environment(**BUCKET | {"mastodon_s3_enabled": False})
        assert [name for name in found if name.startswith(("S3_", "AWS_"))] == []


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
    "redis": {"host": "192.0.2.2", "port": 6379},
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

    def test_c7_c8_migrations_and_prepared_statements_never_meet_a_pooler(self, found):
        assert (found["DB_HOST"], found["DB_PORT"]) == ("192.0.2.1", "5432")

    def test_c9_c11_connections_have_no_name_and_no_mode_of_their_own(self, found):
        assert {"PGAPPNAME", "DB_SSLMODE", "DATABASE_URL"} & set(found) == set()
        assert [value for value in found.values() if "application_name" in value or "sslmode" in value] == []

    def test_c13_hosts_with_other_neighbours_share_keys_and_domain(self, found, tmp_path):
        other, said = play(tmp_path, mastodon_plan={"endpoints": POOLED | {"postgres": POOLED["database"]}})
        assert other, said
        assert other["DB_HOST"] != found["DB_HOST"]
        assert {name: other[name] for name in SHARED} == {name: found[name] for name in SHARED}

    def test_c19_every_redis_is_named_by_one_whole_address(self, found):
        named = {name: value for name, value in found.items() if "REDIS" in name}
        assert "REDIS_URL" in named
        assert [name for name in named if not name.endswith("REDIS_URL")] == []
        assert [value for value in named.values() if not re.fullmatch(r"rediss?://:[^@/]+@[^:/]+:\d+/\d+", value)] == []

    @pytest.mark.parametrize("name", ["SELF_DESTRUCT", "PGAPPNAME", "DB_POOL"])
    def test_c20_c9_c3_what_no_process_may_read_is_refused(self, tmp_path, name):
        found, said = play(tmp_path, mastodon_env={name: "1"})
        assert not found
        assert f"{name} must not be" in said
