"""A forecast of a fleet's load and flexibility beside a naive line, on days that it has not seen (R186)."""

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.energy.dispatch.forecast import (
    LEVELS,
    SERIES,
    FleetQuarter,
    Quantiles,
    forecast,
    pinball,
    skill,
)
from v2g.units import QUARTER_MS
from v2g_cli.demo.market import past as simulated

BEGIN_MS = round(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1000
DAY_MS = 96 * QUARTER_MS
HELD_OUT = 60


@pytest.mark.some(1)
@pytest.mark.requirement("R186")
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.long
def test_the_loss_is_a_fifth_below_the_naive_line_on_sixty_days_that_were_not_seen(seed: int) -> None:
    """Of load and flexibility; the naive line is what flowed a week before."""
    found = skill(simulated(seed, BEGIN_MS, 84 + HELD_OUT), days=HELD_OUT)
    for series in SERIES:
        assert found[series].days == HELD_OUT
        assert found[series].naive_w > 1_000, "there is something to forecast"
        assert found[series].loss_w <= 0.8 * found[series].naive_w, (series, found[series])


@pytest.mark.requirement("R186")
@pytest.mark.long
def test_quantiles_hold_what_they_say() -> None:
    """On held-out days about a tenth is below the low one, and a tenth above the high one."""
    past = simulated(3, BEGIN_MS, 84 + HELD_OUT)
    below = above = count = 0
    for day in range(84, 84 + HELD_OUT, 3):
        begin = BEGIN_MS + day * DAY_MS
        expected = forecast(past, begin, begin + DAY_MS)
        for each, came in zip(expected, past[day * 96 : day * 96 + 96], strict=True):
            assert each.at_ms == came.at_ms
            if came.load_w > 0:
                below, above, count = (
                    below + (came.load_w < each.load_w.low),
                    above + (came.load_w > each.load_w.high),
                    count + 1,
                )
    assert count > 500
    assert 0.02 <= below / count <= 0.25
    assert 0.02 <= above / count <= 0.25


def test_the_future_does_not_change_a_forecast_and_nothing_known_is_no_forecast() -> None:
    past = simulated(4, BEGIN_MS, 30)
    begin = BEGIN_MS + 20 * DAY_MS
    assert forecast(past, begin, begin + DAY_MS) == forecast(past[: 20 * 96], begin, begin + DAY_MS)
    assert len(forecast(past, begin, begin + DAY_MS)) == 96
    assert forecast((), begin, begin + DAY_MS) == ()
    assert all(each.days == 0 for each in skill(past[:96]).values())


def test_habits_follow_the_local_clock() -> None:
    """Over the change to summer time of 29 March 2026: what is drawn at 18:00 stays at 18:00."""
    zone = ZoneInfo("Europe/Berlin")
    begin = round(datetime(2026, 3, 9, tzinfo=zone).timestamp()) * 1000
    past = []
    for number in range(20 * 96):
        at_ms = begin + number * QUARTER_MS
        local = datetime.fromtimestamp(at_ms / 1000, zone)
        past.append(FleetQuarter(at_ms, 10_000 if local.hour == 18 else 0, 0, 0))
    now = round(datetime(2026, 3, 31, tzinfo=zone).timestamp()) * 1000
    busy = [each for each in forecast(past, now, now + DAY_MS, zone=zone) if each.load_w.middle]
    hours = {datetime.fromtimestamp(each.at_ms / 1000, zone).hour for each in busy}
    assert hours == {18}


@given(st.lists(st.integers(-50_000, 50_000), min_size=1, max_size=30), st.integers(-60_000, 60_000))
def test_the_loss_is_least_at_the_quantile(values: list[int], other: int) -> None:
    """By definition: no other number has a lower pinball loss than an empirical quantile."""
    ordered = sorted(values)
    best = [ordered[min(len(ordered) - 1, math.ceil(level * len(ordered)) - 1)] for level in LEVELS]
    loss = sum(pinball(Quantiles(*best), each) for each in values)
    assert loss <= sum(pinball(Quantiles(other, other, other), each) for each in values) + 1e-6
