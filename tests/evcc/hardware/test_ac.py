"""The simulated on-board charger: the currents of its phases."""

from collections.abc import Callable
from typing import Any

import pytest

from evcc.hardware.ac import BenchAcLine, OnBoardCharger
from evcc.session.ports import PresentVoltage
from evcc.session.settings import OnBoardChargerConfig
from tests.together import together
from v2g.energy.conductors import Currents
from v2g.energy.grid_support import FrequencySupport, GridSupport, SupportCurve
from v2g.io.simulation.lines import ChargerAc


def mains(voltage_mv: int, *more: Any) -> PresentVoltage:
    """Return what is reported at 50 Hz."""
    return PresentVoltage(voltage_mv, *more, frequency_hz=50)


class Outlet:
    """An outlet with so many line conductors, that shows what is drawn."""

    drawn: Currents

    def __init__(self, lines: int) -> None:
        self.seen: ChargerAc | None = ChargerAc(230_000, lines, contactor_closed=True)

    def on_change(self, callback: Callable[[ChargerAc | None], None]) -> None:
        self.callback = callback

    def supply(self, seen: ChargerAc | None) -> None:
        self.seen = seen
        self.callback(seen)

    def publish(self, currents: Currents) -> None:
        self.drawn = currents


def at_outlet(outlet: Outlet, **config: Any) -> OnBoardCharger:
    """Return a charger at an outlet; what is not configured is as by default."""
    return OnBoardCharger(outlet, OnBoardChargerConfig(**config))  # type: ignore[arg-type]


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("phases", "lines", "drawn"),
    [
        (3, 3, Currents(16_000, 16_000, 16_000)),
        (3, 2, Currents(16_000, 16_000, 0)),
        (3, 1, Currents(16_000, 0, 0)),
        (2, 3, Currents(24_000, 24_000, 0)),
        (1, 3, Currents(48_000, 0, 0)),
    ],
)
def test_each_phase_carries_its_part_and_no_more_than_its_rating(phases: int, lines: int, drawn: Currents) -> None:
    outlet = Outlet(lines)
    charger = at_outlet(outlet, phases=phases, max_charge_w=11_040, max_discharge_w=11_040)
    charger.drive(50_000)
    assert outlet.drawn == drawn
    assert charger.present == mains(230_000, drawn.total_ma, min(phases, lines), drawn)
    charger.drive(-50_000)
    assert outlet.drawn == Currents(*(-each for each in drawn))
    outlet.supply(None)
    assert (outlet.drawn, charger.present) == (Currents(), PresentVoltage(0))


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("config", "line_ma"), [({}, 16_000), ({"max_current_a": 12.5}, 12_500), ({"phases": 1}, 48_000)]
)
def test_no_phase_carries_more_than_its_rating_at_a_low_voltage(config: dict[str, Any], line_ma: int) -> None:
    outlet = Outlet(3)
    outlet.seen = ChargerAc(207_000, 3, contactor_closed=True)
    charger = at_outlet(outlet, **config)
    for power_w in (20_000, -20_000):
        charger.drive(power_w)
        assert max(map(abs, outlet.drawn)) == line_ma


@pytest.mark.parametrize("power_w", [5_000, -5_000, 1_234, -1_234])
def test_what_is_drawn_or_fed_back_is_no_more_than_is_wanted_and_reads_the_same(power_w: int) -> None:
    charger = at_outlet(Outlet(3))
    charger.drive(power_w)
    present = charger.present
    assert abs(present.voltage_mv * present.current_ma) <= abs(power_w) * 1_000_000
    assert present.power_w == power_w


@pytest.mark.requirement("R221")
def test_it_supports_the_grid_as_it_is_told() -> None:
    """Reactive power by voltage at once; less discharge above a frequency, after a delay on the clock of `advance`."""
    outlet = Outlet(3)
    charger = at_outlet(outlet, phases=3, max_discharge_w=11_000, max_reactive_var=4_800)
    outlet.supply(ChargerAc(240_000, 3, contactor_closed=True, frequency_hz=50.7))
    charger.drive(-9_600)
    assert (charger.present.power_w, charger.present.reactive_var) == (-9_600, 0)
    curve = SupportCurve(points=((230, 0), (250, -4_000)), response_s=0)
    droop = FrequencySupport(start_hz=50.2, stop_hz=51.5, delay_s=2)
    charger.support(GridSupport(volt_var=curve, over_frequency_watt=droop))
    assert (charger.present.power_w, charger.present.reactive_var) == (-9_600, -2_000)
    charger.advance(1.9)
    assert charger.present.power_w == -9_600
    charger.advance(2.0)
    assert charger.present.power_w == pytest.approx(-9_600 * 0.8, abs=1)
    outlet.supply(ChargerAc(230_000, 3, contactor_closed=True))
    assert charger.present.reactive_var == 0


def test_a_sum_is_all_that_is_reported_where_the_phases_are_not_measured() -> None:
    charger = at_outlet(Outlet(3), measures_lines=False)
    charger.drive(3_450)
    assert charger.present == mains(230_000, 15_000, 3)
    charger.cut()
    assert charger.present == mains(230_000, 0, 3)


@pytest.mark.parametrize(("power_w", "total_ma"), [(50_000, 48_000), (-50_000, -20_000)])
def test_powers_are_bounded_where_conductors_could_carry_more(power_w: int, total_ma: int) -> None:
    charger = at_outlet(Outlet(3), max_charge_w=11_040, max_discharge_w=4_600, max_current_a=63)
    charger.drive(power_w)
    assert charger.present.current_ma == total_ma


LIVE = ChargerAc(230_000, 3, contactor_closed=True)
DEAD = [None, ChargerAc(230_000, 3, contactor_closed=False), ChargerAc(0, 3, contactor_closed=True)]


@pytest.mark.parametrize("dead", DEAD)
def test_voltage_without_a_command_draws_nothing_and_each_change_is_reported(dead: ChargerAc | None) -> None:
    outlet, changes = Outlet(3), list[PresentVoltage]()
    outlet.seen = dead
    charger = at_outlet(outlet)
    charger.on_change(lambda: changes.append(charger.present))
    assert (outlet.drawn, charger.present, charger.grid_hz) == (Currents(), PresentVoltage(0), None)
    outlet.supply(LIVE)
    assert (outlet.drawn, charger.grid_hz) == (Currents(), LIVE.frequency_hz)
    charger.drive(3_450)
    charger.drive(3_450)
    assert outlet.drawn == Currents(5_000, 5_000, 5_000)
    outlet.supply(dead)
    assert (outlet.drawn, charger.present, charger.grid_hz) == (Currents(), PresentVoltage(0), None)
    charger.drive(6_900)
    assert outlet.drawn == Currents()
    live = mains(230_000, 0, 3, Currents())
    drawn = mains(230_000, 15_000, 3, Currents(5_000, 5_000, 5_000))
    assert changes == [live, drawn, PresentVoltage(0)]


def test_a_line_that_has_gone_has_no_frequency_although_the_voltage_has_not_been_measured_again() -> None:
    outlet = Outlet(3)
    charger = at_outlet(outlet)
    charger.drive(3_450)
    outlet.seen = None
    assert (charger.present.voltage_mv, charger.grid_hz) == (230_000, None)


def test_a_voltage_of_a_thousandth_of_a_volt_is_one() -> None:
    outlet = Outlet(1)
    charger = at_outlet(outlet)
    outlet.supply(ChargerAc(1, 1, contactor_closed=True))
    assert charger.present == mains(1, 0, 1, Currents())


@together(
    ("power_w", "battery_mv", "battery_ma"),
    [
        (9_200, 400_000, 21_389), (-9_200, 400_000, -24_731), (0, 400_000, 0), (1_150, 400_000, 2_673),
        (1, 1_000, 855), (9_200, 0, 8_555_999_999), (9_200, -5, 8_555_999_999),
    ],
)  # fmt: skip
def test_the_battery_gets_93_percent_and_gives_more_than_the_grid_gets(
    power_w: int, battery_mv: int, battery_ma: int
) -> None:
    charger = at_outlet(Outlet(1), phases=1)
    charger.drive(power_w)
    assert charger.battery_ma(battery_mv) == pytest.approx(battery_ma, abs=1)


def test_a_cut_draws_nothing_at_once_and_after_the_next_voltage() -> None:
    outlet, changes = Outlet(3), list[PresentVoltage]()
    charger = at_outlet(outlet)
    charger.drive(3_450)
    charger.on_change(lambda: changes.append(charger.present))
    charger.cut()
    assert (outlet.drawn, charger.present, charger.battery_ma(400_000)) == (
        Currents(),
        mains(230_000, 0, 3, Currents()),
        0,
    )
    assert changes == [], "callbacks belong to the event loop"
    outlet.supply(None)
    outlet.supply(LIVE)
    assert (outlet.drawn, changes) == (Currents(), [PresentVoltage(0), mains(230_000, 0, 3, Currents())])


def test_a_bench_assumes_three_phases_of_230_volts() -> None:
    line, seen = BenchAcLine(), list[ChargerAc | None]()
    assert line.seen is None
    line.on_change(seen.append)
    for closed in (True, False):
        line.pass_on(closed=closed)
        assert line.seen == ChargerAc(230_000, 3, contactor_closed=closed)
    assert seen == [ChargerAc(230_000, 3, contactor_closed=True), ChargerAc(230_000, 3, contactor_closed=False)]
