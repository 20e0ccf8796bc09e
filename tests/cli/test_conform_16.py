"""`v2g conform station|csms --ocpp 1.6` as programs, with devices of the package `ocpp` over the network."""

import asyncio
import contextlib
import json
import sys
from typing import Any

import pytest
import websockets
from ocpp.v16 import call

from tests.testkit.ocpp.csms_rig import DECLARED
from tests.testkit.ocpp.foreign_16 import BackEnd16, Station16
from v2g.io.runtime.clock import Clock
from v2g_cli.demo.processes import free_port

PROGRAM = (sys.executable, "-m", "v2g_cli", "conform")
SUBPROTOCOLS = [websockets.Subprotocol("ocpp1.6")]


async def verdicts(*words: str) -> dict[str, str]:
    """Return the verdicts of a run, by case."""
    process = await asyncio.create_subprocess_exec(*PROGRAM, *words, "--json", stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    records: list[dict[str, Any]] = [json.loads(line) for line in said.decode().splitlines()]
    return {each["case"]: each["verdict"] for each in records if "case" in each}


@pytest.mark.requirement("R200")
async def test_a_back_end_is_tested() -> None:
    async def serve(socket: Any) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            await BackEnd16("CS", socket, DECLARED, Clock().utc_ms).start()

    async with websockets.serve(serve, "127.0.0.1", 0, subprotocols=SUBPROTOCOLS) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        words = ("csms", "--ocpp", "1.6", "--url", f"ws://127.0.0.1:{port}/ocpp", "--only")
        found = await verdicts(*words, "TC_003_CSMS", "--only", "TC_010_CSMS")
    assert found == {"TC_003_CSMS": "pass", "TC_010_CSMS": "not exercised"}


@pytest.mark.requirement("R200")
async def test_a_station_is_tested() -> None:
    port = free_port()

    async def connect() -> None:
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(f"ws://127.0.0.1:{port}/ocpp/CS", subprotocols=SUBPROTOCOLS) as socket:
                    station = Station16(socket, Clock().utc_ms)  # type: ignore[arg-type]  # it has the same methods
                    reading = asyncio.create_task(station.start())
                    await station.call(call.BootNotification("F", "Foreign"))
                    await reading
            await asyncio.sleep(0.1)

    device = asyncio.create_task(connect())
    words = ("station", "--ocpp", "1.6", "--listen", f"127.0.0.1:{port}", "--only", "TC_019_CS", "--only", "TC_003_CS")
    found = await verdicts(*words)
    device.cancel()
    assert found == {"TC_019_CS": "pass", "TC_003_CS": "not exercised"}
