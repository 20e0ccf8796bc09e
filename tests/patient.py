"""An event loop for which only that time passes in which its process could run.

Programs under test keep real time limits, some of half a second. On a machine that gives the tests a tenth of a core
these pass while nobody has done anything wrong. This loop counts what it waited for, at most as long as it meant to
wait, and the processor time of its process; what it was kept from running does not count. So a limit still ends what
hangs, and a test that is merely slow is not one that fails.

What other processes do is not known to it: time in which they are waited for passes as usual.
`python -m tests.patient PROGRAM ...` runs a program with it.
"""

import asyncio
import runpy
import selectors
import sys
import time
import warnings
from pathlib import Path

from v2g.io.runtime import clock


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Adds up the time (s) that was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        before = time.monotonic()
        ready = super().select(timeout)
        after = time.monotonic() - before
        self.waited += after if timeout is None else min(after, max(0.0, timeout))
        return ready


class PatientLoop(asyncio.SelectorEventLoop):
    """See above. Its time begins as the machine's monotonic clock does, and then falls behind."""

    def __init__(self) -> None:
        self._watched = _Selector()
        super().__init__(self._watched)
        self._began = time.monotonic() - time.process_time()

    def time(self) -> float:
        """Return the seconds of this loop."""
        return self._began + self._watched.waited + time.process_time()


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


def install() -> None:
    """Let every event loop of this process be patient, and every `Clock` go by the loop in which it is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on
        asyncio.set_event_loop_policy(_Policy())
    clock.monotonic = _monotonic


if __name__ == "__main__":
    import uvloop

    install()
    uvloop.new_event_loop = PatientLoop  # type: ignore[assignment]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
