"""Listening at a TCP port; opening it can be cancelled at any time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_LIMIT: Final = 2**16


async def start_server(
    accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
    host: str,
    port: int,
    *,
    limit: int = _LIMIT,
) -> asyncio.Server:
    """Do as `asyncio.start_server`, which leaves the port open when it is cancelled. Raises OSError.

    `limit`: longest line that a reader takes, bytes.
    """
    server = await asyncio.start_server(accept, host, port, start_serving=False, limit=limit)
    try:
        await server.start_serving()
    except BaseException:
        server.close()
        raise
    return server
