"""Times of OCPP: RFC 3339 text on the wire, ms since 1970 in UTC inside."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from v2g.errors import OcppError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE: Final = _EPOCH.replace(tzinfo=None)
_SEPARATORS: Final = ("--T", "--t")


def format_time(utc_ms: int) -> str:
    """Return ms since 1970 as RFC 3339 in UTC, with three decimals only if needed."""
    seconds, rest = divmod(utc_ms, 1000)
    return f"{_whole_second(seconds)}.{rest:03}Z" if rest else f"{_whole_second(seconds)}Z"


@lru_cache(maxsize=16)  # the same within a second
def _whole_second(utc_s: int) -> str:
    return (_NAIVE + timedelta(seconds=utc_s)).isoformat()


@lru_cache(maxsize=1024)  # times often repeat, within a message and among stations
def parse_time(text: str) -> int:
    """Return RFC 3339 text as ms since 1970 in UTC; finer parts of a second are truncated.

    Raises OcppError (PropertyConstraintViolation) for an invalid time, such as a 13th month.
    """
    try:
        body, offset = (text[:-1], "") if text[-1:] in "Zz" else (text[:-6], text[-6:])
        if body[4:11:3] not in _SEPARATORS or body[13:17:3] != "::":
            raise ValueError(text)
        fraction = 0
        if len(body) > 19:
            if body[19] != "." or not body[20:].isdecimal():
                raise ValueError(text)
            fraction = int(body[20:23].ljust(3, "0"))
        # A leap second counts as the second before it: clocks here do not have 61 seconds.
        whole = datetime.fromisoformat(body[:19] if body[17:19] != "60" else f"{body[:17]}59") - _NAIVE
        ahead_s = _ahead_s(offset) if offset else 0
    except (ValueError, IndexError, OverflowError):
        raise OcppError(f"{text[:40]!r} is not an RFC 3339 time", answer="PropertyConstraintViolation") from None
    return (whole.days * 86_400 + whole.seconds - ahead_s) * 1000 + fraction


def _ahead_s(offset: str) -> int:
    """Return the offset of `+hh:mm`, in s. Raises ValueError, IndexError."""
    if offset[0] not in "+-" or offset[3] != ":":
        raise ValueError(offset)
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(offset)
    return (hours * 60 + minutes) * (-60 if offset[0] == "-" else 60)
