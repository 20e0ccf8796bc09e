"""A charger whose journal cannot be kept, or whose session breaks down, does not go on as if nothing had happened."""

import asyncio
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.evse.controller import EvseController
from secc.evse.journal import JournalWriter
from tests.secc.bench_program import made
from tests.secc.charger import SilentVehicle
from v2g.errors import StoreError
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import wall_ns
from v2g.io.simulation.medium_folder import FolderMedium
from v2g_station.blocks.evse import Indicate
from v2g_station.blocks.payment.terminal import AuthorizeCard, ShowReceipt

BENCH = '[hardware]\nbackend = "bench"\n'


async def test_intervals_that_cannot_be_closed_end_the_session(
    tmp_path: Path, pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full_disk(_journal: JournalWriter, _on_interval: Any) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr(JournalWriter, "close_intervals", full_disk)
    async with made(tmp_path, pki, BENCH) as charger:
        seen: list[str] = []
        (controller,) = charger.controllers
        controller.observe = lambda event: seen.append(event.name)
        async with asyncio.timeout(60):
            await controller.vehicle(SilentVehicle(controller), lambda stream: stream)  # type: ignore[arg-type]
    assert "books_failed" in seen


async def test_a_second_vehicle_is_a_stranger_while_one_is_served(tmp_path: Path, pki: PkiTree) -> None:
    async with made(tmp_path, pki, BENCH) as charger:
        seen: list[Any] = []
        (controller,) = charger.controllers
        controller.observe = seen.append
        first = SilentVehicle(controller)
        serving = asyncio.create_task(controller.vehicle(first, lambda stream: stream))  # type: ignore[arg-type]
        while not controller.busy:
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await controller.vehicle(SilentVehicle(controller), lambda stream: stream)  # type: ignore[arg-type]
        assert [event.data["reason"] for event in seen if event.name == "refused"] == ["occupied"]
        first.closed.set()
        await serving


@pytest.mark.parametrize(
    ("address", "began", "served"),
    [("fe80::1", 1.0, ["accepted", "accepted"]), ("fe80::1", -1.0, ["accepted", "refused"]),
     ("fe80::2", 1.0, ["accepted", "refused"])],
)  # fmt: skip
async def test_the_newest_connection_of_a_vehicle_is_served_while_no_session_has_begun(
    tmp_path: Path, pki: PkiTree, address: str, began: float, served: list[str]
) -> None:
    """It has given up the other one, perhaps without a sign here; a handshake that is done late is of an older one."""
    async with made(tmp_path, pki, BENCH) as charger:
        seen: list[str] = []
        (controller,) = charger.controllers
        controller.observe = lambda event: seen.append(event.name)
        first, second = SilentVehicle(controller), SilentVehicle(controller)
        second.address, second.began = address, began
        serving = asyncio.create_task(controller.vehicle(first, lambda stream: stream))  # type: ignore[arg-type]
        while not controller.busy:
            await asyncio.sleep(0)
        later = asyncio.create_task(controller.vehicle(second, lambda stream: stream))  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            while len([name for name in seen if name in ("accepted", "refused")]) < 2:
                await asyncio.sleep(0)
            assert first.closed.is_set() == (served == ["accepted", "accepted"])
            first.closed.set()
            second.closed.set()
            await asyncio.gather(serving, later)
    assert [name for name in seen if name in ("accepted", "refused")] == served


async def test_of_connections_that_replace_each_other_the_newest_is_served(tmp_path: Path, pki: PkiTree) -> None:
    async with made(tmp_path, pki, BENCH) as charger:
        seen: list[str] = []
        (controller,) = charger.controllers
        controller.observe = lambda event: seen.append(event.name)
        vehicles = [SilentVehicle(controller) for _ in range(8)]
        serving = []
        for number, vehicle in enumerate(vehicles):
            vehicle.began = float(number)
            serving.append(asyncio.create_task(controller.vehicle(vehicle, lambda stream: stream)))  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            await asyncio.gather(*serving[:-1])
            assert controller.busy
            assert not vehicles[-1].closed.is_set()
            vehicles[-1].closed.set()
            await serving[-1]
        assert "refused" not in seen


class DroppedVehicle(SilentVehicle):
    """Its connection ends, and the charger takes its time to leave it."""

    def __init__(self, controller: EvseController) -> None:
        super().__init__(controller)
        self.gone, self.left = asyncio.Event(), asyncio.Event()

    async def read(self, _n: int) -> bytes:
        await self.gone.wait()
        return b""

    async def close(self) -> None:
        await self.left.wait()


async def test_a_vehicle_that_returns_while_its_last_session_is_being_left_is_served_next(
    tmp_path: Path, pki: PkiTree
) -> None:
    async with made(tmp_path, pki, BENCH) as charger:
        seen: list[str] = []
        (controller,) = charger.controllers
        controller.observe = lambda event: seen.append(event.name)
        dropped, back = DroppedVehicle(controller), SilentVehicle(controller)
        first = asyncio.create_task(controller.vehicle(dropped, lambda stream: stream))  # type: ignore[arg-type]
        while not controller.busy:
            await asyncio.sleep(0)
        dropped.gone.set()
        for _ in range(10):
            await asyncio.sleep(0)
        second = asyncio.create_task(controller.vehicle(back, lambda stream: stream))  # type: ignore[arg-type]
        for _ in range(10):
            await asyncio.sleep(0)
        assert seen.count("accepted") == 1
        dropped.left.set()
        async with asyncio.timeout(60):
            await first
            while seen.count("accepted") < 2:
                await asyncio.sleep(0)
            back.closed.set()
            await second
    assert "refused" not in seen


@pytest.mark.parametrize(
    ("latch", "ohm", "most_ma"),
    [("true", 1_500, 13_000), ("true", 220, 32_000), ("true", 680, 20_000), ("false", 1_500, 32_000)],
)
async def test_a_cable_in_a_socket_outlet_is_not_asked_for_more_than_it_bears(
    tmp_path: Path, pki: PkiTree, latch: str, ohm: int, most_ma: int
) -> None:
    """13, 20 and 32 A, three phases (IEC 61851-1). Where the cable is the charger's own, it is rated for it."""
    socket_outlet = f"""
[charger]
services = [1]
[link]
medium = "{tmp_path / "wires"}"
[hardware]
kind = "ac"
[hardware.simulated]
latch = {latch}
"""
    async with made(tmp_path, pki, socket_outlet) as charger:
        (controller,) = charger.controllers
        medium = await FolderMedium.attach(tmp_path / "wires", "evcc")
        vehicle = SimulatedVehiclePilot(medium)
        vehicle.plug(proximity_ohm=ohm)
        assert controller.wires is not None
        async with asyncio.timeout(60):
            while not controller.wires.pilot.state.connected:
                await asyncio.sleep(0.01)
        stream = SilentVehicle(controller)
        serving = asyncio.create_task(controller.vehicle(stream, lambda stream: stream))  # type: ignore[arg-type]
        while not controller.busy:
            await asyncio.sleep(0)
        known = [each.charge_ma for each in controller.grid.limits if each.charge_ma is not None]
        assert min([32_000, *known]) == most_ma
        stream.closed.set()
        await serving
        medium.close()


async def test_a_charger_removes_bundles_as_configured(tmp_path: Path, pki: PkiTree) -> None:
    async with made(tmp_path, pki, BENCH + "[retention]\nall_days = 30\n") as charger:
        (controller,) = charger.controllers
        for name, age_days in (("old", 31), ("new", 29)):
            path = controller.archive.settlements / name
            path.mkdir()
            then = wall_ns() / 1e9 - age_days * 86_400
            os.utime(path, (then, then))
        await charger.retention().let_go()
        assert [path.name for path in controller.archive.settlements.iterdir()] == ["new"]


async def test_what_is_of_no_particular_evse_is_left_to_the_stations_devices(tmp_path: Path, pki: PkiTree) -> None:
    """As a card at a terminal that serves all of them, and what its driver reads (C18)."""
    async with made(tmp_path, pki, BENCH) as charger:
        for command in (
            AuthorizeCard(evse_id=None, card="4771", amount=Decimal(50)),
            Indicate(evse_id=None, word="payment_failed"),
            ShowReceipt(evse_id=None, url="https://psp.example/1"),
        ):
            assert not charger.carry_out(command)
