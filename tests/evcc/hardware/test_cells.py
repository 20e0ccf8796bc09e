"""Sensors at the cells of the simulated battery: what sound ones read, and what failing cells and sensors do to it."""

import math

import pytest
from msgspec.structs import replace

from evcc.hardware.pack import CellSensors, HeatConfig
from evcc.policy.battery import Battery, BatteryConfig
from evcc.session.ports import BatteryState

CELLS = 100
REST = replace(Battery(BatteryConfig(), at_ms=0).state, voltage_mv=370_000, current_ma=0, temperature_c=25.0)
CHARGING = replace(REST, current_ma=1)


def measured(state: BatteryState) -> tuple[float | None, ...]:
    """Return hottest temperature, lowest and mean voltage of a cell, and pressure."""
    return state.hottest_c, state.lowest_cell_mv, state.mean_cell_mv, state.pressure_kpa


SOUND = (25.0, 3_700.0, 3_700.0, 101.3)


def test_sound_cells_have_the_temperature_of_the_battery_and_its_voltage_in_parts() -> None:
    read = CellSensors(None, cells=CELLS).read(CHARGING, 1e6)
    assert measured(read) == SOUND
    assert (read.voltage_mv, read.current_ma) == (370_000, 1)


@pytest.mark.parametrize("what", ["runaway", "glitches", "stuck"])
def test_nothing_happens_before_a_current_has_flowed_for_its_time(what: str) -> None:
    sensors = CellSensors(HeatConfig(what=what, rise=1.0), cells=CELLS)  # type: ignore[arg-type]
    assert measured(sensors.read(REST, 0.0)) == SOUND
    assert measured(sensors.read(REST, 1_000.0)) == SOUND
    assert measured(sensors.read(CHARGING, 2_000.0)) == SOUND
    assert measured(sensors.read(CHARGING, 2_001.9)) == SOUND
    assert measured(sensors.read(REST, 2_062.0)) != SOUND, "it goes on without a current"


def test_a_cell_that_runs_away_becomes_hotter_vents_and_has_an_end() -> None:
    sensors = CellSensors(HeatConfig(what="runaway"), cells=CELLS)
    sensors.read(CHARGING, 10.0)
    assert measured(sensors.read(CHARGING, 13.0)) == (40.0, 3_700.0, 3_700.0, 101.3)
    assert measured(sensors.read(CHARGING, 12.0 + 54.999 / 15)) == pytest.approx((79.999, 3_700.0, 3_700.0, 101.3))
    assert measured(sensors.read(CHARGING, 12.0 + 11 / 3)) == pytest.approx((80.0, 925.0, 3_700.0, 121.3))
    assert measured(sensors.read(CHARGING, 13_000.0)) == (800.0, 925.0, 3_700.0, 121.3)


def test_a_cell_vents_at_exactly_its_temperature() -> None:
    sensors = CellSensors(HeatConfig(what="runaway", after_s=0.0, rise=55.0), cells=CELLS)
    sensors.read(CHARGING, 10.0)
    assert measured(sensors.read(CHARGING, 11.0)) == (80.0, 925.0, 3_700.0, 121.3)


def test_a_sensor_that_is_stuck_shows_no_heat_while_a_cell_vents() -> None:
    sensors = CellSensors(HeatConfig(what="stuck", after_s=1.0, rise=100.0), cells=CELLS)
    sensors.read(CHARGING, 10.0)
    assert measured(sensors.read(CHARGING, 11.0)) == SOUND
    assert measured(sensors.read(CHARGING, 12.0)) == (25.0, 925.0, 3_700.0, 121.3)


def test_each_second_one_sample_is_far_too_high_or_no_number() -> None:
    sensors = CellSensors(HeatConfig(what="glitches", after_s=0.0), cells=CELLS)
    high = (400.0, 1.0, 3_700.0, 900.0)
    assert measured(sensors.read(CHARGING, 10.0)) == high
    assert measured(sensors.read(CHARGING, 10.9)) == SOUND
    hottest, lowest, mean, pressure = measured(sensors.read(CHARGING, 11.0))
    assert mean == 3_700.0
    assert all(math.isnan(each) for each in (hottest, lowest, pressure) if each is not None)
    assert measured(sensors.read(CHARGING, 11.9)) == SOUND
    assert measured(sensors.read(CHARGING, 12.0)) == high


@pytest.mark.parametrize(("first", "wrong"), [(1.5, True), (2.5, False)])
def test_the_first_sample_is_wrong_whenever_it_comes(first: float, wrong: bool) -> None:
    sensors = CellSensors(HeatConfig(what="glitches", after_s=1.0), cells=CELLS)
    sensors.read(CHARGING, 10.0)
    hottest, *_ = measured(sensors.read(CHARGING, 11.0 + first))
    assert hottest is not None
    assert math.isnan(hottest) is wrong
