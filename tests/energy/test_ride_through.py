"""Trips and what comes after them, against looking at every moment of a trace by itself."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory import held
from tests.together import together
from v2g.energy.ride_through import CurveWatch, GridService, ReturnToService, TenMinutes, seconds_at

STEP = ((110.0, 13.0), (120.0, 13.0), (120.0, 0.16), (140.0, 0.16))
"""High voltage by IEEE 1547: 13 s above 110 %, 0.16 s above 120 %."""


def allowed(points: tuple[tuple[float, float], ...], value: float) -> float | None:
    """How long a value above may last, by hand: the least time of all thresholds below it, straight lines between."""
    ordered = sorted(points, key=lambda each: (each[0], -each[1]))
    times = [seconds for threshold, seconds in ordered if threshold < value]
    for (x1, y1), (x2, y2) in itertools.pairwise(ordered):
        if x1 < value <= x2:
            times.append(y1 + (y2 - y1) * (value - x1) / (x2 - x1))
    return min(times) if times and min(x for x, _ in ordered) < value else None


def acts_at(points: tuple[tuple[float, float], ...], trace: list[float], until: int) -> float | None:
    """When a curve acts in a trace of one value a second, by looking how long every level has been reached."""
    found = []
    for level in set(trace):
        seconds = allowed(points, level)
        run = 0
        for second in range(until):
            value = trace[second] if second < len(trace) else trace[-1]
            run = run + 1 if value >= level else 0
            if seconds is not None and run and seconds <= run:
                found.append(second - (run - 1) + seconds)
                break
    return min(found, default=None)


values = st.sampled_from([90.0, 100.0, 109.0, 110.0, 112.0, 115.0, 118.0, 120.0, 121.0, 130.0, 145.0])
curves = st.sampled_from([
    STEP, ((110.0, 10.0), (130.0, 2.0)), ((110.0, 7.5),), ((105.0, 20.0), (115.0, 3.0), (120.0, 0.0)),
    ((110.0, 2.0), (120.0, 9.0)),
])  # fmt: skip


@given(points=curves, trace=st.lists(values, min_size=1, max_size=20), high=st.booleans())
def test_a_curve_acts_when_some_level_has_lasted_too_long(
    points: tuple[tuple[float, float], ...], trace: list[float], high: bool
) -> None:
    sign = 1 if high else -1
    watch = CurveWatch(tuple((sign * threshold, seconds) for threshold, seconds in points), high=high)
    found = None
    for second, value in enumerate(trace):
        due = watch.due()
        if due is not None and due <= second:
            found = due
            break
        watch.feed(sign * value, float(second))
    found = watch.due() if found is None else found
    expected = acts_at(points, trace, len(trace) + 30)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found == pytest.approx(expected)


def test_a_drift_does_not_fill_the_memory() -> None:
    watch = CurveWatch(((50.5, 100.0),), high=True)
    for number in range(100):
        watch.feed(50.6 + number * 1e-6, number / 1000)
    octets = held(watch)
    for number in range(100, 10_000):
        watch.feed(50.6 + number * 1e-6, number / 1000)
    assert held(watch) <= octets + 500
    assert watch.due() == 100.0


@pytest.mark.parametrize(
    ("value", "seconds"), [(110.0, None), (110.1, 13.0), (120.0, 13.0), (120.1, 0.16), (200.0, 0.16)]
)
def test_a_step_is_two_points_of_one_threshold(value: float, seconds: float | None) -> None:
    assert seconds_at(STEP, value, high=True) == seconds


@given(st.lists(st.tuples(st.floats(0.1, 900.0), st.floats(80.0, 120.0)), min_size=1, max_size=30), st.floats(0, 1e5))
def test_the_mean_of_ten_minutes_is_that_of_the_trace(steps: list[tuple[float, float]], began: float) -> None:
    """Within what the last bucket of three seconds, which is not full yet, and the one that leaves can hold."""
    mean, now, trace = TenMinutes(100.0), began, [(began - 600.0, 100.0)]
    for seconds, value in steps:
        found = mean.feed(value, now)
        area = 0.0
        for (begin, before), (end, _) in itertools.pairwise([*trace, (now, value)]):
            area += before * max(0.0, end - max(begin, now - 600.0))
        assert found == pytest.approx(area / 600, abs=2 * 3 * 40 / 600)
        trace.append((now, value))
        now += seconds


def test_an_evse_comes_back_once_the_grid_was_well_for_long_enough() -> None:
    rule = ReturnToService(
        low_hz=49.8, high_hz=50.2, low_v=90.0, high_v=110.0, delay_s=60.0, random_s=30.0, ramp_s=100.0
    )
    service = GridService()
    service.leave()
    assert service.share(0.0) == 0.0

    def tick(now: float, hz: float, volt: float | None) -> None:
        service.tick(rule, good=rule.allows(hz, volt), now=now, random=lambda: 0.5)

    tick(0.0, 50.0, 100.0)
    assert service.due(0.0) == 75.0
    tick(74.0, 50.3, 100.0)  # it begins anew
    tick(80.0, 50.0, 111.0)
    tick(85.0, 50.0, None)  # what is not measured is not within its bounds
    tick(90.0, 50.0, 100.0)
    tick(164.9, 50.0, 100.0)
    assert service.out
    tick(165.0, 50.0, 100.0)
    assert [service.share(165.0 + s) for s in (0, 25, 100, 200)] == [0.0, 0.25, 1.0, 1.0]
    assert service.due(165.0) == 166.0
    tick(265.0, 40.0, None)
    assert service.due(265.0) is None
    assert service.share(265.0) == 1.0


@together(
    ("rule", "hz", "volt", "allowed"),
    [
        (ReturnToService(low_v=88.0), 50.0, None, False), (ReturnToService(high_v=110.0), 50.0, None, False),
        (ReturnToService(low_hz=49.0), None, 100.0, False), (ReturnToService(high_hz=50.2), None, None, False),
        (ReturnToService(low_hz=49.0), 50.0, None, True), (ReturnToService(low_v=88.0), None, 100.0, True),
        (ReturnToService(), None, None, True),
    ],
)  # fmt: skip
def test_what_is_bounded_has_to_be_measured(
    rule: ReturnToService, hz: float | None, volt: float | None, allowed: bool
) -> None:
    assert rule.allows(hz, volt) is allowed


def test_a_level_counts_since_any_higher_one_began() -> None:
    watch = CurveWatch(STEP, high=True)
    found = []
    for now, value in enumerate((109.0, 110.0, 112.0, 130.0, 115.0, 111.0, 110.0)):
        watch.feed(value, float(now))
        found.append((watch.beyond, watch.due()))
    assert found == [
        (False, None), (False, None), (True, 15.0), (True, 3.16), (True, 15.0), (True, 15.0), (False, None),
    ]  # fmt: skip


def test_a_level_begins_again_a_little_above_another() -> None:
    watch = CurveWatch(((110.0, 13.0), (112.2, 13.0), (112.2, 1.0)), high=True)
    watch.feed(112.0, 0.0)
    watch.feed(112.5, 5.0)
    assert watch.due() == 6.0


def test_the_mean_moves_every_three_seconds_by_a_bucket() -> None:
    mean = TenMinutes(0.0)
    found = [mean.feed(float(number), number * 3.0) for number in range(500)]
    expected = [sum(range(max(0, number - 200), number)) / 200 for number in range(500)]
    assert found == pytest.approx(expected)
    assert mean.feed(0.0, 1499.9) == found[-1]


def test_a_mean_after_a_gap_is_that_of_the_last_value() -> None:
    mean = TenMinutes(100.0)
    assert mean.feed(104.0, 5.0) == 100.0
    assert mean.feed(90.0, 605.5) == 104.0
    assert mean.feed(90.0, 905.5) == pytest.approx(97.0)


def test_an_evse_that_never_left_has_all_of_its_power() -> None:
    service = GridService()
    service.tick(ReturnToService(), good=False, now=1.0, random=float)
    assert (service.out, service.share(1.0), service.due(1.0)) == (False, 1.0, None)


@together(
    ("rule", "returns", "shares", "dues"),
    [
        (ReturnToService(delay_s=10.0), 10.0, (1.0, 1.0, 1.0), (None, None)),
        (ReturnToService(), 0.0, (1.0, 1.0, 1.0), (None, None)),
        (ReturnToService(delay_s=5.0, random_s=8.0, ramp_s=0.8), 7.0, (0.5, 1.0, 1.0), (0.8, None)),
        (ReturnToService(delay_s=5.0, ramp_s=10.0), 5.0, (0.04, 0.16, 1.0), (0.9, 2.1)),
        (ReturnToService(ramp_s=500.0), 0.0, (0.0008, 0.0032, 0.2), (5.4, 6.6)),
        (ReturnToService(ramp_s=1.7), 0.0, (0.4 / 1.7, 1.6 / 1.7, 1.0), (0.9, 1.7)),
    ],
)
def test_power_returns_by_a_ramp(
    rule: ReturnToService, returns: float, shares: tuple[float, ...], dues: tuple[float | None, ...]
) -> None:
    """Shares 0.4, 1.6 and 100 s after the return, and when to look again after the first two (s since the return)."""
    service = GridService()
    service.leave()

    def tick(now: float) -> None:
        service.tick(rule, good=True, now=now, random=lambda: 0.25)

    tick(0.0)
    assert service.out is bool(returns)
    tick(returns)
    assert service.share(returns) == (0.0 if rule.ramp_s else 1.0)
    found = []
    for seconds in (0.4, 1.6, 100.0):
        tick(returns + seconds)
        due = service.due(returns + seconds)
        found.append((service.share(returns + seconds), None if due is None else due - returns))
    assert [share for share, _ in found] == pytest.approx(list(shares))
    assert [due for _, due in found[:2]] == [each if each is None else pytest.approx(each) for each in dues]


@together(
    ("hz", "volt", "allowed"),
    [
        (49.0, 88.0, True), (51.0, 110.0, True), (48.999, 100.0, False), (51.001, 100.0, False),
        (50.0, 87.999, False), (50.0, 110.001, False),
    ],
)  # fmt: skip
def test_the_bounds_themselves_are_within(hz: float, volt: float, allowed: bool) -> None:
    assert ReturnToService(low_hz=49.0, high_hz=51.0, low_v=88.0, high_v=110.0).allows(hz, volt) is allowed
