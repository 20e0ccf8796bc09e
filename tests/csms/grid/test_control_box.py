"""A control box limits a site by EEBUS: the back end is its energy manager, and shares limits out over the chargers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from csms.config import StationEntry
from csms.grid.config import EEBUS, SCADA, ControlBox, Grid, Scada
from csms.grid.limits import AHEAD_MS
from csms.grid.rules import SourceSignal
from csms.grid.scada import ScadaRegisters
from csms.grid.shares import GridShares
from csms.grid.source import GridSource
from csms.transactions import events as readings
from pki_tools.tree import PkiTree
from tests.csms.backend import Backend, running_backend
from tests.csms.grid.site import GridSite
from tests.csms.support import make_config
from tests.eebus import guard
from tests.io.eebus.box import Box, joined, ski
from v2g.hardware.energy_manager.commands import ConnectionReading
from v2g.io.hardware.energy_config import EnergyEebusConfig
from v2g.io.hardware.energy_eebus import EebusEnergyManager

NOW_MS = 1_795_161_600_000
STATIONS = ("CS-V2G-0001", "CS-V2G-0002")
SAFE = (16_800, 1_000)
"""The failsafe limits: § 14a's minimum power of six devices."""


class Boxed(GridSite):
    """A back end with an EEBUS node, which takes its steps when the test says so."""

    def __init__(self, backend: Backend, follower: ScadaRegisters, link: EebusEnergyManager) -> None:
        super().__init__(backend)
        self.follower, self.link = follower, link

    async def step(self, seconds: float = 0.0) -> tuple[int, int]:
        """Let time pass, also for heartbeats, and take a step; return the limits in force."""
        self.backend.clock.advance(seconds)
        await self.follower.step()
        return self.limits

    async def until(self, limits: tuple[int, int]) -> None:
        """Wait for limits."""
        async with asyncio.timeout(60):
            while await self.step() != limits:
                await asyncio.sleep(0.01)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Boxed]]


@pytest.fixture
def boxed(tmp_path: Path, pki: PkiTree, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a back end; keyword arguments change `[grid.eebus]`."""

    @contextlib.asynccontextmanager
    async def begin(**changes: Any) -> AsyncIterator[Boxed]:
        node = EnergyEebusConfig(
            folder=tmp_path / "eebus", port=0, mdns=False, trusted=(ski(tmp_path / "box"),), serial="7",
            nominal_charge_w=90_000, nominal_discharge_w=30_000,
        )  # fmt: skip
        config = ControlBox(**({"node": node, "safe_import_w": SAFE[0], "safe_export_w": SAFE[1]} | changes))
        grid = Grid(
            eebus=config, scada=Scada(safe_import_w=50_000), currency="EUR", import_limit_w=80_000,
            export_limit_w=20_000, prequalified_only=False,
        )  # fmt: skip
        whole = make_config(tmp_path, pki, grid=grid, stations=tuple(StationEntry(id=each) for each in STATIONS))
        async with running_backend(whole, empty_database, NOW_MS) as backend:
            follower = ScadaRegisters(backend.services, config)
            assert isinstance(follower.link, EebusEnergyManager)
            monkeypatch.setattr(guard, "CHARGER", follower.link.node.id)
            await follower.link.open()
            try:
                yield Boxed(backend, follower, follower.link)
            finally:
                await follower.link.close()

    return begin


async def asked(box: Box, number: int, function: str) -> dict[str, Any]:
    """Return what a feature answers."""
    await box.send(box.read(number, function))
    while box.heard[-1]["header"].get("msgCounterReference") != box.counter:
        await box.hear_one()
    return box.last(function)


@pytest.mark.requirement("R56", "R206")
async def test_a_box_limits_the_site_and_its_chargers_share_what_is_left(boxed: Start, tmp_path: Path) -> None:
    """Failsafe before it comes; then what it commands, in both directions."""
    async with boxed() as one:
        for each in STATIONS:
            await one.backend.booted(each)
        assert await one.step() == SAFE
        async with joined(tmp_path / "box", one.link.ship.port, one.link.node.id) as box:
            await box.bind()
            listed = await asked(box, 4, "electricalConnectionCharacteristicListData")
            kinds = listed["electricalConnectionCharacteristicData"]
            assert [each["characteristicType"] for each in kinds] == [
                "contractualConsumptionNominalMax", "contractualProductionNominalMax",
            ]  # fmt: skip
            for number in (0, 1):
                assert await box.say(box.limit({"limitId": number, "isLimitActive": False})) == 0
            await one.until((80_000, 20_000))
            item = {"limitId": 0, "isLimitActive": True, "value": {"number": 12, "scale": 3}}
            assert await box.say(box.limit(item)) == 0
            item = {"limitId": 1, "isLimitActive": True, "value": {"number": -5, "scale": 3}}
            assert await box.say(box.limit(item)) == 0
            await one.until((12_000, 5_000))
            one.backend.clock.advance(AHEAD_MS / 1000)
            found = [await one.backend.services[GridShares].of(each) for each in STATIONS]
            assert [(each.import_w, each.export_w) for each in found] == [(6_000, 2_500)] * 2
        by = await one.backend.services[GridSource].governing()
        assert by is not None
        assert (by.import_source, by.export_source) == (EEBUS, EEBUS)


async def test_the_lowest_limit_counts_whoever_sets_it_and_the_failsafe_raises_none(
    boxed: Start, tmp_path: Path
) -> None:
    """A box beside a SCADA system: the order of sources decides about prices and set-points, never about limits."""
    async with boxed() as one:
        grid = one.backend.services[GridSource]
        await grid.state(SourceSignal(source=SCADA, import_limit_w=9_000, export_limit_w=30_000))
        assert await one.step() == (9_000, 1_000)
        by = await grid.governing()
        assert by is not None
        assert (by.import_source, by.export_source) == (SCADA, EEBUS)
        async with joined(tmp_path / "box", one.link.ship.port, one.link.node.id) as box:
            await box.bind()
            item = {"limitId": 0, "isLimitActive": True, "value": {"number": 7_000}}
            assert await box.say(box.limit(item)) == 0
            await one.until((7_000, 1_000))
            assert await box.say(box.key(0, {"scaledNumber": {"number": 60_000}})) == 0
        await grid.state(SourceSignal(source=SCADA))
        assert await one.step() == (7_000, 1_000)


async def test_limits_leave_the_minimum_power_of_section_14a(boxed: Start, tmp_path: Path) -> None:
    """Of as many devices as are behind the connection; production has none."""
    async with boxed(section_14a_devices=2, safe_import_w=100) as one:
        assert await one.step() == (100, 1_000), "the operator's own preset is as configured until the box is heard"
        async with joined(tmp_path / "box", one.link.ship.port, one.link.node.id) as box:
            await box.bind()
            item = {"limitId": 0, "isLimitActive": True, "value": {"number": 0}}
            assert await box.say(box.limit(item)) == 0
            await one.until((7_560, 1_000))


def read(power_w: int) -> ConnectionReading:
    """What a meter of energy and power says."""
    return ConnectionReading(power_w=power_w, import_wh=1_000, export_wh=90_000)


async def test_what_a_meter_reads_at_the_grid_connection_is_reported(boxed: Start, tmp_path: Path) -> None:
    """By the meter that a station reads; without one, or with two, it is unknown, and never that of the vehicles."""
    async with boxed() as one:
        for each in STATIONS:
            await one.backend.booted(each)

        async def said(box: Any) -> dict[str, Any]:
            await one.step(6)
            data: list[dict[str, Any]] = (await asked(box, 5, "measurementListData"))["measurementData"]
            numbers = [each.get("value", {}).get("number") for each in data[1:3]]
            assert numbers == ([None] * 2 if data[0]["valueState"] == "error" else [90_000, 1_000])
            return data[0]

        async with joined(tmp_path / "box", one.link.ship.port, one.link.node.id) as box:
            await box.bind()
            assert (await said(box))["valueState"] == "error"
            write = one.backend.services.store.run
            await write(readings.note_grid_reading, STATIONS[0], read(-4_200), one.backend.clock.utc_ms())
            found = await said(box)
            assert (found["valueState"], found["value"]["number"] * 10 ** found["value"].get("scale", 0)) == (
                "normal", -4_200,
            )  # fmt: skip
            await write(readings.note_grid_reading, STATIONS[1], read(7), one.backend.clock.utc_ms())
            assert (await said(box))["valueState"] == "error"
