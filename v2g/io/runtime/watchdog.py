"""A watchdog for a hung event loop: a thread that removes power when it was not fed for too long.

It counts its own wake-ups, not the time: a suspended process does not count as hung. Its power
is removed by the hardware's own dead-man function.
"""

import threading
from collections.abc import Callable
from typing import Final

from v2g.io.runtime.supervision import new_thread, run_all

CHECKS: Final = 10
"""Checks within the time after which an event loop counts as hung. Each wakes a thread beside it."""

HUNG_S: Final = 1.0
"""Seconds without feeding after which an event loop counts as hung."""


class _Monitored:
    """Called when it is not fed."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self.cut = cut
        self.unfed = 0

    def feed(self) -> None:
        self.unfed = 0


class Watchdog:
    """One thread for all watchdogs of a process. `start` it, and `close` it at the end."""

    def __init__(self, *, hung_s: float = HUNG_S) -> None:
        self._wake_s = hung_s / CHECKS
        self._watched: list[_Monitored] = []
        self._ending = threading.Event()
        self._thread = new_thread(target=self._run, name="watchdog")

    def watch(self, cut: Callable[[], None]) -> Callable[[], None]:
        """Return a function that must be called regularly; otherwise `cut` is called, once, in the thread: it must
        not need the event loop."""
        watched = _Monitored(cut)
        self._watched.append(watched)
        return watched.feed

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop; returns when the thread has ended."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Count a wake-up, and cut what was not fed for too many."""
        for watched in tuple(self._watched):
            watched.unfed += 1
            if watched.unfed == CHECKS:
                run_all((watched.cut,))  # the thread continues, for all others

    def _run(self) -> None:
        while not self._ending.wait(self._wake_s):
            self.check()
