# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a fleet: where each card, line and number goes. The template of the page only prints it.

Tiers are rows, from the world at the top to the data at the bottom; a card is a stack of hosts that are alike. All
lines to one port run together: down from their cards, along a lane between two rows, into the port.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from .flows import HEALTH, LOGS, OF_RUNS
from .stacks import Figure, Stack
from .words import COMPONENTS, joined, listed, ports, size_of, span

WORLD, CONTROL = "world", "control"
# How the purpose of a flow begins that collects metrics.
METRICS = "metrics -> "
_ROW = {
    "nginx": 1,
    "web": 2,
    "streaming": 2,
    "sidekiq": 2,
    "pgbouncer": 3,
    "haproxy": 3,
    "postgres": 4,
    "redis": 4,
    "metrics": 5,
}
_LANE, _GAP = 11, 46
_CHIP, _TAB = 22, 18
_TITLE, _BADGE = 15.5, 40
# Numbers are bold: as wide as if they were of this size.
_BOLD = 14
_NARROW = frozenset("fijlrt.,:;'|!()[] -")
_WIDE = frozenset("mwMW@%")


@dataclass(frozen=True, kw_only=True)
class _Space:
    """What is left empty: at the sides of the picture, between two cards, inside a card."""

    margin: float
    gutter: float
    padding: float


_WIDE_SPACE, _NARROW_SPACE = _Space(margin=18, gutter=30, padding=14), _Space(margin=10, gutter=20, padding=10)


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One number, its word beside it, and why it is what it is."""

    x: float
    y: float
    width: float
    figure: Figure


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A component of a card with its numbers."""

    x: float
    y: float
    component: str
    title: str
    port: str
    chips: tuple[Chip, ...]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of the bar of a card."""

    x: float
    width: float
    component: str
    title: str
    reason: str


@dataclass(kw_only=True)
class Card:
    """A stack of hosts. x and width are known first, then height, then y."""

    name: str
    stack: Stack | None
    row: int
    space: _Space
    width: float = 0
    height: float = 0
    x: float = 0
    y: float = 0
    title: str = ""
    subtitle: str = ""
    badge_y: float = 0
    memory: str = ""
    memory_y: float = 0
    cells: list[Cell] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    @property
    def middle(self) -> float:
        """Where the card is, from left to right."""
        return self.x + self.width / 2

    @property
    def count(self) -> int:
        """How many hosts it stands for."""
        return len(self.stack.plans) if self.stack else 1


@dataclass(frozen=True, kw_only=True)
class Tab:
    """A port on the edge of a card, or the pool with which a card reaches one."""

    x: float
    y: float
    width: float
    text: str
    title: str
    reason: str
    component: str
    bundle: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """From one card to a port of another."""

    path: str
    component: str
    bundle: int


@dataclass(frozen=True, kw_only=True)
class Picture:
    """All that is drawn, in units of one pixel at full size."""

    width: float
    height: float
    cards: tuple[Card, ...]
    lines: tuple[Line, ...]
    tabs: tuple[Tab, ...]


@dataclass(kw_only=True)
class _Source:
    card: Card
    hosts: set[str] = field(default_factory=set)
    pools: list[int] = field(default_factory=list)
    purposes: list[str] = field(default_factory=list)
    x: float = 0


@dataclass(kw_only=True)
class _Bundle:
    """All flows to the ports of one component of one card."""

    number: int
    target: Card
    component: str
    ports: set[int] = field(default_factory=set)
    sources: dict[str, _Source] = field(default_factory=dict)
    inlets: dict[bool, float] = field(default_factory=dict)
    lanes: dict[int, float] = field(default_factory=dict)
    crossings: dict[int, float] = field(default_factory=dict)

    def comes_from_below(self, source: _Source) -> bool:
        """True if a source is not above the target."""
        return source.card.row >= self.target.row

    def gaps_of(self, source: _Source) -> list[int]:
        """The gaps between rows that a line runs through; gap g is above row g."""
        row, target = source.card.row, self.target.row
        if row < target:
            return list(range(row + 1, target + 1))
        return list(range(max(row, target + 1), target, -1))


def draw(stacks: Sequence[Stack], flows: Iterable[Mapping[str, Any]], *, width: float, columns: int) -> Picture:
    """The picture of a fleet, `width` wide with at most `columns` cards beside each other."""
    rows = _rows(stacks, columns, _WIDE_SPACE if width > 600 else _NARROW_SPACE)
    for row in rows:
        _spread(row, width, alone=len(stacks) == 1)
    cards = [card for row in rows for card in row]
    bundles = _bundles(cards, flows)
    _connect(bundles)
    _cross(bundles, rows, width)
    height = _stand(bundles, rows)
    return Picture(
        width=width,
        height=height,
        cards=tuple(cards),
        lines=tuple(line for bundle in bundles for line in _lines(bundle)),
        tabs=tuple(tab for bundle in bundles for tab in _tabs(bundle)),
    )


def not_drawn(what: str) -> bool:
    """True for flows that a picture leaves out, by what they are."""
    return what.startswith(METRICS) or what in (*OF_RUNS, HEALTH, LOGS)


def text_width(text: str, size: float = 12) -> float:
    """About how wide a text is in a sans-serif font; a little more rather than less."""
    units = sum(0.34 if c in _NARROW else 0.92 if c in _WIDE else 0.72 if c.isupper() else 0.59 for c in text)
    return units * size


def _rows(stacks: Sequence[Stack], columns: int, space: _Space) -> list[list[Card]]:
    """The cards by row: the world, then each tier, in several rows where it has more cards than columns."""
    tiers: dict[int, list[Stack]] = {}
    for stack in stacks:
        tiers.setdefault(min(_ROW[part] for part in stack.components), []).append(stack)
    rows = [[Card(name=WORLD, stack=None, row=0, space=space, title="The world: browsers, apps, other instances")]]
    for tier in sorted(tiers):
        waiting = tiers[tier]
        lines = ceil(len(waiting) / columns)
        per_line = ceil(len(waiting) / lines)
        for start in range(0, len(waiting), per_line):
            part = waiting[start : start + per_line]
            rows.append([Card(name=stack.names[0], stack=stack, row=len(rows), space=space) for stack in part])
    return rows


def _spread(row: list[Card], width: float, *, alone: bool) -> None:
    """Give the cards of a row their widths and places, and fill them."""
    space = row[0].space
    room = (width - 2 * space.margin - space.gutter * (len(row) - 1)) / len(row)
    for card in row:
        card.width = min(room, _widest(card))
        _fill(card, alone=alone)
    taken = sum(card.width for card in row) + space.gutter * (len(row) - 1)
    x = (width - taken) / 2
    for card in row:
        card.x = x
        x += card.width + space.gutter
    tallest = max(card.height for card in row)
    for card in row:
        card.memory_y += tallest - card.height
        card.height = tallest


def _widest(card: Card) -> float:
    if not card.stack:
        return text_width(card.title, 13) + 4 * card.space.padding
    return 690 if len(card.stack.components) > 4 else 470 if len(card.stack.components) > 2 else 300


def _fill(card: Card, *, alone: bool) -> None:
    """Place what is in a card, relative to its corner, and so find its height.

    alone: there is no other card, so that no line will show the ports.
    """
    stack = card.stack
    if stack is None:
        card.height = 34
        return
    padding = card.space.padding
    inner = card.width - 2 * padding
    several = len(stack.plans) > 1
    beside = text_width(stack.title, _TITLE) + _BADGE <= inner
    card.badge_y = 13 if beside else 32
    card.title = _clipped(stack.title, inner, _TITLE)
    size = f"{stack.vcpus} vCPU, {size_of(stack.memory_mb)}"
    card.subtitle = _fitting(
        [size + (" each" if several else "") + (", assumed" if stack.provisional else ""), size],
        inner - (0 if beside else _BADGE),
    )
    columns = max(1, min(len(stack.components), int(inner // 195)))
    cell_width = (inner - (columns - 1) * padding) / columns
    y = 66.0
    for start in range(0, len(stack.components), columns):
        bottoms = []
        for column, component in enumerate(stack.components[start : start + columns]):
            x = padding + column * (cell_width + padding)
            title = f"{COMPONENTS[component]} {stack.role(component)}".rstrip()
            chips, bottom = _chips(stack.figures(component), x, y + 10, cell_width)
            port = _port(stack.first, component) if alone else ""
            card.cells.append(Cell(x=x, y=y, component=component, title=title, port=port, chips=tuple(chips)))
            bottoms.append(bottom)
        y = max(bottoms) + 17
    card.memory_y = y + 6
    percent = round(100 * stack.used_mb / stack.memory_mb)
    card.memory = _fitting([f"{percent} % of the memory planned", f"{percent} % planned"], inner)
    card.segments = _bar(stack, padding, inner)
    card.height = card.memory_y + 34


def _port(plan: Mapping[str, Any], component: str) -> str:
    """Where a component listens for the others of its host, as ":3000"; nginx listens for the world."""
    part = plan.get(component, {})
    listening = [part["port"]] if "port" in part else [process.get("port") for process in part.get("processes", ())]
    found = [port for port in listening if port]
    return f":{ports(found)}" if found else ""


def _chips(figures: Sequence[Figure], left: float, top: float, width: float) -> tuple[list[Chip], float]:
    chips: list[Chip] = []
    x, y = left, top
    for figure in figures:
        wide = text_width(figure.value, _BOLD) + text_width(f" {figure.what}") + 16
        if chips and x + wide > left + width:
            x, y = left, y + _CHIP + 4
        chips.append(Chip(x=x, y=y, width=min(wide, width), figure=figure))
        x += wide + 5
    return chips, (y + _CHIP if chips else top - 4)


def _bar(stack: Stack, left: float, width: float) -> list[Segment]:
    rows = stack.budget
    whole = max(stack.memory_mb, sum(row.mb for row in rows))
    x, segments = left, []
    for row in rows:
        part = width * row.mb / whole
        title = f"{COMPONENTS.get(row.what, row.what)}: {row.mb} MB"
        segments.append(Segment(x=x, width=part, component=row.component, title=title, reason=row.reason))
        x += part
    return segments


def _bundles(cards: Sequence[Card], flows: Iterable[Mapping[str, Any]]) -> list[_Bundle]:
    """The flows to draw, together where they lead to the same port.

    SSH and scraping reach everything, and what a run does itself is no part of how people are served: not drawn.
    """
    at = {name: card for card in cards if card.stack for name in card.stack.names} | {WORLD: cards[0]}
    found: dict[tuple[str, str], _Bundle] = {}
    for flow in flows:
        source, target = at.get(flow["from"]), at.get(flow["to"])
        if not source or not target or not target.stack or source is target or not_drawn(flow["what"]):
            continue
        component = _component_at(target.stack.first, flow["port"])
        if component is None:
            continue
        key = (target.name, component)
        bundle = found.setdefault(key, _Bundle(number=len(found), target=target, component=component))
        bundle.ports.add(flow["port"])
        entry = bundle.sources.setdefault(source.name, _Source(card=source))
        entry.hosts.add(flow["from"])
        if flow.get("pool"):
            entry.pools.append(flow["pool"])
        if flow["purpose"] not in entry.purposes:
            entry.purposes.append(flow["purpose"])
    return list(found.values())


def _component_at(plan: Mapping[str, Any], port: int) -> str | None:
    """Which component of a host listens on a port."""
    if "nginx" in plan and port in (80, 443):
        return "nginx"
    for component in ("web", "pgbouncer", "postgres", "redis"):
        if plan.get(component, {}).get("port") == port:
            return component
    listening = {process["port"] for process in plan.get("streaming", {}).get("processes", ())}
    return "streaming" if port in listening else None


def _connect(bundles: Sequence[_Bundle]) -> None:
    """Give each end of a line its place on the edge of its card, from left to right as the other ends are."""
    edges: dict[tuple[str, bool], list[tuple[float, _Bundle, _Source | None]]] = {}
    for bundle in bundles:
        for below in (False, True):
            sources = [source for source in bundle.sources.values() if bundle.comes_from_below(source) == below]
            if not sources:
                continue
            towards = sum(source.card.middle for source in sources) / len(sources)
            edges.setdefault((bundle.target.name, below), []).append((towards, bundle, None))
            for source in sources:
                downwards = source.card.row <= bundle.target.row
                edges.setdefault((source.card.name, downwards), []).append((bundle.target.middle, bundle, source))
    for (_name, below), ends in edges.items():
        ends.sort(key=lambda end: (end[0], end[1].number))
        for index, (_towards_x, bundle, source) in enumerate(ends):
            card = source.card if source else bundle.target
            x = card.x + card.width * (index + 1) / (len(ends) + 1)
            if source:
                source.x = x
            else:
                bundle.inlets[below] = x


def _cross(bundles: Sequence[_Bundle], rows: Sequence[Sequence[Card]], width: float) -> None:
    """Find for each line that passes a row the space between its cards that is nearest to the way."""
    taken: dict[tuple[int, float], int] = {}
    for bundle in bundles:
        passed = {row for source in bundle.sources.values() for row in _rows_passed(bundle, source)}
        for row in sorted(passed):
            cards = rows[row]
            half = cards[0].space.gutter / 2
            spaces = [cards[0].x - half, cards[-1].x + cards[-1].width + half]
            spaces += [card.x + card.width + half for card in cards[:-1]]
            wanted = next(iter(bundle.inlets.values()))
            space = min(spaces, key=lambda x: abs(x - wanted))
            number = taken[row, space] = taken.get((row, space), 0) + 1
            shift = (number // 2) * 8 * (-1 if number % 2 else 1)
            bundle.crossings[row] = min(max(space + shift, 6), width - 6)


def _rows_passed(bundle: _Bundle, source: _Source) -> range:
    low, high = sorted((source.card.row, bundle.target.row))
    return range(low + 1, high)


def _stand(bundles: Sequence[_Bundle], rows: Sequence[Sequence[Card]]) -> float:
    """Give each row its y, with room above it for the lanes of the lines; return the height of the picture."""
    lanes: dict[int, list[_Bundle]] = {}
    for bundle in sorted(bundles, key=lambda bundle: (bundle.target.row, -bundle.target.middle)):
        for gap in sorted({gap for source in bundle.sources.values() for gap in bundle.gaps_of(source)}):
            lanes.setdefault(gap, []).append(bundle)
    y = 6.0
    for number, row in enumerate(rows):
        if number:
            y = _lay(lanes.get(number, []), number, y)
        for card in row:
            card.y = y
        y += row[0].height
    return (_lay(lanes[len(rows)], len(rows), y) if len(rows) in lanes else y) + 12


def _lay(bundles: Sequence[_Bundle], gap: int, y: float) -> float:
    """Put the lanes of a gap that begins at y below each other; return where it ends."""
    for index, bundle in enumerate(bundles):
        bundle.lanes[gap] = y + _GAP / 2 + 2 + index * _LANE
    return y + _GAP + max(0, len(bundles) - 1) * _LANE


def _lines(bundle: _Bundle) -> list[Line]:
    lines = []
    for source in bundle.sources.values():
        below = bundle.comes_from_below(source)
        downwards = source.card.row <= bundle.target.row
        x = source.x
        points = [(x, source.card.y + (source.card.height if downwards else 0))]
        gaps = bundle.gaps_of(source)
        for index, gap in enumerate(gaps):
            points.append((x, bundle.lanes[gap]))
            last = index == len(gaps) - 1
            x = bundle.inlets[below] if last else bundle.crossings[gap - 1 if below else gap]
            points.append((x, bundle.lanes[gap]))
        edge = bundle.target.y + (bundle.target.height + _TAB / 2 + 6 if below else -_TAB / 2 - 6)
        points.append((x, edge))
        lines.append(Line(path=_rounded(points), component=bundle.component, bundle=bundle.number))
    return lines


def _rounded(points: Sequence[tuple[float, float]], radius: float = 7) -> str:
    """The path through points at right angles, with round corners."""
    kept = [point for index, point in enumerate(points) if index == 0 or point != points[index - 1]]
    parts = [f"M{kept[0][0]:.1f},{kept[0][1]:.1f}"]
    for before, corner, after in zip(kept, kept[1:], kept[2:], strict=False):
        into, out = _towards(corner, before, radius), _towards(corner, after, radius)
        parts.append(f"L{into[0]:.1f},{into[1]:.1f}Q{corner[0]:.1f},{corner[1]:.1f} {out[0]:.1f},{out[1]:.1f}")
    parts.append(f"L{kept[-1][0]:.1f},{kept[-1][1]:.1f}")
    return "".join(parts)


def _towards(start: tuple[float, float], end: tuple[float, float], distance: float) -> tuple[float, float]:
    """The point on the way from start to end, at most half of it."""
    length = abs(end[0] - start[0]) + abs(end[1] - start[1])
    share = min(distance, length / 2) / length if length else 0
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def _tabs(bundle: _Bundle) -> list[Tab]:
    name, target = COMPONENTS[bundle.component], bundle.target
    text = f":{ports(bundle.ports)}"
    reason = "\n".join(
        f"from {_who(source)}: {joined(source.purposes)}{_pool_words(source)}" for source in bundle.sources.values()
    )
    made = []
    for below, x in bundle.inlets.items():
        edge = target.y + (target.height if below else 0)
        made.append(_tab(x, edge, text, f"{name}, port {ports(bundle.ports)}", reason, bundle))
    for source in bundle.sources.values():
        if source.pools:
            downwards = source.card.row <= target.row
            edge = source.card.y + (source.card.height if downwards else 0)
            why = f"{_who(source)} to {name} on {target.stack.title}: {joined(source.purposes)}{_pool_words(source)}"
            made.append(_tab(source.x, edge, f"pool {span(source.pools)}", "Pool", why, bundle))
    return made


def _tab(x: float, edge: float, text: str, title: str, reason: str, bundle: _Bundle) -> Tab:
    width = text_width(text, 11) + 17
    return Tab(
        x=x - width / 2,
        y=edge - _TAB / 2,
        width=width,
        text=text,
        title=title,
        reason=reason,
        component=bundle.component,
        bundle=bundle.number,
    )


def _who(source: _Source) -> str:
    return listed(source.hosts) if source.card.stack else "the world"


def _pool_words(source: _Source) -> str:
    if not source.pools:
        return ""
    each = " each" if len(source.hosts) > 1 else ""
    return f". At most {span(source.pools)} connections{each}"


def _fitting(texts: Sequence[str], width: float) -> str:
    """The first of some texts that fits, else the last, shortened."""
    return next((text for text in texts if text_width(text) <= width), _clipped(texts[-1], width, 12))


def _clipped(text: str, width: float, size: float) -> str:
    """The text, shortened where it does not fit."""
    while text and text_width(text, size) > width:
        text = text[:-2].rstrip(" ,") + "…" if not text.endswith("…") else text[:-2] + "…"
    return text
