"""A campaign whose back end, its only node, is killed while the station installs the image."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.csms.program import Program, write_config
from tests.csms.support import STATION, make_config, provide

PLAN: dict[str, Any] = {
    "image": {"location": "https://files.example/2.bin"}, "cohorts": [1], "daily": 1, "window": None, "watch_s": 0,
}  # fmt: skip


class Station:
    """A station that answers requests, and counts those for updates."""

    def __init__(self) -> None:
        self.updates: list[int] = []
        self.asked = asyncio.Event()

    async def serve(self, connection: Any) -> None:
        async for text in connection:
            kind, number, *rest = json.loads(text)
            if kind == 2:
                if rest[0] == "UpdateFirmware":
                    self.updates.append(rest[1]["requestId"])
                    self.asked.set()
                await connection.send(json.dumps([3, number, {"status": "Accepted"}]))

    @contextlib.asynccontextmanager
    async def at(self, program: Program) -> Any:
        async with program.connect() as connection:
            serving = asyncio.create_task(self.serve(connection))
            try:
                yield connection
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)


async def say(connection: Any, action: str, body: dict[str, Any]) -> None:
    await connection.send(json.dumps([2, body.get("status", "boot"), action, body]))


async def until(program: Program, state: str, member: str) -> dict[str, Any]:
    """Return the campaign once it and its station are in these states."""
    while True:
        found: dict[str, Any] = (await program.request("GET", "/campaigns/1"))[1]
        if found["state"] == state and member in [each["state"] for each in found["members"]]:
            return found
        await asyncio.sleep(0.05)


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R136")
async def test_a_campaign_goes_on_after_the_loss_of_every_node(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    """The station is asked once, and what it says to the next node counts."""
    provide(empty_database, given := make_config(tmp_path, pki))
    config = write_config(tmp_path / "csms.yaml", given)
    boot = {"reason": "PowerUp", "chargingStation": {"model": "x", "vendorName": "x"}}
    station = Station()
    async with asyncio.timeout(60):
        first = await Program.start(config, tmp_path / "events", pki)
        async with station.at(first) as connection:
            await say(connection, "BootNotification", boot)
            body = {"name": "2", "plan": PLAN, "station_ids": [STATION]}
            assert (await first.request("POST", "/campaigns", json.dumps(body).encode()))[0] == 201
            await station.asked.wait()
            await say(
                connection, "FirmwareStatusNotification", {"status": "Installing", "requestId": station.updates[0]}
            )
            while '"Installing"' not in json.dumps(await until(first, "Running", "Working")):
                await asyncio.sleep(0.05)
            await first.kill()
        second = await Program.start(config, tmp_path / "events", pki)
        await until(second, "Running", "Working")
        async with station.at(second) as connection:
            await say(connection, "BootNotification", boot | {"reason": "FirmwareUpdate"})
            await say(
                connection, "FirmwareStatusNotification", {"status": "Installed", "requestId": station.updates[0]}
            )
            found = await until(second, "Finished", "Installed")
        assert [each["attempts"] for each in found["members"]] == [1]
        assert len(station.updates) == 1
        await second.stop()
