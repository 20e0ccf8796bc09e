"""The one place that reads the machine's clocks."""

import asyncio
import selectors
import time
from collections.abc import Callable
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
        now, at, utc_ms = monotonic(), config.origin_monotonic, config.origin_utc_ms
        self._scaled = at is not None or utc_ms is not None or config.scale != 1.0
        self._origin_monotonic = now if at is None else at
        real_ms = time.time_ns() // 1_000_000 - int((now - self._origin_monotonic) * 1000)
        self._origin_utc_ms = real_ms if utc_ms is None else utc_ms

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
        return self._origin_utc_ms + int((monotonic() - self._origin_monotonic) * self.scale * 1000)


class FastClock(Clock):
    """A clock of which all times pass `factor` times as fast, from real UTC on."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor
        self._began_s, self._began_ms = super().monotonic(), super().utc_ms()

    def monotonic(self) -> float:
        return super().monotonic() * self._factor

    def elapsed_ms(self) -> int:
        return int(self.monotonic() * 1000)

    def utc_ms(self) -> int:
        return self._began_ms + int((super().monotonic() - self._began_s) * self._factor * 1000)


class _Selector(selectors.DefaultSelector):
    """Waits `factor` times shorter."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._factor)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers run `factor` times as fast."""

    def __init__(self, factor: float) -> None:
        super().__init__(_Selector(factor))
        self._factor = factor

    def time(self) -> float:
        return super().time() * self._factor


def loop_of(factor: float) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of event loops whose timers run `factor` times as fast, None for asyncio's own."""
    return None if factor == 1 else lambda: _Loop(factor)


def clock_of(factor: float) -> Clock:
    """Return the clock that goes with such a loop."""
    return Clock() if factor == 1 else FastClock(factor)
