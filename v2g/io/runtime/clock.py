"""The one place that reads the machine's clocks."""

import time
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from v2g.units import UtcMs

monotonic = time.monotonic
"""Seconds since an arbitrary point, for every Clock. Tests replace it."""


def wall_ns() -> int:
    """Return real nanoseconds since 1970: for captures, also with simulated time."""
    return time.time_ns()


class ClockConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Simulation of UTC. The defaults are real time."""

    scale: Annotated[float, msgspec.Meta(ge=1, le=10_000)] = 1.0
    """Simulated seconds per real second."""
    origin_monotonic: Annotated[float, msgspec.Meta(ge=-(10**12), le=10**12)] | None = None
    """Time of CLOCK_MONOTONIC, common to all processes of a machine, at which simulated UTC is `origin_utc_ms`,
    s; none is the program's start."""
    origin_utc_ms: UtcMs | None = None
    """Simulated UTC at that time, ms since 1970, common to separate programs; none is the real time."""


class Clock:
    """`monotonic()` for deadlines, always real; `utc_ms()` for stamps and intervals, scaled."""

    def __init__(self, config: ClockConfig | None = None) -> None:
        config = config or ClockConfig()
        self.scale = config.scale
        pinned = config.origin_monotonic is not None and config.origin_utc_ms is not None
        self._scaled = pinned or config.scale != 1.0
        self._origin_monotonic = config.origin_monotonic if pinned else monotonic()
        self._origin_utc_ms = config.origin_utc_ms if pinned else time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return real seconds since an arbitrary point."""
        return monotonic()

    def elapsed_ms(self) -> int:
        """Return (possibly simulated) milliseconds since an arbitrary point. Unlike UTC they are never set:
        integrals over time, such as energy, use these."""
        return int(monotonic() * self.scale * 1000)

    def at(self, utc_ms: int) -> float:
        """Return a time of (simulated) UTC on the monotonic clock, s, independent of later changes of UTC."""
        return self.monotonic() + (utc_ms - self.utc_ms()) / 1000 / self.scale

    def now(self) -> datetime:
        """Return (possibly simulated) UTC."""
        return datetime.fromtimestamp(self.utc_ms() / 1000, UTC)

    def utc_ms(self) -> int:
        """Return milliseconds since 1970 in (possibly simulated) UTC."""
        if not self._scaled:
            return time.time_ns() // 1_000_000
        assert self._origin_monotonic is not None
        assert self._origin_utc_ms is not None
        return self._origin_utc_ms + int((monotonic() - self._origin_monotonic) * self.scale * 1000)
