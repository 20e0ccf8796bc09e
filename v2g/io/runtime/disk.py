"""Threads that bring things to the disk, so that the event loop serves others while a disk takes its time."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

MOST_THREADS: Final = 8

_Job = tuple[Callable[[], object], Callable[[BaseException | None], None], asyncio.AbstractEventLoop]


class DiskThread:
    """Does one thing after the other, in the order in which it is asked, whoever asks.

    What fails does not keep the next thing from being done: who writes to a file that has failed must refuse itself.
    """

    def __init__(self) -> None:
        self._jobs: Final[queue.SimpleQueue[_Job | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], object], then: Callable[[], T]) -> "asyncio.Future[T]":
        """Do `work` in the thread and then call `then` in the event loop, whose outcome is the future's.

        What `work` or `then` raise is the future's, too. Cancelling the future stops neither.
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
            # A program that breaks down does not wait for it: what was not told as done is not relied on.
            self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
            self._thread.start()
        self._jobs.put((work, notify, loop))
        return future

    async def ask(self, work: Callable[[], T]) -> T:
        """Do `work` in the thread, in its turn, and return its outcome."""
        found: list[T] = []
        await self.do(lambda: found.append(work()), lambda: None)
        return found[0]

    async def close(self) -> None:
        """Return when everything that was asked for is done; nothing may be asked for any more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)
            await asyncio.sleep(0)  # the last `then` is called in the next round of the loop

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
    """Return a thread for each of so many who write files of their own; many share a few.

    What several threads ask for at a time a file system brings to the disk together, for the price of one.
    """
    threads = [DiskThread() for _ in range(min(users, MOST_THREADS))]
    return tuple(threads[number % len(threads)] for number in range(users))
