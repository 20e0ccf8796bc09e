"""An event loop in which time is simulated: whoever waits is woken at once, in the order in which they would have been.

Everything that reads the time from `v2g.io.runtime.clock` or from its loop goes by it (`tests.patient` has seen to the
former), so hours of programs that mostly wait take moments, and the same things happen in the same order each time.
Work in threads is not waited for while there is anything else to wait for: what runs here must do without them, or ask
for a loop that `waits` for it.
"""

import asyncio
import contextlib
import functools
import selectors
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from v2g.io.runtime.disk import DiskThread

TURN_S = 1e-9
"""What a turn of the loop takes: whoever is woken a rounding error too early, and goes on waiting, is woken later."""


THREAD_S = 10.0
"""How long a thread may take whose end is waited for, s of real time."""

LOOK_S = 0.01
"""How often is looked whether a thread that is waited for has to wait itself, s of real time."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Lets the time pass instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.working: set[asyncio.Future[Any]] = set()
        """What threads do that is waited for."""
        self.held: Callable[[], bool] = lambda: False
        """Whether they wait themselves, for something that needs simulated time."""

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
        while self.working and not self.held() and time.monotonic() < until:
            if ready := super().select(LOOK_S):
                return ready
        self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. With `waits` no time passes while its executor works, or a `DiskThread` (see `threads_counted`)."""

    def __init__(self, *, waits: bool = False) -> None:
        self._timed, self._waits = _Selector(), waits
        super().__init__(self._timed)

    def passes_while(self, held: Callable[[], bool]) -> None:
        """Let time pass, although threads work, while they wait for something that needs simulated time."""
        self._timed.held = held

    def be_late(self, seconds: float) -> None:
        """Let so much time pass in which nothing runs, as on a machine that is busy."""
        self._timed.now += seconds

    def count(self, work: "asyncio.Future[Any]") -> None:
        """Wait for what a thread does, if that is wanted."""
        if self._waits and not work.done():
            self._timed.working.add(work)
            work.add_done_callback(self._timed.working.discard)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """See the base class."""
        work = super().run_in_executor(executor, func, *args)
        self.count(work)
        return work

    def time(self) -> float:
        """Return the simulated seconds."""
        return self._timed.now


def waited_for(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return a coroutine function that loops that wait for threads wait for, too: one that has a thread do its work."""

    @functools.wraps(call)
    async def counted(*args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        work = loop.create_future()
        if isinstance(loop, VirtualLoop):
            loop.count(work)
        try:
            return await call(*args, **kwargs)
        finally:
            work.cancel()

    return counted


@contextlib.contextmanager
def threads_counted() -> Iterator[None]:
    """Let loops that wait for threads wait for the disk's, too."""
    do = DiskThread.do

    def counted(self: DiskThread, work: Callable[[], object], then: Callable[[], Any]) -> Any:
        future = do(self, work, then)
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.count(future)
        return future

    DiskThread.do = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        DiskThread.do = do  # type: ignore[method-assign]
