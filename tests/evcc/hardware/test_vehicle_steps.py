"""The simulated vehicle in simulated time: what it reports and shows at each step, and what its contactor carries."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from evcc.hardware.ac import BenchAcLine, OnBoardCharger
from evcc.hardware.couplings import SecondaryDevice
from evcc.hardware.drive import Driving, PlaceConfig
from evcc.hardware.pack import CellSensors
from evcc.hardware.vehicle import BenchLine, BenchPilot, SimulatedVehicle, VehicleFault
from evcc.policy.battery import BatteryConfig
from evcc.session import ports
from evcc.session.settings import OnBoardChargerConfig
from tests.secc.hardware.bare import at
from v2g.energy.grid_support import GridSupport, VoltageSupport, ZeroCurrentLimits
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.simulation.lines import ChargerAc, ChargerCoil, ChargerDc, VehicleCoil, VehicleDc
from v2g.iso15118.engine.session import Command, Fact

MV = 370_000
"""The default battery's voltage at 60 % without a current."""
FULL = BatteryConfig(
    capacity_wh=100, soc=99.99, ocv=((0.0, 10.0), (100.0, 10.0)), resistance_ohm=0.01, max_voltage_v=100.0,
    min_voltage_v=1.0, max_charge_current_a=1_000.0, max_discharge_current_a=1_000.0,
)  # fmt: skip
"""Nearly full, of 10 V, so that a small power is a large current."""


class Line:
    """The vehicle's end of a DC line: what it has published, and a charger that is set."""

    def __init__(self) -> None:
        self.published: list[VehicleDc] = []

    def on_change(self, callback: Callable[[ChargerDc | None], None]) -> None:
        self.callback = callback

    def publish(
        self, voltage_mv: int, *, contactor_closed: bool, max_charge_ma: int = 0, max_discharge_ma: int = 0
    ) -> None:
        self.published.append(VehicleDc(voltage_mv, contactor_closed, max_charge_ma, max_discharge_ma))


class Pilot:
    """Notes the states that it shows."""

    def __init__(self) -> None:
        self.states: list[PilotState] = []

    def set_state(self, state: PilotState) -> None:
        self.states.append(state)


class OnBoard:
    """A converter whose inlet and current are set."""

    def __init__(self, current_ma: int) -> None:
        self.present, self.current_ma = ports.PresentVoltage(0), current_ma
        self.commands: list[tuple[str, int]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def limit(self, charge_w: int) -> None:
        self.commands.append(("limit", charge_w))

    def drive(self, power_w: int) -> None:
        self.commands.append(("drive", power_w))

    def battery_ma(self, battery_mv: int) -> int:
        return self.current_ma

    def cut(self) -> None:
        self.commands.append(("cut", 0))


class Sensors(CellSensors):
    """Notes what is read."""

    def __init__(self) -> None:
        super().__init__(None, cells=96)
        self.reads: list[tuple[int, float]] = []

    def read(self, battery: ports.BatteryState, now: float) -> ports.BatteryState:
        self.reads.append((battery.at_ms, now))
        return super().read(battery, now)


class Coil:
    """The vehicle's end of the air gap."""

    seen = ChargerCoil(device_id=7, method="LF_RxEV")

    def on_change(self, callback: Callable[[ChargerCoil | None], None]) -> None:
        """It stays as it is."""

    def hold(self, state: VehicleCoil) -> None:
        self.held = state


class Stand:
    """A vehicle on a line, plugged in nowhere."""

    def __init__(
        self, battery: BatteryConfig | None = None, *, bench: bool = False, converter_ma: int | None = None, **how: Any
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.line, self.pilot, self.faults = Line(), Pilot(), set[VehicleFault]()
        self.on_board = OnBoard(converter_ma or 0)
        if converter_ma is not None:
            how["on_board"] = self.on_board
        self.vehicle = SimulatedVehicle(
            battery or BatteryConfig(soc=60),
            line=BenchLine() if bench else self.line,
            pilot=BenchPilot() if bench else self.pilot,
            clock=Clock(ClockConfig(origin_monotonic=self.loop.time(), origin_utc_ms=0)),
            faults=self.faults,
            **how,
        )
        self.facts: list[Fact] = []
        self.unsubscribe = self.vehicle.subscribe(self.facts.append)

    def output(self, voltage_mv: int, current_ma: int, *, closed: bool = True) -> None:
        """Let the charger's output be this."""
        self.line.callback(ChargerDc(voltage_mv, current_ma, contactor_closed=closed))

    def start(self, command: Command) -> Coroutine[object, object, Fact | None]:
        """Begin what takes time."""
        started = self.vehicle.execute(command)
        assert started is not None
        return started

    async def connect(self, current_ma: int = 0) -> None:
        """Close the contactor at the battery's voltage, and let this current flow."""
        voltage_mv = self.vehicle.battery.voltage_mv
        self.output(voltage_mv, 0)
        assert await self.start(ports.CloseContactor()) == ports.ContactorState(closed=True)
        self.output(voltage_mv, current_ma)

    def stepped(self) -> list[Fact]:
        """Return what one step reports."""
        self.facts.clear()
        self.vehicle.step()
        return self.facts

    async def took(self, work: Coroutine[object, object, Fact | None], outcome: Fact) -> float:
        """Return how long it took to come to this, s."""
        began = self.loop.time()
        assert await work == outcome
        return self.loop.time() - began

    async def close(self) -> None:
        await self.vehicle.close()


def shown(voltage_mv: int, charge_ma: int = 0, discharge_ma: int = 0, *, closed: bool = False) -> VehicleDc:
    """What the line shows."""
    return VehicleDc(voltage_mv, closed, charge_ma, discharge_ma)


OPEN, CLOSED = ports.ContactorState(closed=False), ports.ContactorState(closed=True)
LIMITS, SHOW, HIDE = ports.SetPowerLimits, ports.SetCpState(PilotState.C), ports.SetCpState(PilotState.B)


# --- reports and the line ---


@at(Stand)
async def test_a_vehicle_at_rest_reports_twenty_times_a_second_and_shows_its_line_once(stand: Stand) -> None:
    assert stand.line.published == [shown(MV)]
    assert stand.facts == [stand.vehicle.battery, ports.PresentVoltage(0, 0), OPEN]
    stand.facts.clear()
    await asyncio.sleep(0.06)
    inlet, battery = stand.facts
    assert inlet == ports.PresentVoltage(0, 0)
    assert isinstance(battery, ports.BatteryState)
    assert battery.current_ma == 0
    await asyncio.sleep(0.96)
    assert len(stand.facts) == 40
    assert len(stand.line.published) == 1
    stand.unsubscribe()
    await asyncio.sleep(1)
    assert len(stand.facts) == 40


@at(Stand)
async def test_the_line_shows_a_voltage_that_has_changed_by_a_tenth_of_a_volt(stand: Stand) -> None:
    await stand.connect()
    before = len(stand.line.published)
    stand.output(MV, 1_980)  # 99 mV at 0.05 ohm
    assert len(stand.line.published) == before
    stand.output(MV, 2_000)
    assert stand.line.published[before:] == [shown(MV + 100, closed=True)]
    stand.output(MV, 100)
    assert len(stand.line.published) == before + 1
    stand.output(MV, 0)
    assert stand.line.published[-1] == shown(MV, closed=True)


@pytest.mark.parametrize(("charge_w", "discharge_w"), [(1_000, 0), (0, 1_000)])
@at(Stand, battery=FULL)
async def test_the_line_shows_a_limit_that_has_changed_by_200_mA(stand: Stand, charge_w: int, discharge_w: int) -> None:
    def limits() -> tuple[int, int]:
        last = stand.line.published[-1]
        return last.max_charge_ma, last.max_discharge_ma

    def as_given(current_ma: int) -> tuple[int, int]:
        return (current_ma, 0) if charge_w else (0, current_ma)

    stand.vehicle.execute(LIMITS(charge_w, discharge_w))
    await stand.connect()
    assert limits() == as_given(100_000)
    stand.output(10_000, 1_900)  # 19 mV at 0.01 ohm: 190 mA less for the same power
    assert limits() == as_given(100_000)
    stand.output(10_000, 2_000)
    assert limits() == as_given(99_800)


@at(Stand, battery=FULL)
async def test_the_line_shows_the_last_and_the_first_small_limit(stand: Stand) -> None:
    """Of 100 mA: less than what is shown otherwise."""
    await stand.connect()
    stand.vehicle.execute(LIMITS(1, 0))
    assert stand.line.published[-1] == shown(10_000, 100, 0, closed=True)
    stand.output(10_000, 1_000)
    await asyncio.sleep(5)
    assert stand.line.published[-1].max_charge_ma == 0, "full"
    stand.output(10_000, -1_000)
    await asyncio.sleep(5)
    assert stand.line.published[-1].max_charge_ma == 100


@at(Stand)
async def test_limits_bound_the_line_within_what_the_battery_can_do(stand: Stand) -> None:
    battery = stand.vehicle.battery
    stand.vehicle.execute(LIMITS(37_000, 3_700))
    assert stand.vehicle.limits == LIMITS(37_000, 3_700)
    assert stand.line.published[1:] == [shown(MV, 100_000, 10_000, closed=False)]
    stand.vehicle.execute(LIMITS(37_010, 3_700))
    assert stand.line.published[2:] == [shown(MV, 100_027, 10_000, closed=False)], "however small the change"
    stand.vehicle.execute(LIMITS(1_000_000, 1_000_000))
    assert stand.line.published[3:] == [shown(MV, battery.max_charge_ma, battery.max_discharge_ma, closed=False)]
    assert (battery.max_charge_ma, battery.max_discharge_ma) == (135_135, 54_454)


@at(Stand, battery=BatteryConfig(soc=60, resistance_ohm=5.0))
async def test_a_charger_that_draws_a_battery_below_zero_volts_leaves_its_limits_positive(stand: Stand) -> None:
    stand.vehicle.execute(LIMITS(1_000, 1_000))
    await stand.connect(-100_000)
    battery = stand.vehicle.battery
    assert battery.voltage_mv == MV - 500_000
    last = stand.line.published[-1]
    assert (last.max_charge_ma, last.max_discharge_ma) == (battery.max_charge_ma, battery.max_discharge_ma)
    stand.output(MV, 0)


@at(Stand)
async def test_the_inlet_has_the_chargers_voltage_only_through_its_closed_contactor(stand: Stand) -> None:
    stand.output(300_000, 9_000, closed=False)
    assert stand.stepped()[0] == ports.PresentVoltage(0, 0)
    stand.output(MV - 10_000, 9_000)
    assert stand.stepped()[0] == ports.PresentVoltage(MV - 10_000, 0)
    assert await stand.start(ports.CloseContactor()) == CLOSED
    assert stand.stepped()[0] == ports.PresentVoltage(MV + 450, 9_000)
    stand.output(MV, 9_000, closed=False)
    assert stand.stepped()[0] == ports.PresentVoltage(MV, 0)
    stand.line.callback(None)
    assert stand.stepped()[0] == ports.PresentVoltage(MV, 0)


@at(Stand)
async def test_sensors_are_read_once_for_each_report(stand: Stand) -> None:
    sensors = Sensors()
    vehicle = SimulatedVehicle(
        BatteryConfig(soc=60), line=Line(), pilot=Pilot(), clock=Clock(), step_s=100.0, cells=sensors
    )
    first = vehicle.battery
    assert (first.lowest_cell_mv, vehicle.battery) == (MV / 96, first)
    assert sensors.reads == [(first.at_ms, stand.loop.time())]
    await asyncio.sleep(1)
    assert vehicle.battery is first
    vehicle.step()
    assert vehicle.battery.at_ms == first.at_ms + 1_000
    assert sensors.reads[1:] == [(first.at_ms + 1_000, stand.loop.time())]
    await vehicle.close()


@at(Stand)
async def test_faults_of_the_reports_are_seen_while_they_last(stand: Stand) -> None:
    def kinds() -> list[type[Fact]]:
        return [type(each) for each in stand.stepped()]

    assert kinds() == [ports.PresentVoltage, ports.BatteryState]
    assert stand.vehicle.battery.fault == ""
    for fault, left in (("battery_silent", ports.PresentVoltage), ("inlet_silent", ports.BatteryState)):
        stand.faults.add(fault)  # type: ignore[arg-type]
        assert kinds() == [left]
        assert stand.vehicle.battery.fault == ""
        stand.faults.clear()
    stand.faults.add("battery_insulation")
    assert [each.fault for each in stand.stepped() if isinstance(each, ports.BatteryState)] == ["battery_insulation"]
    assert (stand.vehicle.battery.voltage_mv, stand.vehicle.battery.fault) == (MV, "battery_insulation")


# --- energy ---


@pytest.mark.parametrize("end", ["less", "gone", "opened"])
@at(Stand, step_s=1e6)
async def test_a_current_counts_until_the_moment_in_which_it_ends(stand: Stand, end: str) -> None:
    """Between two steps, too: 36 s at 4 A and 370.2 V are 14.8 Wh."""
    await stand.connect(4_000)
    await asyncio.sleep(36)
    if end == "opened":
        assert await stand.start(ports.OpenContactor()) == OPEN
    else:
        stand.line.callback(ChargerDc(MV, 0, contactor_closed=True) if end == "less" else None)
    battery = stand.vehicle.battery
    assert battery.charged_mwh == pytest.approx(14_809, abs=2)
    assert battery.current_ma == 0


@pytest.mark.parametrize("end", ["charger", "opened"])
@at(Stand, step_s=1e6, converter_ma=4_000)
async def test_a_converters_current_counts_whatever_happens_at_the_line(stand: Stand, end: str) -> None:
    stand.vehicle.step()
    await asyncio.sleep(36)
    if end == "charger":
        stand.output(MV, 0)
    else:
        assert await stand.start(ports.OpenContactor()) == OPEN
    assert stand.vehicle.battery.charged_mwh == pytest.approx(14_809, abs=2)


# --- contactor ---


@pytest.mark.parametrize(("across_mv", "closes"), [(20_000, True), (20_001, False), (-20_000, True), (-20_001, False)])
@at(Stand)
async def test_a_contactor_closes_at_once_on_20_volts_at_most(stand: Stand, across_mv: int, *, closes: bool) -> None:
    stand.output(MV + across_mv, 0)
    outcome = CLOSED if closes else ports.HardwareFault("contactor_voltage_mismatch")
    assert await stand.took(stand.start(ports.CloseContactor()), outcome) < 0.01
    assert stand.vehicle.contactor_closed is closes
    assert stand.facts.count(CLOSED) == closes
    assert stand.line.published[1:] == [shown(MV, closed=True)] * closes
    assert await stand.start(ports.CloseContactor()) == outcome
    assert stand.facts.count(CLOSED) == closes, "reported once"


@at(Stand, contactor_delay_s=0.2)
async def test_a_contactor_takes_its_time_in_both_directions(stand: Stand) -> None:
    stand.output(MV, 0)
    assert await stand.took(stand.start(ports.CloseContactor()), CLOSED) == pytest.approx(0.2, abs=0.01)
    assert await stand.took(stand.start(ports.OpenContactor()), OPEN) == pytest.approx(0.2, abs=0.01)


@at(Stand, contactor_delay_s=0.2)
async def test_a_contactor_that_is_closing_stays_open_at_the_end(stand: Stand) -> None:
    stand.output(MV, 0)
    closing = asyncio.ensure_future(stand.start(ports.CloseContactor()))
    await asyncio.sleep(0.1)
    await stand.vehicle.close()
    assert await closing == OPEN
    assert not stand.vehicle.contactor_closed


@pytest.mark.parametrize(("current_ma", "takes_s"), [(5_000, 0), (-5_000, 0), (5_001, 1), (-5_001, 1), (100_000, 1)])
@at(Stand)
async def test_a_contactor_waits_a_second_for_a_current_above_5_amperes(
    stand: Stand, current_ma: int, takes_s: int
) -> None:
    await stand.connect(current_ma)
    assert await stand.took(stand.start(ports.OpenContactor()), OPEN) == pytest.approx(takes_s, abs=0.01)
    assert stand.facts.count(OPEN) == 2, "before, and now"
    assert stand.vehicle.battery.current_ma == 0


@pytest.mark.parametrize("left_ma", [5_000, 5_001])
@at(Stand)
async def test_a_contactor_opens_as_soon_as_the_current_has_fallen(stand: Stand, left_ma: int) -> None:
    await stand.connect(50_000)
    stand.loop.call_later(0.42, stand.output, MV, left_ma)
    took_s = await stand.took(stand.start(ports.OpenContactor()), OPEN)
    assert took_s == pytest.approx(0.42 if left_ma == 5_000 else 1.0, abs=0.01)


@at(Stand)
async def test_faults_of_the_contactor_act_in_their_direction(stand: Stand) -> None:
    stand.output(MV, 0)
    stand.faults.add("no_close")
    assert await stand.start(ports.CloseContactor()) == OPEN
    stand.faults.clear()
    stand.faults.add("weld")
    assert await stand.start(ports.CloseContactor()) == CLOSED
    assert await stand.start(ports.OpenContactor()) == CLOSED
    stand.faults.clear()
    stand.vehicle.step()
    assert not stand.vehicle.contactor_closed, "the weld has broken"
    stand.faults.add("no_close")
    stand.faults.add("stuck_closed")
    stand.vehicle.step()
    assert not stand.vehicle.contactor_closed
    stand.faults.discard("no_close")
    assert CLOSED in stand.stepped()
    assert await stand.start(ports.OpenContactor()) == CLOSED
    stand.faults.clear()
    assert OPEN in stand.stepped()


@at(Stand)
async def test_a_contactor_that_drops_is_open_until_it_holds_again(stand: Stand) -> None:
    await stand.connect()
    stand.faults.add("drop")
    assert OPEN in stand.stepped()
    stand.faults.clear()
    assert CLOSED in stand.stepped()
    stand.faults.add("no_close")
    stand.vehicle.step()
    assert stand.vehicle.contactor_closed, "it opens by nothing that keeps it from closing"


@pytest.mark.parametrize(
    ("closed", "in_c", "reported"),
    [(True, False, True), (False, True, True), (True, True, True), (False, False, False)],
)
@at(Stand)
async def test_contacts_are_lost_only_where_they_are_used(
    stand: Stand, *, closed: bool, in_c: bool, reported: bool
) -> None:
    if in_c:
        stand.vehicle.execute(SHOW)
    if closed:
        await stand.connect()
    stand.facts.clear()
    stand.vehicle.contacts_lost()
    assert stand.facts == [ports.PlugState(connected=False)] * reported


# --- cut and close ---


@pytest.mark.parametrize("in_c", [False, True])
@at(Stand, converter_ma=0)
async def test_a_cut_opens_at_once_and_until_the_session_opens_too(stand: Stand, *, in_c: bool) -> None:
    if in_c:
        stand.vehicle.execute(SHOW)
    await stand.connect(50_000)
    stand.facts.clear()
    stand.vehicle.cut()
    assert stand.pilot.states == [PilotState.C, PilotState.B] * in_c
    assert not stand.vehicle.contactor_closed
    assert stand.line.published[-1] == shown(MV + 2_500, closed=False)
    assert stand.facts == [], "callbacks belong to the event loop"
    stand.vehicle.step()
    assert not stand.vehicle.contactor_closed
    before = list(stand.pilot.states)
    for each in (SHOW, ports.CloseContactor(), LIMITS(9_000, 0)):
        assert stand.vehicle.execute(each) is None
    assert (stand.pilot.states, stand.vehicle.limits) == (before, LIMITS(0, 0))
    stand.vehicle.contacts_lost()
    assert ports.PlugState(connected=False) not in stand.facts, "it shows B"
    assert await stand.start(ports.OpenContactor()) == OPEN
    stand.vehicle.execute(SHOW)
    assert stand.pilot.states[-1] is PilotState.C
    assert await stand.start(ports.CloseContactor()) == CLOSED


@at(Stand, converter_ma=0)
async def test_a_cut_reaches_the_converter_and_not_a_welded_contactor(stand: Stand) -> None:
    await stand.connect()
    stand.faults.add("weld")
    before = len(stand.line.published)
    stand.vehicle.cut()
    assert stand.on_board.commands == [("cut", 0)]
    assert stand.vehicle.contactor_closed
    assert len(stand.line.published) == before
    stand.faults.clear()
    stand.vehicle.step()
    assert not stand.vehicle.contactor_closed, "its coil is off"


@at(Stand, contactor_delay_s=0.2)
async def test_a_cut_while_the_contactor_moves_keeps_it_open(stand: Stand) -> None:
    stand.output(MV, 0)
    stand.loop.call_later(0.1, stand.vehicle.cut)
    assert await stand.start(ports.CloseContactor()) == OPEN
    stand.vehicle.step()
    assert not stand.vehicle.contactor_closed


@pytest.mark.parametrize("cut", [False, True])
@at(Stand, contactor_delay_s=0.2)
async def test_a_contactor_that_is_opened_while_it_closes_never_closes(stand: Stand, *, cut: bool) -> None:
    """Also where the cut has been followed by the command to open, which lets others pass again."""
    stand.output(MV, 0)
    closing = stand.loop.create_task(stand.start(ports.CloseContactor()))
    await asyncio.sleep(0.05)
    if cut:
        stand.vehicle.cut()
    opening = stand.loop.create_task(stand.start(ports.OpenContactor()))
    assert [await closing, await opening] == [OPEN, OPEN]
    await asyncio.sleep(0.5)
    stand.vehicle.step()
    assert CLOSED not in stand.facts
    assert not stand.vehicle.contactor_closed


@pytest.mark.parametrize("in_c", [False, True])
@at(Stand, converter_ma=0)
async def test_a_closed_vehicle_draws_nothing_and_reports_nothing(stand: Stand, *, in_c: bool) -> None:
    if in_c:
        stand.vehicle.execute(SHOW)
    await stand.connect(1_000)
    await stand.vehicle.close()
    assert stand.on_board.commands == [("drive", 0), ("limit", 0)]
    assert stand.pilot.states == [PilotState.C, PilotState.B] * in_c
    assert not stand.vehicle.contactor_closed
    stand.facts.clear()
    await asyncio.sleep(1)
    assert stand.facts == []


# --- other ways of energy ---


@at(Stand, converter_ma=20_000)
async def test_a_converter_is_limited_and_its_inlet_is_that_of_the_vehicle_while_it_has_voltage(stand: Stand) -> None:
    stand.vehicle.execute(LIMITS(7_000, 0))
    stand.vehicle.execute(ports.SetAcPower(-3_000))
    for each in (ports.ObserveDevice("LF_RxEV"), ports.TransmitId(9), ports.Reported(1, 1)):
        assert stand.vehicle.execute(each) is None
    assert stand.on_board.commands == [("limit", 7_000), ("drive", -3_000)]
    stand.output(300_000, 0)
    assert stand.stepped()[0] == ports.PresentVoltage(300_000, 0)
    stand.on_board.present = ports.PresentVoltage(230_000, 9_000, 3)
    stand.facts.clear()
    stand.on_board.callback()
    assert stand.facts[0] == ports.PresentVoltage(230_000, 9_000, 3)
    assert stand.vehicle.battery.current_ma == 20_000


@at(Stand)
async def test_an_on_board_charger_supports_the_grid_as_commanded_until_state_B(stand: Stand) -> None:
    """AC DER: what a charger demands is of one session."""
    line = BenchAcLine()
    other = Stand(on_board=OnBoardCharger(line, OnBoardChargerConfig(phases=3)))
    line.pass_on(closed=True)
    none_above_220_v = GridSupport(zero_current=ZeroCurrentLimits(over_v=220))
    for command, flows in (
        (ports.SetAcPower(3_000), True),
        (ports.SetGridSupport(none_above_220_v), False),
        (SHOW, False),
        (HIDE, True),
    ):
        other.vehicle.execute(command)
        other.stepped()
        assert bool(other.vehicle.battery.current_ma) is flows, command
    await other.close()


@at(Stand)
async def test_an_on_board_charger_follows_the_grid_as_time_passes(stand: Stand) -> None:
    line = BenchAcLine()
    other = Stand(on_board=OnBoardCharger(line, OnBoardChargerConfig(phases=3)))
    line.pass_on(closed=True)
    other.vehicle.execute(ports.SetAcPower(-10_000))
    none_above_220_v = VoltageSupport(start_v=210, stop_v=220, response_s=0.0, delay_s=10)
    other.vehicle.execute(ports.SetGridSupport(GridSupport(volt_watt=none_above_220_v)))
    await asyncio.sleep(9.9)
    assert other.vehicle.battery.current_ma < -20_000
    await asyncio.sleep(0.2)
    assert other.vehicle.battery.current_ma == 0
    await other.close()


@pytest.mark.parametrize("pre_charges", [False, True])
def test_the_inlet_of_a_bench_is_precharged_where_a_charger_does_that(pre_charges: bool) -> None:
    bench = BenchLine(pre_charges=pre_charges)
    seen: list[ChargerDc | None] = []
    bench.on_change(seen.append)
    bench.report(0, 380_000)
    for closed in (False, True):
        bench.publish(400_000, contactor_closed=closed)
        bench.report(0, 380_000)
    before = (380_000, 380_000) if pre_charges else (0, 400_000)
    assert seen == [ChargerDc(each, 0, contactor_closed=True) for each in (*before, 400_000)]


@at(Stand)
async def test_a_secondary_device_finds_and_sends_ids(stand: Stand) -> None:
    coil = Coil()
    device = SecondaryDevice(coil, PlaceConfig(), Driving())  # type: ignore[arg-type]
    other = Stand(on_board=device)
    assert await other.start(ports.ObserveDevice("LF_RxEV")) == ports.DeviceObserved(7)
    assert other.vehicle.execute(ports.TransmitId(9)) is None
    assert coil.held.device_id == 9
    await other.close()


@pytest.mark.parametrize("placed", [False, True])
@at(Stand)
async def test_a_vehicle_drives_its_own_way_or_one_step(stand: Stand, *, placed: bool) -> None:
    other = Stand(driving=Driving(PlaceConfig(distance_cm=100))) if placed else stand
    outcome = ports.DroveIn(in_place=placed, travel_cm=100 if placed else 150)
    assert await other.start(ports.DriveIn(None)) == outcome
    if placed:
        await other.close()


@at(Stand, bench=True)
async def test_a_bench_has_current_until_state_B_and_nothing_to_cut(stand: Stand) -> None:
    bench = BenchLine()
    seen: list[ChargerDc | None] = []
    bench.on_change(seen.append)
    bench.report(5)
    assert seen == [ChargerDc(0, 5, contactor_closed=True)]
    pilot = BenchPilot()
    assert pilot.duty == DutyReading("digital")
    for state, live in ((PilotState.C, True), (PilotState.B, False), (PilotState.D, True)):
        pilot.set_state(state)
        assert pilot.mains.seen == ChargerAc(230_000, 3, contactor_closed=live)
    vehicle = stand.vehicle
    vehicle.execute(ports.Reported(1_000, 0))
    assert await stand.start(ports.CloseContactor()) == CLOSED
    vehicle.execute(ports.Reported(1_000, 20_000))
    vehicle.execute(SHOW)
    vehicle.cut()
    vehicle.execute(LIMITS(5_000, 0))
    assert (vehicle.battery.current_ma, vehicle.contactor_closed, vehicle.limits.charge_w) == (20_000, True, 5_000)
    vehicle.execute(HIDE)
    assert vehicle.battery.current_ma == 0


@at(Stand)
async def test_state_B_and_reports_of_a_charger_change_nothing_at_a_real_line(stand: Stand) -> None:
    await stand.connect(20_000)
    for each in (HIDE, ports.Reported(1_000, 0)):
        assert stand.vehicle.execute(each) is None
    assert stand.vehicle.battery.current_ma == 20_000
    assert stand.pilot.states == [PilotState.B]
