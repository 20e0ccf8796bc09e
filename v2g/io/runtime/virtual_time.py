"""An event loop in which time is simulated: whoever waits is woken at once, in the order in which they would have been.

Everything that reads the time from its loop, or a `LoopClock`, goes by it, so hours of programs that mostly wait take
moments, and the same things happen in the same order each time. Work in threads is not waited for while there is
anything else to wait for: what runs here must do without them, or ask for a loop that `waits` for it, and for the disk.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any

from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread

TURN_S = 1e-9
"""What a turn of the loop takes: whoever is woken a rounding error too early, and goes on waiting, is woken later."""

THREAD_S = 10.0
"""How long a thread may take whose end is waited for, s of real time."""

LOOK_S = 0.01
"""How often is looked whether a thread that is waited for has to wait itself, s of real time."""


class _Selector(selectors.DefaultSelector):
    """Lets the time pass instead of waiting."""

    def __init__(self, *, disks: bool) -> None:
        super().__init__()
        self.now, self._disks = 1000.0, disks
        self.working: set[asyncio.Future[object]] = set()
        """What threads do that is waited for."""
        self.held: Callable[[], bool] = lambda: False
        """Whether they wait themselves, for something that needs simulated time."""

    def _busy(self) -> bool:
        return bool(self.working) or (self._disks and not all(each.done() for each in DiskThread.asked))

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            self.now += TURN_S
            return ready
        if timeout is None:  # for a thread that ends, or for ever
            ready = super().select(THREAD_S)
            assert ready, "everybody waits for somebody else"
            return ready
        until = time.monotonic() + THREAD_S
        while self._busy() and not self.held() and time.monotonic() < until:
            if ready := super().select(LOOK_S):
                return ready
        self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. With `waits` no time passes while its executor works, with `disks` none while a `DiskThread` does."""

    def __init__(self, *, waits: bool = False, disks: bool = False) -> None:
        self._timed, self._waits = _Selector(disks=disks), waits
        super().__init__(self._timed)

    def passes_while(self, held: Callable[[], bool]) -> None:
        """Let time pass, although threads work, while they wait for something that needs simulated time."""
        self._timed.held = held

    def be_late(self, seconds: float) -> None:
        """Let so much time pass in which nothing runs, as on a machine that is busy."""
        self._timed.now += seconds

    def count(self, work: "asyncio.Future[object]") -> None:
        """Wait for what a thread does, if that is wanted."""
        if self._waits and not work.done():
            self._timed.working.add(work)
            work.add_done_callback(self._timed.working.discard)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """See the base class."""
        work = super().run_in_executor(executor, func, *args)
        self.count(work)
        return work

    def time(self) -> float:
        """Return the simulated seconds."""
        return self._timed.now


class LoopClock(Clock):
    """The clock of a loop in which time is simulated, from real UTC on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop, self._ahead_ms = loop, super().utc_ms() - int(loop.time() * 1000)

    def monotonic(self) -> float:
        return self._loop.time()

    def elapsed_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def utc_ms(self) -> int:
        return self._ahead_ms + self.elapsed_ms()
