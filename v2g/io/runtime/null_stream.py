"""A byte stream without data, for basic charging sessions."""

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
        """Discard."""

    async def close(self) -> None:
        """End reading."""
        self._closed.set()
