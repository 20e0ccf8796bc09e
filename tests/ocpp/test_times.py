"""RFC 3339 on the wire, milliseconds inside."""

import contextlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.errors import OcppError
from v2g.ocpp.messages.base import DateTime
from v2g.ocpp.times import format_time, parse_time

LIMIT = 253_402_300_799_999


@given(st.integers(0, LIMIT))
def test_a_time_survives_the_wire(utc_ms: int) -> None:
    text = format_time(utc_ms)
    assert parse_time(text) == utc_ms
    assert len(text) <= len("2026-01-01T00:00:00.000Z"), "at most three decimals (2.0.1 part 2, 2.1.3)"


@given(st.datetimes(datetime(1970, 1, 2), datetime(9990, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_any_zone_is_read_like_python_reads_it(moment: datetime, minutes: int) -> None:
    sign, rest = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}{sign}{rest // 60:02d}:{rest % 60:02d}"
    expected = datetime.fromisoformat(text).astimezone(UTC)
    assert parse_time(text) == int(expected.timestamp()) * 1000 + moment.microsecond // 1000


@together(
    "text",
    ["", "Z", "now", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T25:00:00Z",
     "2026-01-01T00:00:00+25:00", "2026-01-01T00:00:00.Z"],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(OcppError) as caught:
        parse_time(text)
    assert caught.value.answer == "PropertyConstraintViolation"


@given(st.text(max_size=40))
def test_garbage_is_refused_or_read(text: str) -> None:
    with contextlib.suppress(OcppError):
        assert isinstance(parse_time(text), int)


def test_a_leap_second_is_read_as_the_second_before() -> None:
    assert parse_time("2016-12-31T23:59:60Z") == parse_time("2016-12-31T23:59:59Z")


def test_messages_have_days_of_the_calendar_only() -> None:
    for year in (1, 1600, 1900, 2000, 2023, 2024, 2100, 9996):
        for month in range(14):
            for day in range(33):
                text = f"{year:04}-{month:02}-{day:02}T00:00:00Z"
                try:
                    expected = bool(datetime.fromisoformat(text))
                except ValueError:
                    expected = False
                with contextlib.suppress(msgspec.ValidationError):
                    msgspec.convert(text, DateTime)
                    assert expected, text
                    continue
                assert not expected, text
