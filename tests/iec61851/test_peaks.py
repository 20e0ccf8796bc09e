"""The levels of a pilot whose samples do not know when its oscillator is high."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.iec61851.pilot import (
    ONE_LEVEL_S,
    VEHICLE_OHM,
    LevelWindow,
    PilotState,
    pilot_high_mv,
    pilot_low_mv,
    read_levels,
)


def window(*, oscillates: bool) -> LevelWindow:
    found = LevelWindow()
    found.restart(oscillates=oscillates)
    return found


@pytest.mark.some(2)
@pytest.mark.parametrize("percent", [5, 10, 50, 96])
@pytest.mark.parametrize("state", [PilotState.B, PilotState.C, PilotState.D])
@pytest.mark.parametrize("diode", [True, False])
def test_noisy_samples_at_random_moments_show_the_state(percent: int, state: PilotState, diode: bool) -> None:
    """10,000 samples each s: with a real ADC and any phase."""
    chance, ohm = random.Random(percent), VEHICLE_OHM[state]
    high, low = pilot_high_mv(ohm, diode=diode), pilot_low_mv(ohm, diode=diode)
    found, now, readings = window(oscillates=True), 0.0, []
    for _ in range(20_000):
        now += 0.0001
        level = high if chance.random() < percent / 100 else low
        levels = found.add((level + chance.randint(-300, 300),), now)
        if levels is not None:
            readings.append(read_levels(*levels))
    assert len(readings) > 20
    assert {each.state for each in readings} == {state if diode else PilotState.E}


def test_a_wire_with_one_level_has_it_after_a_while() -> None:
    for mv in (0, -12_000):
        found = window(oscillates=True)
        assert found.add([mv] * 100, 0.0) is None
        assert found.add([mv] * 100, ONE_LEVEL_S) == (mv, mv)


def test_one_disturbed_sample_is_no_level() -> None:
    found = window(oscillates=True)
    assert found.add([-12_000] * 50 + [9_000], 0.0) is None
    assert found.add([9_000, 9_100], 0.001) == (9_000, -12_000)
    assert window(oscillates=False).add([9_000, 0, 9_000], 0.0) == (9_000, None)


def test_samples_before_a_change_of_the_oscillator_count_no_more() -> None:
    found = window(oscillates=False)
    assert found.add([12_000, 12_000], 0.0) is None
    found.restart(oscillates=True)
    assert found.add([9_000, 9_000, 9_000], 0.001) is None


@given(st.lists(st.lists(st.integers(-30_000, 30_000), max_size=20), max_size=20), st.booleans())
def test_levels_are_samples(rounds: list[list[int]], oscillates: bool) -> None:
    found = window(oscillates=oscillates)
    for number, samples in enumerate(rounds):
        levels = found.add(samples, number * 0.03)
        if levels is not None:
            high, low = levels
            assert low is None or low <= high
            assert (low is None) is not oscillates
