"""When the values of an event apply (OpenADR 3 User Guide, 7.3 and 7.4).

Times are ms since 1970 in UTC. A VTN sends them as RFC 3339, lengths as ISO 8601 durations with years and months, so
that the end of an interval depends on its start.
"""

import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from v2g.errors import CodecError
from v2g.openadr.objects import Event, Interval, IntervalPeriod

FOREVER: Final = 2**53 - 1
"""The end of an interval of `P9999Y`, and of anything that ends after the year 9999."""

MAX_SEGMENTS: Final = 20_000
"""Maximum number of segments of one event."""

_DURATION: Final = re.compile(
    r"P(?=\d|T\d)(?:(\d{1,5})Y)?(?:(\d{1,5})M)?(?:(\d{1,9})([DW]))?"
    r"(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?\Z"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNSAID: Final = "PT0S"
_BEGINNING: Final = "0001-01-01"
"""A start that means now, or the end of the previous interval."""


class TimedSegment(msgspec.Struct, frozen=True):
    """One value, and the time in which it applies: `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int
    value: float | str | bool
    event: Event


class Duration(msgspec.Struct, frozen=True):
    """A duration of ISO 8601: calendar months and ms."""

    months: int
    ms: int

    @property
    def lasts(self) -> bool:
        """Whether it is longer than PT0S, which a period has that names no duration: its values hold for ever."""
        return bool(self.months or self.ms)

    def after(self, start_ms: int) -> int:
        """Return the time after this duration; FOREVER at most."""
        if start_ms >= FOREVER:
            return FOREVER
        try:
            end = _plus_months(_EPOCH + timedelta(milliseconds=start_ms), self.months) + timedelta(milliseconds=self.ms)
        except OverflowError:
            return FOREVER
        return (end - _EPOCH) // timedelta(milliseconds=1)


def parse_duration(text: str) -> Duration:
    """Return an ISO 8601 duration such as `PT15M`. Raises CodecError, also for a negative one."""
    found = _DURATION.match(text)
    if found is None:
        raise CodecError(f"{text[:40]!r} is not an ISO 8601 duration", hint="for example PT15M or P1D")
    years, months, count, unit, hours, minutes, seconds = found.groups()
    days = int(count or 0) * (7 if unit == "W" else 1)
    ms = ((days * 24 + int(hours or 0)) * 60 + int(minutes or 0)) * 60_000 + round(float(seconds or 0) * 1000)
    return Duration(int(years or 0) * 12 + int(months or 0), ms)


def parse_time(text: str) -> int | None:
    """Return an RFC 3339 time, in UTC if it has no offset; None for the beginning of time. Raises CodecError."""
    if text.startswith(_BEGINNING):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CodecError(f"{text[:40]!r} is not an RFC 3339 time") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def segments(
    event: Event, payload_type: str, from_ms: int, until_ms: int, *, ven_name: str
) -> tuple[TimedSegment, ...]:
    """Return the values of one type that apply at some time in `[from_ms, until_ms)`, in order of time.

    Several values of an interval share its time evenly. The event's duration truncates or repeats the intervals.
    A start at the beginning of time is the time of the event's last modification; a random shift of starts is the
    same each time for one event and VEN. Raises CodecError for unreadable times, or too many segments.
    """
    placed = _placed(event, ven_name)
    if not placed:
        return ()
    first = placed[0][0]
    last = max(end for _, end, _ in placed)
    whole = parse_duration(event.duration or _UNSAID)
    limit = whole.after(first) if whole.lasts else last
    span = last - first
    turns = range(1)
    if limit > last and span > 0:
        turns = range(max(0, (from_ms - first) // span), max(1, -(-(min(limit, until_ms) - first) // span)))
    found: list[TimedSegment] = []
    for turn in turns:
        for start, end, interval in placed:
            for piece in _split(event, interval, payload_type, start + turn * span, min(end + turn * span, FOREVER)):
                end_ms = min(piece.end_ms, limit)
                if end_ms > from_ms and piece.start_ms < min(end_ms, until_ms):
                    found.append(msgspec.structs.replace(piece, end_ms=end_ms))
        if len(found) > MAX_SEGMENTS:
            raise CodecError(f"more than {MAX_SEGMENTS} intervals until its end")
    return tuple(found)


def interval_times(event: Event, *, ven_name: str) -> tuple[tuple[int, int, int], ...]:
    """Return id, start and end of each interval of an event within its duration, without repetitions.

    Raises CodecError for unreadable times.
    """
    placed = _placed(event, ven_name)
    limit = FOREVER
    if placed and (whole := parse_duration(event.duration or _UNSAID)).lasts:
        limit = whole.after(placed[0][0])
    return tuple((interval.id, start, min(end, limit)) for start, end, interval in placed if start < min(end, limit))


def _placed(event: Event, ven_name: str) -> list[tuple[int, int, Interval]]:
    """Return start, end and interval, in the event's order. One without a duration ends when a later one begins."""
    found: list[tuple[int, int, Interval]] = []
    following = FOREVER
    for start, end, interval in reversed(list(_in_order(event, ven_name))):
        ends = following if end is None and following > start else FOREVER
        found.append((start, ends if end is None else end, interval))
        following = min(following, start)
    return found[::-1]


def _in_order(event: Event, ven_name: str) -> Iterator[tuple[int, int | None, Interval]]:
    """Yield start, end (None: without one) and interval, in the event's order."""
    default = event.interval_period or IntervalPeriod()
    now = parse_time(event.modification_date_time) or 0
    previous_end: int | None = None
    shift = 0
    for number, interval in enumerate(event.intervals):
        own = interval.interval_period or IntervalPeriod()
        start = parse_time(own.start) if own.start is not None else None
        randomize = own.randomize_start
        if randomize is None and number == 0:
            randomize = default.randomize_start
        if randomize is not None:
            shift = _shift(randomize, event.id, interval.id, ven_name)
        if start is not None:
            start += shift
        elif previous_end is not None:
            start = previous_end
        else:
            start = (parse_time(default.start) if default.start is not None else None) or now
            start += shift
        duration = own.duration if own.duration is not None else default.duration
        if duration is None and interval.interval_period is None and event.interval_period is None:
            raise CodecError(f"interval {interval.id} has no period")
        length = parse_duration(duration or _UNSAID)
        previous_end = length.after(start) if length.lasts else FOREVER
        yield start, previous_end if length.lasts else None, interval


def _split(event: Event, interval: Interval, payload_type: str, start: int, end: int) -> Iterator[TimedSegment]:
    for payload in interval.payloads:
        if payload.type != payload_type or not payload.values:
            continue
        count = len(payload.values) if end < FOREVER else 1  # endless time has no equal parts
        cuts = [start + (end - start) * number // count for number in range(count + 1)]
        for number in range(count):
            value = payload.values[number]
            if isinstance(value, float | str | bool):
                yield TimedSegment(cuts[number], cuts[number + 1], value, event)


def _shift(randomize: str, event_id: str, interval_id: int, ven_name: str) -> int:
    """Return a shift of at most so much either way, always the same for an event, on every node."""
    most = parse_duration(randomize).after(0)
    if most in (0, FOREVER):
        return 0
    fraction = zlib.crc32(f"{event_id}/{interval_id}/{ven_name}".encode()) / 0xFFFF_FFFF
    return round((2 * fraction - 1) * most)


def _plus_months(moment: datetime, months: int) -> datetime:
    """Return the same day of a later month, or its last day if the month is shorter."""
    if not months:
        return moment
    years, month = divmod(moment.month - 1 + months, 12)
    if moment.year + years > 9999:
        raise OverflowError
    for day in range(moment.day, moment.day - 4, -1):
        try:
            return moment.replace(year=moment.year + years, month=month + 1, day=day)
        except ValueError:
            continue
    raise AssertionError("no month is shorter than 28 days")
