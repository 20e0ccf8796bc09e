"""The sequential test of a fleet, and how often it errs."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.ota.sequential import SequentialTest

TEST = SequentialTest()


def limits(test: SequentialTest, stations: int) -> list[int]:
    """Return for each number of settled stations how many failed ones stop the update."""
    found, failed = [], 0
    for settled in range(stations + 1):
        while failed <= settled and not test.stops(failed, settled):
            failed += 1
        found.append(failed)
    return found


def stopped(share: float, fleets: int, stations: int, seed: int) -> tuple[float, float]:
    """Simulate fleets; return the share of those that stop the update, and the mean number of stations until then."""
    stop_at, chance = limits(TEST, stations), random.Random(seed)
    at: list[int] = []
    for _ in range(fleets):
        settled = failed = 0
        while True:  # the next station in trouble: those between are well, and stop nothing
            settled += 1 + int(math.log(1 - chance.random()) / math.log1p(-share))
            failed += 1
            if settled > stations:
                break
            if failed >= stop_at[settled]:
                at.append(settled)
                break
    return len(at) / fleets, sum(at) / max(1, len(at))


@pytest.mark.requirement("R137")
def test_so_many_failures_stop_an_update() -> None:
    found = limits(TEST, 10_000)
    assert {each: found[each] for each in (1, 2, 3, 10, 20, 50, 100, 200, 400, 1000, 10_000)} == {
        1: 2,  # never: there is only one
        2: 2,
        3: 2,
        10: 3,
        20: 4,
        50: 5,
        100: 7,
        200: 9,
        400: 13,
        1000: 23,
        10_000: 188,
    }


def exact(share: float, stations: int) -> float:
    """Return the probability that a fleet stops, from the binomial distribution, step by step."""
    stop_at = limits(TEST, stations)
    going, ended = {0: 1.0}, 0.0
    for settled in range(1, stations + 1):
        later: dict[int, float] = {}
        for failed, chance in going.items():
            later[failed] = later.get(failed, 0) + chance * (1 - share)
            later[failed + 1] = later.get(failed + 1, 0) + chance * share
        ended += sum(chance for failed, chance in later.items() if failed >= stop_at[settled])
        going = {failed: chance for failed, chance in later.items() if failed < stop_at[settled]}
    return ended


@pytest.mark.requirement("R137")
@pytest.mark.parametrize("tolerated", [0.001, 0.01, 0.015, 0.02])
@pytest.mark.parametrize("false_alarm", [0.001, 0.05])
def test_a_good_update_is_stopped_no_more_often_than_stated(tolerated: float, false_alarm: float) -> None:
    """Exact, for a fleet of 400."""
    test = SequentialTest(tolerated=tolerated, false_alarm=false_alarm)
    stop_at, going, ended = limits(test, 400), {0: 1.0}, 0.0
    for settled in range(1, 401):
        later: dict[int, float] = {}
        for failed, chance in going.items():
            later[failed] = later.get(failed, 0) + chance * (1 - tolerated)
            later[failed + 1] = later.get(failed + 1, 0) + chance * tolerated
        ended += sum(chance for failed, chance in later.items() if failed >= stop_at[settled])
        going = {failed: chance for failed, chance in later.items() if failed < stop_at[settled]}
    assert ended <= false_alarm


@pytest.mark.requirement("R137")
def test_what_a_simulated_fleet_does_agrees_with_the_exact_probability() -> None:
    for share in (0.01, 0.03, 0.1):
        found, expected = stopped(share, 2000, 300, seed=1)[0], exact(share, 300)
        assert abs(found - expected) <= 4 * math.sqrt(expected * (1 - expected) / 2000) + 0.001


LONG = pytest.param(10_000, marks=pytest.mark.long)


@pytest.mark.requirement("R137")
@pytest.mark.parametrize("fleets", [500, LONG])
def test_errors_of_both_kinds(fleets: int) -> None:
    """Fleets of 3,000 stations: good updates go through, those that break 3 % are stopped, soon if they break more."""
    noise = 4 * math.sqrt(0.01 * 0.99 / fleets)
    assert stopped(0.005, fleets, 3000, seed=2)[0] <= 0.002 + noise
    assert stopped(0.01, fleets, 3000, seed=3)[0] <= 0.01 + noise
    share, stations = stopped(0.03, fleets, 3000, seed=4)
    assert share >= 0.999 - noise
    assert 350 < stations < 500
    share, stations = stopped(0.1, fleets, 3000, seed=5)
    assert share == 1
    assert 35 < stations < 55


def test_a_ratio_by_hand() -> None:
    """3 of 10 with 1 % and the mixture of 3, 10 and 50 %."""

    def likelihood(share: float) -> float:
        return share**3 * (1 - share) ** 7

    mixed = 0.5 * likelihood(0.03) + 0.25 * likelihood(0.1) + 0.25 * likelihood(0.5)
    assert TEST.log_ratio(3, 10) == pytest.approx(math.log(mixed / likelihood(0.01)))
    assert TEST.log_ratio(0, 0) == pytest.approx(0)


def test_a_bad_share_above_the_usual_alternatives_replaces_them() -> None:
    test = SequentialTest(tolerated=0.5, bad=0.6)
    assert test.log_ratio(3, 4) == pytest.approx(math.log(0.6**3 * 0.4 / 0.5**4))
    test = SequentialTest(tolerated=0.1, bad=0.2)
    mixed = 0.75 * 0.2**3 * 0.8 + 0.25 * 0.5**4
    assert test.log_ratio(3, 4) == pytest.approx(math.log(mixed / (0.1**3 * 0.9)))


def test_the_limit_itself_stops() -> None:
    """Where the logarithm of a float is the ratio to the last bit."""
    ratios = [(number, TEST.log_ratio(number, number)) for number in range(2, 40)]
    exact = [(number, math.exp(-ratio)) for number, ratio in ratios if -math.log(math.exp(-ratio)) == ratio]
    assert exact
    assert all(SequentialTest(false_alarm=limit).stops(number, number) for number, limit in exact)
    ratio = TEST.log_ratio(2, 2)
    assert SequentialTest(false_alarm=math.exp(-ratio) * (1 + 1e-9)).stops(2, 2)
    assert not SequentialTest(false_alarm=math.exp(-ratio) * (1 - 1e-9)).stops(2, 2)


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_the_ratio_of_any_fleet_is_a_number_and_failures_raise_it(failed: int, well: int) -> None:
    ratio = TEST.log_ratio(failed, failed + well)
    assert math.isfinite(ratio)
    assert TEST.log_ratio(failed + 1, failed + well + 1) > ratio > TEST.log_ratio(failed, failed + well + 1)


@pytest.mark.parametrize("values", [{"tolerated": 0.03}, {"tolerated": 0.05}, {"bad": 0.01}])
def test_a_good_update_breaks_less_than_a_bad_one(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tolerated must be less than bad"):
        SequentialTest(**values)
