# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of rehearsal/ that decide something; containers are tried by the scenarios."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rehearsal import console, engine, fleet, hosts, machine, overlay, result
from rehearsal.console import RehearsalError
from rehearsal.machine import AptSources
from rehearsal.overlay import Settings, Size
from rehearsal.state import CHECKOUT, State, secret_in

SETTINGS = Settings(
    groups={"all": ["a", "b"], "ungrouped": [], "nginx": ["a"], "web": ["a", "b"], "sidekiq": ["b"]},
    sizes={"a": Size(2, 4096), "b": Size(8, 16384)},
    local_domain="social.example",
    web_domain="www.social.example",
    admin_email="owner@mail.example",
    admin_username="owner",
)
BOX = Settings(
    groups={"all": ["box1"], "nginx": ["box1"], "web": ["box1"]},
    sizes={"box1": Size(2, 4096)},
    local_domain="social.example",
    web_domain="social.example",
    admin_email="owner@social.example",
    admin_username="owner",
)
DECLARED = {"a": Size(4, 16384), "b": Size(2, 8192)}
VAULTED = """\
plain: "yes"  # kept
password: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  3132
raw: !unsafe "{{ not a template }}"
accounts:
  - name: one
    token: !vault |
      $ANSIBLE_VAULT;1.1;AES256
      3132
  - !vault |
    $ANSIBLE_VAULT;1.1;AES256
    3132
"""


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state")
    with made.locked():
        secret_in(made.vault_password)
    return made


@pytest.fixture
def inventory(tmp_path):
    folder = tmp_path / "inventory"
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "hosts.yml").write_text(
        "all: {hosts: {box1: {vm_vcpus: 4}}}\nnginx: {hosts: {box1: }}\nweb: {hosts: {box1: }}\n"
    )
    (folder / "group_vars/all/main.yml").write_text(
        "mastodon_local_domain: social.example\nmastodon_admin_email: 'owner@{{ mastodon_local_domain }}'\n"
    )
    return folder


class TestAptSources:
    def test_one_line_entries_are_read_with_and_without_options(self):
        text = """\
# deb http://comment.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://mirror.example/debian bookworm main contrib  # ours
deb-src http://mirror.example/debian bookworm main
"""
        assert machine.parse_one_line(text) == [("http://mirror.example/debian", "bookworm")]

    def test_stanzas_are_read_with_continued_lines_comments_and_disabled_ones(self):
        text = """\
Types: deb deb-src
# a comment inside
URIs: http://one.example/debian
  http://two.example/debian
Suites: trixie trixie-updates
Components: main

Types: deb
URIs: http://off.example/debian
Suites: trixie
Enabled: no
"""
        pairs = machine.parse_deb822(text)
        assert ("http://one.example/debian", "trixie-updates") in pairs
        assert ("http://two.example/debian", "trixie") in pairs
        assert all("off.example" not in uri for uri, _suite in pairs)

    @pytest.mark.parametrize("release", ["bookworm", "trixie", "stable"])
    def test_mirrors_of_any_release_serve_debian_13(self, release):
        pairs = [
            ("http://repo.example/tool", "tool-bookworm"),
            ("http://mirror.example/debian", release),
            ("http://mirror.example/debian", f"{release}-updates"),
            ("http://mirror.example/sec", f"{release}-security"),
        ]
        assert machine.choose_sources(pairs).lines() == [
            "deb http://mirror.example/debian trixie main",
            "deb http://mirror.example/debian trixie-updates main",
            "deb http://mirror.example/sec trixie-security main",
        ]

    def test_what_the_machine_does_not_have_is_not_asked_of_its_mirror(self):
        sources = machine.choose_sources([("http://mirror.example/debian", "trixie")])
        assert sources == AptSources("http://mirror.example/debian", None, None)

    def test_a_machine_without_debians_archive_is_told_what_to_add(self):
        with pytest.raises(RehearsalError, match="no mirror of Debian"):
            machine.choose_sources([("http://archive.example/ubuntu", "noble")])

    def test_the_mirror_list_of_cloud_images_is_followed(self, tmp_path):
        (tmp_path / "debian.list").write_text("https://mirror.example/debian\n")
        uri = f"mirror+file:{tmp_path}/debian.list"
        assert machine.choose_sources([(uri, "trixie")]).main == "https://mirror.example/debian"

    def test_all_files_of_the_machine_are_read(self, tmp_path):
        (tmp_path / "sources.list.d").mkdir()
        (tmp_path / "sources.list").write_text("")
        (tmp_path / "sources.list.d/a.list").write_text("deb http://mirror.example/sec bookworm-security main\n")
        (tmp_path / "sources.list.d/b.sources").write_text(
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n"
        )
        assert machine.apt_sources(tmp_path) == AptSources(
            "http://mirror.example/debian", None, "http://mirror.example/sec"
        )

    def test_proxies_and_date_checks_are_taken_over_but_no_proxy_of_this_machine_alone(self):
        dump = """\
APT::Architecture "amd64";
Acquire::http::Proxy "http://proxy.example:3142";
Acquire::https::Proxy "http://127.0.0.1:3142";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";"""
        assert machine.parse_apt_settings(dump) == [
            'Acquire::http::Proxy "http://proxy.example:3142";',
            'Acquire::Check-Valid-Until "false";',
        ]


class TestScaling:
    def test_hosts_that_fit_keep_their_size(self):
        assert overlay.scale({"a": Size(2, 4096)}, vcpus=4, memory_mb=16384) == {"a": Size(2, 4096)}

    def test_memory_is_shared_in_proportion_and_processors_are_not_invented(self):
        scaled = overlay.scale({"a": Size(8, 32768), "b": Size(2, 16384)}, vcpus=2, memory_mb=20000)
        assert {host: size.vcpus for host, size in scaled.items()} == {"a": 2, "b": 2}
        assert scaled["a"].memory_mb == pytest.approx(2 * scaled["b"].memory_mb, abs=2)

    @given(
        st.dictionaries(st.text(min_size=1), st.builds(Size, st.integers(1, 128), st.integers(256, 10**6)), min_size=1),
        st.integers(1, 64),
        st.integers(1024, 10**6),
    )
    def test_no_host_grows_and_none_is_too_small_to_start(self, declared, vcpus, memory_mb):
        try:
            scaled = overlay.scale(declared, vcpus, memory_mb)
        except RehearsalError:
            least = sum(min(size.memory_mb, overlay.SMALLEST_HOST_MB) for size in declared.values())
            assert least > memory_mb * overlay.SHARE_OF_MACHINE - 1
            return
        for host, size in declared.items():
            assert 1 <= scaled[host].vcpus <= min(size.vcpus, vcpus)
            assert min(size.memory_mb, overlay.SMALLEST_HOST_MB) <= scaled[host].memory_mb <= size.memory_mb

    def test_a_machine_that_is_too_small_is_told_by_how_much(self):
        with pytest.raises(RehearsalError, match="4 hosts need at least 4096 MB and this machine can give 1638 MB"):
            overlay.scale(dict.fromkeys("abcd", Size(2, 4096)), vcpus=2, memory_mb=2048)


class TestGrowing:
    """A host that is added changes nothing of the others: their numbers decide how their services are set up."""

    def scaled(self, declared, **given):
        before = {host: (DECLARED[host], size) for host, size in given.items()}
        return overlay.scale(declared, vcpus=2, memory_mb=15360, before=before)

    def test_hosts_that_are_there_keep_what_they_have_and_new_ones_are_made_as_much_smaller(self):
        first = self.scaled(DECLARED)
        assert first == {"a": Size(2, 8192), "b": Size(2, 4096)}
        grown = self.scaled({"c": Size(4, 8192), **DECLARED}, **first)
        assert grown == {"c": Size(2, 4096), **first}
        assert list(grown) == ["c", "a", "b"]

    def test_many_new_ones_are_made_smaller_than_that(self):
        grown = self.scaled({**DECLARED, "c": Size(2, 65536)}, **self.scaled(DECLARED))
        assert grown["c"] == Size(2, 12288)

    def test_a_host_that_is_declared_otherwise_is_scaled_anew(self):
        grown = self.scaled({**DECLARED, "b": Size(1, 16384)}, **self.scaled(DECLARED))
        assert grown == {"a": Size(2, 8192), "b": Size(1, 8192)}

    def test_what_up_wrote_down_is_read_again(self, state):
        with state.locked():
            state.write(sizes={"a": [[4, 16384], [2, 8192]]})
        assert fleet.sizes_before(state) == {"a": (Size(4, 16384), Size(2, 8192))}

    def test_addresses_stay_and_new_hosts_get_free_ones(self):
        known = {"b": "10.86.3.11", "gone": "10.86.3.12"}
        assert hosts.give_addresses(known, SETTINGS, "10.86.3.0") == {**known, "a": "10.86.3.13"}


class TestPrune:
    @pytest.fixture
    def removed(self, state, monkeypatch):
        """The containers that are removed, of a rehearsal in which there are a, b, c and the world."""
        removed = []
        state.inventory.mkdir()
        there = {host: {"Id": f"id of {host}"} for host in ("", "a", "b", "c")}
        monkeypatch.setattr(engine, "containers", lambda fleet: there)
        monkeypatch.setattr(fleet, "docker", lambda *words, **_options: removed.append(words[-1]))
        with state.locked():
            state.write(ready={host: f"id of {host}" for host in "abc"})
        return removed

    def prune(self, state, monkeypatch, settings):
        monkeypatch.setattr(overlay, "read_settings", lambda *_: settings)
        assert fleet.main(["prune", "--state", str(state.folder)]) == 0

    def test_only_hosts_that_were_taken_out_of_the_inventory_go(self, state, monkeypatch, removed):
        self.prune(state, monkeypatch, SETTINGS)
        assert removed == ["id of c"]
        assert set(state.read()["ready"]) == {"a", "b"}

    def test_without_any_nothing_is_done(self, state, monkeypatch, removed, capsys):
        self.prune(state, monkeypatch, replace(SETTINGS, groups={"all": ["a", "b", "c"]}))
        assert removed == []
        assert "Nothing to remove" in capsys.readouterr().out


class TestCopyOfTheInventory:
    def test_nothing_encrypted_is_copied_and_the_rest_says_the_same(self, tmp_path):
        (tmp_path / "from/group_vars/all").mkdir(parents=True)
        (tmp_path / "from/group_vars/all/main.yml").write_text(VAULTED)
        (tmp_path / "from/group_vars/all/secret.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3132\n")
        (tmp_path / "from/group_vars/all/vault.yml").write_text("mastodon_redis_password: in the clear\n")
        (tmp_path / "from/hosts.ini").write_text("[web]\nbox1\n")
        overlay.copy_without_secrets(tmp_path / "from", tmp_path / "to")
        assert files_in(tmp_path / "to") == ["group_vars/all/main.yml", "hosts.ini"]
        text = (tmp_path / "to/group_vars/all/main.yml").read_text()
        assert "vault" not in text.lower()
        assert "!unsafe" in text
        assert yaml.safe_load(text.replace("!unsafe", "")) == {
            "plain": "yes",
            "raw": "{{ not a template }}",
            "accounts": [{"name": "one"}],
        }

    def test_the_copy_is_for_its_owner_only_and_programs_stay_programs(self, tmp_path):
        (tmp_path / "from").mkdir()
        (tmp_path / "from/hosts.sh").write_text("#!/bin/sh\n")
        (tmp_path / "from/hosts.sh").chmod(0o755)
        overlay.copy_without_secrets(tmp_path / "from", tmp_path / "to")
        assert (tmp_path / "to/hosts.sh").stat().st_mode & 0o777 == 0o700

    def test_a_file_brings_the_variables_beside_it_and_nothing_else(self, inventory, tmp_path):
        (inventory / "other.yml").write_text("all: {}\n")
        overlay.copy_without_secrets(inventory / "hosts.yml", tmp_path / "to")
        assert (tmp_path / "to/group_vars/all/main.yml").is_file()
        assert not (tmp_path / "to/other.yml").exists()

    def test_a_missing_inventory_is_named(self, tmp_path):
        with pytest.raises(RehearsalError, match=r"no inventory at .*/nowhere"):
            overlay.copy_without_secrets(tmp_path / "nowhere", tmp_path / "to")

    def test_broken_yaml_is_named_with_its_line(self, inventory, tmp_path):
        (inventory / "group_vars/all/more.yml").write_text("one: 1\ntwo: [\n")
        with pytest.raises(RehearsalError, match=r"group_vars/all/more\.yml, line 3: "):
            overlay.copy_without_secrets(inventory, tmp_path / "to")

    def test_host_variables_win_over_the_file_of_a_host(self, tmp_path):
        (tmp_path / "host_vars").mkdir()
        (tmp_path / "host_vars/box.example.yml").write_text("ansible_host: 203.0.113.1\nkept: 1\n")
        overlay.write_host_variables(tmp_path, "box.example", {"ansible_host": "10.86.0.11"})
        (tmp_path / "hosts.yml").write_text("all: {hosts: {box.example: }}\n")
        argv = [Path(sys.executable).parent / "ansible-inventory", "-i", tmp_path, "--host", "box.example"]
        said = yaml.safe_load(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
        assert (said["ansible_host"], said["kept"]) == ("10.86.0.11", 1)

    def test_bringing_up_to_date_keeps_the_secrets_and_removes_what_is_gone(self, tmp_path):
        new, old = tmp_path / "new", tmp_path / "old"
        (new / "group_vars/all").mkdir(parents=True)
        (new / "hosts.yml").write_text("new")
        (old / "group_vars/all").mkdir(parents=True)
        (old / "group_vars/all/vault.yml").write_text("secret")
        (old / "host_vars/gone").mkdir(parents=True)
        (old / "host_vars/gone/main.yml").write_text("gone")
        assert overlay.bring_up_to_date(new, old)
        assert files_in(old) == ["group_vars/all/vault.yml", "hosts.yml"]
        assert not overlay.bring_up_to_date(new, old)


class TestSettings:
    def test_ansible_itself_says_what_the_inventory_means(self, inventory, state):
        settings = overlay.read_settings(inventory, state)
        assert settings.sizes == {"box1": Size(4, overlay.UNDECLARED_MEMORY_MB)}
        assert settings.admin_email == "owner@social.example"
        assert settings.web_domain == "social.example"
        assert settings.groups_of("box1") == ["nginx", "web"]

    @pytest.mark.parametrize(
        ("path", "text", "said"),
        [
            ("hosts.yml", "all: {}\n", "has no hosts"),
            ("hosts.ini", "[web\nbox1\n", "does not parse"),
        ],
    )
    def test_what_ansible_cannot_use_is_said(self, inventory, state, path, text, said):
        (inventory / path).write_text(text)
        with pytest.raises(RehearsalError, match=said):
            overlay.read_settings(inventory, state)

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"groups": {"all": ["box1"], "web": ["box1"]}}, "no host in the group nginx"),
            ({"groups": {"all": ["box1"], "nginx": ["box1"], "web": []}}, "no host in the group web"),
            ({"local_domain": None}, "does not set mastodon_local_domain"),
            ({"admin_email": None}, "does not set mastodon_admin_email"),
        ],
    )
    def test_what_a_rehearsal_cannot_do_without_is_named(self, changed, said):
        answer = {
            "groups": {"all": ["box1"], "nginx": ["box1"], "web": ["box1"]},
            "vcpus": [None],
            "memory_mb": [2048],
            "local_domain": "social.example",
            "web_domain": "social.example",
            "admin_email": "owner@social.example",
            "admin_username": "owner",
        }
        assert overlay.parse_settings(answer).sizes == {"box1": Size(overlay.UNDECLARED_VCPUS, 2048)}
        with pytest.raises(RehearsalError, match=said):
            overlay.parse_settings(answer | changed)

    def test_a_folder_without_any_file_has_no_hosts(self, tmp_path, state):
        with pytest.raises(RehearsalError, match="has no hosts"):
            overlay.read_settings(tmp_path, state)

    @pytest.mark.parametrize("value", ["many", 0, -2, 1.5])
    def test_a_size_that_is_no_number_is_refused_by_host_and_name(self, value):
        with pytest.raises(RehearsalError, match=r"box1: vm_vcpus is .* whole number"):
            overlay.whole_number("box1", "vm_vcpus", value, 2)


class TestHostVariables:
    def test_the_persons_connection_and_services_are_replaced(self, state):
        variables = overlay.host_variables(state, SETTINGS, SETTINGS.sizes, {"a": "10.86.0.11", "b": "10.86.0.12"}, [])
        for host, address in (("a", "10.86.0.11"), ("b", "10.86.0.12")):
            assert variables[host]["ansible_host"] == variables[host]["vm_address"] == address
            assert variables[host]["ansible_python_interpreter"] == overlay.MARKER_PYTHON
            assert "StrictHostKeyChecking=yes" in variables[host]["ansible_ssh_common_args"]
            assert variables[host]["mastodon_smtp_server"] == overlay.WORLD

    def test_media_of_several_hosts_go_to_the_object_storage_of_the_world(self, state):
        variables = overlay.host_variables(state, SETTINGS, SETTINGS.sizes, {"a": "x", "b": "y"}, [])["b"]
        assert variables["mastodon_s3_enabled"] is variables["mastodon_media_proxy_enabled"] is True
        assert variables["mastodon_s3_endpoint"] == "http://world:8333"
        assert variables["mastodon_s3_alias_host"] == "media.social.example"
        assert SETTINGS.domains == ["media.social.example", "social.example", "www.social.example"]

    def test_media_of_one_host_stay_on_it(self, state):
        variables = overlay.host_variables(state, BOX, BOX.sizes, {"box1": "x"}, [])["box1"]
        assert variables["mastodon_s3_enabled"] is variables["mastodon_media_proxy_enabled"] is False
        assert BOX.domains == ["social.example"]

    @pytest.mark.parametrize("tier", ["nginx", "sidekiq", "sidekiq_push"])
    def test_one_more_host_of_these_needs_object_storage(self, tier):
        groups = {**BOX.groups, "all": ["box1", "b"], tier: ["b"]}
        assert Settings(**{**vars(BOX), "groups": groups}).media_domain

    def test_the_object_storage_lets_everybody_read_and_only_the_application_write(self):
        config = json.loads(hosts.objects_config("a secret"))
        allowed = {identity["name"]: identity["actions"] for identity in config["identities"]}
        assert allowed["anonymous"] == [f"Read:{config['bucket']}"]
        assert "Write" in allowed["mastodon"]

    def test_variables_of_a_file_are_added_and_the_last_file_wins(self, state, tmp_path):
        (tmp_path / "one.yml").write_text("mastodon_version: v1.0.0\nx: 1\n")
        (tmp_path / "two.yml").write_text("mastodon_version: v1.1.0\n")
        files = [tmp_path / "one.yml", tmp_path / "two.yml"]
        variables = overlay.host_variables(state, SETTINGS, SETTINGS.sizes, {"a": "x", "b": "y"}, files)["b"]
        assert (variables["mastodon_version"], variables["x"]) == ("v1.1.0", 1)

    @pytest.mark.parametrize("text", ["- a list\n", "a: [\n"])
    def test_a_file_without_variables_is_refused(self, tmp_path, text):
        (tmp_path / "x.yml").write_text(text)
        with pytest.raises(RehearsalError, match=r"x\.yml"):
            overlay.read_variables(tmp_path / "x.yml")


class TestState:
    def test_two_rehearsals_never_share_a_name(self, tmp_path):
        names = {State(tmp_path / folder).name for folder in ("one/.rehearsal", "two/.rehearsal")}
        assert len(names) == 2
        assert all(name.startswith("rehearsal-") for name in names)

    def test_a_name_once_given_stays(self, tmp_path):
        state = State(tmp_path / "s", "molecule")
        with state.locked():
            state.write(name=state.name)
        assert State(tmp_path / "s").name == "molecule"

    def test_secrets_are_made_once_and_nobody_else_reads_them(self, state):
        with state.locked():
            assert secret_in(state.vault_password) == secret_in(state.vault_password)
            assert state.vault_password.stat().st_mode & 0o777 == 0o600
            assert state.folder.stat().st_mode & 0o777 == 0o700

    def test_a_second_command_is_kept_out(self, state):
        with state.locked(), pytest.raises(RehearsalError, match="Another command"), State(state.folder).locked():
            pytest.fail("two commands at work")

    def test_a_folder_of_something_else_is_left_alone(self, tmp_path):
        (tmp_path / "holiday.jpg").touch()
        with pytest.raises(RehearsalError, match="no rehearsal"), State(tmp_path).locked():
            pytest.fail("taken over")

    def test_removing_leaves_what_is_not_of_the_rehearsal(self, state):
        with state.locked():
            state.write(name="x")
            state.inventory.mkdir()
            (state.folder / "notes.txt").touch()
            state.remove()
        assert [path.name for path in state.folder.iterdir()] == ["notes.txt"]


class TestHosts:
    def test_addresses_are_kept_when_hosts_are_added(self):
        first = hosts.give_addresses({}, SETTINGS, "10.86.3.0")
        assert first == {"a": "10.86.3.11", "b": "10.86.3.12"}
        grown = Settings(**{**vars(SETTINGS), "groups": {"all": ["new", "a", "b"]}})
        assert hosts.give_addresses(first, grown, "10.86.3.0") == {**first, "new": "10.86.3.13"}

    def test_names_lead_to_nginx_and_mail_to_the_sink(self):
        lines = hosts.world_config(SETTINGS, "10.86.0.11", "10.86.0.2").splitlines()
        assert "address=/social.example/10.86.0.11" in lines
        assert "address=/www.social.example/10.86.0.11" in lines
        assert "mx-host=mail.example,mail.mail.example,10" in lines
        assert "address=/mail.mail.example/10.86.0.2" in lines

    def test_an_archive_holds_files_links_and_folders_as_roots(self, tmp_path):
        (tmp_path / "repo/hooks").mkdir(parents=True)
        (tmp_path / "repo/HEAD").write_text("ref")
        (tmp_path / "repo/HEAD").chmod(0o600)
        files, links = {"etc/x/key": ("secret", 0o600)}, {"opt/r/bin/python3": "/usr/bin/python3"}
        data = hosts.tarball(files, links, {"srv/r/a.git": tmp_path / "repo"})
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = {member.name: member for member in archive}
        assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
        assert members["etc/x/key"].mode == 0o600
        assert members["opt/r/bin/python3"].linkname == "/usr/bin/python3"
        assert members["srv/r/a.git/HEAD"].mode & 0o004
        assert "opt/r/bin" in members

    @pytest.mark.parametrize(("host", "safe"), [("box1", "box1"), ("app_1", "app-1"), ("2001:db8::1", "2001-db8-1")])
    def test_any_name_of_a_host_makes_a_name_of_a_container(self, host, safe):
        assert hosts.safe_name(host) == safe


class TestRefusals:
    """What is refused before anything is started: the engine must not even be asked for."""

    @pytest.fixture(autouse=True)
    def engine_is_off(self, monkeypatch):
        monkeypatch.setattr(engine, "answers", lambda: False)
        monkeypatch.setattr(engine, "ensure", lambda: pytest.fail("started"))
        monkeypatch.setattr(overlay, "read_settings", lambda *_: BOX)
        monkeypatch.setattr(machine, "memory_mb", lambda: (16384, 16000))
        monkeypatch.setattr(machine, "require_tools", lambda tools: None)
        monkeypatch.setattr(machine, "raise_inotify_limit", lambda hosts: None)

    def up(self, state, inventory, *options):
        words = ["up", "--state", str(state.folder), "--inventory", str(inventory), *options]
        return fleet.main(words)

    def test_a_taken_port(self, state, inventory, capsys):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert self.up(state, inventory, "--https-port", str(port)) == 1
        assert f"Port {port} of 127.0.0.1 cannot be used" in capsys.readouterr().err

    def test_a_full_disk(self, state, inventory, capsys, monkeypatch):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
        assert self.up(state, inventory, "--https-port", "0") == 1
        assert "has 0 MB free and the rehearsal needs 5500 MB" in capsys.readouterr().err

    def test_too_little_memory(self, state, inventory, capsys, monkeypatch):
        monkeypatch.setattr(machine, "memory_mb", lambda: (16384, 500))
        assert self.up(state, inventory, "--https-port", "0") == 1
        assert "need at least 1024 MB of memory and 500 MB are available" in capsys.readouterr().err

    def test_an_inventory_that_does_not_parse(self, state, inventory, capsys):
        (inventory / "hosts.yml").write_text("all:\n  hosts: [\n")
        assert self.up(state, inventory) == 1
        assert "hosts.yml, line 3" in capsys.readouterr().err

    def test_another_application_on_hosts_that_hold_one(self, state, inventory, capsys):
        with state.locked():
            state.write(app="mastodon")
        assert self.up(state, inventory, "--app", "calf") == 1
        assert f"make down STATE={state.folder} first" in capsys.readouterr().err

    def test_a_command_without_a_rehearsal_says_how_to_make_one(self, state, capsys):
        assert fleet.main(["deploy", "--state", str(state.folder)]) == 1
        assert "make rehearse" in capsys.readouterr().err
        assert fleet.main(["down", "--state", str(state.folder)]) == 0


class TestEngine:
    def test_an_engine_that_nobody_of_us_started_is_not_stopped(self, monkeypatch, tmp_path):
        monkeypatch.setattr(engine, "RECORD", tmp_path / "none.json")
        monkeypatch.setattr(engine.os, "kill", lambda *_: pytest.fail("killed"))
        assert engine.stop_own() is False

    def test_a_process_that_took_over_the_number_is_not_stopped(self, monkeypatch, tmp_path):
        record = tmp_path / "engine.json"
        record.write_text(f'{{"pid": {os.getpid()}}}')
        monkeypatch.setattr(engine, "RECORD", record)
        monkeypatch.setattr(engine.os, "kill", lambda *_: pytest.fail("killed"))
        assert engine.stop_own() is False
        assert not record.exists()

    def test_who_may_not_install_an_engine_is_told_what_to_do(self, monkeypatch):
        monkeypatch.setattr(engine, "answers", lambda: False)
        monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)
        with pytest.raises(RehearsalError, match=r"install docker\.io"):
            engine.ensure()

    def test_the_name_of_an_image_follows_what_it_is_made_of(self, tmp_path):
        file = tmp_path / "Dockerfile"
        file.write_text("FROM a")
        before = engine.image_tag("host", ["sources"], {"Dockerfile": file})
        assert before == engine.image_tag("host", ["sources"], {"Dockerfile": file})
        assert before != engine.image_tag("host", ["other sources"], {"Dockerfile": file})
        file.write_text("FROM b")
        assert before != engine.image_tag("host", ["sources"], {"Dockerfile": file})


class TestConsole:
    def test_a_program_that_fails_is_named_with_the_end_of_what_it_said(self):
        with pytest.raises(RehearsalError, match="sh failed with status 3:\nlast words"):
            console.run(["sh", "-c", "echo last words >&2; exit 3"])

    def test_a_missing_program_and_one_that_hangs_are_named(self):
        with pytest.raises(RehearsalError, match="no-such-program is not installed"):
            console.run(["no-such-program"])
        with pytest.raises(RehearsalError, match="sleep did not finish"):
            console.run(["sleep", "5"], timeout_seconds=0.1)


class TestResult:
    def test_a_token_is_not_good_where_nothing_answers(self, tmp_path):
        ca_file = Path(result.ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
        summary = {"url": "https://social.example", "ca_file": str(ca_file), "resolve": {"social.example": "127.0.0.1"}}
        assert result.token_is_good(summary, {"token": "old"}) is False


def test_the_inventory_that_is_shipped_can_be_rehearsed(state, tmp_path):
    overlay.copy_without_secrets(CHECKOUT / "inventories/single_box", tmp_path / "copy")
    settings = overlay.read_settings(tmp_path / "copy", state)
    assert list(settings.hosts) == ["box1"]
    assert {"nginx", "web", "streaming", "sidekiq", "postgres", "redis"} <= set(settings.groups_of("box1"))
