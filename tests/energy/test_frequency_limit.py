"""Power by frequency: edges of what comes back, by hand; the rest is in tests of inverters and grid codes."""

import math

import pytest

from v2g.energy.frequency_limit import FrequencyLimit
from v2g.energy.grid_support import FrequencySupport

pytestmark = [pytest.mark.requirement("R209"), pytest.mark.requirement("R221")]


def limit(**keys: object) -> FrequencyLimit:
    return FrequencyLimit(FrequencySupport(start_hz=50.2, stop_hz=51.5, **keys), over=True)  # type: ignore[arg-type]


def test_at_the_start_nothing_is_limited() -> None:
    each = limit(delay_s=1, hysteresis=True, ramp=10)
    assert each.at(1000, 2000, 50.2, 0) == math.inf
    assert each.at(1000, 2000, 50.7, 1) == math.inf, "not before the delay"
    assert each.at(1000, 2000, 50.7, 2) == 800


def test_without_hysteresis_and_ramp_all_of_it_is_back_at_once() -> None:
    each = limit(deactivation_s=30)
    assert each.at(1000, 2000, 50.7, 0) == 800
    assert each.at(800, 2000, 50.2, 1) == math.inf
    assert each.at(500, 2000, 50.7, 2) == 400, "the power that flows then counts"


def test_with_hysteresis_and_no_ramp_it_is_back_when_the_time_is_over() -> None:
    each = limit(hysteresis=True, deactivation_s=30)
    assert each.at(1000, 2000, 50.7, 0) == 800
    assert each.at(1000, 2000, 50.3, 1) == 800, "it stays low"
    assert each.at(800, 2000, 50.2, 2) == 800
    assert each.at(800, 2000, 50.2, 31.9) == 800
    assert each.at(800, 2000, 50.2, 32) == math.inf


def test_a_ramp_ends_where_the_power_was() -> None:
    each = limit(ramp=60, deactivation_s=30)  # 1 % a second; the time is one of hysteresis
    assert each.at(1000, 2000, 50.7, 0) == 800
    assert each.at(800, 2000, 50.0, 1) == 800
    assert each.at(800, 2000, 50.0, 11) == pytest.approx(900)
    assert each.at(800, 2000, 50.0, 21) == math.inf
    assert each.at(0, 2000, 50.7, 22) == 0


def test_the_maximum_is_the_reference_where_it_is_said_so() -> None:
    each = limit(reference="maximum", ramp=60)
    assert each.at(1000, 2000, 50.7, 0) == 600
    each.at(600, 2000, 50.0, 1)
    assert each.at(600, 2000, 50.0, 11) == pytest.approx(800)


def test_nothing_that_flows_leaves_nothing() -> None:
    each = limit(hysteresis=True, ramp=60)
    assert each.at(0, 2000, 51.0, 0) == 0
    assert each.at(0, 2000, 50.0, 1) == math.inf


def test_back_in_the_band_it_waits_and_out_of_it_again_it_stays_where_it_is() -> None:
    each = limit(hysteresis=True, deactivation_s=30, ramp=60, return_band=(49.9, 50.1))
    assert each.at(1000, 2000, 50.7, 0) == 800
    assert each.at(800, 2000, 50.15, 100) == 800, "no longer beyond, and not back"
    assert each.at(800, 2000, 50.1, 200) == 800
    assert each.at(800, 2000, 50.1, 235) == pytest.approx(850)
    assert each.at(850, 2000, 49.85, 236) == pytest.approx(850)
    assert each.at(850, 2000, 49.9, 237) == pytest.approx(850)
    assert each.at(850, 2000, 49.9, 266.9) == pytest.approx(850)
    assert each.at(850, 2000, 49.9, 272) == pytest.approx(900)
    assert each.at(900, 2000, 49.9, 290) == math.inf
