"""Gradual degradation by a cumulative sum, and how long it takes against theory (R119)."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from v2g.battery import cusum
from v2g.battery.sample import Finding, Sample

DAY_MS = 86_400_000
SPREAD = "battery.cell_voltage.imbalance"
PLAIN = cusum.CusumSettings(watched=(cusum.Watched(SPREAD, least=0.001),))


def days(
    settings: cusum.CusumSettings, value: Callable[[int], float], number: int, signal: str = SPREAD
) -> tuple[cusum.CusumState, list[Finding]]:
    """Return what follows from two samples a day of a signal."""
    state, found = cusum.CusumState(), []
    for day in range(number):
        for hour in (8, 17):
            state, new = cusum.step(settings, state, Sample(day * DAY_MS + hour * 3_600_000, {signal: value(day)}))
            found += new
    return state, found


def measured(shift: float, slack: float, limit: float, runs: int) -> float:
    """Return the mean run length of so many normal sequences."""
    chance, total = random.Random(7), 0
    for _ in range(runs):
        level = 0.0
        while level <= limit:
            level = cusum.advance(level, chance.gauss(shift, 1.0), slack)
            total += 1
    return total / runs


@pytest.mark.requirement("R119")
@pytest.mark.parametrize(
    ("shift", "limit", "exact"),
    [
        # Montgomery, "Introduction to Statistical Quality Control", table 9.3: one-sided, slack 0.5; in control two
        # such sums find something in half of the time
        (0.0, 4.0, 2 * 168.0),
        (0.0, 5.0, 2 * 465.0),
        (1.0, 4.0, 8.38),
        (1.0, 5.0, 10.4),
        (2.0, 4.0, 3.34),
        (2.0, 5.0, 4.01),
    ],
)
@pytest.mark.long
def test_run_lengths_are_those_of_the_published_table(shift: float, limit: float, exact: float) -> None:
    assert cusum.run_length(shift, 0.5, limit) == pytest.approx(exact, rel=0.06)
    assert measured(shift, 0.5, limit, 2000) == pytest.approx(exact, rel=0.08)


def test_without_drift_the_run_length_is_the_square_of_the_limit() -> None:
    assert cusum.run_length(0.5, 0.5, 5.0) == pytest.approx(6.166**2)
    for drift in (1e-9, 1e-8, 1e-6):
        assert cusum.run_length(drift, 0.0, 5.0) == pytest.approx(6.166**2, rel=1e-4)


@pytest.mark.requirement("R119")
@pytest.mark.parametrize(
    ("settings", "signal", "sign", "per_year", "least", "kind"),
    [
        (cusum.CusumSettings(), SPREAD, 1, 0.0, 0.001, "drift_cell_voltage_imbalance"),
        (cusum.CusumSettings(), "battery.soh", -1, -3.0, 0.25, "drift_soh"),
        (cusum.CusumSettings(watched=(cusum.Watched(SPREAD),)), SPREAD, 1, 0.0, 0.001, "drift_cell_voltage_imbalance"),
    ],
)
def test_the_sum_is_that_of_page_over_daily_means(
    settings: cusum.CusumSettings, signal: str, sign: int, per_year: float, least: float, kind: str
) -> None:
    """Mean and standard deviation of 30 days by numpy; slack 0.5 and twice the mean's own deviation; limits 8 and 4.

    It is off for 60 days, then as before.
    """
    chance = np.random.default_rng(119)
    for deviation in (2 * least, least / 2):
        values = 20 * least + chance.normal(0, deviation, (170, 3))
        values[40:] += sign * 3 * max(deviation, least) * (np.arange(130) < 60)[:, None]
        detrended = values.mean(axis=1) - per_year * np.arange(170) / 365.25
        mean, scatter = detrended[:30].mean(), max(least, detrended[:30].std(ddof=1))
        level, active, expected, levels = 0.0, False, [], []
        for day in range(30, 169):
            level = min(16.0, max(0.0, level + sign * (detrended[day] - mean) / scatter - 0.5 - 2 / 30**0.5))
            levels.append(level)
            if level > 8 if not active else level <= 4:
                active = not active
                expected.append((day + 1, active, level, detrended[day]))
        assert len(expected) == 2
        state, found = cusum.CusumState(), []
        for day, three in enumerate(values.tolist(), 1000):
            for each, ms in zip(three, (0, 43_200_000, DAY_MS - 1), strict=True):
                state, new = cusum.step(settings, state, Sample(day * DAY_MS + ms, {signal: each}))
                found += new
            if day > 1030:
                assert state.tracks[signal].level == pytest.approx(levels[day - 1031], abs=1e-9)
        assert [(each.at_ms // DAY_MS - 1000, each.raised) for each in found] == [each[:2] for each in expected]
        for each, (day, _, level, last) in zip(found, expected, strict=True):
            assert (each.kind, each.severity, each.limit) == (kind, "warning", 8.0)
            assert each.value == pytest.approx(level)
            assert dict(each.evidence) == pytest.approx(
                {"mean": last, "reference": mean, "deviation": scatter, "day": 1000.0 + day - 1}
            )


def test_a_day_in_a_hundred_years_is_false_with_the_default_limit() -> None:
    assert cusum.run_length(0.0, cusum.CusumSettings().slack, cusum.CusumSettings().limit) > 30 * 365
    assert cusum.run_length(1.0, cusum.CusumSettings().slack, cusum.CusumSettings().limit) < 20


@pytest.mark.requirement("R119")
def test_a_spread_of_cells_that_grows_slowly_is_found_and_one_that_only_scatters_is_not() -> None:
    chance = random.Random(3)
    noise = [chance.gauss(0, 0.002) for _ in range(1000)]
    _, found = days(PLAIN, lambda day: 0.012 + noise[day], 1000)
    assert not found
    _, found = days(PLAIN, lambda day: 0.012 + noise[day] + max(0, day - 200) * 5e-5, 1000)
    assert [(each.kind, each.severity, each.raised) for each in found] == [
        ("drift_cell_voltage_imbalance", "warning", True)
    ]
    drifted = found[0].at_ms / DAY_MS - 200
    assert drifted < 80  # by then it has grown by two standard deviations of a day
    assert found[0].evidence["reference"] == pytest.approx(0.012, abs=0.001)
    assert found[0].evidence["deviation"] == pytest.approx(0.002, rel=0.5)


def test_a_drift_that_ends_is_no_finding_any_more() -> None:
    chance = random.Random(3)
    noise = [chance.gauss(0, 0.002) for _ in range(400)]
    _, found = days(PLAIN, lambda day: 0.012 + noise[day] + (0.006 if 100 <= day < 130 else 0), 400)
    assert [each.raised for each in found] == [True, False]


def test_the_fading_that_is_expected_is_no_drift_and_twice_of_it_is() -> None:
    settings = cusum.CusumSettings()
    for per_year, kinds in ((-2.5, []), (-6.0, ["drift_soh"])):
        _, found = days(settings, lambda day, fade=per_year: 98 + fade * day / 365, 700, "battery.soh")
        assert [each.kind for each in found] == kinds


def test_a_signal_that_does_not_scatter_is_compared_with_the_least_that_is_believed() -> None:
    _, found = days(PLAIN, lambda day: 0.012, 100)
    assert not found
    _, found = days(PLAIN, lambda day: 0.012 if day < 60 else 0.0125, 300)
    assert not found  # half a standard deviation is what it permits


def test_samples_of_an_earlier_day_and_without_the_signal_change_nothing() -> None:
    state, _ = days(PLAIN, lambda day: 0.012, 40)
    assert cusum.step(PLAIN, state, Sample(5 * DAY_MS, {SPREAD: 4.0})) == (state, ())
    assert cusum.step(PLAIN, state, Sample(50 * DAY_MS, {})) == (state, ())
