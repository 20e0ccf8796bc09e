"""What several tests of faults use."""

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.001)
