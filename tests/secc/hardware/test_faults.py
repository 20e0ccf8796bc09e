"""What breaks in a charger: nothing flows any more, the session ends, the lamp says it, and the operator is notified.

The CSMS is a package that we did not write; it checks every message against the official schemas.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.charger import Charger
from secc.hardware.evse import WatchConfig
from secc.hardware.meter import SimulatedMeter
from secc.hardware.simulated import SimulatedEvse, SimulatedEvseConfig
from secc.session import ports
from secc.session.config import EvseRating
from tests.secc.backend import Backend, backend
from tests.secc.bench_program import made
from tests.waiting import until
from v2g.hardware.faults import FAULTS
from v2g.hardware.simulation import FaultStep, StageConfig
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.lines import ChargerDcLine, VehicleDcLine
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.iso15118.engine.session import Fact

AT_ONCE = StageConfig(voltage_v_per_s=0, current_a_per_s=0, discharge_tau_s=0)
AUTHORISED = ports.TransactionStarted("0011223344556677", "DEV2GC00000001")
CHARGE = ports.SetOutput(450_000, 50_000, 30_000, 0)


class Stand:
    """A simulated charger, pilot and all, and a vehicle of wires."""

    def __init__(self, charger: Medium, vehicle: Medium, config: SimulatedEvseConfig) -> None:
        clock = Clock()
        self.wires = SimulatedVehiclePilot(vehicle)
        self.line = VehicleDcLine(vehicle)
        self.pilot = SimulatedChargerPilot(charger)
        self.meter = SimulatedMeter("M", now_ms=clock.elapsed_ms)
        self.meter.flow(-2_000, 400_000, 50_000)
        self.meter.flow(0, 0, 0)  # it has counted 11 Wh, so that a register can go backwards
        watch = WatchConfig(contactor_s=0.1, discharge_s=0.1)
        self.charger_line = ChargerDcLine(charger)
        self.evse = SimulatedEvse(
            self.charger_line, self.meter, clock, config, EvseRating(), pilot=self.pilot, watch=watch
        )
        self.facts: list[Fact] = []
        self.faults: list[tuple[str, bool]] = []
        self.evse.on_fault(lambda word, active: self.faults.append((word, active)))
        self.evse.subscribe(self.facts.append)

    async def charge(self) -> None:
        """Bring it to where a current flows."""
        self.wires.plug()
        await until(lambda: self.pilot.state is PilotState.B)
        self.pilot.set_duty(5.0)
        self.wires.set_state(PilotState.C)
        await until(lambda: self.pilot.state is PilotState.C)
        self.evse.execute(AUTHORISED)
        check = self.evse.execute(ports.StartCableCheck(410_000))
        assert check is not None
        assert await check == ports.CableCheckFinished(passed=True)
        self.line.publish(400_000, contactor_closed=True, max_charge_ma=200_000, max_discharge_ma=200_000)
        await until(lambda: self.charger_line.vehicle is not None)
        self.evse.execute(CHARGE)
        await until(lambda: self.evse.present.current_ma == 50_000)


@pytest.fixture
async def make_stand(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    made: list[Any] = []

    async def make(**config: Any) -> Stand:
        charger, vehicle = await FolderMedium.attach(tmp_path, "secc"), await FolderMedium.attach(tmp_path, "evcc")
        stand = Stand(charger, vehicle, SimulatedEvseConfig(**{"stage": AT_ONCE, "report_s": 0.02, **config}))
        made.extend((stand.evse, charger, vehicle))
        return stand

    yield make
    for each in made:
        closing = each.close()
        if closing is not None:
            await closing


@pytest.mark.parametrize(
    ("fault", "word", "value"),
    [
        ("drop", "contactor_dropped", 0),
        ("isolation", "isolation_low", 30_000),
        ("isolation_monitor", "isolation_lost", 0),
        ("over_voltage", "over_voltage", 0),
        ("stage_trip", "stage_tripped", 0),
        ("stage_silent", "stage_lost", 0),
        ("over_temperature", "over_temperature", 95),
        ("sensor_lost", "temperature_lost", 0),
        ("estop", "emergency_stop", 0),
        ("meter_backward", "meter_backward", 1),
        ("meter_jump", "meter_jump", 5_000),
        ("meter_silent", "meter_lost", 0),
    ],
)
async def test_a_fault_while_charging_stops_the_current_and_opens_the_contactor(
    make_stand: Callable[..., Any], fault: Any, word: str, value: float
) -> None:
    stand = await make_stand()
    await stand.charge()
    stand.facts.clear()
    await until(lambda: any(isinstance(each, ports.MeterRead) for each in stand.facts))  # the first to compare
    stand.evse.bench.set(fault, value=value)
    await until(lambda: (word, True) in stand.faults)
    await until(lambda: not stand.evse.contactors_closed)
    assert stand.evse.present.current_ma == 0
    assert ports.HardwareFault(word) in stand.facts
    assert stand.evse.light == FAULTS[word].light
    stand.evse.execute(CHARGE)
    assert stand.evse.present.current_ma == 0  # nobody brings it back


@pytest.mark.parametrize("part", ["read", "save"])
async def test_a_watch_that_fails_opens_the_contactor_and_goes_on(
    make_stand: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Nobody is watching while something unforeseen is raised; what it was is no reason to watch no longer."""
    stand = await make_stand()
    await stand.charge()
    with monkeypatch.context() as broken:
        broken.setattr(stand.meter, part, lambda *_, **__: 1 / 0)
        await until(lambda: not stand.evse.contactors_closed)
        assert stand.evse.faults == ("charger_failed",)
        assert ports.HardwareFault("charger_failed") in stand.facts
    stand.evse.bench.set("over_temperature", value=95)
    await until(lambda: "over_temperature" in stand.evse.faults)


@pytest.mark.requirement("R38")
async def test_a_welded_contactor_is_known_when_it_should_open_and_for_good(make_stand: Callable[..., Any]) -> None:
    stand = await make_stand()
    await stand.charge()
    stand.evse.bench.set("weld")
    opening = stand.evse.execute(ports.OpenContactors())
    assert await opening == ports.ContactorState(closed=True)
    assert stand.evse.faults == ("contactor_welded",)
    assert ports.HardwareFault("contactor_welded") in stand.facts
    later: list[Fact] = []
    stand.evse.subscribe(later.append)
    assert later[-1] == ports.HardwareFault("contactor_welded")  # the next session learns of it first


async def test_a_charge_that_stays_at_the_output_is_a_fault(make_stand: Callable[..., Any]) -> None:
    stand = await make_stand(faults=(FaultStep(fault="slow_discharge", when="current"),))
    await stand.charge()
    opening = stand.evse.execute(ports.OpenContactors())
    assert await opening == ports.ContactorState(closed=False)
    assert "discharge_too_slow" in stand.evse.faults
    assert stand.evse.present.voltage_mv > 60_000


@pytest.mark.requirement("R38")
async def test_a_fan_that_stands_still_is_reported_and_energy_flows_on(
    make_stand: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secc.hardware.evse.FAN_DEAD_S", 0.05)
    stand = await make_stand()
    await stand.charge()
    stand.evse.bench.set("over_temperature", value=60.0)
    stand.evse.bench.set("fan_dead")
    await until(lambda: ("fan_failed", True) in stand.faults)
    assert stand.evse.present.current_ma == 50_000
    assert ports.HardwareFault("fan_failed") not in stand.facts


async def test_the_pilot_opens_the_contactor_whatever_the_session_does(make_stand: Callable[..., Any]) -> None:
    """C to B, and nobody in the charger knows of it but the interlock."""
    stand = await make_stand()
    await stand.charge()
    began = asyncio.get_running_loop().time()
    stand.wires.set_state(PilotState.B)
    await until(lambda: not stand.evse.contactors_closed)
    assert asyncio.get_running_loop().time() - began < 0.1
    assert stand.evse.present.current_ma == 0


@pytest.mark.requirement("R131")
async def test_nothing_is_driven_before_somebody_is_authorised(make_stand: Callable[..., Any]) -> None:
    stand = await make_stand()
    stand.wires.plug()
    stand.wires.set_state(PilotState.C)
    await until(lambda: stand.pilot.state is PilotState.C)
    check = stand.evse.execute(ports.StartCableCheck(410_000))
    assert not (await check).passed
    assert await stand.evse.execute(ports.CloseContactors()) == ports.ContactorState(closed=False)
    stand.evse.execute(ports.StartPreCharge(400_000))
    stand.evse.execute(CHARGE)
    assert stand.evse.present == ports.Measured(0, 0)


async def test_a_script_acts_when_its_moment_comes(make_stand: Callable[..., Any]) -> None:
    stand = await make_stand(faults=(FaultStep(fault="estop", when="current", after_s=0.05, for_s=0.1),))
    await stand.charge()
    await until(lambda: stand.faults == [("emergency_stop", True)])
    await until(lambda: ("emergency_stop", False) in stand.faults)


async def test_pre_charge_ramps_and_the_output_discharges_in_time(make_stand: Callable[..., Any]) -> None:
    """1000 V/s up; RC of 20 ms down: below 60 V after 40 ms."""
    stage = StageConfig(voltage_v_per_s=1_000, current_a_per_s=200, discharge_tau_s=0.02)
    stand = await make_stand(stage=stage)
    await stand.charge()
    seen = [fact for fact in stand.facts if isinstance(fact, ports.Measured)]
    volts = [fact.voltage_mv for fact in seen]
    rising = volts[: volts.index(max(volts)) + 1]
    assert rising == sorted(rising)
    assert len(set(rising)) > 3  # not at once
    currents = [fact.current_ma for fact in seen if fact.current_ma]
    assert currents == sorted(currents)
    assert 0 < currents[0] < 50_000
    stand.line.publish(400_000, contactor_closed=False)
    began = asyncio.get_running_loop().time()
    assert await stand.evse.execute(ports.OpenContactors()) == ports.ContactorState(closed=False)
    assert stand.evse.present.voltage_mv < 60_000
    assert asyncio.get_running_loop().time() - began < 0.3


# -- the whole charger


@pytest.fixture(params=["ocpp2.0.1", "ocpp2.1"])
async def csms(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async with backend() as found:
        await found.stop()
        found.versions = [request.param]
        await found.start()
        yield found


@pytest.mark.requirement("R22")
async def test_a_plug_that_is_not_seated_flashes_red_and_is_reported_to_the_operator(
    csms: Backend, pki: PkiTree, tmp_path: Path
) -> None:
    """`red_flash`, Faulted; that its session is refused: tests/secc/session/d20/test_faults.py."""
    extra = f"""[link]
medium = "copper"
[station]
url = "ws://127.0.0.1:{csms.port}/ocpp"
identity = "CS-1"
store = "station.db"
retry_minimum = 0.02
"""
    async with made(tmp_path, pki, extra) as charger:
        lights = reported(charger)
        charger.controllers[0].connect_wires()
        vehicle = await FolderMedium.attach(tmp_path / "copper", "evcc")
        pilot = SimulatedVehiclePilot(vehicle)
        pilot.plug(proximity_ohm=None)
        await csms.wait("StatusNotification", where=lambda p: p["connector_status"] == "Faulted")
        notice = await csms.wait("NotifyEvent")
        (event,) = notice["event_data"]
        assert (event["tech_code"], event["actual_value"]) == ("plug_not_seated", "true")
        assert event["component"] == {"name": "Connector", "evse": {"id": 1, "connector_id": 1}}
        assert charger.controllers[0].hardware.light == "red_flash"
        assert not charger.controllers[0].hardware.contactors_closed
        pilot.plug()  # pressed home
        await csms.wait("StatusNotification", where=lambda p: p["connector_status"] == "Occupied")
        (event,) = (await csms.wait("NotifyEvent", count=2))["event_data"]
        assert (event["tech_code"], event["cleared"]) == ("plug_not_seated", True)
        last = event["event_id"]
        csms.seen.clear()
        vehicle.close()
        await csms.wait("StatusNotification", where=lambda p: p["connector_status"] == "Available")
        assert lights == ["occupied", "red_flash", "occupied", "available"]
    async with made(tmp_path, pki, extra) as charger:  # after a restart
        csms.seen.clear()
        charger.controllers[0].connect_wires()
        vehicle = await FolderMedium.attach(tmp_path / "copper", "evcc")
        SimulatedVehiclePilot(vehicle).plug(proximity_ohm=None)
        (event,) = (await csms.wait("NotifyEvent"))["event_data"]
        vehicle.close()
    assert event["event_id"] > last > 1


def reported(charger: Charger) -> list[str]:
    """Return a list that fills with what the lamp says."""
    lights: list[str] = []
    charger.controllers[0].hardware.on_light(lights.append)
    return lights
