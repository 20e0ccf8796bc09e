"""Draws quantities over time as stairs: rows above one another with one time axis, as an SVG picture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from html import escape
from typing import Final, NamedTuple

from v2g.look import DARK, LIGHT
from v2g.units import DAY_S

_ROW, _GAP, _LEFT, _MARGIN = 110, 30, 70, 10
_LINE: Final = 12
"""Height of a line of text; values of an axis are further apart."""
_TICKS_S: Final = (
    1, 2, 5, 10, 30, *(minutes * 60 for minutes in (1, 5, 15, 30, 60, 120, 180, 360, 720)),
    *(days * DAY_S for days in (1, 2, 7, 30, 90)),
)  # fmt: skip

_INKS: Final = {"blue": "in", "green": "out", "orange": "warn", "red": "bad"}
"""Colours of lines as the look of pages has them."""


def _inks(look: Mapping[str, str]) -> str:
    """Return rules with these colours."""
    lines = "".join(
        f"svg.stairs .{name}{{stroke:{look[ink]}}}svg.stairs .{name}-text{{fill:{look[ink]}}}"
        for name, ink in _INKS.items()
    )
    return f"svg.stairs text{{fill:{look['dim']}}}svg.stairs .axis{{stroke:{look['dim']}}}{lines}"


_STYLE: Final = (
    "svg.stairs text{font:11px system-ui,sans-serif}svg.stairs polyline{fill:none;stroke-width:1.6}"
    "svg.stairs polyline.orange{stroke-width:4;stroke-opacity:.6}svg.stairs .red{stroke-dasharray:4 3}"
    f"{_inks(LIGHT)}@media screen and (prefers-color-scheme:dark){{{_inks(DARK)}}}"
)


class Series(NamedTuple):
    """A line in a row: its colour (`blue`, `green`, `orange`, or `red`, which is dashed), its name in the legend
    (empty: the row's title says it), and its value in each step of time, None where it has none; with one value more,
    those at the edges of steps."""

    colour: str
    name: str
    values: Sequence[float | None]


class Row(NamedTuple):
    """Lines that share a scale, with their quantity and unit as title. `base`: the scale has this value, too."""

    title: str
    series: tuple[Series, ...]
    base: float = 0.0


def stairs_chart(
    label: str,
    edges_ms: Sequence[int],
    rows: Sequence[Row],
    *,
    zone: tzinfo = UTC,
    width: int = 900,
    number: Callable[[float], str] = "{:.4g}".format,
) -> str:
    """Return the picture. `edges_ms` (UTC, rising) has one edge more than each series has values.

    `label` describes it to those who do not see it; `number` writes the values at the axes. Text is escaped.
    """
    height = len(rows) * (_ROW + _GAP) + 20
    right = width - _MARGIN
    first, last = edges_ms[0], edges_ms[-1]

    def x(ms: int) -> float:
        return round(_LEFT + (right - _LEFT) * (ms - first) / (last - first), 1)

    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    about = f'class="stairs" role="img" aria-label="{escape(label)}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {about}><style>{_STYLE}</style>']
    edges = [x(edge) for edge in edges_ms]
    for place, row in enumerate(rows):
        parts += _row(row, _GAP + place * (_ROW + _GAP), edges, right, number)
    most = max(2, width // 110)
    step_s = next((each for each in _TICKS_S if last - first <= most * each * 1000), _TICKS_S[-1])
    for ms in _ticks(first, last, zone, step_s):
        anchor = "end" if x(ms) > right - _MARGIN else "middle"
        clock = f"{datetime.fromtimestamp(ms / 1000, zone):{'%H:%M' if step_s >= 60 else '%H:%M:%S'}}"
        if clock == "00:00" and last - first > DAY_S * 1000:
            clock = f"{datetime.fromtimestamp(ms / 1000, zone):%m-%d}"
        parts.append(f'<text x="{x(ms)}" y="{height - 6}" text-anchor="{anchor}">{clock}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ticks(begin_ms: int, end_ms: int, zone: tzinfo, step_s: int) -> Iterator[int]:
    """Yield times of the clock in whole steps (seconds, minutes, hours, or days)."""
    look_ms = min(step_s, 900) * 1000  # zones differ by quarters of an hour
    for ms in range(-(-begin_ms // look_ms) * look_ms, end_ms + 1, look_ms):
        local = datetime.fromtimestamp(ms / 1000, zone)
        if (local.toordinal() * DAY_S + local.hour * 3600 + local.minute * 60 + local.second) % step_s == 0:
            yield ms


def _row(row: Row, top: int, edges: Sequence[float], right: int, number: Callable[[float], str]) -> Iterator[str]:
    values = [value for each in row.series for value in each.values if value is not None]
    low, high = min([row.base, *values]), max([row.base, *values])
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return round(top + _ROW - _ROW * (value - low) / span, 1)

    named = [each for each in row.series if each.name]
    yield f'<text x="{_LEFT}" y="{top - 6}">{escape(row.title)}{": " if named else ""}'
    for each in named:
        yield f'<tspan class="{each.colour}-text" dx="8">{escape(each.name)}</tspan>'
    yield "</text>"
    yield f'<line class="axis" x1="{_LEFT}" y1="{y(row.base)}" x2="{right}" y2="{y(row.base)}"/>'
    written: list[float] = []
    for value in (high, low, row.base):
        if all(abs(y(value) - y(other)) >= _LINE for other in written):
            written.append(value)
    for value in sorted(written):
        yield f'<text x="{_LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{escape(number(value))}</text>'
    for each in row.series:
        if all(value is None for value in each.values):
            continue
        line = " ".join(
            f"{edges[n]},{y(value)}"
            if len(each.values) == len(edges)
            else f"{edges[n]},{y(value)} {edges[n + 1]},{y(value)}"
            for n, value in enumerate(each.values)
            if value is not None
        )
        yield f'<polyline class="{each.colour}" points="{line}"><title>{escape(each.name)}</title></polyline>'
