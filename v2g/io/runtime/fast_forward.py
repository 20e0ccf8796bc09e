"""Time that passes faster than real time, also that of timers: for a test bench whose both sides run it.

Threads, other programs and the network keep real time.
"""

import asyncio
import selectors
from collections.abc import Callable

from v2g.io.runtime.clock import Clock


class FastClock(Clock):
    """A clock of which all times pass `factor` times as fast, from real UTC on."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor
        self._began_s, self._began_ms = super().monotonic(), super().utc_ms()

    def monotonic(self) -> float:
        """See Clock."""
        return super().monotonic() * self._factor

    def elapsed_ms(self) -> int:
        """See Clock."""
        return int(self.monotonic() * 1000)

    def utc_ms(self) -> int:
        """See Clock."""
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
