# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: one file that asks the network for nothing, tells every reason, and draws what can be read."""

from __future__ import annotations

import copy
import html
import re
from html.parser import HTMLParser
from itertools import combinations

import pytest
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.page import _DRAWINGS, page
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.picture import draw, text_width
from ansible_collections.fediops.mastodon.plugins.plugin_utils.plan.stacks import stacks_of
from unit.plan.samples import ONE, TEN, TWO_HUNDRED, planned

VOID = {"meta", "link", "br", "hr", "img", "input"}
# Hosts that share components in unusual ways, so that lines have to go up, sideways and past rows.
CROSSED = {
    "front": (("nginx", "redis/redis_core"), 1, 4, 8192),
    "data": (("postgres/postgres_primary", "web"), 1, 8, 16384),
    "queue": (("sidekiq", "streaming"), 3, 4, 8192),
}
FLEETS = {"one": ONE, "ten": TEN, "two_hundred": TWO_HUNDRED, "crossed": CROSSED}


@pytest.fixture(scope="module", params=FLEETS)
def plan(request):
    return planned(FLEETS[request.param]).as_mapping()


@pytest.fixture(params=_DRAWINGS)
def picture(plan, request):
    return draw(stacks_of(plan["hosts"]), plan["flows"], **_DRAWINGS[request.param])


class Elements(HTMLParser):
    """All elements with their attributes; an error if one is closed that was not open."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def test_the_page_is_well_formed_and_asks_the_network_for_nothing(plan):
    text = page(plan, title="social.example")
    elements = Elements(text)
    ids = [attributes["id"] for _tag, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    addresses = [attributes.get(key) for _tag, attributes in elements.found for key in ("src", "href", "action")]
    assert {address for address in addresses if address and not address.startswith("#")} <= {"data:,"}
    assert re.findall(r"https?:|//[a-z]|@import|url\((?!#)", text) == []
    assert "default-src 'none'" in text


def test_every_reason_of_the_plan_is_on_the_page(plan):
    text = html.unescape(page(plan, title="social.example"))
    # Of hosts that are alike the reasons of the first stand for all.
    reasons = [reason for stack in stacks_of(plan["hosts"]) for reason in stack.first["reasons"].values()]
    assert [reason for reason in reasons if reason.split(" = ", 1)[-1] not in text] == []


def test_every_number_that_is_drawn_tells_its_reason(plan):
    elements = Elements(page(plan, title="social.example"))
    marked = [attributes for _tag, attributes in elements.found if "data-why" in attributes]
    assert marked
    assert [marks for marks in marked if not marks["data-why"].strip() or not marks["data-what"].strip()] == []
    # In the picture they are no buttons by themselves.
    drawn = [marks for tag, marks in elements.found if "data-why" in marks and tag != "button"]
    assert [marks for marks in drawn if marks.get("tabindex") != "0" or not marks.get("aria-label")] == []


def test_the_same_plan_makes_the_same_page(plan):
    assert page(plan, title="social.example") == page(copy.deepcopy(plan), title="social.example")


def test_what_people_type_is_text_and_nothing_else():
    plan = planned(ONE).as_mapping()
    evil = "<script>alert('x')</script>\"'&"
    plan["findings"] = [
        {"constraint": evil, "severity": "warning", "hosts": [], "message": evil, "advice": evil, "remedy": {}}
    ]
    host = plan["hosts"]["box1"]
    host["host"]["name"] = evil
    host["reasons"] = dict.fromkeys(host["reasons"], evil)
    text = page(plan, title=evil)
    elements = Elements(text)
    assert [tag for tag, _attributes in elements.found].count("script") == 1
    assert "<script>alert" not in text
    assert evil in "".join(elements.text)
    assert any(attributes.get("data-why") == evil for _tag, attributes in elements.found)


def test_a_fleet_that_cannot_be_planned_has_its_findings_and_no_picture(plan_box):
    refused = plan_box(vm_memory_mb="4GB").as_mapping()
    text = page(refused, title="social.example")
    assert "1 constraint does not hold: a run would refuse this fleet" in text
    assert "Type vm_memory_mb: 4096" in text
    assert "<svg" not in text


def test_errors_come_before_warnings(plan_box):
    text = page(plan_box(web_workers=40).as_mapping(), title="social.example")
    assert text.index("error C16") < text.index("warning workers")


def test_connections_beyond_what_is_open_stand_out(plan_box):
    inside = page(plan_box().as_mapping(), title="social.example")
    beyond = page(plan_box(postgres_max_connections=20).as_mapping(), title="social.example")
    assert 'class="over">' not in inside
    assert re.search(r'class="over">\d+ of [^\n]*>20</button>', beyond)


def test_users_are_set_beside_what_there_is():
    text = page(planned(TEN, {"mastodon_monthly_active_users": 20000}).as_mapping(), title="social.example")
    assert "Not enough for 20,000 people a month" in text
    assert 'class="over">40 of 72' in text


def test_what_is_not_drawn_is_said(plan):
    text = page(plan, title="social.example")
    assert "SSH from the control machine to every host" in text
    assert ("metrics, which are read" in text) == any(flow["what"].startswith("metrics") for flow in plan["flows"])


def test_two_hundred_hosts_are_a_dozen_cards_and_a_small_file():
    plan = planned(TWO_HUNDRED).as_mapping()
    stacks = stacks_of(plan["hosts"])
    assert sum(len(stack.plans) for stack in stacks) == 200
    assert len(stacks) == len(TWO_HUNDRED)
    text = page(plan, title="social.example")
    assert "\u00d790" in text
    assert "web1 to web90" in text
    assert len(text) < 1_500_000


def test_an_assumed_size_is_marked():
    plan = planned(ONE).as_mapping()
    plan["hosts"]["box1"]["host"]["provisional"] = True
    assert "4 vCPU, 8 GB, assumed" in page(plan, title="social.example")


def test_nothing_lies_over_something_else(picture):
    for one, other in combinations(picture.cards, 2):
        beside = one.x + one.width <= other.x or other.x + other.width <= one.x
        above = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert beside or above, (one.title, other.title)
    for one, other in combinations(picture.tabs, 2):
        apart = abs((one.x + one.width / 2) - (other.x + other.width / 2)) >= (one.width + other.width) / 2 - 12
        assert apart or one.y != other.y, (one, other)


def test_everything_is_inside_the_picture(picture):
    for card in picture.cards:
        assert card.x >= 0 <= card.y
        assert card.x + card.width <= picture.width
        assert card.y + card.height <= picture.height
        for cell in card.cells:
            assert all(chip.x + chip.width <= card.width for chip in cell.chips)
            assert all(chip.y + 22 <= card.memory_y for chip in cell.chips)
        assert sum(segment.width for segment in card.segments) <= card.width - 2 * card.space.padding + 0.1
        assert text_width(card.title, 14) <= card.width
    for line in picture.lines:
        numbers = [float(number) for number in re.findall(r"-?[0-9.]+", line.path)]
        assert all(0 <= x <= picture.width for x in numbers[::2]), line
        assert all(0 <= y <= picture.height for y in numbers[1::2]), line


def test_every_flow_between_two_cards_is_a_line_that_ends_at_its_port(plan, picture):
    drawn = {"nginx", "web", "streaming", "pgbouncer", "postgres", "redis"}
    card_of = {name: card.name for card in picture.cards if card.stack for name in card.stack.names}
    pairs = {
        (card_of.get(flow["from"], flow["from"]), card_of[flow["to"]], _component(plan, flow))
        for flow in plan["flows"]
        if flow["from"] != "control" and not flow["what"].startswith("metrics") and _component(plan, flow) in drawn
        # What a run asks of the edges.
        if flow["from"] == "world" or _component(plan, flow) != "nginx"
    }
    assert len(picture.lines) == len([pair for pair in pairs if pair[0] != pair[1]])
    ends = {(line.bundle, line.path.rsplit("L", 1)[1].split(",")[0]) for line in picture.lines}
    ports = {(tab.bundle, f"{tab.x + tab.width / 2:.1f}") for tab in picture.tabs if tab.text.startswith(":")}
    assert ends == ports


def _component(plan, flow):
    host = plan["hosts"][flow["to"]]
    if flow["port"] in (80, 443):
        return "nginx"
    ports = {host[part]["port"]: part for part in ("web", "pgbouncer", "postgres", "redis") if part in host}
    ports |= {process["port"]: "streaming" for process in host.get("streaming", {}).get("processes", ())}
    return ports.get(flow["port"])
