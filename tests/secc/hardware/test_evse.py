"""The simulated charger on the simulated line: it follows the battery, and never drives more than it may."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from secc.hardware.evse import WatchConfig
from secc.hardware.meter import SimulatedMeter
from secc.hardware.simulated import SimulatedEvse, SimulatedEvseConfig
from secc.session import ports
from secc.session.config import EvseRating
from tests.secc.hardware.meter import full
from tests.waiting import until
from v2g.hardware.simulation import StageConfig
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.simulation.lines import ChargerDc, ChargerDcLine, VehicleDc, VehicleDcLine
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.iso15118.engine.session import Fact

AUTHORISED = ports.TransactionStarted("0011223344556677", "DEV2GC00000001")
QUICK = WatchConfig(contactor_s=0.1, discharge_s=0.2)
AT_ONCE = StageConfig(voltage_v_per_s=0, current_a_per_s=0, discharge_tau_s=0)


class Stand:
    """A simulated charger, and the far end of its line."""

    def __init__(self, evse: SimulatedEvse, meter: SimulatedMeter, line: ChargerDcLine, medium: FolderMedium) -> None:
        """`line` is the charger's end; `medium`, the vehicle's."""
        self.evse, self.meter, self.line, self.medium = evse, meter, line, medium
        self.vehicle = VehicleDcLine(medium)
        self.facts: list[Fact] = []
        evse.subscribe(self.facts.append)

    async def show(self, voltage_mv: int, *, closed: bool = True, charge: int = 200_000, back: int = 200_000) -> None:
        """Let the vehicle show this, and wait until the charger has seen it."""
        self.vehicle.publish(voltage_mv, contactor_closed=closed, max_charge_ma=charge, max_discharge_ma=back)
        await until(lambda: self.line.vehicle == VehicleDc(voltage_mv, closed, charge, back))

    async def do(self, command: Any) -> Any:
        """Carry a command out and return its outcome."""
        outcome = self.evse.execute(command)
        return await outcome if outcome is not None else None

    def present(self) -> tuple[int, int]:
        return self.evse.present.voltage_mv, self.evse.present.current_ma


@pytest.fixture
async def make_stand(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Return a maker of stands."""
    made: list[Any] = []

    async def make(**config: Any) -> Stand:
        charger, vehicle = await FolderMedium.attach(tmp_path, "secc"), await FolderMedium.attach(tmp_path, "evcc")
        clock = Clock(ClockConfig(scale=1000.0))
        meter = SimulatedMeter("M", tmp_path / "meter.bin", now_ms=clock.elapsed_ms)
        line = ChargerDcLine(charger)
        evse = SimulatedEvse(
            line,
            meter,
            clock,
            SimulatedEvseConfig(**{"stage": AT_ONCE, **config}),
            EvseRating(),
            watch=QUICK,
        )
        evse.execute(AUTHORISED)
        made.extend((evse, charger, vehicle, meter))
        return Stand(evse, meter, line, vehicle)

    yield make
    for each in made:
        closing = each.close()
        if closing is not None:
            await closing


@pytest.fixture
async def stand(make_stand: Callable[..., Any]) -> Stand:
    """Return a stand with the cable checked and a battery of 400 V behind closed contactors."""
    stand: Stand = await make_stand()
    await stand.do(ports.StartCableCheck(450_000))
    await stand.show(400_000)
    return stand


async def test_a_sound_cable_passes_with_the_contactors_closed_and_no_voltage_left(make_stand: Any) -> None:
    stand = await make_stand()
    assert await stand.do(ports.StartCableCheck(450_000)) == ports.CableCheckFinished(passed=True)
    assert ports.Measured(450_000, 0) in stand.facts
    assert stand.evse.contactors_closed
    assert stand.present() == (0, 0)


@pytest.mark.parametrize("config", [{"insulation_ohm": 44_999}, {"contactors_stick": True}], ids=str)
async def test_a_bad_cable_and_dead_contactors_do_not_pass(make_stand: Any, config: dict[str, Any]) -> None:
    stand = await make_stand(**config)
    assert not (await stand.do(ports.StartCableCheck(450_000))).passed


async def test_pre_charge_brings_voltage_and_no_current(make_stand: Any) -> None:
    stand = await make_stand()
    await stand.do(ports.StartCableCheck(450_000))
    await stand.show(400_000, closed=False)
    assert stand.evse.execute(ports.StartPreCharge(398_000)) is None
    assert stand.present() == (398_000, 0)
    await until(lambda: stand.vehicle.charger == ChargerDc(398_000, 0, contactor_closed=True))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (ports.SetOutput(450_000, 60_000, 20_000, 0), 50_000),  # by charge power
        (ports.SetOutput(450_000, 30_000, 20_000, 0), 30_000),  # by current
        (ports.SetOutput(450_000, 900_000, 900_000, 0), 200_000),  # by the vehicle
        (ports.SetOutput(399_999, 60_000, 20_000, 0), 0),  # by voltage
        (ports.SetOutput(450_000, -60_000, 20_000, 8_000), -20_000),
        (ports.SetOutput(450_000, -10_000, 20_000, 8_000), -10_000),
        (ports.SetOutput(450_000, -60_000, 20_000, 0), 0),  # nobody signed
        (ports.SetOutput(450_000, -900_000, 0, 900_000), -200_000),
        (ports.SetOutput(450_000, 0, 20_000, 8_000), 0),
    ],
)
async def test_the_current_is_the_smallest_that_anybody_allows(
    stand: Stand, output: ports.SetOutput, expected: int
) -> None:
    assert stand.evse.execute(output) is None  # done at once
    assert stand.present() == (400_000, expected)
    assert stand.facts[-1] == ports.Measured(400_000, expected) or expected == 0


async def test_power_is_kept_while_the_battery_rises_and_small_changes_are_let_be(stand: Stand) -> None:
    stand.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 0))
    await stand.show(399_900)
    assert stand.present()[1] == 50_000  # within the limits and near enough
    await stand.show(410_000)
    voltage, current = stand.present()
    assert voltage * current <= 20_000 * 1_000_000 < voltage * (current + 100)


async def test_no_current_flows_into_an_open_contactor_or_a_vehicle_that_is_gone(stand: Stand) -> None:
    stand.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 0))
    await stand.show(400_000, closed=False)
    assert stand.present()[1] == 0
    await stand.show(400_000)
    assert stand.present()[1] == 50_000
    stand.medium.close()
    await until(lambda: stand.line.vehicle is None)
    assert stand.present()[1] == 0


async def test_contactors_open_without_current(stand: Stand) -> None:
    stand.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 0))
    assert await stand.do(ports.OpenContactors()) == ports.ContactorState(closed=False)
    await until(lambda: stand.vehicle.charger == ChargerDc(0, 0, contactor_closed=False))
    assert await stand.do(ports.CloseContactors()) == ports.ContactorState(closed=True)
    assert stand.present() == (400_000, 0)


async def test_contactors_that_stick_say_so(make_stand: Any) -> None:
    stand = await make_stand(contactors_stick=True)
    assert await stand.do(ports.CloseContactors()) == ports.ContactorState(closed=False)
    assert ports.HardwareFault("contactor_stuck_open") in stand.facts


async def test_emergency_off_is_off_when_it_returns(stand: Stand) -> None:
    stand.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 0))
    assert stand.evse.execute(ports.EmergencyOff("test")) is None
    assert stand.present()[1] == 0
    assert not stand.evse.contactors_closed
    assert stand.facts[-1] == ports.ContactorState(closed=False)


async def test_what_is_not_for_hardware_does_nothing(stand: Stand) -> None:
    before = stand.present()
    assert stand.evse.execute(ports.AuthorizeExternally(1)) is None
    assert stand.present() == before


async def test_who_unsubscribes_receives_no_more(stand: Stand) -> None:
    received: list[Fact] = []
    let_go = stand.evse.subscribe(received.append)
    let_go()
    count = len(received)
    stand.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 0))
    assert len(received) == count
    assert stand.facts[-1] == ports.Measured(400_000, 50_000)


async def test_the_meter_counts_what_flows(make_stand: Any, tmp_path: Path) -> None:
    stand = await make_stand(report_s=0.01)
    await stand.do(ports.StartCableCheck(450_000))
    await stand.show(400_000)
    stand.evse.execute(ports.SetOutput(450_000, -60_000, 0, 8_000))
    await until(lambda: stand.facts[-1].export_mwh > 100 if isinstance(stand.facts[-1], ports.MeterRead) else False)
    readings = [each for each in stand.facts if isinstance(each, ports.MeterRead)]
    assert readings[0].import_mwh == readings[-1].import_mwh == 0
    assert SimulatedMeter("M", tmp_path / "meter.bin", now_ms=lambda: 0).read(0).export_mwh > 0  # already in the file


async def test_a_meter_that_cannot_be_written_is_a_fault_of_the_charger(
    make_stand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = await make_stand(report_s=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        await until(lambda: ports.HardwareFault("meter_store") in stand.facts)


@pytest.mark.parametrize(
    "command", [ports.StartCableCheck(450_000), ports.CloseContactors()], ids=lambda c: type(c).__name__
)
@pytest.mark.parametrize("begun", [True, False])
async def test_what_was_under_way_at_an_emergency_off_brings_nothing_back(
    make_stand: Any, command: Any, begun: bool
) -> None:
    stand = await make_stand(cable_check_s=0.01, contactor_s=0.01)
    slow = asyncio.ensure_future(stand.evse.execute(command))
    if begun:
        await asyncio.sleep(0)
    stand.evse.execute(ports.EmergencyOff("test"))
    facts = len(stand.facts)
    outcome = await slow
    assert outcome in (ports.CableCheckFinished(passed=False), ports.ContactorState(closed=False))
    assert not stand.evse.contactors_closed
    assert not [each for each in stand.facts[facts:] if isinstance(each, ports.Measured) and each.voltage_mv]


async def test_a_current_that_is_let_be_is_within_the_limits_at_the_new_voltage(stand: Stand) -> None:
    stand.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 0))
    await stand.show(400_100)
    voltage, current = stand.present()
    assert voltage * current <= 20_000 * 1_000_000
    await stand.show(400_100, charge=30_000)
    await stand.show(400_100, charge=29_990)
    assert stand.present()[1] == 29_990


async def test_a_charger_whose_meter_failed_is_left_safe_all_the_same(
    make_stand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = await make_stand(report_s=0.01)
    await stand.do(ports.StartCableCheck(450_000))
    await stand.show(400_000)
    stand.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        await until(lambda: ports.HardwareFault("meter_store") in stand.facts)
    await stand.evse.close()
    assert not stand.evse.contactors_closed
    assert stand.present() == (0, 0)
