"""Pages kept current: a stream for each tab, of what has changed in the page's live parts and charts.

A page is drawn again at the server when something has happened, and compared with what the tab has: only changed lines
of its parts and new points of its charts are sent, at most once a second, and so seldom that drawing takes at most a
twentieth of the time. Tabs of one login that show the same address share what is drawn.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final

from jinja2 import Environment
from litestar.response import Template
from msgspec.structs import replace

from csms.cluster.feed import LOST
from csms.console.visit import DrawnChart, Handler, PageParts, Visit
from csms.events.work import History
from csms.http.call import encode
from csms.http.problems import ApiError

LIVE: Final = "live"
"""Parameter of a page's address that asks for its stream: the number of the newest event that the page has."""

_BEAT_S: Final = 5.0
_LEAST_S: Final = 1.0
_SHARE: Final = 20
_MOST_S: Final = 10.0
_ANYHOW: Final = 2
"""After so many beats without an event a page is drawn for what only time changes."""


class Drawing:
    """What is drawn of a page for all tabs of a login that show it: the last parts, and the newest event before."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic, self._one = monotonic, asyncio.Lock()
        self._number, self._parts, self._at, self._took = -1, PageParts({}, {}), -_MOST_S, 0.0

    async def parts(
        self, number: int, history: History, draw: Callable[[], Awaitable[PageParts]]
    ) -> tuple[PageParts, int]:
        """Return the page's parts with the number of an event that they know, at least `number`: those drawn last, if
        these are not older than a page may be; else they are drawn when it is time."""
        async with self._one:
            interval = max(_LEAST_S, min(_MOST_S, self._took * _SHARE))
            age = self._monotonic() - self._at
            if self._number < number or age >= interval:
                await asyncio.sleep(interval - age)
                begun, newest = self._monotonic(), max(number, history.newest)
                self._parts = await draw()
                self._number, self._at = newest, self._monotonic()
                self._took = self._at - begun
            return self._parts, self._number


async def changes(
    visit_of: Callable[[], Visit],
    handler: Handler,
    templates: Environment,
    history: History,
    after: str,
    drawing: Drawing,
) -> AsyncIterator[bytes]:
    """Yield events with what has changed of a page since the position `after`, until it fails; `drawing`: that of its
    login."""
    era, _, said = after.partition("-")
    number = min(int(said), history.newest) if era == history.era and said.isdecimal() and len(said) < 19 else 0
    station = visit_of().path.get("station_id")
    pending, beats = number == 0, 0
    had = PageParts({}, {})
    while True:
        if pending:
            try:
                now, number = await drawing.parts(
                    max(number, history.newest), history, lambda: _draw(visit_of(), handler, templates)
                )
            except ApiError as error:
                if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:  # what it shows is gone, or the right to see it
                    yield b"event: gone\ndata: {}\n\n"
                return
            pending, beats = False, 0
            yield _event(history.era, number, now, had)
            had = now
        async for portion in history.follow(number, _BEAT_S):
            if portion:
                number = portion[-1].number
                # A page about a station changes only by events of that station
                pending = any(
                    station is None or each.event.station_id in (None, station) or each.event.kind == LOST
                    for each in portion
                )
            else:
                beats += 1
                pending = beats % _ANYHOW == 0
                yield b"event: beat\ndata: {}\n\n"
            if pending:
                break
        else:
            return


async def _draw(visit: Visit, handler: Handler, templates: Environment) -> PageParts:
    """Draw a page, and return its parts."""
    visit.parts = PageParts({}, {})
    answer = await handler(visit)
    if isinstance(answer, Template):
        templates.get_template(str(answer.template_name)).render(answer.context)
    return visit.parts


def _event(era: str, number: int, now: PageParts, had: PageParts) -> bytes:
    parts = {key: _changed(lines, had.lines.get(key)) for key, lines in now.lines.items()}
    charts = {key: _grown(chart, had.charts.get(key)) for key, chart in now.charts.items()}
    said = {
        "parts": {key: each for key, each in parts.items() if each is not None},
        "charts": {key: each for key, each in charts.items() if each is not None},
    }
    return f"id: {era}-{number}\nevent: page\ndata: ".encode() + encode(said) + b"\n\n"


def _changed(now: Sequence[str], had: Sequence[str] | None) -> object:
    """Return a part's lines, by number if as many as before; None if nothing has changed."""
    if had is None or len(had) != len(now):
        return now
    return {str(at): line for at, line in enumerate(now) if line != had[at]} or None


def _grown(now: DrawnChart, had: DrawnChart | None) -> DrawnChart | None:
    """Return a chart from the first point on that is new; None if nothing has changed."""
    if now == had:
        return None
    same = 0
    if had is not None and [each.label for each in now.lines] == [each.label for each in had.lines]:
        values = (_common(one.values, other.values) for one, other in zip(now.lines, had.lines, strict=True))
        same = min(_common(now.times, had.times), *values)
    lines = [replace(each, values=each.values[same:]) for each in now.lines]
    return replace(now, begins=same, times=now.times[same:], lines=lines)


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many first values two lists share."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
