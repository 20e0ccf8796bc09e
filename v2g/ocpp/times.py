"""Times of OCPP: RFC 3339 text on the wire, ms since 1970 in UTC inside."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from v2g.errors import OcppError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def format_time(utc_ms: int) -> str:
    """Return ms since 1970 as RFC 3339 in UTC, with three decimals only where they say something."""
    moment = _EPOCH + timedelta(milliseconds=utc_ms)
    precision = "milliseconds" if utc_ms % 1000 else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def parse_time(text: str) -> int:
    """Return RFC 3339 text as ms since 1970 in UTC; finer parts of a second are cut off.

    Raises OcppError (PropertyConstraintViolation) for text that is no such time, such as a 13th month.
    """
    try:
        body, offset = (text[:-1], "+00:00") if text[-1:] in "Zz" else (text[:-6], text[-6:])
        if offset[0] not in "+-" or not body[19:].lstrip(".").isdecimal() | (len(body) == 19):
            raise ValueError(text)
        fraction = int(body[20:23].ljust(3, "0")) if len(body) > 19 else 0
        minutes = int(offset[1:3]) * 60 + int(offset[4:6])
        zone = timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
        # A leap second is read as the second before it: no clock here has sixty-one.
        whole = datetime.strptime(body[:19].upper().replace(":60", ":59"), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone)
    except (ValueError, IndexError, OverflowError):
        raise OcppError(f"{text[:40]!r} is not an RFC 3339 time", answer="PropertyConstraintViolation") from None
    return (whole - _EPOCH) // timedelta(milliseconds=1) + fraction
