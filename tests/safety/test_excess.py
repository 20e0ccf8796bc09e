"""Excess over time: what persists, what dips, what is noise, and how long a lowered bound may be followed."""

import random
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.judged.steps import PART
from tests.together import together
from v2g.safety.excess import (
    FULL,
    HOLD_US,
    LONGEST_LAG_US,
    LONGEST_US,
    MOST,
    UNIT,
    Excess,
    Excesses,
    Highest,
    Lag,
    microseconds,
    weigh,
)
from v2g.safety.flow import DIRECT, Flow

T = 1_000_000
"""Some time, µs: a program has run for a while."""
TICK = 10


def lasted(on: int, off: int, weight: int, budget_ms: int, *, most_ms: int = 3_600_000) -> int | None:
    """Return after how many ms a pattern of excess and dips (ms each) has used up its budget, None if it does not."""
    excess = Excess()
    for now in range(0, most_ms, TICK):
        excess = excess.then(weight if now % (on + off) < on else 0, T + now * 1_000)
        if excess.lasts(budget_ms * 1_000):
            return now
    return None


# -- weights


@together(
    ("excess", "margin", "weight"),
    [
        (-5, 100, 0), (0, 100, 0), (100, 100, 0), (101, 100, 64), (150, 100, 96), (200, 100, 128),
        (399, 100, 255), (400, 100, 256), (10_000, 100, 256), (2, 1, 128),
    ],
)  # fmt: skip
def test_an_excess_weighs_as_often_as_it_has_its_margin(excess: int, margin: int, weight: int) -> None:
    assert weigh(excess, margin) == weight


@together(
    ("seconds", "us"),
    [(0.0, 0), (1.25, 1_250_000), (1 / 64, 15_625), (-3.0, -3_000_000), (4.6000009, 4_600_001), (0.5 / 2**20, 0)],
)
def test_times_are_whole_microseconds(seconds: float, us: int) -> None:
    assert microseconds(seconds) == us


def test_an_infinite_time_is_later_than_any() -> None:
    assert (microseconds(float("inf")), microseconds(float("-inf"))) == (LONGEST_US, -LONGEST_US)


# -- what persists


@pytest.mark.parametrize("budget", [100, 250, 1_000, 5_000])
@pytest.mark.parametrize("weight", [UNIT, 2 * UNIT, MOST])
def test_what_persists_uses_up_its_budget_in_its_time(budget: int, weight: int) -> None:
    assert lasted(1, 0, weight, budget) == -(-budget * UNIT // weight // TICK) * TICK


def test_a_budget_of_nothing_is_used_up_by_the_first_sample() -> None:
    assert not Excess().lasts(0)
    assert not Excess().then(0, T).lasts(0)
    assert Excess().then(1, T).lasts(0)
    assert not Excess().then(1, T).lasts(1)


def test_nothing_is_done_about_an_excess_that_is_over_until_it_comes_back() -> None:
    over = Excess().then(UNIT, T).then(UNIT, T + 999_000).then(0, T + 1_099_000)
    assert not over.lasts(1_000_000)
    assert over.then(1, T + 2_099_000).lasts(1_000_000)


def test_a_smaller_excess_lasts_longer() -> None:
    excess = Excess().then(UNIT + 16, T)
    assert not excess.then(UNIT + 16, T + 799_000).lasts(1_000_000)
    assert excess.then(UNIT + 16, T + 800_000).lasts(1_000_000)


def test_an_excess_counts_by_its_weight_before_the_next_sample() -> None:
    excess = Excess().then(UNIT, T).then(MOST, T + 500_000)
    assert excess == Excess(500_000 * UNIT, MOST, T + 500_000)
    assert excess.then(UNIT, T + 600_000).level == 500_000 * UNIT + 100_000 * MOST


# -- what dips


@together(
    ("on", "off"),
    [(4_500, 300), (900, 100), (360, 40), (500, 500), (100, 900), (50, 950), (100, 1_900), (20, 580), (6_000, 60_000)],
)
def test_any_dips_use_it_up_in_the_stated_time(on: int, off: int) -> None:
    share, budget = Fraction(on, on + off), 1_000
    bound = budget / (share - (1 - share) * Fraction(1, 64))
    time = lasted(on, off, UNIT, budget)
    assert time is not None
    assert time <= bound + on + off


def test_a_large_excess_may_be_as_rare_as_one_in_two_hundred() -> None:
    assert lasted(50, 9_950, MOST, 1_000, most_ms=3_600_000 * 2) is not None


def test_a_dip_of_one_sample_does_not_start_again() -> None:
    excess = Excess().then(UNIT, T).then(UNIT, T + 900_000).then(0, T + 950_000)
    assert excess.level == 950_000 * UNIT
    assert excess.then(0, T + 1_000_000).level == 950_000 * UNIT - 50_000


def test_a_sample_with_nothing_after_it_counts_no_longer_than_one_period() -> None:
    assert Excess().then(UNIT, T).then(0, T + 4_100_000).level == 100_000 * 64 - 4_000_000
    assert Excess().then(UNIT, T).then(0, T + 10_000_000).level == 0
    assert Excess().then(MOST, T).then(0, T + HOLD_US + 50_000).level == HOLD_US * MOST - 50_000


# -- what must not


def test_a_wrong_sample_now_and_then_never_sums_up() -> None:
    assert lasted(TICK, 60_000, MOST, 1_000, most_ms=2 * 3_600_000) is None


def test_noise_within_the_margin_weighs_nothing_in_a_day() -> None:
    noise, excess = random.Random(1), Excess()
    for now in range(0, 24 * 3_600_000, 2_000):
        excess = excess.then(weigh(round(noise.gauss(0, 30)), 100), T + now * 1_000)
        assert not excess.lasts(1_000_000)


def test_a_budget_used_up_is_back_after_64_times_its_length() -> None:
    excess = Excess().then(UNIT, T).then(UNIT, T + 1_000_000).then(0, T + 1_001_000)
    assert excess.then(0, T + 65_064_999).level == 1
    assert excess.then(0, T + 65_065_000).level == 0
    assert excess.then(0, T + 90_000_000).level == 0


def test_a_clock_that_goes_back_counts_nothing() -> None:
    assert Excess(500, UNIT, T).then(UNIT, T - 1_000_000) == Excess(500, UNIT, T - 1_000_000)
    assert Excess(500, 0, T).then(UNIT, T - 1_000_000) == Excess(500, UNIT, T - 1_000_000)


def test_levels_stay_within_64_bits() -> None:
    longest = Excess(FULL, MOST, -LONGEST_US)
    assert (FULL, LONGEST_US) == (1 << 50, 1 << 53)
    assert FULL + 2 * LONGEST_US * MOST < 1 << 63
    assert (Excess(), Highest()) == (Excess(0, 0, 0), Highest(0, ()))
    assert longest.then(MOST, LONGEST_US) == Excess(FULL, MOST, LONGEST_US)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, MOST)), max_size=20))
def test_the_level_is_the_sum_written_out(steps: list[tuple[int, int]]) -> None:
    excess, now, level = Excess(at_us=T), T, 0
    for (_, before), (passed, weight) in pairwise([(0, 0), *steps]):
        now += passed * 1_000
        excess = excess.then(weight, now)
        for ms in range(passed):  # one by one
            counts = before and (weight or ms < HOLD_US // 1_000)
            level += 1_000 * before if counts else -1_000
        level = max(0, level)
        assert excess.level == level


def test_what_was_wrong_once_has_its_whole_time_again_when_it_has_leaked() -> None:
    lasts = Excesses()
    steps = (
        (9.0, False, False), (10.0, True, False), (110.0, False, False), (200.0, True, False), (200.99, True, False),
        (201.0, True, True), (201.1, False, False),
    )  # fmt: skip
    for now, wrong, reported in steps:
        assert lasts("it", wrong, 1.0, now) is reported, now


# -- bounds that fall


def test_a_lowered_bound_holds_for_the_time_to_follow_it() -> None:
    highest = Highest().then(11_000, T, 5_000).then(0, T, 5_000)
    assert highest.then(0, T + 4_999, 5_000).most == 11_000
    assert highest.then(0, T + 5_000 + 5_000 // 64, 5_000).most == 0


def test_a_raised_bound_holds_at_once_and_alone() -> None:
    highest = Highest().then(5_000, T, 5_000).then(0, T + 1, 5_000).then(6_000, T + 2, 5_000)
    assert highest == Highest(6_000)
    assert highest.then(6_000, T + 3, 5_000) == highest
    lowered = highest.then(5_000, T + 3, 5_000)
    assert lowered.then(5_000, T + 200, 5_000) == lowered
    assert highest.then(0, T + 3, 5_000).then(6_000, T + 4, 5_000) == highest


@pytest.mark.parametrize(("follow", "slot"), [(6_400, 100), (64, 1), (10, 1)])
def test_a_lowered_bound_ends_at_the_end_of_a_slot(follow: int, slot: int) -> None:
    first = T + slot + 1 if slot > 1 else T + 1
    end = T + 2 * slot if slot > 1 else T + 1
    highest = Highest().then(9, T, follow).then(5, first, follow)
    assert highest.past == ((end, 9),)
    assert highest.then(5, end + follow - 1, follow).most == 9
    assert highest.then(5, end + follow, follow).most == 5


def test_a_bound_that_goes_up_and_down_is_the_higher_one_for_as_long_only() -> None:
    highest = Highest()
    for now in range(0, 10_000, 100):
        highest = highest.then(11_000 if now % 200 else 0, T + now, 1_000)
    assert highest.most == 11_000
    lowered = highest.then(0, T + 10_000, 1_000)
    assert lowered.then(0, T + 10_999, 1_000).most == 11_000
    assert lowered.then(0, T + 11_015, 1_000).most == 0


def test_of_values_within_one_slot_the_highest_is_kept() -> None:
    highest = Highest().then(9, T, 6_400)
    for value, now in ((8, 1), (7, 2), (6, 101), (5, 102), (4, 201), (3, 202)):
        highest = highest.then(value, T + now, 6_400)
    assert highest == Highest(3, ((T + 100, 9), (T + 200, 7), (T + 300, 5)))


def test_a_bound_is_forgotten_once_its_time_has_ended_or_the_present_one_is_as_high() -> None:
    highest = Highest(3, ((T + 100, 9), (T + 200, 7), (T + 300, 5)))
    assert highest.then(3, T + 100 + 6_400, 6_400) == Highest(3, highest.past[1:])
    assert highest.then(5, T + 301, 6_400) == Highest(5, highest.past[:2])


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9)), min_size=1, max_size=60),
    st.sampled_from((1, 64, 750, 1_000, 5_000)),
)
def test_the_highest_is_that_of_the_last_while(steps: list[tuple[int, int]], follow: int) -> None:
    highest, now, changes = Highest(), T, [(T, 0)]
    slot = max(1, -(-follow // 64))
    for passed, value in steps:
        now += passed
        highest = highest.then(value, now, follow)
        changes.append((now, value))
        ends = [(later, old) for (_, old), (later, _) in pairwise(changes)]  # each value until the next one came
        least = max([value, *(old for end, old in ends if now - end < follow)])
        most = max([value, *(old for end, old in ends if now - end < follow + slot)])
        assert least <= highest.most <= most
        assert len(highest.past) <= 65


# -- following is a budget

EXCESS_US = 1_000_000
TICK_US = 50_000


def beyond(bounds: list[int], flows: list[int], follow_us: int) -> tuple[list[int], bool]:
    """Give a flow its bound and itself at each tick, until it is found to be too much. Return what has flowed beyond
    the bound by then (unit x us, in each tick, negative: less), and whether it was found."""
    flow, area = Flow(), list[int]()
    for tick, (bound, value) in enumerate(zip(bounds, flows, strict=True)):
        flow = flow.then(value, bound, 0, margin=DIRECT, follow_us=follow_us, now_us=T + tick * TICK_US)
        if flow.excess.lasts(EXCESS_US):
            return area, True
        area.append((value - bound) * TICK_US)
    return area, False


def most_in_any_window(area: list[int]) -> int:
    most = running = 0
    for each in area:
        running = max(0, running + each)
        most = max(most, running)
    return most


def stated(highest: int, follow_us: int, ticks: int) -> int:
    """What may flow beyond a bound in a window: the highest bound for the time to follow it and for its excess, an
    eighth of it all the time, a 64th of four margins, and the margin."""
    window = ticks * TICK_US
    margin = DIRECT.of(highest)
    return highest * (follow_us + EXCESS_US + 4 * TICK_US + window // PART) + margin * (window + 4 * window // UNIT)


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(10_000, 500_000), st.integers(0, 90), st.integers(10, 110),
    st.sampled_from((100_000, 750_000, 2_000_000, 5_000_000)),
)  # fmt: skip
def test_what_flows_beyond_a_bound_that_goes_up_and_down_is_within_what_is_stated(
    up: int, down: int, high: int, low_percent: int, percent: int, follow_us: int
) -> None:
    """For every duty cycle and amplitude, in every window, of a flow that keeps its value."""
    bounds = [high if tick % (up + down) < up else high * low_percent // 100 for tick in range(800)]
    area, _ = beyond(bounds, [high * percent // 100] * 800, follow_us)
    assert most_in_any_window(area) <= stated(high, follow_us, len(area))


@given(st.data(), st.sampled_from((100_000, 750_000, 5_000_000)))
def test_what_flows_beyond_any_bound_is_within_what_is_stated(data: st.DataObject, follow_us: int) -> None:
    levels = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 100_000)), min_size=1, max_size=20)
    bounds = [level for ticks, level in data.draw(levels) for _ in range(ticks)]
    flows = [level for ticks, level in data.draw(levels) for _ in range(ticks)]
    length = min(len(bounds), len(flows))
    area, _ = beyond(bounds[:length], flows[:length], follow_us)
    most = max(bounds)
    assert most_in_any_window(area) <= stated(most, follow_us, len(area)) + 2 * 100_000 * EXCESS_US


@pytest.mark.parametrize(
    ("up", "down", "follow_us", "least_s", "most_s"),
    [(2, 14, 750_000, 1.2, 2.5), (2, 98, 5_000_000, 5.5, 7.5), (8, 8, 750_000, 1.5, 4.0), (12, 4, 750_000, 4.0, 30.0)],
)
def test_one_that_keeps_the_highest_value_of_its_bound_is_found(
    up: int, down: int, follow_us: int, least_s: float, most_s: float
) -> None:
    """0.1 s of 0.8 s, 0.1 s of 5 s, half of the time, and three quarters of it."""
    bounds = [50_000 if tick % (up + down) < up else 0 for tick in range(1_200)]
    area, found = beyond(bounds, [50_000] * 1_200, follow_us)
    assert found
    assert least_s < len(area) * TICK_US / 1e6 < most_s


@given(
    st.lists(st.tuples(st.integers(1, 80), st.integers(0, 500_000)), min_size=2, max_size=40),
    st.sampled_from((100_000, 750_000, 5_000_000)),
    st.data(),
)
def test_one_that_does_what_its_bound_was_is_never_found(
    levels: list[tuple[int, int]], follow_us: int, data: st.DataObject
) -> None:
    """However often and far the bound goes up and down: what is late after a fall is missing after a rise."""
    bounds = [level for ticks, level in levels for _ in range(ticks)]
    delay = data.draw(st.integers(0, follow_us // TICK_US))
    _, found = beyond(bounds, ([0] * delay + bounds)[: len(bounds)], follow_us)
    assert not found


def test_a_lag_counts_what_is_beyond_bound_and_margin_and_less_what_is_below() -> None:
    how = {"most": 100, "margin": 10, "follow_us": 1_000_000}
    lag = Lag().then(110, 100, now_us=T, **how)
    assert lag == Lag()
    lag = lag.then(71, 50, now_us=T, **how)
    assert lag == Lag(0, 100, 11, T)
    lag = lag.then(61, 50, now_us=T + 1_000, **how)
    assert lag == Lag(11_000, 100, 1, T + 1_000)
    lag = lag.then(60, 50, now_us=T + 2_000, **how)
    assert lag == Lag(12_000, 100, 0, T + 2_000)
    lag = lag.then(-5, 50, now_us=T + 2_100, **how)
    assert lag == Lag(12_000 - 100 * 12, 100, -50, T + 2_100)  # an eighth of the highest bound
    lag = lag.then(0, 50, now_us=T + 2_200, **how)
    assert lag == Lag(10_800 - 100 * (50 + 12), 100, -50, T + 2_200)
    assert lag.then(0, 50, now_us=T + 4_000, **how) == Lag()


def test_the_last_sample_of_a_lag_counts_no_longer_than_one_period() -> None:
    how = {"most": 100, "margin": 0, "follow_us": 5_000_000}
    lag = Lag().then(100, 0, now_us=T, **how).then(0, 0, now_us=T + HOLD_US + 1_000, **how)
    assert lag == Lag(100 * HOLD_US - 12 * 1_000, 100, 0, T + HOLD_US + 1_000)


def test_a_lag_has_used_up_its_budget_when_the_highest_bound_has_flowed_for_the_time_to_follow() -> None:
    how = {"most": 100, "margin": 0, "follow_us": 1_000}
    lag = Lag().then(100, 0, now_us=T, **how)
    assert not lag.then(100, 0, now_us=T + 999, **how).used_up(1_000)
    full = lag.then(100, 0, now_us=T + 5_000, **how)
    assert full == Lag(200_000, 100, 100, T + 5_000)
    assert full.used_up(1_000)
    ended = Lag(100_000, 100, 0, T + 5_000)
    assert ended.used_up(1_000)
    assert not ended.then(0, 0, now_us=T + 5_001, **how).used_up(1_000)
    assert not Lag().used_up(0)


def test_areas_stay_within_64_bits() -> None:
    how = {"most": 10**9, "margin": 1, "follow_us": LONGEST_US}
    lag = Lag().then(2**31, 0, now_us=-LONGEST_US, **how).then(2**31, 0, now_us=LONGEST_US, **how)
    assert lag.area == 2 * 10**9 * LONGEST_LAG_US < 2**60
    assert lag.used_up(LONGEST_US)
    assert Lag(1, 10**9, -(10**9), 0).then(0, 10**9, now_us=LONGEST_US, **how) == Lag()


# -- what only single samples show

SMALL = {"margin": 10, "follow_us": 2_000}


def test_nothing_is_noted_of_what_stays_within_bound_and_margin() -> None:
    lag = Lag()
    assert lag == Lag(area=0, peak=0, rate=0, at_us=0)
    for flow in (0, 99, 100, 105, 110):
        assert lag.then(flow, 100, 100, now_us=T, **SMALL) is lag
    assert lag.then(111, 100, 0, now_us=T, **SMALL) == Lag(0, 0, 1, T)


def test_the_smallest_excess_adds_up_like_a_large_one() -> None:
    lag = Lag().then(111, 100, 10_000, now_us=T, margin=10, follow_us=LONGEST_LAG_US)
    assert lag == Lag(0, 10_000, 1, T)
    later = lag.then(111, 100, 10_000, now_us=T + 7 * LONGEST_LAG_US, margin=10, follow_us=LONGEST_LAG_US)
    assert later == Lag(LONGEST_LAG_US, 10_000, 1, T + 7 * LONGEST_LAG_US), "a time is no longer than the longest"
    within = lag.then(110, 100, 10_000, now_us=T + 50, margin=10, follow_us=LONGEST_LAG_US)
    assert within == Lag(50, 10_000, 0, T + 50)


@pytest.mark.parametrize("now_us", [T, T - 1, T - 1_000])
def test_no_time_has_passed_where_a_clock_stands_or_goes_back(now_us: int) -> None:
    assert Lag(500, 10_000, 40, T).then(150, 100, 10_000, now_us=now_us, **SMALL) == Lag(500, 10_000, 40, now_us)


def test_the_highest_bound_counts_until_nothing_is_left() -> None:
    lag = Lag(500, 80, 40, T).then(130, 100, 20, now_us=T + 10, **SMALL)
    assert lag == Lag(900, 80, 20, T + 10)
    assert Lag(5, 80, 0, T).then(100, 100, 20, now_us=T + 1, **SMALL) == Lag()


def test_a_bound_without_a_time_to_follow_is_forgotten_at_once() -> None:
    fallen = Highest().then(20, T, 0).then(10, T + 1, 0)
    assert fallen.then(10, T + 2, 0) == Highest(10)
