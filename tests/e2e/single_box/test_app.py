# SPDX-License-Identifier: GPL-3.0-or-later
"""A release: how it lies on the host, and what becomes of one whose build is killed or whose archive breaks."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest
from e2e.client import Client, sign_in
from e2e.instance import wait_until

CURRENT = "/opt/mastodon/current"
NOTE = "note-of-a-patch.txt"
PATCH = f"""\
diff --git a/public/{NOTE} b/public/{NOTE}
new file mode 100644
--- /dev/null
+++ b/public/{NOTE}
@@ -0,0 +1 @@
+patched
"""
MISFIT = PATCH.replace("new file mode 100644\n", "").replace("/dev/null", f"a/public/{NOTE}").replace("-0,0", "-1,1")


def current(host):
    """The id of the release in force."""
    return PurePosixPath(host.check_output(f"readlink {CURRENT}")).name


def record(host):
    return json.loads(host.file("/var/lib/fediops/release.json").content_string)


@pytest.fixture(scope="module")
def client(summary):
    return Client.from_summary(summary)


@pytest.fixture(scope="module")
def patch(tmp_path_factory):
    path = tmp_path_factory.mktemp("patches") / "note.patch"
    path.write_text(PATCH)
    return "-e", json.dumps({"mastodon_patches": [str(path)]})


@pytest.fixture(scope="module")
def before(host):
    return current(host)


class TestHowItLies:
    def test_recorded_is_what_is_in_force(self, host):
        release = record(host)
        assert release["id"] == release["migrated_id"] == release["post_migrated_id"] == current(host)
        assert len(release["revision"]) == 40
        assert release["revision"][:10] in release["id"]

    def test_application_cannot_change_its_own_code(self, host):
        done = host.run(f"runuser -u mastodon -- find -L {CURRENT} -writable -not -path '{CURRENT}/tmp*' "
                        f"-not -path '{CURRENT}/public/system*'")  # fmt: skip
        assert done.stdout == ""

    @pytest.mark.parametrize(
        ("link", "target"),
        [
            ("public/system", "/var/lib/mastodon/system"),
            ("tmp", "/var/lib/mastodon/tmp"),
            (".env.production", "/etc/mastodon/env.production"),
        ],
    )
    def test_what_outlives_it_is_linked_in(self, host, link, target):
        assert host.check_output(f"readlink {CURRENT}/{link}") == target

    def test_secrets_are_for_the_application_alone(self, host):
        assert host.check_output("stat -c '%U:%G %a' /etc/mastodon/env.production") == "root:mastodon 640"
        assert host.check_output("stat -c '%U:%G %a' /etc/mastodon/owner_password") == "root:root 600"

    def test_owner_signs_in_with_the_password_that_was_kept(self, host, summary):
        password = host.file("/etc/mastodon/owner_password").content_string
        assert sign_in(
            summary["url"], summary["ca_file"], summary["owner"]["email"], password, resolve=summary.get("resolve")
        )

    def test_command_line_of_the_application_is_at_hand(self, host):
        assert host.run("cd / && tootctl version").rc == 0


class TestAnotherBuild:
    """In this order: refused, killed, made, taken back with a broken archive."""

    def test_patch_that_does_not_fit_is_refused(self, host, run_site, before, tmp_path):
        path = tmp_path / "misfit.patch"
        path.write_text(MISFIT)
        run = run_site("-e", json.dumps({"mastodon_patches": [str(path)]}), check=False)
        assert run.status != 0
        assert str(path) in run.output
        assert current(host) == before

    def test_another_version_is_refused_unless_asked_for(self, host, run_site, before):
        run = run_site("-e", "mastodon_version=v1.1.0", check=False)
        assert run.status != 0
        assert "mastodon_upgrade=true" in run.output
        assert run.changed == []
        assert current(host) == before

    def test_build_that_is_killed_changes_nothing(self, host, deployed, client, before, patch):
        deployed.run_killed(lambda task, _line: "Install the gems" in task, *patch, later_seconds=1)
        assert current(host) == before
        assert client.get(f"/{NOTE}").status_code == 404

    def test_next_run_builds_it(self, host, run_site, client, before, patch):
        run_site(*patch)
        assert current(host) != before
        assert record(host)["id"] == record(host)["post_migrated_id"] == current(host)
        assert client.get(f"/{NOTE}").text == "patched\n"
        assert run_site(*patch).changed == []

    def test_every_process_runs_it(self, host):
        release = host.check_output(f"readlink -f {CURRENT}")
        pids = host.check_output("pgrep -u mastodon -f '^puma|^sidekiq|/node '").split()
        assert len(pids) >= 3
        assert {host.check_output(f"readlink /proc/{pid}/cwd") for pid in pids} == {release}

    def test_broken_archive_is_noticed_and_built_again(self, host, run_site, client, before):
        host.check_output(f"rm -r /opt/mastodon/releases/{before}")
        host.check_output(f"truncate --size=-1000 /opt/mastodon/archives/{before}.tar.zst")
        run = run_site()
        assert any("Compile the assets" in task for task, _host in run.changed)
        assert current(host) == before
        wait_until(lambda: client.get(f"/{NOTE}").status_code == 404, 10, "the patch is gone")
        assert run_site().changed == []
