"""Waiting for a condition beside the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def until(holds: Callable[[], T | None]) -> T:
    """Wait, at most two minutes, until `holds()` is true, and return what it returned."""
    async with asyncio.timeout(120):
        while not (found := holds()):
            await asyncio.sleep(0.002)
    return found
