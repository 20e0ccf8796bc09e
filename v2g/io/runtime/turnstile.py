"""Lets what may wait begin one after another, and only while event loop and disks keep up with what has begun."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from v2g.io.runtime.disk import DiskThread

LONGEST_S: Final = 8.0
"""Nobody waits for longer, s: a vehicle sets up its communication within 20 s (V2G_EVCC_CommunicationSetup_Timeout)."""
PAUSE_S: Final = 0.002
"""Between two that enter, s."""
LATE_S: Final = 0.02
"""The loop keeps up if it is later than PAUSE_S by less, s: the shortest limit of a message is 500 ms."""
MOST_WAITING: Final = 2
"""A disk keeps up if no more operations wait for it: each may take 10 ms, and a session begins with several."""


class Turnstile:
    """Work that all of a program share: new vehicles, whose sessions begin with signatures, and bundles of ended ones
    wait here, so that vehicles in a session get their responses in time."""

    def __init__(self, disks: Sequence[DiskThread] = ()) -> None:
        """`disks` write what a session waits for."""
        self._disks, self._turn = disks, asyncio.Lock()

    async def enter(self) -> None:
        """Return in the order of the calls, when loop and disks keep up, or after LONGEST_S."""
        now = asyncio.get_running_loop().time
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_S), self._turn:
                late = True
                while late:
                    before = now()
                    await asyncio.sleep(PAUSE_S)
                    late = now() - before > PAUSE_S + LATE_S or any(each.waiting > MOST_WAITING for each in self._disks)
