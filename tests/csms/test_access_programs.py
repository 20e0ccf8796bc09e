"""Who may see and do what, through a program over HTTPS: roles of a site, guessed passwords, pages of other origins."""

import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from csms.accounts.rules import Role
from csms.config import StationEntry
from pki_tools.tree import PkiTree
from tests.csms.api.support import Answer
from tests.csms.api_support import batch, record
from tests.csms.console.authenticator import Authenticator, add, log_in_once
from tests.csms.console.support import Person, employ
from tests.csms.databases import Databases
from tests.csms.program import Program, write_config
from tests.csms.support import TOKENS, Running, make_config, provide

NORTH, SOUTH = "CS-NORTH", "CS-SOUTH"
NODE = {"id": "main", "limits": [63_000] * 3}


@pytest_asyncio.fixture
async def back_end(tmp_path: Path, pki: PkiTree, empty_database: Path) -> AsyncIterator[Program]:
    """One with a station at each of two sites."""
    config = make_config(tmp_path, pki, stations=(StationEntry(id=NORTH), StationEntry(id=SOUTH)))
    provide(empty_database, config)
    path = write_config(tmp_path / "csms.yaml", config)
    program = await Program.start(path, tmp_path / "events", pki, quiet=True)
    try:
        for site, station in (("north", NORTH), ("south", SOUTH)):
            place = {"station_id": station, "evse_id": 1, "node": "main", "most_ma": 32_000}
            body = {"id": site, "nodes": [NODE], "places": [place]}
            assert (await program.request("PUT", f"/sites/{site}", json.dumps(body).encode()))[0] < 300
            decision = json.dumps({"decision": "Pending"}).encode()
            assert (await program.request("PUT", f"/admissions/{station}", decision))[0] < 300
        yield program
    finally:
        await program.stop()


class Client:
    """A client of the program with headers of its own."""

    def __init__(self, program: Program, session: aiohttp.ClientSession) -> None:
        self._program, self._session = program, session
        self._context = Running.context(program, None)  # type: ignore[arg-type]

    async def ask(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers (by small letters) of an answer."""
        url = f"https://127.0.0.1:{self._program.ports['api']}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(
            method, url, data=data, headers=named, ssl=self._context, allow_redirects=False
        ) as answer:
            return answer.status, await answer.text(), {name.lower(): value for name, value in answer.headers.items()}


@pytest.mark.e2e
@pytest.mark.requirement("R151")
async def test_a_role_of_a_site_reads_nothing_of_another_one_and_no_cache_keeps_it(back_end: Program) -> None:
    """Every operation of the program's own OpenAPI document that reads without parameters of the path."""
    _, document = await back_end.request("GET", "/openapi.json")
    paths = [path for path, item in document["paths"].items() if "get" in item and "{" not in path]
    streams = {"/events", "/ocpp-log"}
    made = {"name": "of the north", "role": "operator", "sites": ["north"]}
    _, token = await back_end.request("POST", "/access/tokens", json.dumps(made).encode())
    shown: set[str] = set()
    async with aiohttp.ClientSession() as session:
        client = Client(back_end, session)
        for path in sorted(set(paths) - streams):
            status, text, headers = await client.ask("GET", path, authorization=f"Bearer {token['secret']}")
            assert status in (200, 400, 403, 404), path
            assert SOUTH not in text, path
            assert "south" not in text, path
            public = document["paths"][path]["get"].get("security") == []
            assert public or headers.get("cache-control") == "no-store", path
            shown |= {path} if NORTH in text else set()
        for path in (f"/stations/{SOUTH}", "/sites/south", f"/stations/{SOUTH}/variables"):
            status, text, _ = await client.ask("GET", path, authorization=f"Bearer {token['secret']}")
            assert status in (403, 404), (path, text)
    assert {"/admissions", "/sites"} <= shown
    assert len(paths) > 40


@pytest.mark.e2e
@pytest.mark.long
async def test_times_of_telemetry_that_cannot_be_are_set_aside(back_end: Program) -> None:
    """By when they came: others would be of 1970 or 2262, and alerts of centuries of silence."""
    now_ms = time.time_ns() // 1_000_000
    times = (now_ms, 0, 2**63 // 10**6, now_ms - 11 * 366 * 86_400_000, now_ms + 2 * 86_400_000)
    sent = batch(*(record(seq, utc_ms=at_ms) for seq, at_ms in enumerate(times, 1)))
    status, receipt = await back_end.request("POST", "/telemetry", sent)
    assert (status, receipt["stored"], [each["seq"] for each in receipt["quarantined"]]) == (200, 1, [2, 3, 4, 5])
    _, found = await back_end.request("GET", "/telemetry-quarantine")
    assert {each["reason"].split(" s ")[1] for each in found} == {"before its receipt", "after its receipt"}


@pytest_asyncio.fixture
async def nodes(tmp_path: Path, pki: PkiTree, postgresql_databases: Databases) -> AsyncIterator[list[Program]]:
    """Two nodes on one database."""
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    shared = {"store_url": postgresql_databases.create(), "store_key": key}
    found: list[Program] = []
    try:
        for name in ("first", "second"):
            path = write_config(tmp_path / f"{name}.yaml", make_config(tmp_path / name, pki, node=name, **shared))
            found.append(await Program.start(path, tmp_path / f"{name}.events", pki, quiet=True))
        yield found
    finally:
        for each in found:
            await each.stop()


class Remote:
    """Asks a program what a `Person` asks."""

    def __init__(self, program: Program, session: aiohttp.ClientSession) -> None:
        self._program, self._session = program, session
        self._context = Running.context(program, None)  # type: ignore[arg-type]

    async def __call__(
        self, method: str, path: str, body: Any = None, *, role: Role | None = Role.ADMIN, **headers: str
    ) -> Answer:
        """Send a request as `ApiClient` does."""
        url = f"https://127.0.0.1:{self._program.ports['api']}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {} if role is None else {"authorization": f"Bearer {TOKENS[role]}"}
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self._session.request(
            method, url, data=content, headers=named, ssl=self._context, allow_redirects=False
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read(), answer.headers.getall("set-cookie", []))


@pytest.mark.e2e
@pytest.mark.long
async def test_guesses_have_the_answer_of_the_right_password_and_origins_and_repetitions_none(
    nodes: list[Program],
) -> None:
    back_end, second = nodes
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        here, there = Remote(back_end, session), Remote(second, session)
        bob, authenticator = await employ(here, "bob", Role.VIEWER), Authenticator()  # type: ignore[arg-type]
        await add(bob, authenticator)
        await log_in_once(Person(here), Person(there), authenticator)  # type: ignore[arg-type]
    _, made = await back_end.request("POST", "/access/users", json.dumps({"name": "ada", "role": "viewer"}).encode())
    port = back_end.ports["api"]

    async with aiohttp.ClientSession() as session:
        client = Client(back_end, session)

        async def log_in(password: str, **headers: str) -> tuple[int, str]:
            status, text, _ = await client.ask(
                "POST", "/console/login", {"name": "ada", "password": password}, **headers
            )
            return status, re.sub(r"wait [0-9]+ s", "wait", text)  # which counts down

        right = made["password"]
        for origin in (f"http://127.0.0.1:{port}", "https://evil.test", "null"):
            assert (await log_in(right, origin=origin))[0] == 403, origin
        assert (await log_in(right, origin=f"https://127.0.0.1:{port}"))[0] == 303
        same = {"sec_fetch_site": "same-origin"}
        began, judged = time.monotonic(), 9
        guesses = [await log_in(f"guess {number}", **same) for number in range(judged)]
        assert [status for status, _ in guesses] == [401] * judged, "the repetition was the first of ten"
        refused = False
        while not refused:
            guess, password = await log_in("guess", **same), await log_in(right, **same)
            judged += (guess[0] == 401) + (password[0] == 303)
            assert judged <= 9 + (time.monotonic() - began) / 10, "one in 10 s"
            refused = guess[0] == 429 and password == guess
