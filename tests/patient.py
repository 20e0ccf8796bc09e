"""An event loop for which only that time passes in which its process could run.

Programs under test keep real time limits, some of half a second. On a machine that gives the tests a tenth of a core
these pass while nobody has done anything wrong. This loop counts what it waited for, at most as long as it meant to
wait, and the processor time of its process; what it was kept from running does not count, nor for how long one of the
programs that it has started was. So a limit still ends what hangs, and a test that is merely slow is not one that
fails. The watchdog of a program's parts, which counts its own wake-ups, does not count those either.

What else runs is not known to it: time in which that is waited for passes as usual.
`python -m tests.patient PROGRAM ...` runs a program with it.
"""

import asyncio
import contextlib
import os
import runpy
import selectors
import sys
import time
import warnings
from pathlib import Path
from typing import Final

from v2g.io.runtime import clock
from v2g.io.runtime.watchdog import Watchdog

LOOK_S: Final = 0.25
"""So often is looked how long the programs that were started could not run: it is not known of one that has ended."""
SHORT_S: Final = 0.001
"""After a shorter wait that is not looked for: it takes a tenth of that."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Adds up the time (s) that was waited for, and for how much of it a program that was started could not run."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = self.programs_kept = 0.0
        self._kept = _programs_kept_s()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:  # most often, as something is to be done: then it does not wait
            return super().select(timeout)
        most = LOOK_S if timeout is None else min(max(0.0, timeout), LOOK_S)
        before = time.monotonic()
        ready = super().select(most)
        waited = min(time.monotonic() - before, most)
        self.waited += waited
        if waited > SHORT_S:
            known, self._kept = self._kept, _programs_kept_s()
            late = max((kept - known.get(pid, 0.0) for pid, kept in self._kept.items()), default=0.0)
            self.programs_kept += min(waited, late)
        return ready


class PatientLoop(asyncio.SelectorEventLoop):
    """See above. Its time begins as the machine's monotonic clock does, and then falls behind."""

    def __init__(self) -> None:
        self._watched = _Selector()
        super().__init__(self._watched)
        self._began = time.monotonic() - time.process_time()

    def time(self) -> float:
        """Return the seconds of this loop."""
        return self._began + self._watched.waited - self._watched.programs_kept + time.process_time()

    def late_s(self) -> float:
        """Return for how long (s) this process could not run, which does not count."""
        return time.monotonic() - self.time() - self._watched.programs_kept


class _Policy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = PatientLoop


def _monotonic() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def kept_waiting_s(pid: int) -> float:
    """Return for how long (s) a process's first thread could have run, and others ran."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _programs_kept_s() -> dict[str, float]:
    """Return the same of each program that this process's first thread has started and that is there yet."""
    kept: dict[str, float] = {}
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # there are none: known in a tenth of the time
        return kept
    with contextlib.suppress(OSError):  # a kernel without that list
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            with contextlib.suppress(OSError):  # it has just ended
                kept[pid] = kept_waiting_s(int(pid))
    return kept


def _watch(self: Watchdog) -> None:
    """Wake up as a watchdog does, and count of that time only what the event loop could run."""
    kept_s, could_s = kept_waiting_s(os.getpid()), 0.0
    while not self._ending.wait(self._wake_s):
        before_s, kept_s = kept_s, kept_waiting_s(os.getpid())
        could_s += self._wake_s - min(self._wake_s, kept_s - before_s)
        if could_s >= self._wake_s * 0.99:
            could_s = 0.0
            self.check()


def install() -> None:
    """Let every event loop of this process be patient, and every `Clock` go by the loop in which it is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on
        asyncio.set_event_loop_policy(_Policy())
    clock.monotonic = _monotonic
    Watchdog._run = _watch  # type: ignore[method-assign]


if __name__ == "__main__":
    import uvloop

    install()
    uvloop.new_event_loop = PatientLoop  # type: ignore[assignment]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
