"""Who may see and do what, through a program over HTTPS: roles of a site, guessed passwords, pages of other origins."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from csms.config import StationEntry
from pki_tools.tree import PkiTree
from tests.csms.program import Program, write_config
from tests.csms.support import Running, make_config, provide

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

    async def ask(self, method: str, path: str, data: Any = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers (by small letters) of an answer."""
        url = f"https://127.0.0.1:{self._program.ports['api']}{path}"
        context = Running.context(self._program, None)  # type: ignore[arg-type]
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(
            method, url, data=data, headers=named, ssl=context, allow_redirects=False
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
async def test_guesses_have_the_answer_of_the_right_password_and_other_origins_none(back_end: Program) -> None:
    _, made = await back_end.request("POST", "/access/users", json.dumps({"name": "ada", "role": "viewer"}).encode())
    port = back_end.ports["api"]

    async with aiohttp.ClientSession() as session:
        client = Client(back_end, session)

        async def log_in(password: str, **headers: str) -> tuple[int, str]:
            status, text, _ = await client.ask(
                "POST", "/console/login", {"name": "ada", "password": password}, **headers
            )
            return status, text

        right = made["password"]
        for origin in (f"http://127.0.0.1:{port}", "https://evil.test", "null"):
            assert (await log_in(right, origin=origin))[0] == 403, origin
        assert (await log_in(right, origin=f"https://127.0.0.1:{port}"))[0] == 303
        same = {"sec_fetch_site": "same-origin"}
        guesses = [await log_in(f"guess {number}", **same) for number in range(12)]
        assert [status for status, _ in guesses] == [401] * 10 + [429] * 2
        assert await log_in(right, **same) == guesses[-1]
