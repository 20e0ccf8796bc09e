"""Threads for disk operations, so that the event loop does not wait for a disk."""

import asyncio
import contextlib
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from v2g.io.runtime.supervision import new_thread

T = TypeVar("T")

MOST_THREADS: Final = 8

_Job = tuple[Callable[[], object], Callable[[BaseException | None], None], asyncio.AbstractEventLoop]


class DiskThread:
    """Runs operations in the order in which they are requested, by any caller.

    A failure does not affect later operations: the writer of a failed file must reject further writes itself.
    """

    asked: Final["weakref.WeakSet[asyncio.Future[Any]]"] = weakref.WeakSet()
    """What all threads were asked for, as far as anybody still holds it."""

    def __init__(self) -> None:
        self._jobs: Final[queue.SimpleQueue[_Job | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many operations have not begun."""
        return self._jobs.qsize()

    def do(self, work: Callable[[], object], then: Callable[[], T]) -> "asyncio.Future[T]":
        """Run `work` in the thread and then `then` in the event loop; the future gets the result.

        Exceptions of `work` or `then` go to the future, too. Cancelling the future stops neither.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def notify(error: BaseException | None) -> None:
            try:
                if error is not None:
                    raise error
                outcome = then()
            except BaseException as failure:  # noqa: BLE001 - it is passed on
                if not future.done():
                    future.set_exception(failure)
            else:
                if not future.done():
                    future.set_result(outcome)

        if self._thread is None:
            # A crashing program does not wait for it: unconfirmed work is not relied on.
            self._thread = new_thread(target=self._run, name="disk")
            self._thread.start()
        self.asked.add(future)
        self._jobs.put((work, notify, loop))
        return future

    async def ask(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread, in its turn, and return its result."""
        found: list[T] = []
        return await self.do(lambda: found.append(work()), found.pop)

    async def close(self) -> None:
        """Return when all requested work is done; no more may be requested."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)
            await asyncio.sleep(0)  # the last `then` is called in the next iteration of the loop

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, notify, loop = job
            error: Any = None
            try:
                work()
            except BaseException as failure:  # noqa: BLE001 - it is passed on
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program has ended
                loop.call_soon_threadsafe(notify, error)
            del job, work, notify, error


def disk_threads(users: int) -> tuple[DiskThread, ...]:
    """Return a thread for each of several writers of separate files; they share a few.

    Simultaneous requests of several threads are synchronised together by the file system, at the cost of one.
    """
    threads = [DiskThread() for _ in range(min(users, MOST_THREADS))]
    return tuple(threads[number % len(threads)] for number in range(users))


LONGEST_S: Final = 8.0
"""How long one may wait, s: a vehicle sets up its communication within 20 s (V2G_EVCC_CommunicationSetup_Timeout)."""
PAUSE_S: Final = 0.002
"""Between two that enter, s."""
YIELD_S: Final = 20.0
"""How long a bundle lets vehicles precede it, s: all that came with it have begun, or given up, by then."""
SPACE_S: Final = 0.04
"""Between two that enter although loop or disks are behind, s: all that have waited too long would be a crowd again."""
LATE_S: Final = 0.02
"""The loop keeps up if it is later than PAUSE_S by less, s: the shortest limit of a message is 500 ms."""
MOST_WAITING: Final = 2
"""A disk keeps up if no more operations wait for it: each may take 10 ms, and a session begins with several."""


class Turnstile:
    """Work that all of a program share, by its deadline: new vehicles, whose sessions begin with signatures, wait here,
    and after them bundles of ended sessions, so that vehicles in a session get their responses in time."""

    def __init__(self, disks: Sequence[DiskThread] = ()) -> None:
        """`disks` write what a session waits for."""
        self._disks, self._turns = disks, (asyncio.Lock(), asyncio.Lock())
        self._vehicles, self._entered = 0, float("-inf")

    async def enter(self, *, vehicle: bool) -> None:
        """Return in the order of the calls, vehicles first (for YIELD_S), when loop and disks keep up; after LONGEST_S
        also when they do not, one each SPACE_S."""
        now = asyncio.get_running_loop().time
        until, yields = now() + LONGEST_S, 0.0 if vehicle else now() + YIELD_S
        self._vehicles += vehicle
        try:
            async with self._turns[vehicle]:
                late = True
                while late or (self._vehicles and now() < yields):
                    before = now()
                    await asyncio.sleep(PAUSE_S)
                    late = now() - before > PAUSE_S + LATE_S or any(each.waiting > MOST_WAITING for each in self._disks)
                    late = late and now() < max(until, self._entered + SPACE_S)
                self._entered = now()
        finally:
            self._vehicles -= vehicle
