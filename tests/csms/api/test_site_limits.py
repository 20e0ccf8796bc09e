"""Roles that are limited to a site, over data of two sites in every table: every operation, page and stream.

What such a role is answered must not depend on what the other site has. An operation of which the other site has
nothing here proves nothing, and fails: a new one needs data in `tests/csms/two_sites.py`, or a line in `_OF_ALL`.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import argon2
import pytest

from csms.accounts import work as users
from csms.accounts.rules import Permission, Role
from csms.console.application import ROUTES, application
from csms.http.operations import Operation
from csms.http.routes import OPERATIONS
from csms.http.site_access import rule_of
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import running_backend
from tests.csms.console.support import PASSWORD, employ
from tests.csms.scripted_station import ScriptedStation
from tests.csms.support import make_config
from tests.csms.two_sites import BEGIN_MS, NORTH, SOUTH, asked, body_of, build, mixed, named, rows_of, station_of

_OF_ALL = {
    "list_alert_rules", "list_grid_sources", "list_tariffs", "list_templates", "list_uptime_rules",
    "read_grid_signal", "read_self", "read_tariff", "read_template",
}  # fmt: skip
"""Operations for roles of a site that show nothing of any site."""

World = Callable[..., contextlib.AbstractAsyncContextManager[tuple[ApiClient, str, dict[str, ScriptedStation]]]]


@pytest.fixture
def world(tmp_path: Path, pki: PkiTree, empty_database: Path) -> World:
    """Start a back end with these sites, and a token of an administrator of the first one."""

    @contextlib.asynccontextmanager
    async def begin(*sites: str) -> AsyncIterator[tuple[ApiClient, str, dict[str, ScriptedStation]]]:
        config = make_config(tmp_path / "-".join(sites), pki)
        async with running_backend(config, empty_database, BEGIN_MS) as csms, serving(csms, application) as ask:
            peers = {site: await build(ask, site) for site in sites}
            made = await ask("POST", "/access/tokens", {"name": "t", "role": "admin", "sites": [NORTH]})
            yield ask, made.json["secret"], peers

    return begin


def reads(operation: Operation) -> bool:
    """Return whether an operation only reads, and has an end."""
    return operation.method == "GET" and not operation.streams and operation.permission is not Permission.PUBLIC


def readings() -> list[tuple[Operation, str]]:
    """Return all requests that read, with every mixture of names of both sites."""
    return [(each, path) for each in OPERATIONS if reads(each) for path in asked(each, NORTH, SOUTH)]


async def answer(ask: ApiClient, path: str, token: str | None = None) -> tuple[int, str, str]:
    """Return what a caller learns: status, link to the next page, and body."""
    found = await ask("GET", path, token=token)
    assert (found.status != 500, found.headers["cache-control"]) == (True, "no-store"), path
    return found.status, found.headers.get("link", ""), _OWN.sub("", found.body.decode(errors="replace"))


@pytest.mark.requirement("R151")
@pytest.mark.long
async def test_what_a_role_of_a_site_reads_and_its_pages_do_not_depend_on_another_site(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "_hasher", argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    limited = [each for each in OPERATIONS if reads(each) and rule_of(each) != "refused"]
    souths = [(each, path) for each in limited for path in asked(each, SOUTH)]
    async with world(NORTH) as (ask, token, _):
        alone = [await answer(ask, path, token) for _, path in readings()]
        none = [await answer(ask, path) for _, path in souths]
        await compare_pages(ask, shown_alone := dict[str, str]())
    async with world(NORTH, SOUTH) as (ask, token, peers):
        shown = set()
        for (each, path), before in zip(readings(), alone, strict=True):
            after = await answer(ask, path, token)
            if after[0] < 300:
                assert after == before, (each.name, path)
                shown.add(each)
            else:
                assert before[0] >= 400, (each.name, path)
                assert named(after[2], SOUTH) <= named(path, SOUTH), (path, after)
        has = {each for (each, path), before in zip(souths, none, strict=True) if await answer(ask, path) != before}
        called = list(peers[SOUTH].calls)
        await compare_pages(ask, shown_alone)
        assert peers[SOUTH].calls == called
    assert {each.name for each in limited} - {each.name for each in shown} == set()
    assert {each.name for each in limited} - {each.name for each in has} == _OF_ALL


async def test_a_role_of_a_site_changes_nothing_of_another_site_and_its_streams_show_nothing(world: World) -> None:
    """Whatever a request names of the other site, in path, query or body; and nothing is sent to a station there."""
    async with world(NORTH, SOUTH) as (ask, token, peers):
        await watch_streams(ask, peers, token)
        before = await ask.backend.services.store.read(rows_of, SOUTH)
        assert {table for table, rows in before.items() if not rows} == set()
        sent = 0
        for each in (each for each in OPERATIONS if each.method != "GET"):
            body = body_of(each, SOUTH)
            of_north = set(asked(each, NORTH)) if body_of(each, NORTH) == body else set()
            for path in set(asked(each, NORTH, SOUTH)) - of_north:
                found = await ask(each.method, path, body, token=token)
                told = found.body.decode(errors="replace")
                assert found.status != 500, (each.name, path)
                assert named(told, SOUTH) <= named(f"{path} {body}", SOUTH), (each.name, path, told)
                sent += 1
        assert sent > 150
        assert await ask.backend.services.store.read(rows_of, SOUTH) == before
        assert peers[SOUTH].calls == []


async def watch_streams(ask: ApiClient, peers: dict[str, ScriptedStation], token: str) -> None:
    for operation in (each for each in OPERATIONS if each.streams):
        for path in asked(operation, NORTH, SOUTH):
            status, text = await streamed(ask, peers, path, token)
            if named(path, SOUTH) or rule_of(operation) == "refused":
                assert status == 403
            else:
                assert (status, bool(named(text, NORTH)), named(text, SOUTH)) == (200, True, set()), path


async def streamed(ask: ApiClient, peers: dict[str, ScriptedStation], path: str, token: str) -> tuple[int, str]:
    """Return how a stream is answered, and what it shows until something of the first site happens after the other."""
    gone, came = asyncio.Event(), asyncio.Condition()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        async with came:
            sent.append(message)
            came.notify_all()

    def text() -> str:
        return b"".join(each.get("body", b"") for each in sent).decode()

    async def shown(what: Callable[[], bool]) -> None:
        async with asyncio.timeout(60), came:
            await came.wait_for(what)

    reading = asyncio.create_task(ask.stream(path, send, gone, token=token))
    await shown(lambda: bool(text()))
    if sent[0]["status"] == 200:
        for site in (SOUTH, NORTH):
            ask.backend.services.feed.publish("grid_signal", None, {"site": site})
            ask.backend.services.feed.publish("station_connected", station_of(site), {"site": site})
            await peers[site].call("Heartbeat")
        await shown(lambda: bool(named(text(), NORTH)))
    gone.set()
    await reading
    return sent[0]["status"], text()


async def compare_pages(ask: ApiClient, alone: dict[str, str]) -> None:
    """Ask for every page, and for every action with an empty form; what a page shows is as in `alone`, where it is
    known.

    Except one's own account, and the health of the back end, which is public.
    """
    ada = await employ(ask, "ada", Role.ADMIN, PASSWORD, NORTH)
    for route in ROUTES:
        if route.public or route.path.startswith("/logout") or route.path.endswith(_STREAMED):
            continue
        for path in mixed("/console" + route.path, dict.fromkeys(NAME.findall(route.path), True), NORTH, SOUTH):
            found = await (ada.get(path) if route.method == "GET" else ada.send(path))
            text = found.body.decode(errors="replace").replace(ada.csrf, "")
            text = _OWN.sub("", _MARK.sub("", text))
            assert found.status != 500, path
            if found.status == 200 and not route.path.startswith(("/account", "/health")):
                assert text == alone.setdefault(f"{route.method} {path}", text), path
            else:
                assert named(text, SOUTH) <= named(path, SOUTH), path


NAME = re.compile(r"\{(\w+)\}")
_OWN: Final = re.compile(r'(?<=/1/)[a-z2-7]{16}|<path stroke="#000" d="[^"]*"/>|[-: 0-9]+ UTC at the earliest')
"""Of each world alone: codes of drivers' pages, by its key; how long events may have waited, by how busy it was."""
_MARK = re.compile(r' data-live="[^"]*"')
"""How far the page has followed the stream: it counts all events."""

_STREAMED = ("/events", "/frames", "/positions")
