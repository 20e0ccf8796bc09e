"""ISO 15118-2 and DIN 70121 through a whole charger: listener's connection, session, safety monitor, simulated power
electronics, meter, journal and settlement. Only the vehicle is scripted.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.evse.controller import EvseController
from tests.secc.bench_program import made
from tests.secc.session.d2.bench import Iso2Bench
from tests.secc.session.din.bench import DinBench
from tests.secc.session.message_bench import MessageBench
from v2g import exi
from v2g.io.network.plain_tcp import PlainStream
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame

CHARGER = """[hardware]
backend = "bench"
kind = "{kind}"
[site]
free = true
charge_w = 9000
[sdp]
without_tls = true
[charger]
editions = ["20", "2", "din"]
authorization = ["EIM"]
services = [{service}]
"""
NOW_MS = 1_790_000_000_000
POLLS = ("AuthorizationReq", "ContractAuthenticationReq", "ChargeParameterDiscoveryReq", "CableCheckReq")


class Vehicle:
    """A vehicle on a TCP connection; its requests are those of a bench."""

    def __init__(self, bench: MessageBench, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._bench, self._reader, self._writer = bench, reader, writer
        self._framer, self._frames, self._session_id = Framer(), [], b"\0"  # type: ignore[var-annotated]

    async def ask(self, name: str, **changes: Any) -> Any:
        """Send a request and return the response."""
        request = self._bench.ask(name, **changes)
        handshake = isinstance(request, app.SupportedAppProtocolReq)
        message = request if handshake else self._bench.wrapped(self._session_id, request)
        self._writer.write(frame(PayloadType.SAP, exi.encode(message)))
        while not self._frames:
            received = await self._reader.read(4096)
            assert received, "the charger has closed"
            self._frames += self._framer.feed(received)
        answer, _ = decode_message(self._frames.pop(0).payload, self._bench.schema, handshake=handshake)
        self._session_id = answer.header.session_id if not handshake else self._session_id
        return body_of(answer)

    async def go(self, name: str) -> Any:
        """Repeat a request until the charger has finished."""
        for _ in range(40):
            response = await self.ask(name)
            assert response.response_code.name.startswith("OK"), (name, response)
            if name not in POLLS or response.evse_processing.name == "Finished":
                return response
        raise AssertionError(f"{name} does not finish")


@contextlib.asynccontextmanager
async def connected(controller: EvseController, bench: MessageBench) -> AsyncIterator[Vehicle]:
    """Connect a vehicle without TLS, and wait at the end until its session is settled."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await controller.vehicle(PlainStream(reader, writer), lambda same: same)

    async with asyncio.timeout(60), await asyncio.start_server(serve, "::1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        yield Vehicle(bench, reader, writer)
        writer.close()
        while controller.busy:
            await asyncio.sleep(0)
        await controller.settled()


async def open_session(vehicle: Vehicle, names: list[str]) -> None:
    """Send the requests before the loop."""
    for name in names:
        await vehicle.go(name)
        if name == "PreChargeReq":
            for _ in range(20):
                if (await vehicle.ask(name)).evse_present_voltage.value >= 385:
                    break
                await asyncio.sleep(0.1)


async def charge(vehicle: Vehicle, bench: MessageBench, loop: str) -> Any:
    """Charge for a second, and return the last response of the loop."""
    response = None
    for _ in range(10):
        response = await vehicle.ask(loop)
        await asyncio.sleep(0.1)
    return response


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", ["din", "dc", "ac"])
async def test_energy_flows_is_limited_metered_and_settled(tmp_path: Path, pki: PkiTree, kind: str) -> None:
    bench: MessageBench = DinBench(pki, NOW_MS) if kind == "din" else Iso2Bench(pki, NOW_MS, alternating=kind == "ac")
    loop = "ChargingStatusReq" if kind == "ac" else "CurrentDemandReq"
    *opening, _ = (name for name in bench.ways[next(s for s in bench.ways if s.name.endswith("CHARGE_LOOP"))])
    text = CHARGER.format(kind="ac" if kind == "ac" else "dc", service=1 if kind == "ac" else 2)
    async with made(tmp_path, pki, text) as charger:
        (controller,) = charger.controllers
        async with connected(controller, bench) as vehicle:
            await open_session(vehicle, opening)
            response = await charge(vehicle, bench, loop)
            assert response.response_code.name == "OK"
            assert 500 < controller.hardware.present.watts <= 9_450, "the site's limit, and the accuracy of its control"
            stop = {"ready_to_charge_state": False}
            if kind != "din":
                from v2g.iso15118.d2.messages.data_types import ChargeProgress

                stop = {"charge_progress": ChargeProgress.Stop}  # type: ignore[dict-item]
            assert (await vehicle.ask("PowerDeliveryReq", **stop)).response_code.name == "OK"
            assert abs(controller.hardware.present.watts) < 100
            assert (await vehicle.ask("SessionStopReq")).response_code.name == "OK"
    (bundle,) = (tmp_path / "data" / "settlements").iterdir()
    records = [json.loads(line)["data"] for line in (bundle / "journal.jsonl").read_text().splitlines()]
    assert (records[0]["kind"], records[-1]["kind"]) == ("session_started", "session_ended")
    assert records[-1]["reason"] == "vehicle"


@pytest.mark.some(1)
@pytest.mark.parametrize("edition", [DinBench, Iso2Bench])
@pytest.mark.parametrize("volts", [370, 300, 0])
async def test_a_vehicle_that_lowers_its_maximum_below_the_present_voltage_is_no_fault_of_the_charger(
    tmp_path: Path, pki: PkiTree, edition: type[MessageBench], volts: int
) -> None:
    bench = edition(pki, NOW_MS)
    *opening, _ = bench.ways[State.DC_CHARGE_LOOP]
    async with made(tmp_path, pki, CHARGER.format(kind="dc", service=2)) as charger:
        (controller,) = charger.controllers
        async with connected(controller, bench) as vehicle:
            await open_session(vehicle, opening)
            assert (await vehicle.ask("CurrentDemandReq")).response_code.name == "OK"
            codes = []
            while "FAILED" not in codes:
                response = await vehicle.ask("CurrentDemandReq", ev_maximum_voltage_limit=bench.volts(volts))
                codes.append(response.response_code.name)
                await asyncio.sleep(0.1)
            assert response.dc_evse_status.evse_status_code.name == "EVSE_Shutdown"
            assert not controller.hardware.contactors_closed
        assert controller.hardware.faults == ()
        async with connected(controller, edition(pki, NOW_MS)) as vehicle:
            await open_session(vehicle, opening)
