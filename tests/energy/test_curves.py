"""Curves against straight lines in exact fractions, and a lag that does not depend on how often it is asked."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.energy.curves import FrequencyCurve, HeldResponse, ResponseLag, value_at

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
