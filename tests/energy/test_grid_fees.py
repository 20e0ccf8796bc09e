"""Time-variable grid fees by the clock in Berlin, minute by minute: directive on summer time (2000/84/EC)."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.energy.grid_fees import FeeDay, GridFees
from v2g.energy.grid_signal import SignalSlot


def utc(year: int, month: int, day: int, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


EPOCH = utc(1970, 1, 1)
LEVELS = ("high", "standard", "low")
MICRO = {"high": 140_000, "standard": 80_500, "low": 20_000}


def last_sunday(year: int, month: int) -> datetime:
    """Return when summer time begins or ends: 01:00 UTC on a month's last Sunday."""
    last = utc(year, month, monthrange(year, month)[1], 1)
    return last - timedelta(days=last.isoweekday() % 7)


def in_berlin(moment: datetime) -> datetime:
    """Return what the clock shows."""
    summer = last_sunday(moment.year, 3) <= moment < last_sunday(moment.year, 10)
    return moment + timedelta(hours=2 if summer else 1)


def made(*days: FeeDay, from_export: bool = False) -> GridFees:
    return GridFees(
        time_zone="Europe/Berlin", high="0.14", standard="0.0805", low="0.02", days=days, from_export=from_export
    )


def slot(begin: datetime, seconds: int, price: int = 300_000) -> SignalSlot:
    begin_ms = (begin - EPOCH) // timedelta(milliseconds=1)
    return SignalSlot(start_ms=begin_ms, duration_s=seconds, import_price=price, export_compensation=90_000)


WINTER = FeeDay(
    quarters=(1, 4), high=("17:00-20:00",), standard=("06:00-17:00", "20:00-22:00"), low=("22:00-06:00",)
)  # fmt: skip


@pytest.mark.requirement("R206")
@pytest.mark.parametrize(
    ("midnight", "hours", "expected"),
    [
        (utc(2026, 1, 14, 23), 24, {"low": 8, "standard": 13, "high": 3}),
        (utc(2026, 3, 28, 23), 23, {"low": 7, "standard": 13, "high": 3}),
        (utc(2026, 10, 24, 22), 25, {"low": 9, "standard": 13, "high": 3}),
        (utc(2026, 6, 30, 22), 24, {"standard": 24}),
    ],
)
def test_hours_of_each_level_on_days_of_23_24_and_25(midnight: datetime, hours: int, expected: dict[str, int]) -> None:
    """Quarters that no day names have the standard fee."""
    found = dict.fromkeys(expected, 0.0)
    for each in made(WINTER).add_to([slot(midnight, hours * 3600)], 3000):
        found[next(level for level in LEVELS if each.import_price == 300_000 + MICRO[level])] += each.duration_s / 3600
    assert found == expected


clocks = st.integers(0, 95)


@st.composite
def days(draw: st.DrawFn) -> tuple[FeeDay, list[tuple[int, int, str]]]:
    """Return a day, and its windows as quarter hours from until, with the level; the last goes over midnight."""
    cuts = sorted(draw(st.sets(clocks, min_size=2, max_size=8)))
    windows = [(a, b, draw(st.sampled_from(LEVELS))) for a, b in zip(cuts, [*cuts[1:], cuts[0]], strict=True)]
    texts: dict[str, list[str]] = {level: [] for level in LEVELS}
    for begin, end, level in windows:
        until = "24:00" if end == 0 else f"{end // 4:02}:{end % 4 * 15:02}"
        texts[level].append(f"{begin // 4:02}:{begin % 4 * 15:02}-{until}")
    quarters = tuple(sorted(draw(st.sets(st.integers(1, 4), min_size=1))))
    return FeeDay(quarters=quarters, **{level: tuple(each) for level, each in texts.items()}), windows


@pytest.mark.requirement("R206")
@given(
    days(),
    st.sampled_from([utc(2026, 3, 28, 12), utc(2027, 10, 30, 12), utc(2026, 12, 31), utc(2028, 6, 30)]),
    st.lists(st.tuples(st.integers(0, 90_000_000), st.integers(1, 60_000)), min_size=1, max_size=4),
    st.booleans(),
)
def test_each_minute_has_the_fee_of_the_clock(
    made_day: tuple[FeeDay, list[tuple[int, int, str]]],
    begin: datetime,
    gaps: list[tuple[int, int]],
    from_export: bool,
) -> None:
    """Around both changes of the clock, the turn of the year and of a quarter; slots of any length, with gaps."""
    day, windows = made_day
    before = []
    for number, (gap_ms, seconds) in enumerate(gaps):
        begin += timedelta(milliseconds=gap_ms)
        before.append(slot(begin, seconds, 1_000_000 * number))
        begin += timedelta(seconds=seconds)
    after = made(day, from_export=from_export).add_to(before, 3000)
    assert sum(each.duration_s for each in after) == sum(each.duration_s for each in before)
    for each in before:
        parts = [part for part in after if each.start_ms <= part.start_ms < each.start_ms + each.duration_s * 1000]
        assert parts[0].start_ms == each.start_ms
        assert all(a.start_ms + a.duration_s * 1000 == b.start_ms for a, b in pairwise(parts))
        assert all(a.import_price != b.import_price for a, b in pairwise(parts)), "no needless cut"
        for at_ms in range(each.start_ms, each.start_ms + each.duration_s * 1000, 60_000):
            if at_ms % 900_000 < 1000 and at_ms % 1000:
                continue  # a slot that begins within a second changes its fee up to a second late
            shown = in_berlin(EPOCH + timedelta(milliseconds=at_ms))
            minute = shown.hour * 60 + shown.minute
            level = "standard"
            if (shown.month - 1) // 3 + 1 in day.quarters:
                level = next(
                    level
                    for a, b, level in windows
                    if (a * 15 <= minute < b * 15 if a < b else minute >= a * 15 or minute < b * 15)
                )
            part = next(p for p in parts if p.start_ms <= at_ms < p.start_ms + p.duration_s * 1000)
            assert part.import_price == each.import_price + MICRO[level]
            assert part.export_compensation == 90_000 - (MICRO[level] if from_export else 0)


def test_no_more_slots_than_a_signal_has() -> None:
    assert len(made(WINTER).add_to([slot(utc(2026, 1, 1), 31 * 86_400)], 10)) == 10


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        ({"high": ("17:00-20:00",), "low": ("20:15-17:00",)}, "covers 20:00"),
        ({"high": ("17:00-20:00",), "low": ("20:00-16:45",)}, "covers 16:45"),
        ({"standard": ("00:00-23:45",)}, "covers 23:45"),
        ({"low": ("00:15-24:00",)}, "covers 00:00"),
        ({"high": ("17:00-20:00",), "low": ("19:45-17:00",)}, "low: 19:45-17:00 overlaps a window of high"),
    ],
)
def test_windows_that_do_not_cover_the_day_are_refused(windows: dict[str, tuple[str, ...]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FeeDay(quarters=(1,), **windows)


def test_a_window_that_ends_where_it_begins_is_a_whole_day() -> None:
    assert set(FeeDay(quarters=(1,), high=("06:00-06:00",)).levels()) == {"high"}


def test_export_is_free_of_fees_unless_configured_and_a_clock_has_minutes() -> None:
    fees = {"time_zone": "UTC", "high": "0.1", "standard": "0.1", "low": "0.1"}
    days = [{"quarters": [1], "low": ["00:00-24:00"]}]
    assert not msgspec.convert({**fees, "days": days}, GridFees).from_export
    for window in ("00:-24:00", "00:00-06:"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**fees, "days": [{"quarters": [1], "low": [window]}]}, GridFees)


def test_a_quarter_with_two_days_and_an_unknown_time_zone_are_refused() -> None:
    whole = FeeDay(quarters=(1, 2), low=("00:00-24:00",))
    with pytest.raises(ValueError, match="twice"):
        made(whole, WINTER)
    for zone in ("Europe/Bern", "Europe", "../Berlin"):
        with pytest.raises(ValueError, match="unknown time zone"):
            GridFees(time_zone=zone, high="1", standard="1", low="1", days=(whole,))
