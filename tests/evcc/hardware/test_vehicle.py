"""The simulated vehicle on the simulated DC line, and on a bench without one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from evcc.hardware import vehicle as module
from evcc.hardware.ac import OnBoardCharger
from evcc.hardware.vehicle import BenchLine, BenchPilot, SimulatedVehicle, VehicleFault
from evcc.policy.battery import BatteryConfig
from evcc.session.ports import (
    BatteryState,
    CloseContactor,
    ContactorState,
    HardwareFault,
    OpenContactor,
    PresentVoltage,
    Reported,
    SetAcPower,
    SetCpState,
    SetPowerLimits,
)
from evcc.session.settings import OnBoardChargerConfig
from v2g.energy.conductors import Currents
from v2g.iec61851.pilot import PilotState
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.simulation.lines import ChargerDcLine, VehicleDcLine
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.iso15118.engine.session import Fact

VOLTS = 370_000


class Pilot:
    def __init__(self) -> None:
        self.states: list[PilotState] = []

    def set_state(self, state: PilotState) -> None:
        self.states.append(state)


class Stand:
    """A vehicle and the charger's end of its line."""

    def __init__(self, vehicle: SimulatedVehicle, charger: Medium, pilot: Pilot, faults: set[VehicleFault]) -> None:
        self.vehicle = vehicle
        self.charger = charger
        self.faults = faults
        self.line = ChargerDcLine(charger)
        self.pilot = pilot
        self.facts: list[Fact] = []
        vehicle.subscribe(self.facts.append)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0)

    def last(self, kind: type[Fact]) -> Fact:
        return next(fact for fact in reversed(self.facts) if type(fact) is kind)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    charger, vehicle = await FolderMedium.attach(tmp_path, "evse"), await FolderMedium.attach(tmp_path, "ev")
    pilot, faults = Pilot(), set[VehicleFault]()
    simulated = SimulatedVehicle(
        BatteryConfig(soc=60),
        line=VehicleDcLine(vehicle),
        pilot=pilot,
        clock=Clock(ClockConfig(scale=1000)),
        step_s=0.005,
        faults=faults,
    )
    yield Stand(simulated, charger, pilot, faults)
    await simulated.close()
    charger.close()
    vehicle.close()


async def connect(stand: Stand, current_ma: int) -> None:
    stand.line.publish(VOLTS, 0, contactor_closed=True)
    await stand.until(lambda: stand.last(PresentVoltage) == PresentVoltage(VOLTS))
    outcome = stand.vehicle.execute(CloseContactor())
    assert outcome is not None
    assert await outcome == ContactorState(closed=True)
    stand.line.publish(VOLTS, current_ma, contactor_closed=True)
    await stand.until(lambda: stand.vehicle.battery.current_ma == current_ma)


async def test_the_battery_charges_and_discharges_with_the_chargers_current(stand: Stand) -> None:
    await connect(stand, 50_000)
    await stand.until(lambda: stand.vehicle.battery.soc > 60.01)
    top = stand.vehicle.battery.soc
    stand.line.publish(VOLTS, -20_000, contactor_closed=True)
    await stand.until(lambda: stand.vehicle.battery.soc < top)
    assert stand.vehicle.battery.discharged_mwh > 0


async def test_a_contactor_does_not_close_on_a_voltage_that_does_not_match(stand: Stand) -> None:
    outcome = stand.vehicle.execute(CloseContactor())
    assert outcome is not None
    assert await outcome == HardwareFault("contactor_voltage_mismatch")
    assert not stand.vehicle.contactor_closed


async def test_no_current_flows_through_an_open_contactor(stand: Stand) -> None:
    stand.line.publish(VOLTS, 50_000, contactor_closed=True)
    await stand.until(lambda: stand.last(PresentVoltage) == PresentVoltage(VOLTS))
    for _ in range(10):
        stand.vehicle.step()
    assert stand.vehicle.battery.soc == 60
    assert stand.vehicle.battery.current_ma == 0


async def test_the_contactor_waits_for_the_current_to_fall_before_it_opens(stand: Stand) -> None:
    await connect(stand, 50_000)
    outcome = stand.vehicle.execute(OpenContactor())
    assert outcome is not None
    opening = asyncio.ensure_future(outcome)
    await asyncio.sleep(0)
    assert stand.vehicle.contactor_closed
    stand.line.publish(VOLTS, 0, contactor_closed=True)
    assert await opening == ContactorState(closed=False)


async def test_the_contactor_opens_under_current_when_the_charger_does_not_obey(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BREAK_ANYWAY_S", 0.01)
    await connect(stand, 50_000)
    outcome = stand.vehicle.execute(OpenContactor())
    assert outcome is not None
    assert await outcome == ContactorState(closed=False)
    assert stand.vehicle.battery.current_ma == 0


async def test_a_contactor_that_drops_while_it_waits_to_open_does_not_close_again(stand: Stand) -> None:
    """Found by a random walk: the coil was still held for the current to fall."""
    await connect(stand, 50_000)
    outcome = stand.vehicle.execute(OpenContactor())
    assert outcome is not None
    opening = asyncio.ensure_future(outcome)
    await asyncio.sleep(0)
    stand.faults.add("drop")
    stand.vehicle.step()
    assert await opening == ContactorState(closed=False)
    stand.faults.discard("drop")
    stand.vehicle.step()
    assert not stand.vehicle.contactor_closed


async def test_limits_reach_the_charger_as_currents(stand: Stand) -> None:
    assert stand.vehicle.execute(SetPowerLimits(11_000, 3_700)) is None
    await stand.until(lambda: stand.line.vehicle is not None and stand.line.vehicle.max_charge_ma > 0)
    assert stand.line.vehicle is not None
    assert stand.line.vehicle.max_charge_ma == 29_729
    assert stand.line.vehicle.max_discharge_ma == 10_000


async def test_a_charger_whose_process_dies_drives_nothing(stand: Stand) -> None:
    await connect(stand, 50_000)
    stand.charger.close()
    await stand.until(lambda: stand.vehicle.battery.current_ma == 0)
    assert stand.last(PresentVoltage) == PresentVoltage(stand.vehicle.battery.voltage_mv)


async def test_the_pilot_is_switched_at_once(stand: Stand) -> None:
    assert stand.vehicle.execute(SetCpState(PilotState.C)) is None
    assert stand.pilot.states == [PilotState.C]


async def test_closing_leaves_the_vehicle_safe(stand: Stand) -> None:
    stand.vehicle.execute(SetCpState(PilotState.C))
    await connect(stand, 1_000)
    await stand.vehicle.close()
    assert not stand.vehicle.contactor_closed
    assert stand.pilot.states[-1] is PilotState.B


async def test_whoever_comes_later_receives_the_present_state(stand: Stand) -> None:
    received: list[Fact] = []
    stand.vehicle.subscribe(received.append)
    assert [type(fact) for fact in received] == [BatteryState, PresentVoltage, ContactorState]


async def test_on_a_bench_the_battery_believes_what_the_charger_reports() -> None:
    vehicle = SimulatedVehicle(
        BatteryConfig(soc=60), line=BenchLine(), pilot=BenchPilot(), clock=Clock(ClockConfig(scale=1000)), step_s=0.005
    )
    received: list[Fact] = []
    vehicle.subscribe(received.append)
    vehicle.execute(Reported(1_000, 0))
    assert received[-2] == PresentVoltage(VOLTS)
    outcome = vehicle.execute(CloseContactor())
    assert outcome is not None
    assert await outcome == ContactorState(closed=True)
    vehicle.execute(Reported(1_000, 20_000))
    assert vehicle.battery.current_ma == 20_000
    vehicle.execute(SetCpState(PilotState.B))
    assert vehicle.battery.current_ma == 0
    await vehicle.close()


async def test_on_a_bench_that_pre_charges_the_inlet_has_the_reported_voltage() -> None:
    vehicle = SimulatedVehicle(
        BatteryConfig(soc=60), line=BenchLine(pre_charges=True), pilot=BenchPilot(), clock=Clock(), step_s=0.005
    )
    received: list[Fact] = []
    vehicle.subscribe(received.append)
    vehicle.execute(Reported(1_000, 0))
    assert PresentVoltage(1_000) in received
    too_early = vehicle.execute(CloseContactor())
    assert too_early is not None
    assert await too_early == HardwareFault("contactor_voltage_mismatch")
    vehicle.execute(Reported(VOLTS, 0))
    closed = vehicle.execute(CloseContactor())
    assert closed is not None
    assert await closed == ContactorState(closed=True)
    vehicle.execute(Reported(1_000, 20_000))
    assert PresentVoltage(1_000, 20_000) not in received
    await vehicle.close()


async def test_on_a_bench_mains_are_there_while_the_vehicle_asks_for_energy() -> None:
    pilot = BenchPilot()
    vehicle = SimulatedVehicle(
        BatteryConfig(soc=60),
        line=BenchLine(),
        pilot=pilot,
        clock=Clock(ClockConfig(scale=1000)),
        on_board=OnBoardCharger(pilot.mains, OnBoardChargerConfig(max_charge_w=11_500, max_discharge_w=4_600)),
    )
    received: list[Fact] = []
    vehicle.subscribe(received.append)
    vehicle.execute(SetAcPower(23_000))
    assert vehicle.battery.current_ma == 0
    vehicle.execute(SetCpState(PilotState.C))
    assert (
        PresentVoltage(230_000, 49_998, 3, Currents(16_666, 16_666, 16_666), frequency_hz=50) in received
    )  # no more than its charger can do
    vehicle.step()
    assert vehicle.battery.current_ma > 0
    vehicle.execute(SetAcPower(-4_600))
    vehicle.step()
    assert PresentVoltage(230_000, -20_000, 3, Currents(-6_667, -6_667, -6_666), frequency_hz=50) in received
    assert vehicle.battery.current_ma < 0
    vehicle.execute(SetCpState(PilotState.B))
    vehicle.step()
    assert vehicle.battery.current_ma == 0
    await vehicle.close()
