"""Windows of local time, also on the days on which clocks change."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.ota.window import UpdateWindow, offset_of, parse_window
from v2g.units import DAY_MS

NIGHT = UpdateWindow(22 * 60, 6 * 60)
MINUTE_MS = 60_000
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",  # half an hour
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Pacific/Chatham",
    "UTC",
)


def utc(text: str) -> int:
    """Return a time (ISO 8601) in ms."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def by_the_wall_clock(window: UpdateWindow, utc_ms: int, zone: ZoneInfo) -> bool:
    """Say whether a clock on the wall is in the window: the minutes that it shows, one by one."""
    clock = datetime.fromtimestamp(utc_ms / 1000, UTC).astimezone(zone)
    minute, shown = window.from_minute, set()
    while True:
        shown.add(minute)
        minute = (minute + 1) % 1440
        if minute == window.until_minute:
            return clock.hour * 60 + clock.minute in shown


@pytest.mark.requirement("R138")
@together(
    ("now", "opens"),
    [
        ("2026-06-10T12:00+00:00", "2026-06-10T20:00+00:00"),  # 22:00 in summer
        ("2026-01-10T12:00+00:00", "2026-01-10T21:00+00:00"),  # 22:00 in winter
        ("2026-01-10T21:00+00:00", "2026-01-10T21:00+00:00"),
        ("2026-01-10T20:59:59.999+00:00", "2026-01-10T21:00+00:00"),
        ("2026-01-11T04:59:59.999+00:00", "2026-01-11T04:59:59.999+00:00"),
        ("2026-01-11T05:00+00:00", "2026-01-11T21:00+00:00"),
        ("2026-03-29T03:59+00:00", "2026-03-29T03:59+00:00"),  # the clock went from 2 to 3: 05:59
        ("2026-03-29T04:00+00:00", "2026-03-29T20:00+00:00"),
        ("2026-10-25T04:59+00:00", "2026-10-25T04:59+00:00"),  # it went from 3 to 2
        ("2026-10-25T05:00+00:00", "2026-10-25T21:00+00:00"),
    ],
)
def test_a_night_in_berlin(now: str, opens: str) -> None:
    assert NIGHT.next_open(utc(now), offset_of(ZoneInfo("Europe/Berlin"))) == utc(opens)


def test_a_window_that_a_day_does_not_have_and_one_that_it_has_twice() -> None:
    berlin = offset_of(ZoneInfo("Europe/Berlin"))
    short = parse_window("02:15-02:30")
    assert short.next_open(utc("2026-03-28T12:00+00:00"), berlin) == utc("2026-03-30T00:15+00:00")
    assert short.next_open(utc("2026-10-25T00:30+00:00"), berlin) == utc("2026-10-25T01:15+00:00")
    cut = parse_window("02:30-03:30")  # begins within the hour that is left out
    for earlier_ms in range(8):
        now_ms = utc("2026-03-28T12:00+00:00") - earlier_ms
        assert cut.next_open(now_ms, berlin) == utc("2026-03-29T01:00+00:00")


@pytest.mark.requirement("R138")
@given(
    st.sampled_from(ZONES),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.integers(utc("2025-01-01T00:00+00:00"), utc("2028-01-01T00:00+00:00")),
)
def test_the_next_time_is_in_the_window_and_none_before_is(name: str, first: int, last: int, now_ms: int) -> None:
    zone, window = ZoneInfo(name), UpdateWindow(first, last)
    found = window.next_open(now_ms, offset_of(zone))
    assert now_ms <= found <= now_ms + 2 * DAY_MS
    assert by_the_wall_clock(window, found, zone)
    assert window.is_open(now_ms, offset_of(zone)) == by_the_wall_clock(window, now_ms, zone) == (found == now_ms)
    for before in {found - 1, *range(now_ms, found, 7 * MINUTE_MS)} - {found}:
        assert before < now_ms or not by_the_wall_clock(window, before, zone)


@lru_cache
def changes_of(name: str) -> list[int]:
    """Return when the clocks of a zone are changed, two years long, to the quarter of an hour."""
    offset, begin = offset_of(ZoneInfo(name)), utc("2026-01-01T00:00+00:00")
    found = []
    for day in range(begin, begin + 730 * DAY_MS, DAY_MS):
        if offset(day) != offset(day + DAY_MS):
            quarters = range(day, day + DAY_MS, 15 * MINUTE_MS)
            found.append(next(at for at in quarters if offset(at) != offset(at + 15 * MINUTE_MS)) + 15 * MINUTE_MS)
    return found


@pytest.mark.requirement("R138")
@given(st.sampled_from(ZONES), st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 3), st.integers(-90, 90))
def test_around_every_change_of_a_clock(name: str, first: int, last: int, number: int, minutes: int) -> None:
    zone, window = ZoneInfo(name), UpdateWindow(first, last)
    offset, changes = offset_of(zone), changes_of(name)
    now_ms = (changes[number % len(changes)] if changes else utc("2026-03-01T00:00+00:00")) + minutes * MINUTE_MS
    found = window.next_open(now_ms, offset)
    assert by_the_wall_clock(window, found, zone)
    assert found == now_ms or not by_the_wall_clock(window, found - 1, zone)


def test_a_window_of_equal_times_is_always_open() -> None:
    whole = parse_window("06:00-06:00")
    assert whole.length_ms == DAY_MS
    for hour in range(24):
        assert whole.is_open(hour * 3_600_000, lambda _: 0)


def test_a_window_as_text() -> None:
    assert parse_window("22:00-06:00") == NIGHT
    assert parse_window("00:05-23:59") == UpdateWindow(5, 23 * 60 + 59)
    assert (NIGHT.length_ms, UpdateWindow(0, 1).length_ms) == (8 * 3_600_000, MINUTE_MS)


@together("text", ["", "22:00", "24:00-06:00", "22:60-06:00", "22:00-6:00", "22:00-06:", "22:00-06:00 ", "٢٢:00-06:00"])
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match="is not a window such as 22:00-06:00"):
        parse_window(text)


def test_an_invalid_window_is_shown_in_part() -> None:
    with pytest.raises(ValueError, match=r"^'x{40}' is"):
        parse_window("x" * 1000)
