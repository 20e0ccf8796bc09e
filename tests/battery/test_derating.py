"""Power by temperature (R128)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.battery.derating import CHARGE, DISCHARGE, DeratingSettings, share


@pytest.mark.requirement("R128")
@pytest.mark.parametrize(
    ("coldest_c", "hottest_c", "charging", "discharging"),
    [
        (20, 40, 1, 1),
        (25, 30, 1, 1),
        (15, 30, 0.7, 0.9),
        (10, 30, 0.4, 0.8),
        (0, 10, 0.1, 0.6),
        (-5, 10, 0.05, 0.5),
        (-10, 10, 0, 0.4),
        (-20, -20, 0, 0.2),
        (-30, -20, 0, 0),
        (-60, 25, 0, 0),
        (25, 45, 0.7, 0.75),
        (25, 50, 0.4, 0.5),
        (25, 55, 0, 0.25),
        (25, 60, 0, 0),
        (25, 150, 0, 0),
        (0, 50, 0.1, 0.5),  # the worse of both ends
    ],
)
def test_power_falls_outside_of_20_to_40_degrees(
    coldest_c: float, hottest_c: float, charging: float, discharging: float
) -> None:
    assert share(CHARGE, coldest_c, hottest_c) == pytest.approx(charging)
    assert share(DISCHARGE, coldest_c, hottest_c) == pytest.approx(discharging)


def test_a_temperature_that_is_no_number_permits_nothing() -> None:
    nan = float("nan")
    for coldest_c, hottest_c in ((nan, 30), (30, nan), (float("-inf"), 30), (30, float("inf"))):
        assert share(CHARGE, coldest_c, hottest_c) == share(DISCHARGE, coldest_c, hottest_c) == 0


@given(st.floats(-100, 200), st.floats(0, 100))
def test_beyond_the_window_power_only_falls(temperature_c: float, further: float) -> None:
    for curve in (CHARGE, DISCHARGE):
        if temperature_c >= 40:
            assert share(curve, 25, temperature_c + further) <= share(curve, 25, temperature_c) <= 1
        if temperature_c <= 20:
            assert 0 <= share(curve, temperature_c - further, 25) <= share(curve, temperature_c, 25)


@pytest.mark.parametrize(
    "curve",
    [
        ((0.0, 0.0), (0.0, 1.0), (40.0, 0.0)),
        ((20.0, 0.0), (10.0, 1.0), (40.0, 0.0)),
        ((0.0, 0.1), (20.0, 1.0), (40.0, 0.0)),
        ((0.0, 0.0), (20.0, 1.0), (40.0, 0.1)),
        ((0.0, 0.0), (20.0, 1.1), (40.0, 0.0)),
        ((0.0, 0.0), (20.0, -0.1), (40.0, 0.0)),
        ((0.0, 0.0), (10.0, 1.0), (20.0, 0.5), (30.0, 1.0), (40.0, 0.0)),
        ((float("-inf"), 0.0), (20.0, 1.0), (40.0, 0.0)),
        ((0.0, 0.0), (10.0, 0.6), (15.0, 0.5), (20.0, 1.0), (40.0, 0.0)),
        ((0.0, 0.0), (10.0, 0.6), (15.0, 0.5), (18.0, 0.7), (20.0, 1.0), (30.0, 1.0), (40.0, 0.0)),
        ((0.0, 0.0), (20.0, 1.0), (30.0, 0.5), (35.0, 0.6), (40.0, 0.0)),
    ],
)
@pytest.mark.parametrize("name", ["charge", "discharge"])
def test_curves_that_are_none_are_rejected(name: str, curve: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        DeratingSettings(**{name: curve})


def test_a_curve_may_be_level_on_its_way_up_and_down() -> None:
    level = ((0.0, 0.0), (5.0, 0.5), (10.0, 0.5), (20.0, 1.0), (30.0, 0.5), (35.0, 0.5), (40.0, 0.0))
    assert share(DeratingSettings(charge=level).charge, 7.0, 8.0) == 0.5


def test_a_window_of_ones_own_may_have_a_top_of_any_height() -> None:
    assert DeratingSettings(charge=((0.0, 0.0), (20.0, 0.5), (40.0, 0.5), (50.0, 0.0))).charge[1] == (20.0, 0.5)
