"""Rainflow counting against the standard's example (R115)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.battery import ageing


def run(values: list[float]) -> ageing.CycleState:
    """Return the count of a history."""
    state = ageing.CycleState()
    for each in values:
        state = ageing.update_cycles(state, each)
    return state


@pytest.mark.requirement("R115")
def test_the_example_of_astm_e1049_is_counted_as_there() -> None:
    """ASTM E1049-85, figure 6: ranges 3 (half), 4 (one and a half), 6 (half), 8 (one), 9 (half) of a history from -4
    to 5. The last three halves, of 9, 8 and 6, are still open here."""
    state = run([(each + 5) / 10 for each in (-2, 1, -3, 5, -1, 3, -4, 4, -2)])
    assert {n: each for n, each in enumerate(state.counted) if each} == {3: 0.5, 4: 1.5, 8: 0.5}
    open_ = [round(abs(b - a) * 10) for a, b in zip(state.turns, state.turns[1:], strict=False)]
    assert open_ == [9, 8, 6]
    assert state.total == pytest.approx((3 * 0.5 + 4 * 1.5 + 6 * 0.5 + 8 * 1.0 + 9 * 0.5) / 10)


def test_a_hundred_days_of_the_same_use_are_a_hundred_cycles_of_its_depth() -> None:
    state = run([0.9, 0.3] * 100 + [0.9])
    assert state.total == pytest.approx(60.0)
    assert state.counted[6] == pytest.approx(100, abs=1)


def test_noise_is_no_cycle() -> None:
    assert run([0.5, 0.505, 0.5, 0.509] * 100).total == 0.0


@given(st.lists(st.floats(0, 1), max_size=300))
def test_all_travel_is_counted_once_and_the_state_is_bounded(values: list[float]) -> None:
    state, travel, last = ageing.CycleState(), 0.0, None
    for each in values:
        state = ageing.update_cycles(state, each)
        newest = state.turns[-1]
        travel += abs(newest - last) if last is not None else 0.0
        last = newest
        assert len(state.turns) <= 65
    assert state.total == pytest.approx(travel / 2)
