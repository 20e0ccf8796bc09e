"""Signals while a program still loads its modules, which takes seconds on a small computer."""

import os
import signal
from typing import Final

_ENDING: Final = tuple(
    number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) is not signal.SIG_IGN
)
"""Not what the caller has this process ignore, as a shell does with Ctrl-C for what a script runs in the background."""


def end_at_once(code: int) -> None:
    """End the process by SIGTERM or SIGINT with an exit code, until something else handles them: nothing has begun."""
    for number in _ENDING:
        signal.signal(number, lambda *_: os._exit(code))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def let_wait() -> None:
    """Let these signals wait for the program that replaces this one, and which calls `end_at_once`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def interrupt() -> None:
    """Let both raise KeyboardInterrupt: a command cleans up behind itself."""
    for number in _ENDING:
        signal.signal(number, signal.default_int_handler)
