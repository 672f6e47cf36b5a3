# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a source of dashboards is told with its place, and what is made from a right one can be used."""

from __future__ import annotations

import copy
import json
import re

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.fediops.mastodon.plugins.filter.grafana_dashboard import grafana_dashboard
from ansible_collections.fediops.mastodon.plugins.filter.overview_page import overview_page
from ansible_collections.fediops.mastodon.plugins.plugin_utils import dashboards
from collection_tree import ROOT

SOURCE = yaml.safe_load((ROOT / "roles/metrics/vars/dashboards.yml").read_text(encoding="utf-8"))["metrics_dashboards"]
NAMES = [dashboard["name"] for dashboard in SOURCE]


@pytest.fixture
def source():
    """A small source that is right."""
    panel = {
        "title": "Jobs",
        "kind": "graph",
        "unit": "per_second",
        "description": "All of them.",
        "warning": 5,
        "critical": 9,
        "queries": [{"expr": 'sum by (queue) (rate(jobs_total{queue="push"}[$window]))', "legend": "{queue}, {host}"}],
    }
    return [{"name": "work", "title": "Work", "rows": [{"title": "Queues", "panels": [panel]}]}]


def panel_of(source):
    return source[0]["rows"][0]["panels"][0]


def another(panel, **changes):
    return {**copy.deepcopy(panel), **changes}


def problems(source):
    with pytest.raises(ValueError) as told:
        dashboards.checked(source)
    return str(told.value).splitlines()


def test_a_right_source_is_returned_as_it_is(source):
    assert dashboards.checked(source) is source


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "pie"}, "work / Queues / Jobs: unknown kind 'pie', not one of stat, graph, table"),
        (
            {"unit": "reqs"},
            "work / Queues / Jobs: unknown unit 'reqs', not one of count, ratio, seconds, bytes, bytes_per_second, "
            "per_second",
        ),
        ({"queries": []}, "work / Queues / Jobs: `queries` must be a list of mappings, and not empty"),
        ({"queries": ["up"]}, "work / Queues / Jobs: `queries` must be a list of mappings, and not empty"),
        ({"description": " "}, "work / Queues / Jobs: `description` must be text, and not empty"),
        ({"color": "red"}, "work / Queues / Jobs: unknown key `color`"),
        ({"warning": "5"}, "work / Queues / Jobs: `warning` must be a number, not '5'"),
        ({"warning": 10}, "work / Queues / Jobs: `warning` is above `critical`"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_with_a_panel_is_told_with_its_place(source, change, told):
    panel_of(source).update(change)
    assert problems(source) == [told]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"expr": ""}, "`expr` must be text, and not empty"),
        ({"expr": "sum(up"}, "not every ( has its )"),
        ({"unit": "hours"}, "unknown unit 'hours', not one of count, ratio,"),
        ({"legend": "{{queue}}"}, "`legend` has {{, which Ansible would take for a template"),
    ],
)
def test_what_is_wrong_with_a_query_is_told_with_its_place(source, change, told):
    panel_of(source)["queries"][0].update(change)
    [problem] = problems(source)
    assert problem.startswith(f"work / Queues / Jobs / query 1: {told}")


def test_titles_and_names_are_there_once(source):
    rows = source[0]["rows"]
    rows[0]["panels"].append(another(panel_of(source)))
    rows.append({"title": "Queues", "panels": [another(panel_of(source), title="Others")]})
    source.append({"name": "work", "title": "Work", "rows": [{"title": "A", "panels": [another(panel_of(source))]}]})
    assert problems(source) == [
        "dashboards: the name 'work' is there 2 times",
        "dashboards: the title 'Work' is there 2 times",
        "work: the title 'Queues' is there 2 times",
        "work: the title 'Jobs' is there 2 times",
    ]


def test_everything_that_is_wrong_is_told_at_once(source):
    del panel_of(source)["unit"]
    panel_of(source)["kind"] = "pie"
    source.append({"name": "Upper", "title": "Upper", "rows": [{"title": "Empty", "panels": []}]})
    assert problems(source) == [
        "work / Queues / Jobs: `unit` is missing",
        "work / Queues / Jobs: unknown kind 'pie', not one of stat, graph, table",
        "Upper: a name has small letters, digits and underscores only",
        "Upper / Empty: `panels` must be a list of mappings, and not empty",
    ]


@pytest.mark.parametrize("nothing", [[], {}, "dashboards", None, [1]])
def test_a_source_that_is_none_is_told(nothing):
    assert problems(nothing) == ["dashboards: must be a list of mappings, and not empty"]


def test_the_column_of_a_table_names_no_label(source):
    panel_of(source)["kind"] = "table"
    assert problems(source) == [
        "work / Queues / Jobs / query 1: of a table the legend is a column's title, which names no label"
    ]


def test_titles_that_grafana_could_not_tell_apart_are_told(source, monkeypatch):
    monkeypatch.setattr(dashboards, "_id", lambda _name: 7)
    assert problems(source) == ["work: 'panel Jobs' and 'row Queues' get the same number: change one of these titles"]


def test_queries_can_be_asked_as_they_are(source):
    [query] = dashboards.queries(source, window="1h")
    assert query.expr == 'sum by (queue) (rate(jobs_total{queue="push"}[1h]))'
    assert query.place == "work / Queues / Jobs / {queue}, {host}"


def test_grafana_gets_its_own_words(source):
    panel_of(source)["queries"].append({"expr": "time()", "legend": "late", "unit": "seconds"})
    panel = grafana_dashboard(source, "work")["panels"][1]
    assert panel["targets"][0]["expr"] == 'sum by (queue) (rate(jobs_total{queue="push"}[$__rate_interval]))'
    assert panel["targets"][0]["legendFormat"] == "{{queue}}, {{host}}"
    assert [target["refId"] for target in panel["targets"]] == ["A", "B"]
    assert panel["fieldConfig"]["defaults"]["unit"] == "cps"
    assert panel["fieldConfig"]["overrides"] == [
        {"matcher": {"id": "byName", "options": "late"}, "properties": [{"id": "unit", "value": "s"}]}
    ]
    steps = [(step["color"], step["value"]) for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert steps == [("green", None), ("orange", 5), ("red", 9)]


def test_columns_of_a_table_have_their_titles(source):
    for number, letters in ((1, ["Value", "Value #A"]), (2, ["Value #A", "Value #B"])):
        queries = [{"expr": "up", "legend": f"column {each}"} for each in range(number)]
        panel_of(source).update(kind="table", queries=queries)
        panel = grafana_dashboard(source, "work")["panels"][1]
        assert list(panel["transformations"][1]["options"]["renameByName"]) == letters
        assert all(target["format"] == "table" and target["instant"] for target in panel["targets"])


def test_numbers_of_panels_stay_when_others_come_and_go(source):
    before = {panel["title"]: panel["id"] for panel in grafana_dashboard(source, "work")["panels"]}
    source[0]["rows"][0]["panels"].insert(0, another(panel_of(source), title="Workers"))
    source[0]["rows"].insert(0, {"title": "First", "panels": [another(panel_of(source), title="Threads")]})
    after = {panel["title"]: panel["id"] for panel in grafana_dashboard(source, "work")["panels"]}
    assert before.items() <= after.items()


def test_a_dashboard_that_is_not_there_is_told(source):
    with pytest.raises(AnsibleFilterError, match=r"fediops\.mastodon\.grafana_dashboard: there is no dashboard 'web'"):
        grafana_dashboard(source, "web")


@pytest.mark.parametrize("call", [lambda: grafana_dashboard({}, "web"), lambda: overview_page("x", "title")])
def test_a_wrong_type_is_told(call):
    with pytest.raises(AnsibleFilterError, match="the source must be a list, not "):
        call()


# What is shipped.


def test_the_page_gets_all_that_is_in_the_source():
    page = overview_page(SOURCE, "social.example")
    assert json.loads(json.dumps(page)) == {"title": "social.example", "dashboards": SOURCE}


@pytest.mark.parametrize("name", NAMES)
def test_grafana_can_import_it(name):
    made = json.loads(json.dumps(grafana_dashboard(SOURCE, name)))
    assert made["uid"] == f"fediops-{name}"
    assert len(made["uid"]) <= 40
    assert made["schemaVersion"] >= 36
    assert [variable["type"] for variable in made["templating"]["list"]] == ["datasource"]
    ids = [panel["id"] for panel in made["panels"]]
    assert len(ids) == len(set(ids))
    assert all(0 < number < 2**31 for number in ids)
    for panel in made["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
            assert "$window" not in json.dumps(panel)


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_the_grid_and_never_lie_on_each_other(name):
    taken = {}
    for panel in grafana_dashboard(SOURCE, name)["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    height = max(y for _x, y in taken) + 1
    assert set(taken) == {(x, y) for x in range(24) for y in range(height)}


def test_no_panel_hides_that_nothing_is_measured():
    assert [query.place for query in dashboards.queries(SOURCE) if re.search(r"\bvector\(", query.expr)] == []


def test_every_rate_looks_back_as_far_as_its_graph_needs():
    """A rate over a fixed time would leave out most of a long range."""
    fixed = re.compile(r"\brate\([^()]*\[\d+[a-z]\]")
    assert [query.place for query in dashboards.queries(SOURCE, window="WINDOW") if fixed.search(query.expr)] == []
