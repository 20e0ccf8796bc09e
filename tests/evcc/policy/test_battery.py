"""The simulated battery keeps the laws that its state of charge, energy and limits have to obey."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcc.policy.battery import Battery, BatteryConfig, OcvLine
from tests.together import together

T0 = 1_700_000_000_000


def battery(**changes: object) -> Battery:
    return Battery(BatteryConfig(**changes), at_ms=T0)  # type: ignore[arg-type]


def test_a_full_battery_holds_its_capacity_and_an_empty_one_nothing() -> None:
    assert battery(soc=100.0).state.energy_wh == pytest.approx(60_000)
    assert battery(soc=0.0).state.energy_wh == 0


@given(st.integers(-100_000, 100_000), st.integers(1, 400))
def test_the_length_of_steps_does_not_change_the_charge(current_ma: int, steps: int) -> None:
    at_once, in_steps = battery(), battery()
    at_once.advance(T0 + steps * 1000, current_ma)
    for n in range(1, steps + 1):
        in_steps.advance(T0 + n * 1000, current_ma)
    assert in_steps.state.soc == pytest.approx(at_once.state.soc, abs=0.0002)
    assert in_steps.state.temperature_c == pytest.approx(at_once.state.temperature_c, abs=0.002)


def test_energy_taken_from_the_terminals_is_what_the_battery_loses_without_its_own_losses() -> None:
    pack = battery(resistance_ohm=0.000001, charge_efficiency=1.0)
    before = pack.state.energy_wh
    for n in range(1, 3601):
        pack.advance(T0 + n * 1000, -20_000)
    assert pack.state.discharged_mwh / 1000 == pytest.approx(before - pack.state.energy_wh, rel=1e-4)
    assert pack.state.charged_mwh == 0


def test_a_round_trip_costs_energy() -> None:
    pack = battery()
    pack.advance(T0 + 1_800_000, 50_000)
    top = pack.state.soc
    now = T0 + 1_800_000
    while pack.state.soc > 50:
        now += 1000
        pack.advance(now, -50_000)
    assert top > 50
    assert pack.state.discharged_mwh < pack.state.charged_mwh


def test_counters_only_grow_and_a_clock_that_goes_back_changes_nothing() -> None:
    pack = battery()
    pack.advance(T0 + 60_000, 10_000)
    state = pack.state
    pack.advance(T0 + 30_000, 10_000)
    assert pack.state == state


def test_charging_tapers_so_that_the_terminal_voltage_stays_below_its_maximum() -> None:
    pack = battery(soc=99.0)
    state = pack.state
    assert 0 < state.max_charge_ma < 150_000
    pack.advance(T0, state.max_charge_ma)
    assert pack.state.voltage_mv <= state.max_voltage_mv


def test_the_state_of_charge_stays_between_0_and_100() -> None:
    pack = battery(soc=99.9)
    pack.advance(T0 + 36_000_000, 150_000)
    assert pack.state.soc == 100
    assert pack.state.max_charge_ma == 0
    pack.advance(T0 + 360_000_000, -150_000)
    assert pack.state.soc == 0
    assert pack.state.max_discharge_ma == 0


@pytest.mark.requirement("R128")
@together(
    ("temperature", "charging", "discharging"),
    [(20.0, 1.0, 1.0), (40.0, 1.0, 1.0), (10.0, 0.4, 0.8), (0.0, 0.1, 0.6), (-10.0, 0.0, 0.4), (50.0, 0.4, 0.5)],
)
def test_a_cold_or_hot_battery_takes_and_gives_less(temperature: float, charging: float, discharging: float) -> None:
    whole, state = battery().state, battery(temperature_c=temperature).state
    assert state.max_charge_ma == pytest.approx(charging * whole.max_charge_ma, abs=2)
    assert state.max_discharge_ma == pytest.approx(discharging * whole.max_discharge_ma, abs=2)


@pytest.mark.requirement("R30", "R128")
@pytest.mark.parametrize("temperature", [-30.0, 70.0])
def test_outside_its_temperature_window_the_battery_takes_and_gives_nothing(temperature: float) -> None:
    state = battery(temperature_c=temperature).state
    assert state.max_charge_ma == state.max_discharge_ma == state.max_charge_w == state.max_discharge_w == 0


def test_current_warms_the_battery_and_rest_lets_it_cool_to_its_surroundings() -> None:
    pack = battery()
    pack.advance(T0 + 600_000, 150_000)
    warm = pack.state.temperature_c
    assert warm > 25
    pack.advance(T0 + 36_000_000_000, 0)
    assert pack.state.temperature_c == pytest.approx(20, abs=0.01)


def test_power_limits_agree_with_the_current_limits() -> None:
    state = battery(max_charge_power_w=11_000, max_discharge_power_w=5_000).state
    assert state.max_charge_w <= 11_000
    assert state.max_discharge_w <= 5_000
    assert state.max_charge_ma * state.voltage_mv / 1e6 <= 11_000
    loaded_mv = state.voltage_mv - state.max_discharge_ma * 0.05  # at its terminals
    assert state.max_discharge_ma * loaded_mv / 1e6 == pytest.approx(5_000, abs=1)
    assert state.max_discharge_w == 5_000


@together(
    "table",
    [
        [[0, 300], [50, 290], [100, 400]],
        [[0, 300], [0, 310]],
        [[10, 300], [100, 400]],
        [[0, 300], [90, 400]],
        [[0, 300]],
        [[0, 0], [100, 400]],
        [[0, -1], [100, 400]],
        [[0, float("nan")], [100, 400]],
        [[0, 300], [100, float("nan")]],
    ],
)
def test_a_curve_that_is_none_is_refused(table: list[list[float]]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"ocv": table}, BatteryConfig)


def test_voltage_limits_that_cross_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="min_voltage_v"):
        msgspec.convert({"min_voltage_v": 500, "max_voltage_v": 400}, BatteryConfig)


def test_interpolation_is_flat_beyond_its_ends() -> None:
    line = OcvLine(((0, 1), (10, 2), (20, 2)))
    assert [line.at(x) for x in (-5, 0, 5, 10, 15, 25)] == [1, 1, 1.5, 2, 2, 2]
    assert [line.area(x) for x in (0, 10, 15, 20)] == [0, 15, 25, 35]
