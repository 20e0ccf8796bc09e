"""Draws charts of states as SVG: every state is a box whose lines are the ways out of it.

Boxes stand below one another in the order of the chart, which is that of a session where it has one. A way that leads
elsewhere runs along a lane beside the boxes; all ways to one state share a lane, and lanes are shared where they do not
meet.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from html import escape
from typing import Final, NamedTuple

from v2g.iso15118.engine.sequence import Asks, Chart, Says, State

_LEFT, _HEAD, _ROW, _GAP, _LANE, _TOP = 20, 24, 17, 16, 13, 20
_LETTER: Final = 6.4
"""Width of a letter on average, pixels."""

_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#222}.state{font-weight:600}.when{fill:#666}"
    ".box{fill:#f6f8fa;stroke:#8a94a0}.head{fill:#dfe7ef;stroke:#8a94a0}.way{fill:none;stroke-width:1.6}"
    "@media (prefers-color-scheme:dark){text{fill:#e6e6e6}.when{fill:#aaa}.box{fill:#1b1f24}.head{fill:#2d3540}}"
)


class Way(NamedTuple):
    """A way out of a state: the request or event, when it is this one, and where it leads."""

    request: str
    when: str
    to: Enum


Ways = Mapping[Enum, tuple[Way, ...]]
"""States with their ways, in the order of the picture."""


class Box(NamedTuple):
    """A state with its ways, its upper and its right edge."""

    state: Enum
    ways: tuple[Way, ...]
    y: int
    edge: int

    @property
    def height(self) -> int:
        return _HEAD + _ROW * len(self.ways) + (6 if self.ways else 0)

    def row(self, at: int) -> int:
        """Return the middle of a way's line."""
        return self.y + _HEAD + 3 + _ROW * at + _ROW // 2

    @property
    def middle(self) -> int:
        """Return the middle of the heading."""
        return self.y + _HEAD // 2


def svg(ways: Ways, title: str) -> str:
    """Return a chart as a picture."""
    boxes = placed(ways)
    spans = spans_of(boxes)
    lanes = lanes_of(spans)
    width, y = boxes[0].edge + 24 + _LANE * (max(lanes.values(), default=0) + 1), boxes[-1].y + boxes[-1].height + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
    ]
    by_state = {box.state: box for box in boxes}
    for box in boxes:
        parts += _drawn(box)
    for box in boxes:
        parts += _leaving(box, by_state, lanes)
    parts += [_arriving(by_state[state], lanes[state], span) for state, span in spans.items()]
    return "\n".join([*parts, "</svg>"]) + "\n"


def ways_of(chart: Chart) -> Ways:
    """Return what a picture shows of a sequence chart: SessionStopReq, which almost every state takes, is where a
    session usually ends."""
    return {state: _ways(chart, state) for state in _states(chart)}


def placed(ways: Ways) -> list[Box]:
    """Return the boxes of a chart where they stand, all as wide as the longest text."""
    texts = [f"{way.request} ↻ {way.when}" for each in ways.values() for way in each]
    longest = max(map(len, [*texts, *(f"{state.value}  " for state in ways)]))  # names are bold
    boxes, y = [], _TOP
    for state, each in ways.items():
        boxes.append(Box(state, each, y, _LEFT + 24 + int(_LETTER * longest)))
        y += boxes[-1].height + _GAP
    return boxes


def _states(chart: Chart) -> list[State]:
    """Return the states in the order of the chart; those that end a session come last."""
    last = (State.PAUSED, State.ENDED)
    return [each for each in chart if each not in last] + [each for each in last if each in chart]


def _ways(chart: Chart, state: State) -> tuple[Way, ...]:
    """Return the ways out of a state; ways of one request to one state are one."""
    merged: dict[tuple[str, State], list[str]] = {}
    for request, edges in chart[state].items():
        if request == "SessionStopReq" and state is not stopping(chart):
            continue
        for edge in edges:
            words = [] if edge.asks is Asks.ANYTHING else [edge.asks.value.rpartition(" ")[2]]
            words += [] if edge.says is Says.ANYTHING else [edge.says.value]
            merged.setdefault((request, edge.to), []).append(", ".join(words))
    return tuple(
        Way(request.removesuffix("Req"), "" if "" in when else " or ".join(when), to)
        for (request, to), when in merged.items()
    )


def stopping(chart: Chart) -> State:
    """Return the state in which a picture shows SessionStopReq."""
    return State.SESSION_STOP if State.SESSION_STOP in chart else State.DC_WELDING_DETECTION


def spans_of(boxes: Iterable[Box]) -> dict[Enum, tuple[int, int]]:
    """Return, for every state that ways lead to, from where to where its lane runs."""
    heads = {box.state: box.middle for box in boxes}
    spans: dict[Enum, tuple[int, int]] = {}
    for box in boxes:
        for at, way in enumerate(box.ways):
            if way.to is not box.state and way.to in heads:
                low, high = spans.get(way.to, (heads[way.to], heads[way.to]))
                spans[way.to] = (min(low, box.row(at)), max(high, box.row(at)))
    return spans


def lanes_of(spans: Mapping[Enum, tuple[int, int]]) -> dict[Enum, int]:
    """Return a lane for each span, short ones near the boxes, so that no two on a lane meet."""
    taken: list[list[tuple[int, int]]] = []
    lanes = {}
    for state, (low, high) in sorted(spans.items(), key=lambda each: each[1][1] - each[1][0]):
        free = (n for n, lane in enumerate(taken) if all(high + 4 < low_ or high_ + 4 < low for low_, high_ in lane))
        lanes[state] = number = next(free, len(taken))
        if number == len(taken):
            taken.append([])
        taken[number].append((low, high))
    return lanes


def _colour(state: Enum) -> str:
    return f"hsl({list(type(state)).index(state) * 137 % 360} 62% 42%)"


def _x(box: Box, lane: int) -> int:
    return box.edge + 22 + _LANE * lane


def _drawn(box: Box) -> list[str]:
    parts = [
        f'<rect class="box" x="{_LEFT}" y="{box.y}" width="{box.edge - _LEFT}" height="{box.height}" rx="4"/>',
        f'<rect class="head" x="{_LEFT}" y="{box.y}" width="{box.edge - _LEFT}" height="{_HEAD}" rx="4"/>',
        f'<text class="state" x="{_LEFT + 8}" y="{box.y + 16}">{box.state.value}</text>',
    ]
    for at, way in enumerate(box.ways):
        again = " ↻" if way.to is box.state else ""
        when = f' <tspan class="when">{escape(way.when)}</tspan>' if way.when else ""
        parts.append(f'<text x="{_LEFT + 16}" y="{box.row(at) + 4}">{escape(way.request)}{again}{when}</text>')
    return parts


def _leaving(box: Box, boxes: Mapping[Enum, Box], lanes: Mapping[Enum, int]) -> list[str]:
    parts = []
    for at, way in enumerate(box.ways):
        if way.to is box.state or way.to not in boxes:
            continue
        y, colour = box.row(at), _colour(way.to)
        title = f"{way.request} {way.when} leads to {way.to.value}"
        parts.append(
            f'<path class="way" stroke="{colour}" d="M{box.edge} {y}H{_x(box, lanes[way.to])}">'
            f"<title>{escape(' '.join(title.split()))}</title></path>"
        )
    return parts


def _arriving(box: Box, lane: int, span: tuple[int, int]) -> str:
    x, y, colour, edge = _x(box, lane), box.middle, _colour(box.state), box.edge
    return (
        f'<path class="way" stroke="{colour}" d="M{x} {span[0]}V{span[1]}M{x} {y}H{edge + 6}">'
        f"<title>to {box.state.value}</title></path>"
        f'<path fill="{colour}" d="M{edge} {y}l8 -4v8z"/>'
    )
