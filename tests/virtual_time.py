"""Simulated time (`v2g.io.runtime.virtual_time`) for tests: `tests.patient` has every `Clock` go by the loop."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from v2g.io.runtime.virtual_time import VirtualLoop

__all__ = ["VirtualLoop", "in_simulated_time", "simulated", "waited_for"]

ResultT = TypeVar("ResultT")


def in_simulated_time(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine to its end on a loop of its own, and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def simulated(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Have a test that is a coroutine function run in simulated time; pytest's own loop goes by the wall clock."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        in_simulated_time(test(**fixtures))

    return run


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
