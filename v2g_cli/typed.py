"""Commands on standard input, for simulators that run until they are stopped."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable

from v2g.errors import ConfigError


async def obey_until_stopped(running: str, commands: str, obey: Callable[[str], str | None]) -> None:
    """Print the running program and its `commands`, then the output of `obey` for each line,
    until SIGINT or SIGTERM.

    `obey` raises ConfigError for an invalid line; the error is printed.
    """
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def typed() -> None:
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            loop.remove_reader(sys.stdin)
            return
        for line in data.decode("utf-8", "replace").splitlines():
            try:
                print(obey(line) or "", end="", flush=True)
            except ConfigError as error:
                print(f"{error}; {error.hint}", flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):  # before it reports that it runs
        loop.add_signal_handler(number, stopped.set)
    print(f"{running}; commands: {commands}", flush=True)
    with contextlib.suppress(OSError, ValueError):  # a file or closed: then there are no commands
        loop.add_reader(sys.stdin, typed)
    await stopped.wait()
