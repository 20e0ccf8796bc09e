"""Power over time: nothing that is sent or assumed is above what was given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.iso15118.engine.power_schedule import steps
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step, covering, entries_for, exceeds, merged, read
from v2g.units import DAY_S


def moments(*schedules: PowerSchedule) -> list[int]:
    borders = {step.start_s for each in schedules for step in each.steps} | {each.end_s or 0 for each in schedules}
    return sorted({max(0, border + by) for border in borders for by in (-1, 0, 1)})


@given(steps(), st.integers(1, 12))
def test_merged_steps_are_few_and_nowhere_above_the_given_ones(given_steps: list[Step], most: int) -> None:
    fewer = merged(given_steps, most)
    assert 1 <= len(fewer) <= most
    assert fewer[0].start_s == 0
    before, after = PowerSchedule(tuple(given_steps)), PowerSchedule(tuple(fewer))
    for at in moments(before, after):
        assert (after.power_at(at) or 0) <= (before.power_at(at) or 0)
    if most >= len(given_steps):
        assert all(after.power_at(at) == before.power_at(at) for at in moments(before, after))


def test_neighbours_that_lose_the_least_are_merged_first() -> None:
    given_steps = [Step(0, 10_000), Step(3600, 9_000), Step(7200, 50_000)]
    assert merged(given_steps, 2) == [Step(0, 9_000), Step(7200, 50_000)]


@given(steps(), st.integers(1, 4 * DAY_S), st.integers(1, 24))
def test_a_schedule_covers_the_time_asked_for_as_far_as_entries_last(
    given_steps: list[Step], total: int, most: int
) -> None:
    made = covering(given_steps, total, most)
    assert 1 <= len(made.steps) <= most
    assert made.end_s is not None
    assert made.end_s - made.steps[-1].start_s <= DAY_S
    assert made.end_s <= total
    assert made.end_s == total or len(made.steps) == most
    original = PowerSchedule(tuple(given_steps))
    for at in moments(made, original):
        offered = made.power_at(at)
        assert offered is None or offered <= (original.power_at(at) or 0)


def test_a_day_at_one_power_is_one_entry() -> None:
    assert covering([Step(0, 11_000)], DAY_S, 24) == PowerSchedule((Step(0, 11_000),), DAY_S)


@pytest.mark.parametrize(("named", "expected"), [(None, 24), (12, 12), (0, 1), (65535, 1024)])
def test_how_many_entries_a_vehicle_takes(named: int | None, expected: int) -> None:
    assert entries_for(named) == expected


ENTRIES = st.lists(
    st.tuples(st.integers(0, 16_777_214), st.none() | st.integers(0, DAY_S), st.integers(-40_000, 400_000)), max_size=20
)


@given(ENTRIES)
def test_whatever_is_received_gives_rising_starts_from_0_and_no_negative_power(
    entries: list[tuple[int, int | None, int]],
) -> None:
    schedule = read(entries)
    starts = [step.start_s for step in schedule.steps]
    assert starts == sorted(set(starts))
    assert starts[:1] in ([], [0])
    assert all(step.power_w >= 0 for step in schedule.steps)
    assert bool(entries) == bool(schedule.steps)


def test_entries_that_do_not_rise_can_only_lower() -> None:
    entries: list[tuple[int, int | None, int]] = [
        (0, None, 10),
        (60, None, 8),
        (60, None, 20),
        (30, None, 5),
        (90, 30, 7),
    ]
    assert read(entries) == PowerSchedule((Step(0, 10), Step(60, 5), Step(90, 7)), 120)


@given(steps(8), steps(8), st.none() | st.integers(1, 3 * DAY_S))
def test_a_profile_that_exceeds_is_found_at_its_first_moment(
    plan: list[Step], limits: list[Step], end: int | None
) -> None:
    profile, allowed = PowerSchedule(tuple(plan)), PowerSchedule(tuple(limits), end)
    found = exceeds(profile, allowed)
    above = [
        at
        for at in moments(profile, allowed)
        if allowed.power_at(at) is not None and (profile.power_at(at) or 0) > (allowed.power_at(at) or 0)
    ]
    assert found == (above[0] if above else None)


def test_after_its_end_a_schedule_says_nothing() -> None:
    schedule = PowerSchedule((Step(0, 5), Step(10, 6)), 20)
    assert [schedule.power_at(at) for at in (0, 9, 10, 19, 20)] == [5, 5, 6, 6, None]
    assert PowerSchedule(()).power_at(0) is None
