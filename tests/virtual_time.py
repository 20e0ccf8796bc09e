"""An event loop in which time is simulated: whoever waits is woken at once, in the order in which they would have been.

Everything that reads the time from `v2g.io.runtime.clock` or from its loop goes by it (`tests.patient` has seen to the
former), so hours of programs that mostly wait take moments, and the same things happen in the same order each time.
Work in threads is not waited for: whatever runs here must do without them.
"""

import asyncio
import selectors

TURN_S = 1e-9
"""What a turn of the loop takes: whoever is woken a rounding error too early, and goes on waiting, is woken later."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Lets the time pass instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            self.now += TURN_S
            return ready
        assert timeout is not None, "everybody waits for somebody else"
        self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above."""

    def __init__(self) -> None:
        self._timed = _Selector()
        super().__init__(self._timed)

    def time(self) -> float:
        """Return the simulated seconds."""
        return self._timed.now
