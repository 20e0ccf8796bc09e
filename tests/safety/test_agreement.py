"""Two measurements of one flow: a step and a drift are found, late and averaging meters are not accused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.safety.agreement import Agreement, Errors

MOST_W = 150_000
STEP_S = 0.1


def found_at(
    first: Callable[[float], float],
    second: Callable[[float], float],
    seconds: float,
    *,
    errors: Errors | None = None,
    period_s: float = 0.0,
) -> float | None:
    """Return when they differ, if they do. The second one is read every `period_s`."""
    agreement, read_at, read_w = Agreement(errors or Errors(late_s=0.0), MOST_W), 0.0, round(second(0.0))
    for number in range(round(seconds / STEP_S) + 1):
        now = number * STEP_S
        if now - read_at >= period_s:
            read_at, read_w = now, round(second(now))
        if agreement.differ(round(first(now)), read_w, read_at, now):
            return now
    return None


@pytest.mark.parametrize(
    ("first_w", "second_w"),
    [(0, 100_000), (0, -100_000), (100_000, 0), (50_000, -50_000), (-20_000, 20_000), (100_000, 60_000)],
)
def test_a_step_is_found_within_a_second(first_w: int, second_w: int) -> None:
    at = found_at(lambda _: first_w, lambda now: second_w if now >= 10.0 else first_w, 20.0)
    assert at is not None
    assert 10.0 < at <= 11.0


@pytest.mark.parametrize("watts", [100_000, 30_000, -30_000])
@pytest.mark.parametrize("of", ["first", "second"])
def test_a_drift_is_found_as_soon_as_it_is_beyond_both_errors(watts: int, of: str) -> None:
    """10 % in an hour; errors of 4 % and 750 W."""

    def drifts(now: float) -> float:
        return watts * (1 + 0.1 * now / 3_600)

    one, other = (drifts, lambda _: watts) if of == "first" else (lambda _: watts, drifts)
    at = found_at(one, other, 3_600.0)
    assert at is not None
    assert 0.039 * abs(watts) <= abs(drifts(at) - watts) <= 0.045 * abs(watts) + 1_000


@pytest.mark.parametrize("percent", [-3.9, 3.9])
@pytest.mark.parametrize("watts", [0, 100, -5_000, 150_000])
def test_errors_of_both_are_no_difference(percent: float, watts: int) -> None:
    assert found_at(lambda _: watts, lambda _: watts * (1 + percent / 100) + 100, 600.0) is None


@given(
    st.lists(st.tuples(st.integers(1, 80), st.integers(-MOST_W, MOST_W)), min_size=1, max_size=30),
    st.sampled_from((0.0, 0.2, 1.0, 4.0)),
    st.sampled_from((0.0, 0.3, 1.0)),
    st.sampled_from((0.0, 0.5)),
)
def test_a_late_and_averaging_meter_is_believed(
    flows: list[tuple[int, int]], period_s: float, average_s: float, delay_s: float
) -> None:
    """Any power for any time; the meter is late by its delay, its averaging and its period."""
    steps = [watts for count, watts in flows for _ in range(count)]

    def flow(now: float) -> float:
        return steps[max(0, min(len(steps) - 1, int(now / STEP_S + 1e-6)))]

    def averaged(now: float) -> float:
        count = max(1, round(average_s / STEP_S))
        return sum(flow(now - delay_s - each * STEP_S) for each in range(count)) / count

    errors = Errors(late_s=delay_s + average_s)
    assert found_at(flow, averaged, len(steps) * STEP_S, errors=errors, period_s=period_s) is None


def test_a_step_of_a_late_meter_is_found_that_much_later() -> None:
    errors = Errors(late_s=1.0)
    at = found_at(lambda _: 0, lambda now: 100_000 if now >= 10.0 else 0, 20.0, errors=errors, period_s=0.2)
    assert at is not None
    assert at <= 11.0
    at = found_at(lambda now: 100_000 if now >= 10.0 else 0, lambda _: 0, 20.0, errors=errors, period_s=0.2)
    assert at is not None
    assert at <= 12.0


def test_a_meter_that_gives_nothing_is_not_compared() -> None:
    agreement = Agreement(Errors(), MOST_W)
    assert not any(agreement.differ(100_000, None, 0.0, number * STEP_S) for number in range(600))
