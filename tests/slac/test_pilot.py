"""What levels, duty cycles and the proximity contact mean (IEC 61851-1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.slac.pilot import (
    TOLERANCE_MV,
    VEHICLE_OHM,
    BcbCounter,
    DutyReading,
    PilotState,
    duty_for,
    pilot_high_mv,
    pilot_low_mv,
    read_duty,
    read_proximity,
    read_state,
)

A, B, C, D, E, F = PilotState


@pytest.mark.parametrize(
    ("high", "state"),
    [(12_000, A), (9_000, B), (9_900, B), (6_000, C), (3_000, D), (0, E), (-12_000, F), (10_500, None), (-6_000, None)],
)
def test_high_levels(high: int, state: PilotState | None) -> None:
    assert read_state(high, None) is state


@pytest.mark.parametrize("state", [B, C, D])
def test_the_vehicles_resistors_give_the_nominal_levels(state: PilotState) -> None:
    assert abs(pilot_high_mv(VEHICLE_OHM[state]) - {B: 9_000, C: 6_000, D: 3_000}[state]) < TOLERANCE_MV / 4
    assert read_state(pilot_high_mv(VEHICLE_OHM[state]), pilot_low_mv(VEHICLE_OHM[state])) is state
    assert read_state(pilot_high_mv(None), pilot_low_mv(None)) is A


def test_a_shorted_diode_shows_only_while_the_oscillator_runs() -> None:
    ohm = VEHICLE_OHM[B]
    assert read_state(pilot_high_mv(ohm, diode=False), None) is B
    assert read_state(pilot_high_mv(ohm, diode=False), pilot_low_mv(ohm, diode=False)) is E


@pytest.mark.parametrize(
    ("percent", "reading"),
    [
        (0, DutyReading("no_charging")),
        (2.9, DutyReading("no_charging")),
        (3, DutyReading("digital")),
        (5, DutyReading("digital")),
        (7, DutyReading("digital")),
        (7.5, DutyReading("error")),
        (8, DutyReading("current", 6.0)),
        (10, DutyReading("current", 6.0)),
        (25, DutyReading("current", 15.0)),
        (85, DutyReading("current", 51.0)),
        (90, DutyReading("current", 65.0)),
        (96, DutyReading("current", 80.0)),
        (97, DutyReading("current", 80.0)),
        (97.5, DutyReading("no_charging")),
        (100, DutyReading("off")),
    ],
)
def test_duty_cycles(percent: float, reading: DutyReading) -> None:
    assert read_duty(percent) == reading


@given(st.floats(6, 80))
def test_an_offered_current_is_read_back(current: float) -> None:
    read = read_duty(duty_for(current)).max_current_a
    assert read == pytest.approx(51.0 if 51 < current <= 52.5 else current)


def test_currents_without_a_duty_cycle() -> None:
    assert duty_for(5.9) == 100.0
    assert duty_for(200) == 96.0
    with pytest.raises(ValueError, match="outside"):
        read_duty(101)


@pytest.mark.parametrize(
    ("ohm", "state", "ampere"),
    [
        (None, "open", 0),
        (5_000, "open", 0),
        (4_500, "seated", 13),
        (1_500, "seated", 13),
        (937, "seated", 13),  # between two ranges: the lower current
        (680, "seated", 20),
        (220, "seated", 32),
        (100, "seated", 63),
        (59, "fault", 0),
    ],
)
def test_proximity(ohm: int | None, state: str, ampere: int) -> None:
    reading = read_proximity(ohm)
    assert (reading.state, reading.max_current_a) == (state, ampere)


def test_toggles_are_counted_when_their_c_lasts_200_to_400_ms() -> None:
    counter = BcbCounter()
    at = 0.0
    for state, lasts in [
        (B, 0.3),
        (C, 0.2),
        (B, 0.3),
        (C, 0.4),
        (B, 0.3),
        (C, 0.05),
        (B, 0.3),
        (C, 2.0),
        (B, 0.3),
        (C, 0.3),
        (D, 0.1),
        (B, 1),
    ]:
        counter.on_state(state, at)
        counter.on_state(state, at + 0.01)  # told twice
        at += lasts
    assert counter.count == 2
