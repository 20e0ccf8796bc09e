"""How a source of the grid signal is followed: a step, and the next one when it says so."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from v2g.io.runtime.clock import Clock

_LEAST_PAUSE_S: Final = 0.2


async def keep_polling(step: Callable[[], Awaitable[int]], clock: Clock, longest_s: float) -> NoReturn:
    """Call `step`, which returns when to do so again (UTC ms), for ever; at the latest after `longest_s`."""
    while True:
        pause_s = min((await step() - clock.utc_ms()) / 1000, longest_s) / clock.scale
        await asyncio.sleep(max(_LEAST_PAUSE_S, pause_s))
