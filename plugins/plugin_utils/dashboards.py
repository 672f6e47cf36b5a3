# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards from one source: Grafana's JSON, and what the overview page reads. Pure.

The source is a list of dashboards {name, title, rows: [{title, panels}]}. A panel has title, kind, unit, description
and queries [{expr, legend}], and may have `warning` and `critical`: values that are coloured from there on. A query may
have a unit of its own. `$window` in a query is the time that a rate looks back; {label} in a legend names a label.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KINDS = ("stat", "graph", "table")
# Ours, and Grafana's name for it.
UNITS = {
    "count": "short",
    "ratio": "percentunit",
    "seconds": "s",
    "bytes": "bytes",
    "bytes_per_second": "binBps",
    "per_second": "cps",
}
WINDOW = "$window"

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LABEL = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")
# Ansible would take these for its own before anybody sees the source.
_JINJA = re.compile(r"\{\{|\{%|\{#")
_KEYS = {
    "dashboard": ({"name", "title", "rows"}, set()),
    "row": ({"title", "panels"}, set()),
    "panel": ({"title", "kind", "unit", "description", "queries"}, {"warning", "critical"}),
    "query": ({"expr", "legend"}, {"unit"}),
}

# The version of Grafana's format that Grafana 11 writes; later ones migrate it.
_SCHEMA_VERSION = 39
_COLUMNS = 24
_HEIGHTS = {"row": 1, "stat": 4, "graph": 8, "table": 8}
_STATS_IN_A_LINE, _OTHERS_IN_A_LINE = 6, 2
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_TYPES = {"stat": "stat", "graph": "timeseries", "table": "table"}


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query that can be asked as it is, and its place in the source for a person."""

    place: str
    kind: str
    expr: str


def queries(source: Sequence[Mapping[str, Any]], window: str = "5m") -> Iterator[Query]:
    """List every query of every dashboard. Raises ValueError where the source is wrong."""
    for dashboard in checked(source):
        for row in dashboard["rows"]:
            for panel in row["panels"]:
                for query in panel["queries"]:
                    yield Query(
                        place=f"{dashboard['name']} / {row['title']} / {panel['title']} / {query['legend']}",
                        kind=panel["kind"],
                        expr=query["expr"].replace(WINDOW, window),
                    )


def overview_page(source: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    """Return what the overview page reads. Raises ValueError where the source is wrong."""
    return {"title": title, "dashboards": [dict(dashboard) for dashboard in checked(source)]}


def grafana_dashboard(source: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Return one of the dashboards as Grafana imports it. Raises ValueError where the source is wrong or lacks it."""
    found = {dashboard["name"]: dashboard for dashboard in checked(source)}
    if name not in found:
        raise ValueError(f"there is no dashboard {name!r}, only {', '.join(found)}")
    return {
        "uid": f"fediops-{name}",
        "title": f"Mastodon: {found[name]['title']}",
        "tags": ["fediops"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "title": "Mastodon", "tags": ["fediops"], "asDropdown": True, "keepTime": True}
        ],
        "templating": {"list": [_datasource_variable()]},
        "panels": list(_grafana_panels(found[name])),
    }


def checked(source: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the source. Raises ValueError with everything that is wrong with it, each with its place."""
    problems = list(_problems(source))
    if problems:
        raise ValueError("\n".join(problems))
    return source


def _problems(source: Any) -> Iterator[str]:
    dashboards, place = _list_of_mappings(source), "dashboards"
    if dashboards is None:
        yield f"{place}: must be a list of mappings, and not empty"
        return
    yield from _repeated(place, "name", dashboards)
    yield from _repeated(place, "title", dashboards)
    for dashboard in dashboards:
        place = str(dashboard.get("name") or dashboard.get("title") or "a dashboard without a name")
        yield from _wrong_keys(place, "dashboard", dashboard)
        if not _NAME.fullmatch(str(dashboard.get("name", "x"))):
            yield f"{place}: a name has small letters, digits and underscores only"
        rows = _list_of_mappings(dashboard.get("rows"))
        if rows is None:
            yield f"{place}: `rows` must be a list of mappings, and not empty"
            continue
        yield from _repeated(place, "title", rows)
        panels = [panel for row in rows for panel in _list_of_mappings(row.get("panels")) or []]
        yield from _repeated(place, "title", panels)
        yield from _same_ids(place, rows, panels)
        for row in rows:
            yield from _problems_of_row(f"{place} / {row.get('title') or 'a row without a title'}", row)


def _problems_of_row(place: str, row: Mapping[str, Any]) -> Iterator[str]:
    yield from _wrong_keys(place, "row", row)
    panels = _list_of_mappings(row.get("panels"))
    if panels is None:
        yield f"{place}: `panels` must be a list of mappings, and not empty"
        return
    for panel in panels:
        yield from _problems_of_panel(f"{place} / {panel.get('title') or 'a panel without a title'}", panel)


def _problems_of_panel(place: str, panel: Mapping[str, Any]) -> Iterator[str]:
    yield from _wrong_keys(place, "panel", panel)
    if panel.get("kind", KINDS[0]) not in KINDS:
        yield f"{place}: unknown kind {panel['kind']!r}, not one of {', '.join(KINDS)}"
    yield from _unknown_unit(place, panel)
    limits = {name: panel[name] for name in ("warning", "critical") if name in panel}
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{place}: `{name}` must be a number, not {value!r}"
            return
    if len(limits) == 2 and limits["warning"] > limits["critical"]:
        yield f"{place}: `warning` is above `critical`"
    queries_of_panel = _list_of_mappings(panel.get("queries"))
    if queries_of_panel is None:
        yield f"{place}: `queries` must be a list of mappings, and not empty"
        return
    yield from _repeated(place, "legend", queries_of_panel)
    for number, query in enumerate(queries_of_panel, 1):
        yield from _problems_of_query(f"{place} / query {number}", panel, query)


def _problems_of_query(place: str, panel: Mapping[str, Any], query: Mapping[str, Any]) -> Iterator[str]:
    yield from _wrong_keys(place, "query", query)
    yield from _unknown_unit(place, query)
    expr = str(query.get("expr", ""))
    for opening, closing in ("()", "{}", "[]"):
        if expr.count(opening) != expr.count(closing):
            yield f"{place}: not every {opening} has its {closing}"
    if panel.get("kind") == "table" and _LABEL.search(str(query.get("legend", ""))):
        yield f"{place}: of a table the legend is a column's title, which names no label"


def _wrong_keys(place: str, what: str, given: Mapping[str, Any]) -> Iterator[str]:
    needed, allowed = _KEYS[what]
    for key in sorted(needed - set(given)):
        yield f"{place}: `{key}` is missing"
    for key in sorted(set(given) - needed - allowed):
        yield f"{place}: unknown key `{key}`"
    for key in sorted(set(given) & (needed | {"unit"}) - {"rows", "panels", "queries"}):
        value = given[key]
        if not isinstance(value, str) or not value.strip():
            yield f"{place}: `{key}` must be text, and not empty"
        elif found := _JINJA.search(value):
            yield f"{place}: `{key}` has {found[0]}, which Ansible would take for a template"


def _unknown_unit(place: str, given: Mapping[str, Any]) -> Iterator[str]:
    if given.get("unit", "count") not in UNITS:
        yield f"{place}: unknown unit {given['unit']!r}, not one of {', '.join(UNITS)}"


def _repeated(place: str, key: str, given: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    values = [each[key] for each in given if isinstance(each.get(key), str)]
    for value in dict.fromkeys(value for value in values if values.count(value) > 1):
        yield f"{place}: the {key} {value!r} is there {values.count(value)} times"


def _same_ids(place: str, rows: Sequence[Mapping[str, Any]], panels: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say which titles Grafana could not tell apart; the same titles are told of elsewhere."""
    names = {f"row {row.get('title')}" for row in rows} | {f"panel {panel.get('title')}" for panel in panels}
    seen: dict[int, str] = {}
    for name in sorted(names):
        if (other := seen.setdefault(_id(name), name)) != name:
            yield f"{place}: {other!r} and {name!r} get the same number: change one of these titles"


def _list_of_mappings(given: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return the list, or nothing where it is none, is empty, or holds something else."""
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)) or not given:
        return None
    return given if all(isinstance(each, Mapping) for each in given) else None


def _id(name: str) -> int:
    """Return a number that stays when panels come, go and move: people keep links to panels. Grafana wants above 0."""
    return zlib.crc32(name.encode()) % (2**31 - 1) + 1


def _datasource_variable() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "regex": "",
        "current": {},
    }


def _grafana_panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    y = 0
    for row in dashboard["rows"]:
        yield {
            "id": _id(f"row {row['title']}"),
            "type": "row",
            "title": row["title"],
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": _HEIGHTS["row"]},
        }
        y += _HEIGHTS["row"]
        for line in _lines(row["panels"]):
            height = _HEIGHTS[line[0]["kind"]]
            edges = [_COLUMNS * number // len(line) for number in range(len(line) + 1)]
            for panel, left, right in zip(line, edges, edges[1:], strict=False):
                yield _grafana_panel(panel, {"x": left, "y": y, "w": right - left, "h": height})
            y += height


def _lines(panels: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Group panels into lines of the grid: stats that follow each other share one, and two of the others do."""
    line: list[Mapping[str, Any]] = []
    for panel in panels:
        stats = panel["kind"] == "stat"
        full = len(line) == (_STATS_IN_A_LINE if stats else _OTHERS_IN_A_LINE)
        if line and (full or stats != (line[0]["kind"] == "stat")):
            yield line
            line = []
        line.append(panel)
    yield line


def _grafana_panel(panel: Mapping[str, Any], place: Mapping[str, int]) -> dict[str, Any]:
    kind = panel["kind"]
    made = {
        "id": _id(f"panel {panel['title']}"),
        "type": _TYPES[kind],
        "title": panel["title"],
        "description": panel["description"],
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _field_defaults(panel), "overrides": _overrides(panel)},
        "options": _options(kind),
        "targets": [_target(kind, number, query) for number, query in enumerate(panel["queries"])],
    }
    if kind == "table":
        names = {f"Value #{_reference(number)}": query["legend"] for number, query in enumerate(panel["queries"])}
        if len(names) == 1:
            # Grafana numbers the columns only where there are several.
            names = {"Value": panel["queries"][0]["legend"], **names}
        made["transformations"] = [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
        ]
    return made


def _field_defaults(panel: Mapping[str, Any]) -> dict[str, Any]:
    limits = [("orange", panel.get("warning")), ("red", panel.get("critical"))]
    base = "green" if "warning" in panel or "critical" in panel else "text"
    steps = [{"color": base, "value": None}]
    steps += [{"color": color, "value": value} for color, value in limits if value is not None]
    defaults: dict[str, Any] = {
        "unit": UNITS[panel["unit"]],
        "noValue": "no data",
        "color": {"mode": "palette-classic" if panel["kind"] == "graph" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel["kind"] == "graph":
        defaults["min"] = 0
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 8,
            "showPoints": "never",
            "spanNulls": False,
            "thresholdsStyle": {"mode": "dashed" if len(steps) > 1 else "off"},
        }
    elif panel["kind"] == "table" and len(steps) > 1:
        defaults["custom"] = {"cellOptions": {"type": "color-text"}}
    return defaults


def _overrides(panel: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "matcher": {"id": "byName", "options": _grafana_legend(query["legend"])},
            "properties": [{"id": "unit", "value": UNITS[query["unit"]]}],
        }
        for query in panel["queries"]
        if query.get("unit", panel["unit"]) != panel["unit"]
    ]


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
    if kind == "table":
        return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _target(kind: str, number: int, query: Mapping[str, Any]) -> dict[str, Any]:
    at_once = kind != "graph"
    return {
        "refId": _reference(number),
        "datasource": _DATASOURCE,
        "editorMode": "code",
        "expr": query["expr"].replace(WINDOW, "$__rate_interval"),
        "legendFormat": _grafana_legend(query["legend"]),
        "format": "table" if kind == "table" else "time_series",
        "instant": at_once,
        "range": not at_once,
    }


def _grafana_legend(legend: str) -> str:
    return _LABEL.sub(r"{{\1}}", legend)


def _reference(number: int) -> str:
    """A, B, C, …: the letter by which Grafana knows the query of a panel."""
    return chr(ord("A") + number)
