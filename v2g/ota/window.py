"""When firmware may be installed: a daily window of local time (R138).

Local time is what a clock on the wall shows. On the day on which it is put forward a window may be shorter or missing,
on the day on which it is put back longer, or there twice.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Final

import msgspec

from v2g.units import DAY_MS, MINUTE_MS

_TEXT: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")

Offset = Callable[[int], int]
"""Returns how far local time is ahead of UTC (ms) at a time (UTC, ms)."""


class UpdateWindow(msgspec.Struct, frozen=True):
    """Minutes after local midnight (0 to 1439): from the first until before the last, over midnight if it is not later.

    With both equal it is always open. An installation may begin in the window; it may end after it.
    """

    from_minute: int
    until_minute: int

    @property
    def length_ms(self) -> int:
        """How long it is open on a day of 24 h, ms."""
        return ((self.until_minute - self.from_minute) * MINUTE_MS - 1) % DAY_MS + 1

    def is_open(self, utc_ms: int, offset: Offset) -> bool:
        """Return whether it is open at a time."""
        return self._since(utc_ms + offset(utc_ms)) < self.length_ms

    def next_open(self, utc_ms: int, offset: Offset) -> int:
        """Return the first time from `utc_ms` on at which it is open (UTC, ms).

        The offset must not change twice within a day.
        """
        at_ms = utc_ms
        while (since_ms := self._since(at_ms + (before := offset(at_ms)))) >= self.length_ms:
            opens_ms = at_ms + DAY_MS - since_ms  # if the offset does not change until then
            at_ms = opens_ms if offset(opens_ms) == before else _change(at_ms, opens_ms, offset)
        return at_ms

    def _since(self, local_ms: int) -> int:
        """Return how long ago the clock showed the window's begin."""
        return (local_ms - self.from_minute * MINUTE_MS) % DAY_MS


def parse_window(text: str) -> UpdateWindow:
    """Return the window of a text such as `22:00-06:00`. Raises ValueError."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a window such as 22:00-06:00")
    from_h, from_min, until_h, until_min = map(int, found.groups())
    return UpdateWindow(from_h * 60 + from_min, until_h * 60 + until_min)


def offset_of(zone: tzinfo) -> Offset:
    """Return the offset of a time zone."""

    def offset(utc_ms: int) -> int:
        ahead = datetime.fromtimestamp(utc_ms / 1000, UTC).astimezone(zone).utcoffset()
        assert ahead is not None
        return round(ahead.total_seconds() * 1000)

    return offset


def _change(low_ms: int, high_ms: int, offset: Offset) -> int:
    """Return the first time with the later offset; it changes once between these."""
    before = offset(low_ms)
    while high_ms - low_ms > 1:
        middle_ms = (low_ms + high_ms) // 2
        low_ms, high_ms = (middle_ms, high_ms) if offset(middle_ms) == before else (low_ms, middle_ms)
    return high_ms
