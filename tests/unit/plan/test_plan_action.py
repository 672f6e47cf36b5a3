# SPDX-License-Identifier: GPL-3.0-or-later
"""The action in Ansible itself: what it reads, what it refuses, what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import ansible_collections.fediops.mastodon.plugins.plugin_utils.plan as library
import pytest
import yaml
from ansible_collections.fediops.mastodon.plugins.action.plan import scheduler_of

COLLECTIONS = str(Path(library.__file__).parents[6])
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
BOX = {"vm_vcpus": 2, "vm_memory_mb": 4096, "vm_address": "192.0.2.10"}
FACTS = {"processor_vcpus": 4, "memtotal_mb": 7946, "default_ipv4": {"address": "198.51.100.7"}}

# A variable that reads the plan must not be templated by the action: there is no plan yet.
PLAYBOOK = """
- hosts: all
  gather_facts: false
  vars:
    mastodon_plan: "{{ mastodon_fleet.plan.hosts[inventory_hostname] }}"
    needs_the_plan: "{{ mastodon_plan.web.workers }}"
  tasks:
    - fediops.mastodon.plan:
        file: "{{ file | default(omit) }}"
        page: "{{ page | default(omit) }}"
        previous: "{{ previous | default(omit) }}"
        leaving: "{{ leaving | default(omit) }}"
        propose: "{{ propose | default(omit) }}"
        provisional: "{{ provisional | default(omit) }}"
        show_warnings: "{{ show_warnings | default(omit) }}"
      register: mastodon_fleet
      run_once: true
    - ansible.builtin.copy:
        content: "{{ mastodon_fleet | combine({'workers': needs_the_plan}) | ansible.builtin.to_json }}"
        dest: "{{ playbook_dir }}/result.json"
        mode: "0600"
      delegate_to: localhost
      check_mode: false
      # It takes the result out to the test; what is counted is whether the plan changed.
      changed_when: false
"""


@pytest.fixture
def run(tmp_path):
    if not ANSIBLE.exists():
        pytest.fail(f"{ANSIBLE} is missing: run the tests with the Python of an environment that has Ansible")
    (tmp_path / "play.yml").write_text(PLAYBOOK)

    def ansible(*command, environment):
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    def run(*arguments, variables=None, facts=None, groups=(), queue_groups=None):
        cache = tmp_path / "facts"
        tiers = ("nginx", "web", "streaming", "sidekiq", *groups)
        data = {"postgres": "postgres_primary", "redis": "redis_core"}
        inventory = {tier: {"hosts": {"box": None}} for tier in tiers}
        inventory |= {tier: {"children": {part: {"hosts": {"box": None}}}} for tier, part in data.items()}
        for group, members in (queue_groups or {}).items():
            inventory["sidekiq"].setdefault("children", {})[group] = {"hosts": dict.fromkeys(members)}
        hosts = {"box": {"ansible_connection": "local", **(BOX if variables is None else variables)}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": inventory}}))
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(cache),
            "ANSIBLE_NOCOLOR": "true",
            "COLUMNS": "500",
        }
        if facts:
            module = ["-m", "ansible.builtin.set_fact", "-a", json.dumps({**facts, "cacheable": True})]
            ansible(ANSIBLE.with_name("ansible"), "all", "-i", tmp_path / "hosts.yml", *module, environment=environment)
        done = ansible(
            ANSIBLE, "-i", tmp_path / "hosts.yml", tmp_path / "play.yml", *arguments, environment=environment
        )
        result = tmp_path / "result.json"
        return done, json.loads(result.read_text()) if result.exists() else None

    return run


def told(done):
    return " ".join((done.stdout + done.stderr).split())


def test_declared_sizes_need_no_connection_and_reach_the_roles(run):
    done, result = run()
    assert done.returncode == 0, told(done)
    assert result["workers"] == 1
    assert result["plan"]["hosts"]["box"]["host"]["memory_mb"] == 4096
    assert result["plan"]["hosts"]["box"]["host"]["components"] == sorted(
        ["nginx", "web", "streaming", "sidekiq", "postgres", "redis"]
    )


def test_sizes_come_from_facts_and_declarations_win(run):
    done, result = run(variables={"vm_memory_mb": 4096}, facts=FACTS)
    assert done.returncode == 0, told(done)
    host = result["plan"]["hosts"]["box"]["host"]
    assert (host["vcpus"], host["memory_mb"], host["address"]) == (4, 4096, "198.51.100.7")


def test_unknown_sizes_are_refused_by_name(run):
    done, result = run(variables={})
    assert done.returncode != 0
    assert "box: vm_vcpus and vm_memory_mb and vm_address are not known" in told(done)
    assert result is None


def test_extra_variables_are_text_and_count(run):
    done, result = run("-e", "web_workers=2", "-e", "vm_memory_mb=8192")
    assert done.returncode == 0, told(done)
    assert result["workers"] == 2
    assert result["plan"]["hosts"]["box"]["host"]["memory_mb"] == 8192


def test_all_errors_come_at_once_before_anything_else_runs(run):
    done, result = run("-e", "web_workers=many", "-e", "vm_memory_mb=4GB", groups=["sidekik"])
    assert done.returncode != 0
    for words in ("3 constraints do not hold", "'many'", "Type vm_memory_mb: 4096", "Rename it to sidekiq"):
        assert words in told(done)
    assert result is None


def test_warnings_are_shown_and_the_run_goes_on(run):
    done, result = run("-e", "web_workers=3", "-e", "vm_memory_mb=8192")
    assert done.returncode == 0
    assert "[WARNING]: [workers] box: 3 Puma workers on 2 vCPU" in told(done)
    assert [finding["constraint"] for finding in result["plan"]["findings"]] == ["workers"]


def test_warnings_can_be_left_to_the_findings(run):
    done, result = run("-e", "web_workers=3", "-e", "vm_memory_mb=8192", "-e", "show_warnings=false")
    assert "[WARNING]: [workers]" not in told(done)
    assert [finding["constraint"] for finding in result["plan"]["findings"]] == ["workers"]


def test_the_plan_as_a_file(run, tmp_path):
    path = tmp_path / "kept/plan.json"
    checked, _result = run("-e", f"file={path}", "--check")
    assert "changed=1" in checked.stdout
    assert not path.exists()
    first, result = run("-e", f"file={path}")
    assert json.loads(path.read_text()) == result["plan"]
    assert path.stat().st_mode & 0o777 == 0o600
    written = path.stat().st_mtime_ns
    assert "changed=0" in run("-e", f"file={path}")[0].stdout
    assert path.stat().st_mtime_ns == written
    assert first.returncode == 0


def test_the_plan_does_not_enter_the_cache_of_facts(run, tmp_path):
    run()
    cached = "".join(path.read_text() for path in (tmp_path / "facts").rglob("*") if path.is_file())
    assert "max_connections" not in cached


def test_another_plan_than_the_last_is_compared_and_shown_as_a_difference(run, tmp_path):
    path = tmp_path / "kept/plan.json"
    run("-e", f"file={path}")
    done, result = run("-e", f"file={path}", "-e", "web_workers=3", "-e", "vm_memory_mb=8192", "--diff")
    assert done.returncode == 0, told(done)
    comparison = result["comparison"]
    assert comparison["hosts"] == ["box"]
    assert {"service": "Puma", "effect": "restart", "hosts": ["box"]} in comparison["services"]
    assert "Puma workers" in done.stdout
    assert "(restart Puma)" in done.stdout
    assert "Puma: restart on box (Puma workers 1 -> 3" in comparison["announcement"]


def test_a_plan_of_last_week_may_be_what_is_compared_with(run, tmp_path):
    last_week, path = tmp_path / "last_week.json", tmp_path / "plan.json"
    run("-e", f"file={last_week}")
    run("-e", f"file={path}", "-e", "sidekiq_concurrency=7")
    done, result = run("-e", f"file={path}", "-e", "sidekiq_concurrency=7", "-e", f"previous={last_week}")
    assert done.returncode == 0, told(done)
    assert {entry["service"] for entry in result["comparison"]["services"]} >= {"Sidekiq core", "Sidekiq federation"}


@pytest.mark.parametrize("content", ["", "{}", '{"hosts": {"box": 1}}'])
def test_a_file_that_holds_no_plan_is_not_compared_with(run, tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(content)
    done, result = run("-e", f"file={path}")
    assert done.returncode == 0, told(done)
    assert result["comparison"] is None
    assert f"Nothing is compared with {path}" in told(done)
    assert json.loads(path.read_text()) == result["plan"]


def test_the_page_is_written_once_and_is_private(run, tmp_path):
    path = tmp_path / "kept/plan.html"
    checked, _result = run("-e", f"page={path}", "--check")
    assert "changed=1" in checked.stdout
    assert not path.exists()
    run("-e", f"page={path}", "-e", "mastodon_local_domain=social.example")
    assert "The plan of social.example" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    again = run("-e", f"page={path}", "-e", "mastodon_local_domain=social.example")[0]
    assert "changed=0" in again.stdout


def test_for_a_look_unknown_sizes_are_assumed(run):
    done, result = run("-e", "provisional=true", variables={})
    assert done.returncode == 0, told(done)
    assert result["plan"]["hosts"]["box"]["host"]["provisional"] is True
    assert "[WARNING]: [provisional]" in told(done)


def test_for_a_look_what_does_not_hold_is_told_and_not_kept(run, tmp_path):
    file, page = tmp_path / "plan.json", tmp_path / "plan.html"
    done, result = run("-e", "provisional=true", "-e", f"file={file}", "-e", f"page={page}", "-e", "web_workers=40")
    assert done.returncode == 0, told(done)
    assert result["refusal"].startswith("One constraint does not hold, and nothing was changed:\n1. [C16] box: ")
    assert not file.exists()
    assert "error C16" in page.read_text()


def test_a_warning_may_be_silenced(run):
    more = ["-e", "web_workers=3", "-e", "vm_memory_mb=8192"]
    done, result = run(*more, "-e", '{"mastodon_plan_silenced": ["workers"]}')
    assert done.returncode == 0, told(done)
    assert "[workers]" not in told(done)
    assert result["plan"]["findings"] == []


def test_users_ask_for_a_layout_only_where_that_is_asked_for(run):
    users = ["-e", "mastodon_monthly_active_users=900"]
    _done, result = run(*users)
    assert result["plan"]["demand"]["load"]["monthly_active_users"] == 900
    assert "proposal" not in result
    done, result = run(*users, "-e", "propose=true")
    assert done.returncode == 0, told(done)
    assert result["proposal"]["chosen"]["hosts"]
    _done, result = run("-e", "propose=true")
    assert result["proposal"] is None


def test_the_child_groups_of_sidekiq_may_have_any_name(run):
    done, result = run(queue_groups={"mail_and_more": ["box"]})
    assert done.returncode == 0, told(done)
    assert result["plan"]["hosts"]["box"]["host"]["sidekiq_group"] == "mail_and_more"
    done, _result = run(queue_groups={"mail_and_more": ["box"], "the_rest": ["box"]})
    assert done.returncode != 0
    for words in ("mail_and_more", "the_rest"):
        assert words in told(done)


def test_an_environment_that_reads_the_plan_does_not_stop_it(run):
    done, result = run(variables={**BOX, "mastodon_env": {"A": "{{ mastodon_plan.web.workers }}"}})
    assert done.returncode == 0, told(done)
    assert result["workers"] == 1
    assert "mastodon_env of box reads the plan" in told(done)
    done, _result = run(variables={**BOX, "web_workers": "{{ mastodon_plan.web.workers }}"})
    assert done.returncode != 0


def test_who_may_not_leave_is_refused_before_anything_else_runs(run):
    done, result = run("-e", "leaving=box")
    assert done.returncode != 0
    for words in ("box cannot be retired: it is the primary of PostgreSQL", "the core of Redis", "only host of web"):
        assert words in told(done)
    assert result is None


def test_secrets_that_must_be_alike_are_compared_and_never_told(run):
    secret = "f00dcafe" * 16
    done, result = run("-e", f"mastodon_secret_key_base={secret}", "-vvv")
    assert done.returncode == 0
    assert secret not in json.dumps(result)


def test_a_plan_that_cannot_be_kept_is_told_with_what_to_set(run, tmp_path):
    (tmp_path / "in_the_way").write_text("a file where a folder should be")
    done, result = run("-e", f"file={tmp_path}/in_the_way/plan.json")
    assert done.returncode != 0
    assert f"{tmp_path}/in_the_way" in told(done)
    assert "nothing was changed. Set mastodon_plan_file" in told(done)
    assert result is None


EARLIER = {"hosts": {"work1": {"sidekiq": {"processes": [{"queues": ["default,8", "scheduler,1"]}]}}, "web1": {}}}


class TestWhereTheSchedulerIs:
    """The hosts say it; where none was asked, the earlier plan does."""

    def of(self, states, before):
        hostvars = {name: {"mastodon_host_state": state} if state else {} for name, state in states.items()}
        return scheduler_of(hostvars, list(states), before)

    def test_hosts_are_believed(self):
        assert self.of({"work1": {"schedulers": []}, "work2": {"schedulers": ["core"]}}, EARLIER) == "work2"

    def test_new_hosts_have_none_whatever_the_plan_said(self):
        assert self.of({"work1": {"schedulers": []}}, EARLIER) is None

    def test_the_earlier_plan_is_asked_where_no_host_was(self):
        assert self.of({"work1": None, "work2": None}, EARLIER) == "work1"
        assert self.of({"work1": None}, None) is None
