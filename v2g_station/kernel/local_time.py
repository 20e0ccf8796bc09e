"""Local time at a station: the time of a wall clock, and its daylight saving changes (ClockCtrlr)."""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.times import parse_time
from v2g.units import DAY_MS
from v2g_station.kernel.device_model import DeviceModel


class LocalTime(msgspec.Struct, frozen=True, kw_only=True):
    """A time zone (`Europe/Oslo`); without one an offset (`+01:00`), and optionally the one that follows it.

    Without any of them local time is UTC.
    """

    zone: str = ""
    offset: str = ""
    next_offset: str = ""
    next_from_ms: int | None = None

    def offset_ms(self, utc_ms: int) -> int:
        """Return how far local time is ahead of UTC at a time."""
        if self.zone:
            return _zone_offset_ms(self.zone, utc_ms // 1000)
        later = self.next_from_ms is not None and utc_ms >= self.next_from_ms
        return parse_offset(self.next_offset if later and self.next_offset else self.offset)

    def next_check_ms(self, utc_ms: int) -> int | None:
        """Return by when the offset may change, None for never; at most a day ahead, even if it changes later."""
        if not self.zone:
            return self.next_from_ms if self.next_from_ms is not None and utc_ms < self.next_from_ms else None
        now, low, high = self.offset_ms(utc_ms), utc_ms, utc_ms + DAY_MS
        if self.offset_ms(high) == now:
            return high
        while high - low > 1000:  # the offset changes at a whole second
            middle = (low + high) // 2
            low, high = (middle, high) if self.offset_ms(middle) == now else (low, middle)
        return high // 1000 * 1000


ZULU: Final = LocalTime()


def local_time(model: DeviceModel) -> LocalTime:
    """Return the local time that the variables of ClockCtrlr set."""
    moment = model.text("ClockCtrlr.NextTimeOffsetTransitionDateTime")
    return LocalTime(
        zone=model.text("ClockCtrlr.TimeZone"),
        offset=model.text("ClockCtrlr.TimeOffset"),
        next_offset=model.text("ClockCtrlr.TimeOffset[NextTransition]"),
        next_from_ms=parse_time(moment) if moment else None,
    )


def known_zone(name: str) -> bool:
    """Return whether a time zone exists."""
    try:
        _zone(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True


@lru_cache(maxsize=64)
def parse_offset(text: str) -> int:
    """Return an offset such as `-02:30` in ms; an empty text is 0. Raises OcppError if it is not an offset."""
    if not text:
        return 0
    if text[0] not in "+-":
        raise OcppError(f"{text[:40]!r} is not an offset", answer="PropertyConstraintViolation")
    return -parse_time(f"1970-01-01T00:00:00{text}")


def naive(text: str) -> int:
    """Return the wall clock time in ms of a time, ignoring its own zone (K01.FR.90). Raises OcppError."""
    if len(text) < 19:
        raise OcppError(f"{text[:40]!r} is not a time", answer="PropertyConstraintViolation")
    body = text.rstrip("Zz")
    cut = max(body.rfind("+"), body.rfind("-", 11))
    return parse_time((body if cut < 19 else body[:cut]) + "Z")


@lru_cache(maxsize=16)
def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo  # few stations have one

    return ZoneInfo(name)


@lru_cache(maxsize=1024)
def _zone_offset_ms(name: str, utc_s: int) -> int:
    offset = datetime.fromtimestamp(utc_s, UTC).astimezone(_zone(name)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)
