# SPDX-License-Identifier: GPL-3.0-or-later
"""The overview page as a person meets it: in Chromium, on a screen and on a phone, with answers good and bad."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from e2e.plan.test_page import contrast

from .conftest import SOURCE, settled
from .front import front, gone, no_number, nothing, refused

PHONE, SCREEN = (360, 740), (1280, 900)
# As high as the page, so that all of it is seen at once.
WHOLE = {PHONE: (360, 12000), SCREEN: (1280, 6000)}
NAMES = [dashboard["name"] for dashboard in SOURCE]
PANELS = {each["name"]: sum(len(row["panels"]) for row in each["rows"]) for each in SOURCE}
STATE = "document.getElementById('state').textContent"
ALERTS = "document.getElementById('alerts').innerText"
# Of the panel with a title, what a person reads.
READ = "document.querySelector('[aria-label=\"{}\"]').innerText"
EVERY_QUERY = "("
# The clock of the page runs so fast that its half minute is a second.
FAST = """{ const began = Date.now(), real = Date.now, slow = setInterval;
    Date.now = () => began + (real.call(Date) - began) * 30;
    window.setInterval = (what, time) => slow(what, time / 30); }"""


def read(tab, title: str) -> str:
    return tab.run(READ.format(title))


def assert_whole(tab, host, name: str, size: tuple[int, int]) -> None:
    """A dashboard in a window: each panel shows something, the page is as wide as the window, and asks nobody else."""
    shown = tab.run("""[...document.querySelectorAll('.panel')].map((each) => [each.querySelector('h3').textContent,
        each.querySelectorAll('.value, .plot .series, tbody td, .none').length > 0,
        each.querySelector('.trouble').hidden])""")
    assert len(shown) == PANELS[name]
    assert [panel for panel in shown if panel[1:] != [True, True]] == []
    assert tab.run("document.documentElement.scrollWidth") <= size[0]
    assert tab.run(STATE).startswith("Up to date at ")
    assert tab.complaints == []
    assert {urlsplit(address).netloc.rpartition("@")[2] for address in tab.requests if address != "about:blank"} == {
        urlsplit(host.address).netloc
    }


def keep_pictures(show, host, name: str, folder: Path) -> None:
    """For people: what it looks like cannot be asserted."""
    folder.mkdir(parents=True, exist_ok=True)
    for look, size, scheme in (("phone", PHONE, "light"), ("light", SCREEN, "light"), ("dark", SCREEN, "dark")):
        tab = show(host, f"{name}/1h", WHOLE[size])
        tab.prefer(scheme)
        path = folder / f"{name}-{look}.png"
        tab.size(size[0], int(tab.run("document.body.scrollHeight")))
        tab.picture(path)
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
@pytest.mark.parametrize("name", NAMES)
def test_no_panel_is_blank_and_no_page_scrolls_sideways(show, played, name, size):
    assert_whole(show(played, f"{name}/1h", WHOLE[size]), played, name, size)


@pytest.mark.parametrize("name", NAMES)
def test_text_stays_inside_its_panel(show, played, name):
    tab = show(played, f"{name}/7d", WHOLE[PHONE])
    outside = tab.run("""[...document.querySelectorAll('.panel')].flatMap((panel) => {
        const {left, right} = panel.getBoundingClientRect();
        return [...panel.querySelectorAll('*')].filter((each) => each.getClientRects().length
            && !each.closest('.wide, .hidden')).filter((each) => {
            const box = each.getBoundingClientRect();
            return box.left < left - 1 || box.right > right + 1;
        }).map((each) => panel.getAttribute('aria-label') + ': ' + each.textContent);
    })""")
    assert outside == []


def test_a_small_host_is_asked_a_little_at_a_time_and_only_for_what_is_seen(show, played, prometheus):
    show(played, "overview/1h", PHONE)
    queries = [(what, parameters["query"]) for what, parameters in prometheus.asked if what != "alerts"]
    assert prometheus.most_at_once <= 3
    assert len(queries) == len(set(queries))
    assert 0 < len(queries) < sum(len(panel["queries"]) for row in SOURCE[0]["rows"] for panel in row["panels"])


def test_it_asks_again_by_itself(show, played, prometheus):
    tab = show(played, script=FAST)
    first = {parameters["query"] for what, parameters in prometheus.asked if what == "query"}
    assert first
    prometheus.asked.clear()
    deadline = time.monotonic() + 60
    while {parameters.get("query", what) for what, parameters in prometheus.asked} < first | {"alerts"}:
        assert time.monotonic() < deadline, "stats and alerts are not asked again"
        tab.run("new Promise((done) => setTimeout(done, 200))")


def test_a_longer_range_is_asked_in_longer_steps_and_no_rate_leaves_time_out(show, played, prometheus):
    for name, seconds in (("1h", 3600), ("6h", 21600), ("24h", 86400), ("7d", 604800)):
        prometheus.asked.clear()
        tab = show(played, f"web/{name}", WHOLE[SCREEN])
        asked = [parameters for what, parameters in prometheus.asked if what == "query_range"]
        for parameters in asked:
            step = int(parameters["step"])
            assert int(parameters["end"]) - int(parameters["start"]) == seconds
            assert seconds / step <= 200
            assert "[$window]" not in parameters["query"]
            if "rate(" in parameters["query"]:
                assert f"[{max(step, 300)}s]" in parameters["query"]
        assert tab.run("document.querySelector('#ranges [aria-current]').textContent") == name.replace(
            "h", " h"
        ).replace("d", " d")


def test_dashboards_and_ranges_are_links_that_keep_each_other(show, played):
    tab = show(played, "overview/1h")
    # A browser remembers 50 pages, and the tests before this one have seen as many.
    tab.call("Page.resetNavigationHistory")
    tab.run("[...document.querySelectorAll('#dashboards a')].find((each) => each.textContent === 'Redis').click()")
    tab.wait("location.hash === '#redis/1h' && document.title.startsWith('Redis')", "Redis is shown")
    tab.run("[...document.querySelectorAll('#ranges a')].find((each) => each.textContent === '7 d').click()")
    tab.wait("location.hash === '#redis/7d'", "a week is shown")
    settled(tab)
    tab.run("history.go(-2)")
    tab.wait("document.title.startsWith('Overview')", "the overview is shown again")
    assert tab.complaints == []


def test_a_place_that_is_not_there_is_the_overview(show, played):
    assert show(played, "nowhere/1y").run("document.title") == "Overview | social.example"


@pytest.mark.parametrize(
    ("answer", "told"),
    [(nothing, "Nothing measures this, or its target is down."), (no_number, "It is measured, and nothing happened.")],
)
@pytest.mark.parametrize("name", ["overview", "streaming"])
def test_a_panel_without_data_says_so(show, played, prometheus, name, answer, told):
    prometheus.instead[EVERY_QUERY] = answer
    tab = show(played, f"{name}/1h", WHOLE[SCREEN])
    said = tab.run("[...document.querySelectorAll('.panel .body')].map((each) => each.innerText.replace(/\\s+/g, ' '))")
    assert said == [f"No data {told}"] * PANELS[name]


def test_a_query_without_data_is_named_beside_others(show, played, prometheus):
    prometheus.instead["nginx_http_requests_total"] = nothing
    tab = show(played, "overview/1h", WHOLE[SCREEN])
    assert "No data for: edge." in read(tab, "Requests")
    prometheus.instead = {"fediops_sidekiq_queue_consumers": nothing}
    tab = show(played, "overview/1h", WHOLE[SCREEN])
    assert "No data for: processes." in read(tab, "Queues now")


def test_what_prometheus_refuses_is_told_in_its_panel_and_the_others_are_drawn(show, played, prometheus):
    prometheus.instead["fediops_sidekiq_dead"] = refused
    tab = show(played, "overview/1h", WHOLE[SCREEN])
    assert "Prometheus says: too many samples" in read(tab, "Dead jobs")
    assert tab.run("[...document.querySelectorAll('.panel .trouble')].filter((each) => !each.hidden).length") == 1
    assert tab.run(STATE).startswith("Not up to date")


def test_a_prometheus_that_went_is_told_and_one_that_is_back_is_shown(show, played, prometheus):
    tab = show(played, "overview/1h", WHOLE[SCREEN])
    prometheus.instead = {EVERY_QUERY: gone, "alerts": gone}
    tab.run("document.getElementById('refresh').click()")
    tab.wait(f"{STATE}.startsWith('Not up to date; the last answer is of ')", "what is shown is called old")
    tab.wait(f"{ALERTS}.includes('Whether alerts are firing is not known.')", "it is told that alerts are not known")
    tab.wait("!document.querySelector('.panel .trouble').hidden", "panels tell")
    said = read(tab, "Requests at the edge")
    assert "Prometheus answers with status 502. Below is what was there at " in said
    assert "0.25/s" in said
    prometheus.instead = {}
    tab.run("document.getElementById('refresh').click()")
    tab.wait(f"{STATE}.startsWith('Up to date')", "all is well again")
    tab.wait("[...document.querySelectorAll('.trouble')].every((each) => each.hidden)", "no panel tells of trouble")
    assert "No alert is firing." in tab.run(ALERTS)


def test_a_front_without_dashboards_is_told(tab):
    with front({}, lambda _what, _parameters: gone(), ("a", "b")) as address:
        tab.visit("about:blank")
        tab.visit(address.replace("://", "://a:b@"))
        tab.wait("document.querySelector('.trouble') !== null", "the trouble is told")
        assert "The dashboards cannot be shown." in tab.run("document.querySelector('.trouble').textContent")


def alert(name, severity="warning", state="firing", **annotations):
    return {
        "labels": {"alertname": name, "severity": severity, "instance": "web1"},
        "annotations": {"summary": f"{name} of web1", **annotations},
        "state": state,
        "activeAt": datetime.now(UTC).isoformat(),
    }


def test_alerts_stand_first_with_what_to_do(show, played, prometheus):
    prometheus.alerts = [
        alert("QueueLate", runbook="https://docs.example/runbooks/QueueLate"),
        alert("TargetDown", "critical", runbook="javascript:document.title='taken'"),
        alert("DiskFull", state="pending"),
    ]
    tab = show(played)
    said = tab.run(ALERTS)
    assert said.index("TargetDown") < said.index("QueueLate")
    assert "QueueLate of web1 since " in said
    assert "DiskFull of web1" not in said
    assert "May fire soon: DiskFull." in said
    links = tab.run("[...document.querySelectorAll('#alerts a')].map((each) => [each.textContent, each.href])")
    assert links == [["What to do", "https://docs.example/runbooks/QueueLate"]]
    assert tab.run("document.title") == "(2) Overview | social.example"
    below = "document.getElementById('alerts').getBoundingClientRect().bottom"
    assert tab.run(f"document.querySelector('.panel').getBoundingClientRect().top > {below}")


def test_what_is_measured_is_text_and_never_a_part_of_the_page(show, played, prometheus):
    evil = "<img src=x onerror=\"document.title='taken'\">"
    prometheus.alerts = [alert(evil, summary=evil)]
    series = [{"metric": {"queue": evil, evil: evil}, "value": [1, "1"]}]
    prometheus.instead["fediops_sidekiq_queue_size"] = lambda: (
        200,
        {"status": "success", "data": {"resultType": "vector", "result": series}},
    )
    tab = show(played, "overview/1h", WHOLE[SCREEN])
    assert evil in read(tab, "Queues now")
    assert evil in tab.run(ALERTS)
    assert tab.run("document.querySelectorAll('img').length") == 0
    assert "taken" not in tab.run("document.title")


def test_pointing_at_a_graph_tells_the_values_of_that_time(show, played):
    tab = show(played, "web/6h")
    graph = "document.querySelector('.plot')"
    before = tab.run(f"{graph}.querySelector('.legend').innerText")
    left, top, width, height = tab.run(
        f"(({{left, top, width, height}}) => [left, top, width, height])({graph}.firstChild.getBoundingClientRect())"
    )
    tab.point(left + width / 3, top + height / 2)
    there = tab.run(f"{graph}.querySelector('.legend').innerText")
    assert there != before
    assert "now" not in there
    assert tab.run(f"{graph}.querySelectorAll('.point').length") == 3
    tab.point(1, 1)
    assert tab.run(f"{graph}.querySelector('.legend').innerText") == before


def test_the_keyboard_reads_a_graph_too(show, played):
    tab = show(played, "web/6h")
    tab.run("document.querySelector('.plot svg').focus()")
    assert "Now: instance1 " in tab.run("document.activeElement.getAttribute('aria-label')")
    told = set()
    for _step in range(3):
        tab.press("ArrowLeft")
        told.add(tab.run("document.querySelector('.plot [role=status]').textContent"))
    assert len(told) == 3
    assert all("instance1 " in text for text in told)
    tab.press("Escape")
    assert tab.run("document.querySelector('.plot .legend').innerText").split()[0] == "now"


def test_of_many_hosts_the_highest_are_shown_and_that_is_said(show, played, prometheus):
    prometheus.series = 200
    tab = show(played, "web/1h", WHOLE[PHONE])
    assert "The 12 highest of 200 are shown." in read(tab, "Requests by host")
    assert tab.run("document.querySelector('.plot').querySelectorAll('.series').length") == 24
    assert "instance200" in read(tab, "Requests by host")
    assert "instance200" in read(tab, "Puma by host")


def test_values_beyond_a_limit_say_so_in_words(show, played):
    tab = show(played, "overview/1h", WHOLE[SCREEN])
    assert read(tab, "Failed requests").split("\n")[1].startswith("25\u00a0% critical")
    assert "warning" not in read(tab, "Requests at the edge")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out_from_what_is_behind_them(show, played, scheme):
    """WCAG asks for a contrast of 4.5 to 1 of text, and of 3 to 1 of lines that mean something."""
    tab = show(played)
    tab.prefer(scheme)
    text = [
        ("--text", "--page"),
        ("--text", "--card"),
        ("--soft", "--page"),
        ("--soft", "--card"),
        ("--page", "--text"),
    ]
    text += [("--text", "--chip"), ("--warn", "--card"), ("--bad", "--card"), ("--focus", "--card")]
    text += [(f"--{name}", f"--{name}-back") for name in ("good", "warn", "bad")]
    lines = [(f"--c{number}", "--card") for number in range(6)]
    names = sorted({name for pair in text + lines for name in pair})
    color = tab.run(f"""Object.fromEntries({json.dumps(names)}.map((name) =>
        [name, getComputedStyle(document.documentElement).getPropertyValue(name).trim()]))""")
    assert [pair for pair in text if contrast(color[pair[0]], color[pair[1]]) < 4.5] == []
    assert [pair for pair in lines if contrast(color[pair[0]], color[pair[1]]) < 3] == []


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_it_are_kept(show, played, request, name):
    keep_pictures(show, played, name, Path(request.config.rootpath) / ".cache/overview_page")
