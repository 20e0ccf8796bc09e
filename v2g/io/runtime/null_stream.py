"""A byte stream on which nobody speaks, for sessions without words."""

import asyncio


class NullStream:
    """See `v2g.io.runtime.runner.ByteStream`: reading ends when it is closed."""

    def __init__(self) -> None:
        self._closed = asyncio.Event()

    async def read(self, n: int) -> bytes:
        """Wait until it is closed."""
        await self._closed.wait()
        return b""

    async def write(self, data: bytes) -> None:
        """Nobody listens."""

    async def close(self) -> None:
        """End what reads."""
        self._closed.set()
