"""How a source of the grid signal is followed: a step, and the next one when it says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn

from v2g.errors import TransportError
from v2g.io.runtime.clock import Clock

_LEAST_PAUSE_S: Final = 0.2


async def keep_polling(step: Callable[[], Awaitable[int]], clock: Clock, longest_s: float) -> NoReturn:
    """Call `step`, which returns when to do so again (UTC ms), for ever; at the latest after `longest_s`."""
    while True:
        pause_s = min((await step() - clock.utc_ms()) / 1000, longest_s) / clock.scale
        await asyncio.sleep(max(_LEAST_PAUSE_S, pause_s))


@contextlib.asynccontextmanager
async def time_out(seconds: float) -> AsyncIterator[None]:
    """Bound all requests of a poll together: each may be quick enough, and all of them take for ever.

    Raises TransportError.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TransportError(f"its answers take longer than {seconds:g} s") from None
