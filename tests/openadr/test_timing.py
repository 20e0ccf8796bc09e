"""When values of events hold, by the examples of the OpenADR 3.1 User Guide (7.3, 7.4)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.errors import CodecError
from v2g.openadr.objects import read_events
from v2g.openadr.timing import FOREVER, MAX_SEGMENTS, parse_duration, parse_time, segments

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
FEB_10 = 1_675_987_200_000
"""2023-02-10T00:00:00Z"""


def event(intervals: list[dict[str, Any]], **members: Any) -> Any:
    """Return an event as a VTN answers with it."""
    import msgspec

    raw = {
        "id": "event-1",
        "createdDateTime": "2023-02-09T12:00:00Z",
        "modificationDateTime": "2023-02-09T12:00:00Z",
        "objectType": "EVENT",
        "programID": "44",
        "intervals": intervals,
        **members,
    }
    events, problems = read_events(msgspec.json.encode([raw]))
    assert not problems
    return events[0]


def priced(number: int, *values: float, **period: str) -> dict[str, Any]:
    """Return an interval with prices."""
    interval: dict[str, Any] = {"id": number, "payloads": [{"type": "PRICE", "values": list(values)}]}
    return {**interval, "intervalPeriod": period} if period else interval


def held(found: Any, begin: int = FEB_10) -> list[tuple[float, float, Any]]:
    """Return start and end (h after `begin`) and value of each piece."""
    return [((each.start_ms - begin) / HOUR_MS, (each.end_ms - begin) / HOUR_MS, each.value) for each in found]


def laid_out(one: Any, until_ms: int = FEB_10 + 10 * DAY_MS, *, from_ms: int = 0, ven: str = "VEN-1") -> Any:
    """Return the prices of an event."""
    return segments(one, "PRICE", from_ms, until_ms, ven_name=ven)


START = "2023-02-10T00:00:00.000Z"


def test_an_interval_takes_start_and_duration_from_its_event() -> None:
    """User Guide, example 7.2-3."""
    one = event([priced(0, 0.17)], intervalPeriod={"start": START, "duration": "PT1H"})
    assert held(laid_out(one)) == [(0, 1, 0.17)]


def test_an_interval_may_have_a_duration_of_its_own_and_follows_the_one_before() -> None:
    """User Guide, example 7.4-1, and a third interval."""
    intervals = [priced(0, 0.17), priced(1, 0.22, duration="PT2H"), priced(2, 0.3)]
    one = event(intervals, intervalPeriod={"start": START, "duration": "PT1H"})
    assert held(laid_out(one)) == [(0, 1, 0.17), (1, 3, 0.22), (3, 4, 0.3)]


def test_several_values_share_the_time_of_their_interval() -> None:
    """User Guide, example 7.3-1."""
    one = event([priced(0, 0.17, 0.03, 0.11, start=START, duration="PT3H")])
    assert held(laid_out(one)) == [(0, 1, 0.17), (1, 2, 0.03), (2, 3, 0.11)]


def test_intervals_may_leave_gaps_and_overlap() -> None:
    """Each start is its own."""
    later = "2023-02-10T05:00:00Z"
    intervals = [priced(0, 1.0, start=later, duration="PT2H"), priced(1, 2.0, start=START, duration="PT6H")]
    assert held(laid_out(event(intervals))) == [(5, 7, 1.0), (0, 6, 2.0)]


@pytest.mark.parametrize("beginning", ["0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z"])
def test_the_beginning_of_time_is_now(beginning: str) -> None:
    """An alert "starts at 0001-01-01" and lasts P9999Y: from the event's modification on, for ever."""
    one = event([priced(0, 1.0)], intervalPeriod={"start": beginning, "duration": "P9999Y"})
    assert [(each.start_ms, each.end_ms) for each in laid_out(one)] == [(FEB_10 - DAY_MS // 2, FOREVER)]
    first = event([priced(0, 1.0, start=beginning)], intervalPeriod={"start": START, "duration": "PT1H"})
    assert held(laid_out(first)) == [(0, 1, 1.0)], "a first interval takes the event's start"


def test_a_duration_of_the_event_repeats_its_intervals_or_cuts_them_off() -> None:
    """User Guide, event.duration: a tariff of one day holds for ever, or for a week; 12 hours omit the rest."""
    hours = [priced(n, n / 10) for n in range(24)]
    period = {"start": START, "duration": "PT1H"}
    week = held(laid_out(event(hours, intervalPeriod=period, duration="P7D")))
    assert [value for _, _, value in week] == [n / 10 for n in range(24)] * 7
    assert [start for start, _, _ in week] == list(range(168))
    assert held(laid_out(event(hours, intervalPeriod=period, duration="PT90M"))) == [(0, 1, 0.0), (1, 1.5, 0.1)]
    always = event(hours, intervalPeriod=period, duration="P9999Y")
    ten_years = FEB_10 + 3650 * DAY_MS
    found = held(laid_out(always, ten_years + HOUR_MS, from_ms=ten_years), ten_years)
    assert found == [(0, 1, 0.0)], "years later the same day goes round"


def test_what_has_ended_or_begins_later_is_left_out() -> None:
    """Half-open at both ends."""
    one = event([priced(n, float(n)) for n in range(4)], intervalPeriod={"start": START, "duration": "PT1H"})
    assert held(laid_out(one, FEB_10 + 2 * HOUR_MS, from_ms=FEB_10 + HOUR_MS)) == [(1, 2, 1.0)]


def test_a_random_shift_is_the_same_at_each_look_within_its_bounds_and_moves_the_whole_event() -> None:
    """randomizeStart: positive or negative, at most so much; intervals that follow move with the first."""
    shifts = set()
    for number in range(200):
        one = event(
            [priced(0, 1.0), priced(1, 2.0)],
            id=f"event-{number}",
            intervalPeriod={"start": START, "duration": "PT1H", "randomizeStart": "PT10M"},
        )
        first, second = laid_out(one)
        assert laid_out(one) == (first, second)
        assert second.start_ms == first.end_ms
        shifts.add((first.start_ms - FEB_10) / 60_000)
    assert -10 <= min(shifts) < -8, "about evenly over all that is allowed"
    assert 8 < max(shifts) <= 10
    assert laid_out(one, ven="VEN-2") != laid_out(one, ven="VEN-1")


@together(
    ("text", "days"),
    [("P1Y", 365), ("P1M", 28), ("P2W", 14), ("P1DT12H", 1.5), ("PT0.5S", 0.5 / 86400), ("P1M1D", 29), ("PT0S", 0)],
)
def test_durations_of_iso_8601(text: str, days: float) -> None:
    """From 2023-02-10, a February of 28 days."""
    assert parse_duration(text).after(FEB_10) == FEB_10 + round(days * DAY_MS)


def test_a_month_after_its_31st_is_the_last_of_a_shorter_one() -> None:
    """January 31 and a month is February 28."""
    january = round(datetime(2023, 1, 31, tzinfo=UTC).timestamp() * 1000)
    assert parse_duration("P1M").after(january) == january + 28 * DAY_MS
    assert parse_duration("P9999Y").after(january) == FOREVER
    assert parse_duration("PT1H").after(FOREVER) == FOREVER


@together("text", ["", "P", "PT", "-PT1H", "1H", "P1H", "PT1H ", "P1.5D", "PT1H\n", "P999999Y", "pt1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A negative one too: nothing ends before it begins."""
    with pytest.raises(CodecError):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "now", "2023-13-01T00:00:00Z", "2023-02-10T25:00:00Z", "2023-02-10T00:00:00+99:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """In the event it stands in, which is then passed over."""
    with pytest.raises(CodecError):
        parse_time(text)
    with pytest.raises(CodecError):
        laid_out(event([priced(0, 1.0, start=text, duration="PT1H")]))


def test_an_interval_without_period_is_refused() -> None:
    """User Guide, 7.4: without a period of the event every interval has one."""
    with pytest.raises(CodecError, match="interval 7 has no period"):
        laid_out(event([{"id": 7, "payloads": [{"type": "PRICE", "values": [1.0]}]}]))


@pytest.mark.requirement("R56")
@pytest.mark.parametrize("more", [{}, {"duration": "PT0S"}])
def test_a_period_without_duration_lasts_until_a_later_one_begins(more: dict[str, str]) -> None:
    """PT0S is the default, and means infinity where an instant makes no sense (schema of intervalPeriod)."""
    (first,) = laid_out(event([priced(0, 1.0, start=START, **more)], **more))
    assert (first.start_ms, first.end_ms) == (FEB_10, FOREVER)
    (only,) = laid_out(event([priced(0, 1.0)], intervalPeriod={"start": START, **more}))
    assert (only.start_ms, only.end_ms) == (FEB_10, FOREVER)
    one = event([priced(0, 1.0, start=START, **more), priced(1, 2.0, start="2023-02-10T02:00:00Z", **more)])
    assert [(each.end_ms, each.value) for each in laid_out(one)] == [(FEB_10 + 2 * HOUR_MS, 1.0), (FOREVER, 2.0)]


def test_too_many_pieces_are_refused() -> None:
    """A second that repeats for ever, over a day and more."""
    one = event([priced(0, 1.0)], intervalPeriod={"start": START, "duration": "PT1S"}, duration="P9999Y")
    with pytest.raises(CodecError, match=str(MAX_SEGMENTS)):
        laid_out(one, from_ms=FEB_10)


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)),  # noqa: DTZ001 - hypothesis adds the zone
    st.sampled_from(["Z", "+00:00", "+05:30", "-11:00", ""]),
)
def test_times_are_read_as_python_reads_them(moment: datetime, offset: str) -> None:
    """Against datetime's own arithmetic."""
    text = moment.isoformat(timespec="milliseconds") + offset
    aware = datetime.fromisoformat(text.replace("Z", "+00:00"))
    aware = aware if aware.tzinfo else aware.replace(tzinfo=UTC)
    assert parse_time(text) == (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 4)), min_size=1, max_size=12),
    st.none() | st.integers(1, 3000),
    st.integers(0, 3000),
)
def test_contiguous_intervals_cover_their_time_once(
    parts: list[tuple[int, int]], limit: int | None, at_minute: int
) -> None:
    """At each minute of its life an event has exactly one value, and none before or after."""
    intervals = [priced(n, *range(count), duration=f"PT{minutes}M") for n, (minutes, count) in enumerate(parts)]
    members = {"intervalPeriod": {"start": START}} | ({} if limit is None else {"duration": f"PT{limit}M"})
    found = laid_out(event(intervals, **members))
    ends = sum(minutes for minutes, _ in parts) if limit is None else limit
    at_ms = FEB_10 + at_minute * 60_000
    live = [each for each in found if each.start_ms <= at_ms < each.end_ms]
    assert len(live) == (1 if at_minute < ends else 0)
