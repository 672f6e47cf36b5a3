# SPDX-License-Identifier: GPL-3.0-or-later
"""Every alert has a page that somebody can follow at night: what it names exists."""

from __future__ import annotations

import re
from functools import cache

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.alert_rules import SEVERITIES
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.inventory import OVERRIDES
from collection_tree import ROLES, ROOT, alert_groups, load, options

FOLDER = ROOT / "docs/runbooks"
ALERTS = {rule["alert"]: rule for group in alert_groups() for rule in group["rules"] if "alert" in rule}
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
HEADINGS = ["## Look", "## Do", "## Over"]
# Longer ones are not read at night.
MOST_LINES = 60
# Groups of an inventory look like variables of a role.
GROUPS = {"postgres_primary", "postgres_replica", "redis_core", "redis_replica", "redis_cache", "redis_sidekiq"}
VARIABLE = re.compile(rf"`((?:mastodon|vm|{'|'.join(role.name for role in ROLES)})_[a-z0-9_]+)(?=[`:= ])")
SUBCOMMAND = re.compile(r"mastodon-redis ([a-z-]+)")

every_page = pytest.mark.parametrize(
    "page", [*PAGES, FOLDER / "README.md", ROOT / "docs/metrics.md"], ids=lambda page: page.stem
)


def takes(minutes):
    return "at once" if not minutes else f"after {minutes} minute{'s' * (minutes != 1)}"


def test_every_alert_has_a_page_and_every_page_an_alert():
    assert [page.stem for page in PAGES] == sorted(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_page_says_what_the_alert_is(name):
    rule, lines = ALERTS[name], (FOLDER / f"{name}.md").read_text().splitlines()
    minutes = rule["for_seconds"] // 60
    after = "after 1 hour" if minutes == 60 else takes(minutes)
    assert lines[:3] == [f"# {name}", "", f"**{rule['severity']}**, {after}"]
    assert [line for line in lines if line.startswith("##")] == HEADINGS
    assert sum(line.startswith(("- **For people**:", "- **For the instance**:")) for line in lines) == 2
    assert len(lines) <= MOST_LINES


def test_index_has_every_alert_where_it_belongs():
    text = (FOLDER / "README.md").read_text()
    chapters = {chapter.split("\n")[0]: chapter for chapter in text.split("\n## ")[1:]}
    assert set(chapters) == set(SEVERITIES)
    for severity, chapter in chapters.items():
        listed = dict(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \|[^|]+\| (.*) \|$", chapter, re.M))
        assert listed == {name: rule["description"] for name, rule in ALERTS.items() if rule["severity"] == severity}


@every_page
def test_playbooks_that_it_names_exist(page):
    named = set(re.findall(r"fediops\.mastodon\.([a-z_]+)", page.read_text()))
    assert {name for name in named if not (ROOT / f"playbooks/{name}.yml").exists()} == set()


@every_page
def test_tiers_that_it_restarts_are_some(page):
    tiers = load(ROOT / "playbooks/vars/restart.yml")
    named = set(re.findall(r"-e tier=(\w+)", page.read_text()))
    assert named - {*tiers["restart_unnoticed"], *tiers["restart_noticed"]} == set()


@cache
def variables():
    """All that a role or the plan takes, or that the roles share."""
    taken = {name for role in ROLES for name in options(role)} | set(OVERRIDES)
    pages = "".join((ROOT / f"docs/{name}.md").read_text() for name in ("variables", "plan", "fleet"))
    return taken | set(re.findall(r"`((?:mastodon|vm)_[a-z0-9_]+)", pages))


@every_page
def test_variables_that_it_names_are_some(page):
    assert set(VARIABLE.findall(page.read_text())) - variables() - GROUPS == set()


@every_page
def test_commands_for_redis_that_it_names_exist(page):
    usage = set(SUBCOMMAND.findall((ROOT / "roles/redis/files/mastodon_redis.py").read_text()))
    assert set(SUBCOMMAND.findall(page.read_text())) - usage == set()
