"""The charger on a test bench: no vehicle at its output, and energy flows as far as the vehicle's messages allow."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from secc.hardware.meter import SimulatedMeter
from secc.hardware.simulated import BenchAcEvse, BenchEvse, SimulatedEvseConfig
from secc.session import ports
from secc.session.config import AcRating, EvseRating
from tests.waiting import until
from v2g.energy.conductors import LINES, Currents, spread
from v2g.hardware.meters.plausibility import PER_MWH
from v2g.hardware.simulation import StageConfig
from v2g.io.runtime.clock import Clock
from v2g.iso15118.engine.session import Command, Fact

CHARGE = ports.SetOutput(voltage_mv=450_000, current_ma=60_000, charge_w=20_000, discharge_w=0)
BATTERY = ports.Reported(voltage_mv=400_000, max_charge_ma=200_000, max_discharge_ma=30_000)


class Stepping(Clock):
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_700_000_000_000

    def elapsed_ms(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Stepping:
    return Stepping()


@pytest.fixture
def meter(clock: Stepping) -> SimulatedMeter:
    return SimulatedMeter("M", now_ms=clock.elapsed_ms)


@pytest.fixture
async def evse(clock: Stepping, meter: SimulatedMeter) -> AsyncIterator[BenchEvse]:
    """A charger whose cable check has passed."""
    at_once = StageConfig(voltage_v_per_s=0, current_a_per_s=0, discharge_tau_s=0)
    evse = BenchEvse(meter, clock, SimulatedEvseConfig(stage=at_once), EvseRating())
    evse.execute(ports.TransactionStarted("0011223344556677", ""))
    outcome = evse.execute(ports.StartCableCheck(450_000))
    assert outcome is not None
    assert await outcome == ports.CableCheckFinished(passed=True)
    yield evse
    await evse.close()


def test_nothing_flows_before_the_vehicle_has_said_what_it_bears(evse: BenchEvse) -> None:
    evse.execute(CHARGE)
    assert evse.present.current_ma == 0


def test_pre_charge_reaches_its_voltage_without_a_vehicle(evse: BenchEvse) -> None:
    evse.execute(ports.StartPreCharge(398_000))
    assert evse.present == ports.Measured(398_000, 0)


@pytest.mark.parametrize(
    ("output", "said", "expected"),
    [
        (CHARGE, BATTERY, (400_000, 50_000)),  # by charge power
        (CHARGE, ports.Reported(400_000, 7_000, 0), (400_000, 7_000)),  # by the vehicle
        (CHARGE, ports.Reported(20_000_000, 200_000, 0), (450_000, 44_444)),  # no output has such a voltage
        (CHARGE, ports.Reported(-20_000_000, 200_000, 0), (450_000, 0)),  # no battery: the output stands at its limit
        (ports.SetOutput(450_000, -60_000, 0, 8_000), BATTERY, (400_000, -20_000)),  # by discharge power
        (ports.SetOutput(450_000, -60_000, 0, 50_000), BATTERY, (400_000, -30_000)),
        (ports.SetOutput(450_000, -60_000, 20_000, 0), BATTERY, (400_000, 0)),  # nobody allowed it
    ],
)
def test_the_load_takes_and_gives_what_vehicle_and_output_allow(
    evse: BenchEvse, output: ports.SetOutput, said: ports.Reported, expected: tuple[int, int]
) -> None:
    evse.execute(output)
    evse.execute(said)
    assert (evse.present.voltage_mv, evse.present.current_ma) == expected


def test_what_flows_is_metered_in_its_own_direction(evse: BenchEvse, clock: Stepping, meter: SimulatedMeter) -> None:
    evse.execute(BATTERY)
    evse.execute(CHARGE)
    clock.now_ms += 3_600_000
    evse.execute(ports.SetOutput(450_000, -10_000, 0, 8_000))
    clock.now_ms += 1_800_000
    reading = meter.read(clock.now_ms)
    assert reading.import_mwh == 400_000 * 50_000 * 3_600_000 // PER_MWH
    assert reading.export_mwh == 400_000 * 10_000 * 1_800_000 // PER_MWH
    assert evse.flowed_mwh == (reading.import_mwh, reading.export_mwh)


def test_what_flows_is_also_known_without_the_meter(evse: BenchEvse, clock: Stepping, meter: SimulatedMeter) -> None:
    evse.execute(BATTERY)
    evse.execute(CHARGE)
    evse.bench.set("meter_stuck")
    clock.now_ms += 3_600_000
    assert meter.read(clock.now_ms).import_mwh == 0
    assert evse.flowed_mwh == (400_000 * 50_000 * 3_600_000 // PER_MWH, 0)


@pytest.mark.parametrize("command", [ports.OpenContactors(), ports.EmergencyOff("test")], ids=str)
async def test_the_load_of_one_session_is_gone_before_the_next(evse: BenchEvse, command: Command) -> None:
    facts: list[Fact] = []
    evse.execute(BATTERY)
    evse.execute(CHARGE)
    end = evse.subscribe(facts.append)
    outcome = evse.execute(command)
    if outcome is not None:
        assert await outcome == ports.ContactorState(closed=False)
    assert evse.present == ports.Measured(0, 0)
    assert facts[-1] in (ports.Measured(0, 0), ports.ContactorState(closed=False))
    end()
    check = evse.execute(ports.StartCableCheck(450_000))
    assert check is not None
    await asyncio.gather(check)
    evse.execute(ports.StartPreCharge(398_000))
    assert evse.present == ports.Measured(398_000, 0)


@pytest.fixture
async def mains(clock: Stepping, meter: SimulatedMeter) -> AsyncIterator[BenchAcEvse]:
    """A charge point for alternating current whose contactor is closed."""
    evse = BenchAcEvse(meter, clock, SimulatedEvseConfig(), AcRating())
    evse.execute(ports.TransactionStarted("0011223344556677", ""))
    outcome = evse.execute(ports.CloseContactors())
    assert outcome is not None
    assert await outcome == ports.ContactorState(closed=True)
    yield evse
    await evse.close()


@pytest.mark.parametrize(
    ("output", "drawn_w"),
    [
        (ports.SetAcOutput(11_500, 0), 11_500),  # by a schedule of its own: all that it is let
        (ports.SetAcOutput(11_500, 4_600, power_w=2_300), 2_300),
        (ports.SetAcOutput(11_500, 4_600, power_w=-2_300), -2_300),
        (ports.SetAcOutput(11_500, 4_600, power_w=-9_200), -4_600),
        (ports.SetAcOutput(2_300, 0, power_w=11_500), 2_300),
    ],
)
def test_a_vehicle_on_alternating_current_is_taken_to_draw_its_target(
    mains: BenchAcEvse, clock: Stepping, meter: SimulatedMeter, output: ports.SetAcOutput, drawn_w: int
) -> None:
    mains.execute(output)
    current_ma = drawn_w * 1000 // 230
    assert mains.present == ports.Measured(230_000, current_ma, currents=spread(current_ma, LINES))
    clock.now_ms += 3_600_000
    reading = meter.read(clock.now_ms)
    assert reading.import_mwh - reading.export_mwh == drawn_w * 1000


async def test_an_open_contactor_lets_no_vehicle_draw(mains: BenchAcEvse) -> None:
    mains.execute(ports.SetAcOutput(11_500, 0))
    outcome = mains.execute(ports.OpenContactors())
    assert outcome is not None
    assert await outcome == ports.ContactorState(closed=False)
    mains.execute(ports.SetAcOutput(11_500, 0))
    assert mains.present == ports.Measured(0, 0, currents=Currents())


@pytest.mark.requirement("R148")
async def test_a_changed_program_ends_a_running_discharge_at_once(evse: BenchEvse) -> None:
    facts: list[Fact] = []
    evse.subscribe(facts.append)
    closing = evse.execute(ports.CloseContactors())
    assert closing is not None
    assert await closing == ports.ContactorState(closed=True)
    evse.execute(ports.SetOutput(450_000, -60_000, 0, 8_000))
    evse.execute(BATTERY)
    assert evse.present.watts == -8_000
    evse.fault("program_changed", active=True)
    assert evse.present.current_ma == 0
    assert ports.HardwareFault("program_changed") in facts
    await until(lambda: not evse.contactors_closed)
    evse.execute(ports.SetOutput(450_000, -60_000, 0, 8_000))
    evse.execute(BATTERY)
    assert evse.present.current_ma == 0
