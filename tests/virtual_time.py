"""Simulated time (`v2g.io.runtime.virtual_time`) for tests: `tests.patient` has every `Clock` go by the loop."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from v2g.io.runtime.virtual_time import VirtualLoop

__all__ = ["VirtualLoop", "waited_for"]


def waited_for(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return a coroutine function that loops that wait for threads wait for, too: one that has a thread do its work."""

    @functools.wraps(call)
    async def counted(*args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        work = loop.create_future()
        if isinstance(loop, VirtualLoop):
            loop.count(work)
        try:
            return await call(*args, **kwargs)
        finally:
            work.cancel()

    return counted
