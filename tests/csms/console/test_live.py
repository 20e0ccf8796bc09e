"""Tabs of one login share what is drawn for them, and never more than their rights."""

import asyncio
from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.backend import make_backend
from csms.console.live import Drawing
from csms.console.visit import PageParts
from csms.events.work import History
from tests.csms.api.support import ApiClient
from tests.csms.console.support import Person, employ


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def test_ten_tabs_cost_one_drawing_until_something_has_happened(ask: ApiClient) -> None:
    clock = Clock()
    drawn: list[int] = []
    drawing = Drawing(clock)
    history = _history(ask)

    async def draw() -> PageParts:
        drawn.append(len(drawn))
        await asyncio.sleep(0)
        return PageParts({"list": [str(len(drawn))]}, {})

    newest = history.newest
    found = await asyncio.gather(*(drawing.parts(newest, history, draw) for _ in range(10)))
    assert {(parts.lines["list"][0], number) for parts, number in found} == {("1", newest)}
    clock.now += 5  # time alone is a reason, too
    assert (await drawing.parts(newest, history, draw))[0].lines == {"list": ["2"]}
    clock.now += 5
    again = await asyncio.gather(*(drawing.parts(newest + 1, history, draw) for _ in range(10)))
    assert {number for _, number in again} == {newest + 1}
    assert len(drawn) == 3


async def test_a_drawing_that_fails_or_whose_tab_is_closed_is_made_by_the_next(ask: ApiClient) -> None:
    clock, history = Clock(), _history(ask)
    drawing = Drawing(clock)

    async def never() -> PageParts:
        await asyncio.Event().wait()
        raise AssertionError

    async def broken() -> PageParts:
        raise ValueError("a page that fails")

    async def draw() -> PageParts:
        return PageParts({"list": ["drawn"]}, {})

    closed = asyncio.create_task(drawing.parts(1, history, never))
    await asyncio.sleep(0)
    closed.cancel()
    with pytest.raises(ValueError, match="fails"):
        await drawing.parts(1, history, broken)
    assert (await drawing.parts(1, history, draw))[0].lines == {"list": ["drawn"]}


async def test_two_persons_with_other_rights_are_told_apart(ask: ApiClient) -> None:
    ada, bob = await employ(ask, "ada", Role.OPERATOR), await employ(ask, "bob", Role.VIEWER)
    shown: dict[str, str] = {}
    for person in (ada, bob):
        await ask.backend.booted()
        events: list[bytes] = []
        gone = asyncio.Event()

        async def send(message: Any, events: list[bytes] = events, gone: asyncio.Event = gone) -> None:
            events.append(message.get("body", b""))
            if b"event: page" in b"".join(events):
                gone.set()

        await _follow(ask, person, "/console/stations", send, gone)
        shown[person.name] = b"".join(events).decode()
    assert "pick:CS-V2G-0001" in shown["ada"]
    assert "CS-V2G-0001" in shown["bob"]
    assert "pick:" not in shown["bob"]


async def test_a_page_whose_subject_is_gone_is_asked_for_again_and_then_has_no_stream(ask: ApiClient) -> None:
    """Nor has any other page about an error, which could never be drawn."""
    ada, events, ended = await employ(ask, "ada", Role.OPERATOR), list[bytes](), asyncio.Event()
    site = {"id": "depot", "nodes": [{"id": "main", "limits": [63_000] * 3}]}
    assert (await ask("PUT", "/sites/depot", site)).status == 200
    assert b' data-live="' in (await ada.get("/console/sites/depot")).body

    async def send(message: Any) -> None:
        events.append(message.get("body", b""))
        if b"event: page" in events[-1]:
            assert (await ask("DELETE", "/sites/depot")).status == 204
        if not message.get("more_body", True):
            ended.set()

    await _follow(ask, ada, "/console/sites/depot", send, ended)
    assert events[-2:] == [b"event: gone\ndata: {}\n\n", b""]
    page = await ada.get("/console/sites/depot")
    assert (page.status, b' data-live="' in page.body) == (404, False)


async def _follow(ask: ApiClient, person: Person, path: str, send: Any, gone: asyncio.Event) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    async with asyncio.timeout(60):
        await ask.stream(f"{path}?live=0", send, gone, cookie=cookie, host="console.test")


def _history(ask: ApiClient) -> History:
    return make_backend(ask.backend.services).history
