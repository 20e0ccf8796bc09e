"""A charge point for alternating current: mains behind a contactor, and a vehicle that keeps to its target."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evcc.hardware.ac import OnBoardCharger
from evcc.session.settings import OnBoardChargerConfig
from secc.hardware.assembly import Assembled, Assembly
from secc.hardware.config import HardwareConfig
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session import ports
from secc.session.config import SeccConfig
from tests.secc.asking import ask_for_everything
from tests.waiting import until
from v2g.energy.conductors import Currents
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.lines import VehicleAcLine
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.iso15118.engine.session import Fact


class Stand:
    """The charge point, and a vehicle's pilot and on-board charger."""

    def __init__(self, made: Assembled, vehicle: Medium) -> None:
        self.evse, self.meter, self.safety = made.evse, made.meter, made.safety
        self.pilot = SimulatedVehiclePilot(vehicle)
        self.charger = OnBoardCharger(VehicleAcLine(vehicle), OnBoardChargerConfig(max_charge_w=22_000))
        self.facts: list[Fact] = []
        self.evse.subscribe(self.facts.append)

    async def connect(self) -> None:
        self.pilot.plug()
        self.pilot.set_state(PilotState.C)
        self.evse.execute(ports.TransactionStarted("0011223344556677", ""))
        ask_for_everything(self.safety)
        await until(lambda: self.evse.interlock.pilot_state is PilotState.C)
        closing = self.evse.execute(ports.CloseContactors())
        assert closing is not None
        assert await closing == ports.ContactorState(closed=True)
        await until(lambda: self.charger.present.voltage_mv == 230_000)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    vehicle = await FolderMedium.attach(tmp_path / "copper", "evcc")
    config = HardwareConfig(kind="ac", simulated=SimulatedEvseConfig(report_s=0.02))
    async with contextlib.AsyncExitStack() as stack:
        made = await Assembly(
            config,
            SeccConfig(),
            Clock(),
            stack,
            lambda _: None,
            folder=tmp_path,
            meter_serial="M",
            medium_folder=tmp_path / "copper",
            name="evse",
        ).make()
        stack.push_async_callback(made.evse.close)
        yield Stand(made, vehicle)
    vehicle.close()


async def test_what_the_vehicle_draws_and_gives_is_measured_and_metered(stand: Stand) -> None:
    assert stand.charger.grid_hz is None
    await stand.connect()
    assert stand.charger.grid_hz == 50.0
    stand.evse.execute(ports.SetAcOutput(11_000, 11_000))
    stand.charger.drive(11_000)
    drawn = ports.Measured(230_000, 47_826, currents=Currents(15_942, 15_942, 15_942))
    await until(lambda: stand.evse.present == drawn)
    await until(lambda: stand.meter.read(0).import_mwh > 100)
    stand.charger.drive(-5_000)
    await until(lambda: stand.meter.read(0).export_mwh > 100)
    assert stand.charger.battery_ma(400_000) < -5_000 * 1_000_000 // 400_000  # the battery pays for the losses
    opening = stand.evse.execute(ports.OpenContactors())
    assert opening is not None
    assert await opening == ports.ContactorState(closed=False)
    assert stand.evse.present == ports.Measured(0, 0, currents=Currents())


async def test_a_vehicle_that_draws_too_much_for_too_long_is_cut_off(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secc.hardware.ac.FOLLOW_S", 0.2)
    await stand.connect()
    stand.evse.execute(ports.SetAcOutput(11_000, 0))
    stand.charger.drive(11_000)
    await asyncio.sleep(0.3)
    assert stand.evse.contactors_closed
    began = asyncio.get_running_loop().time()
    stand.evse.execute(ports.SetAcOutput(4_140, 0))
    await until(lambda: not stand.evse.contactors_closed)
    assert asyncio.get_running_loop().time() - began >= 0.2  # it had its time to follow
    assert ports.HardwareFault("over_current") in stand.facts


async def test_there_is_no_direct_current_to_check(stand: Stand) -> None:
    await stand.connect()
    check = stand.evse.execute(ports.StartCableCheck(400_000))
    assert check is not None
    assert await check == ports.CableCheckFinished(passed=False)
