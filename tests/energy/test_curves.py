"""Curves against straight lines in exact fractions, and a lag that does not depend on how often it is asked."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.curves import FrequencyCurve, HeldResponse, ResponseLag, share_at, value_at

POINTS = st.lists(
    st.tuples(st.floats(-100, 100), st.floats(-1e6, 1e6)), min_size=1, max_size=10, unique_by=lambda point: point[0]
).map(sorted)


@given(POINTS, st.floats(-120, 120))
def test_values_are_those_of_the_straight_line_around_them(points: list[tuple[float, float]], x: float) -> None:
    below = max((point for point in points if point[0] <= x), default=points[0])
    above = min((point for point in points if point[0] >= x), default=points[-1])
    (x1, y1), (x2, y2) = ((Fraction(x), Fraction(y)) for x, y in (below, above))
    expected = y1 if x1 == x2 else y1 + (y2 - y1) * (Fraction(x) - x1) / (x2 - x1)
    assert value_at(points, x) == pytest.approx(float(expected), rel=1e-6, abs=1e-3)


def test_at_a_step_the_first_of_two_points_counts() -> None:
    step = ((1.0, 5.0), (2.0, 5.0), (2.0, 0.0), (3.0, 0.0))
    assert [value_at(step, x) for x in (1.9, 2.0, 2.1)] == [5.0, 5.0, 0.0]


@given(st.floats(0.1, 90), st.lists(st.floats(0, 5), max_size=8), st.floats(-100, 100))
def test_a_lag_is_the_same_however_often_it_is_asked(response_s: float, pauses: list[float], target: float) -> None:
    often, once, now = ResponseLag(0.0), ResponseLag(0.0), 0.0
    for lag in (often, once):
        lag.follow(target, response_s, now)
    for pause in pauses:
        now += pause
        often.follow(target, response_s, now)
    assert often.value == pytest.approx(once.follow(target, response_s, now), abs=1e-9)
    assert once.value == pytest.approx(target * (1 - math.exp(-math.log(10) * now / response_s)), abs=1e-9)
    assert 0.0 <= abs(once.value) <= abs(target)


def test_a_lag_reaches_nine_tenths_in_its_response_time_and_settles() -> None:
    lag = ResponseLag(100.0)
    lag.follow(0.0, 10.0, 5.0)
    assert lag.follow(0.0, 10.0, 15.0) == pytest.approx(10.0)
    assert not lag.settled
    lag.follow(0.0, 10.0, 105.0)
    assert lag.settled
    assert lag.follow(40.0, 0.0, 106.0) == 40.0
    lag.follow(0.0, 0.5, 107.0)
    assert lag.follow(0.0, 0.5, 107.5) == pytest.approx(4.0)


@together(
    ("value", "target", "settled"),
    [
        (0.00009, 0.0, True),
        (0.00011, 0.0, False),
        (0.49985, 0.5, False),
        (40.0039, 40.0, True),
        (40.0041, 40.0, False),
        (-1000.09, -1000.0, True),
        (-1000.11, -1000.0, False),
    ],
)
def test_a_lag_is_settled_within_a_ten_thousandth(value: float, target: float, settled: bool) -> None:
    lag = ResponseLag(value)
    lag.follow(target, 1.0, 0.0)
    assert lag.settled is settled


@given(st.lists(st.tuples(st.floats(0.01, 3), st.floats(-0.6, 0.6)), min_size=1, max_size=20), st.floats(0, 5))
def test_a_response_is_at_least_the_curve_and_held_no_longer_than_said(
    readings: list[tuple[float, float]], hold_s: float
) -> None:
    curve = FrequencyCurve(hold_s=hold_s)
    response, now, seen = HeldResponse(curve), 0.0, [(0.0, 0.0)]
    for pause, deviation in readings:
        now += pause
        again = response.follow(deviation, now)
        wanted = value_at(curve.curve, deviation)
        assert abs(response.power_w) >= abs(wanted)
        assert response.power_w * wanted >= 0
        seen.append((now, wanted))
        recent = [power for at, power in seen if at > now - hold_s]
        assert response.power_w in {wanted, *recent}, "it is a power that was wanted within the time"
        assert (again is None) == (response.power_w == wanted)
    assert all(a < b for (a, _), (b, _) in pairwise(seen))
    assert response.follow(None, now) is None
    assert response.power_w == 0.0


def test_a_response_by_its_steps() -> None:
    """Each step: the time, the deviation, the power then, and when to ask again; 2 s are held."""
    response = HeldResponse(FrequencyCurve(hold_s=2.0))
    assert response.power_w == 0.0
    for now, deviation, power_w, again in (
        (0.0, 0.0, 0.0, None),
        (1.0, 0.26, 5_000.0, None),
        (2.0, 0.1, 5_000.0, 3.0),  # held
        (2.5, 0.26, 5_000.0, None),  # no more than before: not held again
        (3.0, 0.05, 625.0, None),  # held no longer
        (3.5, 0.5, 10_000.0, None),
        (4.0, 0.0, 10_000.0, 5.5),
        (4.5, -0.14, -2_500.0, None),  # the other direction ends it, and is held
        (5.0, -0.02, -2_500.0, 6.5),
        (5.5, None, 0.0, None),  # unknown: nothing is held
        (6.0, -0.02, 0.0, None),
        (6.2, -0.26, -5_000.0, None),
    ):
        assert response.follow(deviation, now) == again, now
        assert response.power_w == pytest.approx(power_w), now


@together(
    ("curve", "error"),
    [
        (((0.0, 0.0), (0.0, 1.0)), "must rise"),
        (((0.1, 0.0), (-0.1, 0.0)), "must rise"),
        (((-1.0, 0.0), (1.0, 0.0), (0.5, 0.0)), "must rise"),
        (((-5.1, 0.0), (0.0, 0.0)), "between -5 and 5"),
        (((-1.0, 0.0), (0.0, 0.0), (5.1, 0.0)), "between -5 and 5"),
        (((0.0, 0.0), (5.1, 0.0)), "between -5 and 5"),
        (((-0.1, 1.0), (0.0, 0.0), (0.1, 1.0)), "must not fall"),
        (((-0.1, 0.0), (0.1, 1.0)), "0 W at 0 Hz"),
        (((0.0, 0.0), (1.0, 10_000_001.0)), "at most 10 MW"),
        (((-1.0, -10_000_001.0), (0.0, 0.0)), "at most 10 MW"),
        (((0.0, 0.0), (1.0, float("nan"))), "at most 10 MW"),
    ],
)
def test_a_curve_that_would_do_harm_is_refused(curve: tuple[tuple[float, float], ...], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        FrequencyCurve(curve=curve)


def test_a_curve_may_reach_its_bounds_and_have_level_parts() -> None:
    curve = FrequencyCurve(curve=((-5.0, -10_000_000.0), (0.0, 0.0), (1.0, 0.0), (5.0, 10_000_000.0)))
    assert [value_at(curve.curve, hertz) for hertz in (-6.0, 0.5, 6.0)] == [-1e7, 0.0, 1e7]
    assert FrequencyCurve().hold_s == 0.0
    assert FrequencyCurve().curve == ((-0.5, -1e4), (-0.02, 0.0), (0.02, 0.0), (0.5, 1e4))


@together(
    ("temperatures_c", "share"),
    [
        ((), 1.0),
        ((None,), 1.0),
        ((20.0, None, 60.0), 0.5),
        ((60.0, 20.0), 0.5),
        ((20.0,), 1.0),
        ((20.0, math.nan), 0.0),
        ((-math.inf,), 0.0),
        ((90.0,), 0.0),
    ],
)
def test_the_worst_temperature_decides_the_share(temperatures_c: tuple[float | None, ...], share: float) -> None:
    assert share_at(((40.0, 1.5), (80.0, -0.5)), *temperatures_c) == share
