"""A VTN, an IEEE 2030.5 server and a price feed that attack the back end: lost servers, and nothing else."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from csms.grid.config import Ieee2030, OpenAdr
from csms.grid.der_server import DerServer
from csms.grid.ieee2030_5 import DerClient
from csms.grid.openadr import Ven
from csms.grid.source import GridSource
from csms.grid.vtn_client import VtnClient
from pki_tools.tree import PkiTree
from tests.csms.backend import running_backend
from tests.csms.support import make_config
from tests.hostile import ATTACKS, DRIPPING, attacking
from tests.web_server import serving
from v2g.errors import CodecError, TransportError
from v2g.io.runtime.clock import Clock

pytestmark = pytest.mark.requirement("R56", "R153")

NOW_MS = 1_795_161_600_000
POLL_S = 1.0
TOKEN = {b"/auth/token": b'{"access_token": "a", "token_type": "Bearer"}'}
ALL = [*ATTACKS, DRIPPING]


def openadr(url: str, tmp_path: Path) -> OpenAdr:
    """Return the configuration of a VTN."""
    return OpenAdr(url=url, client_id="ven", client_secret_file=tmp_path / "secret", ven_name="VEN-1")


def vtn_client(clock: Any, url: str) -> VtnClient:
    """Return a client of a VTN."""
    return VtnClient(clock, url=url, token_url="", client_id="ven", client_secret="s", scope="", tls=None)


@pytest.mark.long
async def test_a_server_that_attacks_is_a_lost_server(tmp_path: Path, pki: PkiTree, empty_database: Path) -> None:
    """Within the time of a poll, with one event; the site's own limits stay in force."""
    lfdi = "4075DE6031E562ACF4D9EAA765A5B2ED00057269"
    files = {"certificate": pki.path("csms/station/chain.pem"), "key": pki.path("csms/station/leaf.key")}
    async with running_backend(make_config(tmp_path, pki), empty_database, NOW_MS) as backend:
        for attack in ALL:
            async with attacking(attack, TOKEN) as url:
                ven = Ven(backend.services, openadr(url, tmp_path), vtn_client(backend.clock, url), poll_s=POLL_S)
                server = DerServer(f"{url}/dcap", tls=None)
                config = Ieee2030(url=url, lfdi=lfdi, max_charge_w=20_000, max_discharge_w=10_000, **files)
                der = DerClient(backend.services, config, server, lfdi, poll_s=POLL_S)
                before = [len(backend.events.named(name)) for name in ("openadr_lost", "ieee2030_5_lost")]
                async with asyncio.timeout(30 * POLL_S):
                    await ven.step()
                    await der.step()
                after = [len(backend.events.named(name)) for name in ("openadr_lost", "ieee2030_5_lost")]
                assert after == [each + 1 for each in before], attack
        assert backend.services[GridSource].current is None


async def test_a_token_server_that_attacks_is_a_lost_server(tmp_path: Path, pki: PkiTree, empty_database: Path) -> None:
    async with running_backend(make_config(tmp_path, pki), empty_database, NOW_MS) as backend:
        for number, attack in enumerate(ALL, 1):
            async with attacking(attack) as url:
                ven = Ven(backend.services, openadr(url, tmp_path), vtn_client(backend.clock, url), poll_s=POLL_S)
                async with asyncio.timeout(30 * POLL_S):
                    await ven.step()
                assert len(backend.events.named("openadr_lost")) == number, attack


class Endless:
    """A VTN with more programs, each with more events, than anybody reads, at most `most` a page."""

    def __init__(self, most: int = 50) -> None:
        self.asked, self._most = 0, most

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.path == "/auth/token":
            return web.json_response({"access_token": "a", "token_type": "Bearer"})
        skip, limit = int(request.query["skip"]), min(self._most, int(request.query["limit"]))
        if request.path == "/programs":
            found = [{"id": f"p{n}", "programName": f"p{n}"} for n in range(skip, min(1990, skip + limit))]
        else:
            name = request.query["programID"]
            period = {"start": "2026-11-21T00:00:00Z", "duration": "PT1H"}
            interval = {"id": 0, "payloads": [{"type": "PRICE", "values": [0.2]}]}
            found = [
                {"id": f"{name}-{n}", "programID": name, "intervalPeriod": period, "intervals": [interval]}
                for n in range(skip, min(1990, skip + limit))
            ]
        return web.Response(body=json.dumps(found).encode(), content_type="application/json")


def here(port: int) -> str:
    """Return the URL of a server at a port."""
    return f"http://127.0.0.1:{port}"


async def test_programs_and_events_are_bounded_together(tmp_path: Path, pki: PkiTree, empty_database: Path) -> None:
    """Each list is short enough, all of them together would be four million events."""
    endless = Endless()
    async with (
        serving(endless.answer) as port,
        running_backend(make_config(tmp_path, pki), empty_database, NOW_MS) as backend,
    ):
        ven = Ven(backend.services, openadr(here(port), tmp_path), vtn_client(backend.clock, here(port)), poll_s=300)
        await ven.step()
        (lost,) = backend.events.named("openadr_lost")
        assert "more than 2000 events" in str(lost.data["reason"])
        assert endless.asked < 200


@pytest.mark.parametrize(("most", "fits"), [(50, True), (10, True), (9, False)])
async def test_a_vtn_may_have_smaller_pages_than_those_asked_for(most: int, fits: bool) -> None:
    """All of its 1,990 events are read, in at most 210 pages."""
    endless = Endless(most)
    async with serving(endless.answer) as port:
        client = vtn_client(Clock(), here(port))
        if fits:
            events, problems = await client.events("p", ())
            assert len(events) + len(problems) == 1990
        else:
            with pytest.raises(CodecError, match="210 pages"):
                await client.events("p", ())
    assert endless.asked <= 212


async def test_lists_of_2030_5_are_bounded_however_short_their_pages_are() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        item = "<DERProgram href='/p'><mRID>00</mRID></DERProgram>"
        body = f'<DERProgramList xmlns="urn:ieee:std:2030.5:ns" all="4000000000" results="1">{item}</DERProgramList>'
        return web.Response(body=body.encode())

    async with serving(answer) as port:
        server = DerServer(f"{here(port)}/dcap", tls=None)
        with pytest.raises((CodecError, TransportError), match="more than"):
            await server.items("/programs", "DERProgram")
        assert asked <= 100


@pytest.mark.parametrize(
    ("status", "location", "found"),
    [
        (301, "/here", True), (302, "here", True), (307, "{origin}/here", True), (308, "/again", True),
        (301, "/moved", False), (301, "https://127.0.0.1:1/here", False), (301, "//127.0.0.1:1/here", False),
        (301, None, False), (301, "http://[", False), (303, "/here", False),
    ],
)  # fmt: skip
async def test_what_a_2030_5_server_has_moved_is_read_where_it_is(
    status: int, location: str | None, found: bool
) -> None:
    """At the same server, whose redirections end; another one gets no request with the certificate of ours."""
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if request.path == "/here":
            return web.Response(body=b'<Time xmlns="urn:ieee:std:2030.5:ns"/>')
        if request.path == "/again":
            return web.Response(status=308, headers={"Location": "/here"})
        headers = {} if location is None else {"Location": location.format(origin=here(port))}
        return web.Response(status=status, headers=headers)

    async with serving(answer) as port:
        reading = DerServer(f"{here(port)}/dcap", tls=None).read("/moved")
        if found:
            assert b"<Time" in await reading
        else:
            with pytest.raises(TransportError, match=str(status)):
                await reading
        assert asked <= 4
