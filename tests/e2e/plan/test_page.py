# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as a person meets it: in Chromium, on a screen and on a phone, with a mouse and with the keyboard."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PHONE, SCREEN = (390, 844), (1280, 900)
SHOWN = "document.getElementById('why').hidden ? '' : document.getElementById('why').innerText"
# What can be reached with Tab and is seen.
REACHABLE = """[...document.querySelectorAll("[tabindex='0'], a[href], button, summary")]
    .filter((each) => each.getClientRects().length && !each.closest("details:not([open]) > :not(summary)")).length"""


@pytest.fixture(params=[PHONE, SCREEN], ids=["phone", "screen"])
def opened(tab, plan_page, request):
    """The page in a window of that size."""
    tab.complaints.clear()
    tab.requests.clear()
    tab.size(*request.param)
    tab.prefer("light")
    tab.open(plan_page)
    return tab


def test_it_loads_without_a_complaint_and_without_the_network(opened, plan_page):
    opened.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    opened.run("new Promise((done) => setTimeout(done, 300))")
    assert opened.complaints == []
    assert opened.requests == [plan_page.as_uri()]


def test_it_never_scrolls_sideways(opened):
    for state in ("false", "true"):
        opened.run(f"document.querySelectorAll('details').forEach((each) => {{ each.open = {state}; }})")
        widths = opened.run("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths[0] <= widths[1]


def test_one_drawing_is_seen_and_its_text_can_be_read(opened):
    seen = opened.run("[...document.querySelectorAll('.picture svg')].filter((each) => each.clientWidth).length")
    assert seen == 1
    smallest = opened.run("""Math.min(...[...document.querySelectorAll('.picture svg')]
        .filter((each) => each.clientWidth).flatMap((svg) => [...svg.querySelectorAll('text')]
        .map((text) => parseFloat(getComputedStyle(text).fontSize) * svg.clientWidth / svg.viewBox.baseVal.width)))""")
    assert smallest >= 10


def test_no_text_leaves_its_card(opened):
    outside = opened.run("""[...document.querySelectorAll('.picture svg')].filter((each) => each.clientWidth)
        .flatMap((svg) => [...svg.querySelectorAll('.card, .chip, .tab')]).filter((group) => {
            const frame = group.querySelector('rect').getBoundingClientRect();
            return [...group.querySelectorAll('text')].some((text) => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1;
            });
        }).map((group) => group.textContent.trim().replace(/\\s+/g, ' '))""")
    assert outside == []


def test_the_keyboard_reaches_every_number_and_each_tells_its_reason(opened):
    expected = opened.run(REACHABLE)
    assert expected > 20
    told, reached = [], set()
    for _step in range(expected + 5):
        opened.press("Tab", windowsVirtualKeyCode=9)
        place = opened.run("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        if place in reached or opened.run("document.activeElement.matches('html, body')"):
            break
        reached.add(place)
        if opened.run("'why' in document.activeElement.dataset"):
            told.append(opened.run(SHOWN))
    assert len(reached) == expected
    assert all(len(text.splitlines()) >= 2 for text in told)
    opened.press("Escape")
    assert opened.run(SHOWN) == ""


def test_pointing_at_a_number_tells_its_reason_inside_the_window(opened):
    first = "[...document.querySelectorAll('.chip')].find((each) => each.getClientRects().length)"
    opened.run(f"{first}.scrollIntoView({{block: 'center'}})")
    box = opened.run(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({first}.getBoundingClientRect())")
    opened.point(*box)
    assert "connections a worker: 4096" in opened.run(SHOWN)
    left, top, right, bottom = opened.run(
        "(({left, top, right, bottom}) => [left, top, right, bottom])"
        "(document.getElementById('why').getBoundingClientRect())"
    )
    width, height = opened.run("[innerWidth, innerHeight]")
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    opened.point(1, 1)
    assert opened.run(SHOWN) == ""


def test_the_lines_of_a_port_stand_out_while_it_is_looked_at(opened):
    tab = "[...document.querySelectorAll('.tab')].find((each) => each.getClientRects().length)"
    lines = "[...document.querySelectorAll('.line.on')].filter((each) => each.getClientRects().length).length"
    opened.run(f"{tab}.focus()")
    assert opened.run(lines) >= 1
    opened.run("document.activeElement.blur()")
    assert opened.run(lines) == 0


def test_a_tap_tells_a_reason_too(opened):
    opened.run("document.querySelector('.bar button').click()")
    assert "at most" in opened.run(SHOWN)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(opened, scheme):
    """WCAG asks for a contrast of 4.5 to 1."""
    opened.prefer(scheme)
    pairs = opened.run("""(() => {
        const style = getComputedStyle(document.documentElement);
        const value = (name) => style.getPropertyValue(name).trim();
        return [["--text", "--page"], ["--text", "--card"], ["--soft", "--page"], ["--soft", "--card"],
            ["--text", "--chip"], ["--good", "--good-back"], ["--bad", "--bad-back"], ["--warn", "--warn-back"],
            ["--bad", "--card"], ["--warn", "--card"], ["--page", "--text"]]
            .map(([front, back]) => [front, back, value(front), value(back)]);
    })()""")
    dark = luminance(pairs[0][3]) < luminance(pairs[0][2])
    assert dark == (scheme == "dark")
    assert [(front, back) for front, back, one, other in pairs if contrast(one, other) < 4.5] == []


def test_pictures_of_it_are_kept(tab, plan_page, request):
    """For people: what it looks like cannot be asserted."""
    folder = Path(request.config.rootpath) / ".cache/plan_page"
    folder.mkdir(parents=True, exist_ok=True)
    for name, size, scheme in (("phone", PHONE, "light"), ("light", SCREEN, "light"), ("dark", SCREEN, "dark")):
        tab.size(*size)
        tab.prefer(scheme)
        tab.open(plan_page)
        path = folder / f"{request.node.callspec.id}-{name}.png"
        tab.picture(path)
        assert path.read_bytes().startswith(b"\x89PNG")


def luminance(color: str) -> float:
    digits = color.removeprefix("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    assert re.fullmatch("[0-9a-f]{6}", digits), json.dumps(color)
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)
