"""Two measurements of one flow: a step and a drift are found, late and averaging meters are not accused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.safety.flow import BUDGET_S, LONGEST_S, Agreement, Errors

MOST_W = 150_000
SLOT_S = 0.05
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


@together(
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


# -- each bound by itself

NOW = Errors(late_s=0.0)


def found_in(shown: Callable[[float], int], read: Callable[[float], int], errors: Errors, read_at: float = 99.0) -> int:
    """Return the 10 ms in which they differ, each value being read at once until `read_at`."""
    agreement = Agreement(errors, MOST_W)
    for number in range(2_000):
        now = number / 100
        if agreement.differ(shown(now), read(min(now, read_at)), min(now, read_at), now):
            return number
    raise AssertionError("never found")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("most_w", "errors", "shown_w", "read_w"),
    [
        (MOST_W, Errors(), 100_000, 104_797),  # 750 W, 3 % and 1 %
        (10_000, Errors(), 0, 202),  # 200 W at least
        (MOST_W, Errors(stage_percent=0, meter_percent=0, offset_permille=2), 50_000, 50_300),
        (MOST_W, Errors(stage_percent=0, meter_percent=10, offset_permille=0), 0, 222),
    ],
)
def test_errors_up_to_the_margin_are_believed_and_more_is_found_in_the_budget(
    most_w: int, errors: Errors, shown_w: int, read_w: int, sign: int
) -> None:
    def differ(second_w: int) -> list[bool]:
        agreement = Agreement(errors, most_w)
        return [agreement.differ(sign * shown_w, sign * second_w, now, now) for now in (0.0, BUDGET_S - 0.1, BUDGET_S)]

    assert BUDGET_S == 2.0
    assert differ(read_w) == [False, False, False]
    assert differ(read_w + 1) == [False, False, True]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("read_w", "found"), [(-104_797, False), (-104_798, True), (54_292, False), (54_293, True)])
def test_what_was_shown_of_both_signs_is_believed_and_its_error_is_of_the_greater_one(
    sign: int, read_w: int, found: bool
) -> None:
    agreement = Agreement(Errors(), MOST_W)
    shown = [sign * (-100_000 if number % 2 else 50_000) for number in range(60)]
    differ = [agreement.differ(watts, sign * read_w, each / 10, each / 10) for each, watts in enumerate(shown)]
    assert any(differ[20:]) is found


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("late_s", "slot"), [(0.0, 5), (0.5, 5), (1.0, 5), (7.0, 10)])
def test_what_was_shown_is_believed_until_its_slot_has_passed_and_what_is_late(
    sign: int, late_s: float, slot: int
) -> None:
    """The slot of the jump at 3.00 s ends at 3.05 s, that of a later meter later; far beyond the margin, a quarter of
    the budget is left."""
    errors = Errors(late_s=late_s)
    found = found_in(lambda now: 0 if now >= 3.0 else sign * 100_000, lambda _: sign * 100_000, errors)
    assert found == pytest.approx(300 + slot + 1 + 100 * late_s + 50, abs=1)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_shown_now_is_believed_at_once(sign: int) -> None:
    """Looked at seldom, and always higher."""
    agreement = Agreement(NOW, MOST_W)
    for number in range(8):
        watts, now = sign * 20_000 * number, 0.6 * number
        assert not agreement.differ(watts, watts, now, now)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_jump_is_believed_of_both_sides_at_once(sign: int) -> None:
    """Between two looks it has shown both, and everything between them."""
    agreement = Agreement(NOW, MOST_W)
    assert not agreement.differ(0, 0, 0.0, 0.0)
    assert not agreement.differ(sign * 100_000, 0, 0.5, 0.5)
    assert not agreement.differ(sign * 100_000, 0, 0.5, 1.0)
    assert not agreement.differ(sign * 100_000, 0, 0.5, 1.5)


@pytest.mark.parametrize("spike_w", [100_000, -100_000])
@pytest.mark.parametrize("at", [0.0, 4.0])
def test_a_moment_within_a_slot_is_believed_while_the_meter_is_late(spike_w: int, at: float) -> None:
    agreement, spike = Agreement(Errors(late_s=1.0), MOST_W), (0, spike_w, 0)
    for before in range(round(at / STEP_S)):
        assert not agreement.differ(0, 0, before * STEP_S, before * STEP_S)
    for number, watts in enumerate(spike):
        now = at + number * SLOT_S / 3
        assert not agreement.differ(watts, 0, now, now)
    differ = [agreement.differ(0, spike_w, at + each / 10, at + each / 10) for each in range(1, 20)]
    assert differ.index(True) in (15, 16)  # 0.05 s, 1 s and 0.5 s later


@pytest.mark.parametrize("late_s", [0.0, 1.0])
def test_samples_of_one_slot_are_kept_until_it_ends(late_s: float) -> None:
    """A jump within a slot is believed no longer than what it began with."""
    agreement = Agreement(Errors(late_s=late_s), MOST_W)
    for now, watts in ((0.0, 0), (0.5, 0), (1.0, 0), (1.02, 100_000), (1.04, 100_000)):
        assert not agreement.differ(watts, 0, now, now)
    read_at = 1.055 + late_s
    assert not agreement.differ(100_000, 0, read_at, read_at)
    assert agreement.differ(100_000, 0, read_at, read_at + 0.51)


def test_a_slot_ends_before_what_is_shown_at_its_end() -> None:
    agreement = Agreement(NOW, MOST_W)
    for now, watts in ((0.0, 0), (SLOT_S, 100_000)):
        assert not agreement.differ(watts, 0, now, now)
    assert not agreement.differ(100_000, 0, 0.09, 0.6)
    assert not agreement.differ(100_000, 0, 0.09, 1.2)


@pytest.mark.parametrize(("read_at", "found"), [(1.0 + SLOT_S, False), (1.06, True)])
def test_a_slot_counts_as_long_as_something_was_read_in_it(read_at: float, found: bool) -> None:
    agreement = Agreement(NOW, MOST_W)
    for now, watts in ((0.0, 0), (1.0, 100_000)):
        assert not agreement.differ(watts, 0, now, now)
    assert not agreement.differ(100_000, 0, read_at, 2.0)
    assert agreement.differ(100_000, 0, read_at, 2.6) is found


def test_a_meter_without_a_new_reading_is_waited_for_so_long_and_no_longer() -> None:
    found = found_in(lambda now: 100_000 if now >= 1.0 else 0, lambda _: 0, NOW, read_at=0.5)
    assert LONGEST_S == 5.0
    assert 650 <= found <= 657  # 5.5 s after the end of the slot in which it jumped


def test_what_differed_before_there_was_no_reading_counts_no_more() -> None:
    agreement = Agreement(NOW, MOST_W)
    for now in (0.0, 0.4):
        assert not agreement.differ(0, 100_000, now, now)
    assert agreement.differ(0, None, 0.4, 0.45) is False
    for now in (0.5, 0.9):
        assert not agreement.differ(0, 100_000, now, now)
    assert agreement.differ(0, 100_000, 1.0, 1.0)


def test_errors_that_nobody_states() -> None:
    assert Errors() == Errors(stage_percent=3.0, meter_percent=1.0, offset_permille=5.0, late_s=1.0)


def test_slots_are_as_long_as_a_meter_is_late() -> None:
    """Of 60 s a slot is a 120th."""
    agreement = Agreement(Errors(late_s=55.0), MOST_W)
    for now, watts in ((0.0, 0), (0.498, 100_000)):
        assert not agreement.differ(watts, 0, now, now)
    assert not agreement.differ(100_000, 0, 55.6, 55.6)
    assert agreement.differ(100_000, 0, 55.6, 56.2)


def test_an_error_is_a_fraction_of_a_million() -> None:
    agreement = Agreement(Errors(meter_percent=0, late_s=0.0), 10_000)
    for number in range(100):
        assert not agreement.differ(1_000_000, 1_000_000 + 200 + 30_000, number / 10, number / 10)
