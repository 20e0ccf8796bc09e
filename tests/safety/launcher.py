"""Starts a program of ours with two faults that a test switches on from outside; the program itself has no switch.

`python -m tests.safety.launcher NAME --config FILE --events FILE`: HANG holds the event loop up for HUNG_S,
SLOW_DISK makes each write to the disk take SLOW_S from then on.
"""

import importlib
import os
import signal
import sys
import time
from typing import Final

from v2g.net.program import arguments

HANG: Final = signal.SIGHUP
SLOW_DISK: Final = signal.SIGUSR2
"""SIGUSR1 is taken: it lets a vehicle pause."""

HUNG_S: Final = 5.0
SLOW_S: Final = 10.0
SLOW: Final = "a slow write begins"
"""What is written to standard error then."""


def _hang(*_: object) -> None:
    """Run in the main thread, which is the event loop's: nothing else of it goes on meanwhile, threads do."""
    time.sleep(HUNG_S)


def _slow(*_: object) -> None:
    for name in ("fsync", "fdatasync"):
        prompt = getattr(os, name)

        def late(descriptor: int, prompt: object = prompt) -> None:
            sys.stderr.write(f"{SLOW}\n")
            time.sleep(SLOW_S)
            prompt(descriptor)  # type: ignore[operator]

        setattr(os, name, late)


if __name__ == "__main__":
    program = sys.argv.pop(1)
    signal.signal(HANG, _hang)
    signal.signal(SLOW_DISK, _slow)
    main = importlib.import_module(f"{program}.app").main
    sys.exit(main(*arguments(program, "A program with faults to switch on.")))
