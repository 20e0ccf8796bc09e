"""An invented edition of three messages is served beside ISO 15118-20 by the same listener, runner, EVSE and journal;
the vehicle chooses.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.app import edition as served
from secc.evse.controller import EvseController
from secc.session import ports
from tests.io.tls.support import join, only_2, pki_2, serving
from tests.secc import three_messages as three
from tests.secc.bench_program import BENCH, made
from v2g import exi
from v2g.energy.limits import SITE, Limit
from v2g.io.tls.endpoint import ISO15118_2, ISO15118_20, TlsProfile
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame
from v2g.observe import Observe

__all__ = ["pki_2"]

FREE = BENCH + "[site]\nfree = true\ncharge_w = 9000\n"
"""A site where whoever comes may charge."""
DC = "urn:iso:std:iso:15118:-20:DC"


def offer(*namespaces: str) -> app.SupportedAppProtocolReq:
    """Return a handshake that offers these protocols, best first; schema ids count from 1."""
    return app.SupportedAppProtocolReq(
        app_protocol=tuple(
            app.AppProtocol(
                protocol_namespace=namespace,
                version_number_major=1,
                version_number_minor=0,
                schema_id=number,
                priority=number,
            )
            for number, namespace in enumerate(namespaces, 1)
        )
    )


class Vehicle:
    """A vehicle on a TLS connection, which says what the test wants."""

    def __init__(self, stream: Any) -> None:
        self.stream, self._framer, self._frames = stream, Framer(), []

    async def ask(self, request: Any, *, pieces: int = 1) -> Any:
        """Send a request in so many pieces, and return the response."""
        data = frame(PayloadType.SAP, exi.encode(request))
        size = -(-len(data) // pieces)
        for at in range(0, len(data), size):
            await self.stream.write(data[at : at + size])
        while not self._frames:
            received = await self.stream.read(4096)
            assert received, "the charger has closed"
            self._frames += self._framer.feed(received)
        schema = APP_PROTOCOL if isinstance(request, app.SupportedAppProtocolReq) else three.SCHEMA
        return three.decode(self._frames.pop(0).payload, schema)


@contextlib.asynccontextmanager
async def charger(folder: Path, pki: PkiTree) -> AsyncIterator[tuple[EvseController, three.Three]]:
    """Return the EVSE of a charger that speaks both."""
    edition = three.Three()
    async with made(folder, pki, FREE) as found:
        (controller,) = found.controllers
        controller.editions = {"20": served("20"), "2": edition}
        yield controller, edition


@contextlib.asynccontextmanager
async def connected(
    controller: EvseController, pki: PkiTree, profile: TlsProfile = ISO15118_20
) -> AsyncIterator[Vehicle]:
    """Connect a vehicle over TLS, and wait at the end until its session is settled."""
    options = {"profile": profile}
    ends = options if profile.mutual else options | only_2(pki)
    async with (
        asyncio.timeout(60),
        serving(pki, lambda stream: controller.vehicle(stream, lambda same: same), **options) as server,
    ):
        vehicle = Vehicle(await join(server, pki, **ends))
        yield vehicle
        await vehicle.stream.close()
        while controller.busy:
            await asyncio.sleep(0)
        await controller.settled()


async def test_an_invented_edition_is_authorised_metered_and_settled_like_any_other(
    tmp_path: Path, pki: PkiTree
) -> None:
    async with charger(tmp_path, pki) as (controller, edition), connected(controller, pki) as vehicle:
        agreed = await vehicle.ask(offer(three.SCHEMA.uri, DC))
        assert agreed.schema_id == 1
        hello = await vehicle.ask(three.HelloReq(name="WMI3"))
        assert hello.response_code is three.Code.OK
        energy = await vehicle.ask(three.EnergyReq(watts=11_000))
        assert energy.watts == 9_000, "the site's limit holds for every edition"
        assert (await vehicle.ask(three.ByeReq(reason="finished"))).response_code is three.Code.OK
    (session,) = edition.sessions
    assert session.reason == "finished"
    (bundle,) = (tmp_path / "data" / "settlements").iterdir()
    kinds = [json.loads(line)["data"]["kind"] for line in (bundle / "journal.jsonl").read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("session_started", "session_ended")


async def test_the_vehicle_chooses_the_edition_by_its_priorities(tmp_path: Path, pki: PkiTree) -> None:
    async with charger(tmp_path, pki) as (controller, edition):
        for namespaces, chosen, others in (
            ((DC, three.SCHEMA.uri), 1, 0),
            (("urn:example:unknown", three.SCHEMA.uri, DC), 2, 1),
            (("urn:example:unknown",), None, 0),
        ):
            edition.sessions.clear()
            async with connected(controller, pki) as vehicle:
                assert (await vehicle.ask(offer(*namespaces))).schema_id == chosen
            assert len(edition.sessions) == others


async def test_what_happened_before_the_handshake_is_known_to_the_edition_that_is_chosen(
    tmp_path: Path, pki: PkiTree
) -> None:
    async with charger(tmp_path, pki) as (controller, _), connected(controller, pki) as vehicle:
        while not controller.busy:
            await asyncio.sleep(0)
        controller.tell(ports.GridChanged((Limit(source=SITE, charge_w=5_000, discharge_w=0, version=9),)))
        await vehicle.ask(offer(three.SCHEMA.uri), pieces=5)
        await vehicle.ask(three.HelloReq(name="WMI3"))
        assert (await vehicle.ask(three.EnergyReq(watts=11_000))).watts == 5_000


async def test_garbage_instead_of_a_handshake_ends_the_conversation(tmp_path: Path, pki: PkiTree) -> None:
    async with charger(tmp_path, pki) as (controller, edition):
        for data in (bytes(20), frame(PayloadType.SAP, b"\xff" * 9), frame(PayloadType.COMMON, b"\x80")):
            async with connected(controller, pki) as vehicle:
                await vehicle.stream.write(data)
                assert await vehicle.stream.read(4096) == b""
        assert not edition.sessions


@pytest.mark.requirement("R18")
async def test_a_connection_carries_the_editions_that_its_transport_allows_and_no_others(
    tmp_path: Path, pki: PkiTree, pki_2: PkiTree
) -> None:
    """TLS 1.2 carries the edition that stands for ISO 15118-2, and never ISO 15118-20."""
    async with charger(tmp_path, pki) as (controller, edition):
        seen: list[Observe] = []
        controller.observe = seen.append
        async with connected(controller, pki_2, ISO15118_2) as vehicle:
            assert (await vehicle.ask(offer(DC, three.SCHEMA.uri))).schema_id == 2
        assert [each.data["editions"] for each in seen if each.name == "accepted"] == ["2"]
        assert len(edition.sessions) == 1
        async with connected(controller, pki_2, ISO15118_2) as vehicle:
            with pytest.raises(AssertionError, match="has closed"):
                await vehicle.ask(offer(DC))
        controller.editions = {"20": served("20")}
        async with connected(controller, pki_2, ISO15118_2) as vehicle:
            assert await vehicle.stream.read(100) == b""  # nothing is left for it


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("namespaces", [("urn:sae:j2847:2:2023",), ("urn:example:SAE_J2847-2", "urn:sae:j2847:2:2015")])
async def test_a_vehicle_of_sae_j2847_2_is_refused_in_the_words_of_the_manual(
    tmp_path: Path, pki: PkiTree, namespaces: tuple[str, ...]
) -> None:
    """docs/explanation/sae-j2847-2.md has these words."""
    async with made(tmp_path, pki, FREE) as found:
        (controller,) = found.controllers
        seen: list[Observe] = []
        controller.observe = seen.append
        async with connected(controller, pki) as vehicle:
            refusal = await vehicle.ask(offer(*namespaces))
    assert (refusal.response_code, refusal.schema_id) == (app.ResponseCode.Failed_NoNegotiation, None)
    (refused,) = [each.data for each in seen if each.name == "protocol_refused"]
    assert refused == {"offered": " ".join(namespaces), "served": DC}


async def test_a_refusal_names_the_protocols_of_all_editions_of_the_connection(tmp_path: Path, pki: PkiTree) -> None:
    async with made(tmp_path, pki, FREE) as found:
        (controller,) = found.controllers
        controller.editions = {name: served(name) for name in ("20", "2")}
        seen: list[Observe] = []
        controller.observe = seen.append
        async with connected(controller, pki) as vehicle:
            await vehicle.ask(offer("urn:iso:15118:2:2010:MsgDef"))
    (refused,) = [each.data["served"] for each in seen if each.name == "protocol_refused"]
    assert refused == f"{DC} {ISO2.uri}"
