"""Passes TCP connections on: `python -m tests.telemetry.forward FROM TO`, each `HOST:PORT` or the path of a socket.

Namespaces share no network, but files: a socket in a folder leads from one to the other.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def forwarding(begin: str, end: str) -> AsyncIterator[asyncio.Server]:
    """Listen at `begin`, and connect to `end` for each connection; afterwards none is left open."""
    serving = list[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        writers = [writer]
        try:
            other_reader, other_writer = await _connect(end)
            writers.append(other_writer)
            await asyncio.gather(_pass(reader, other_writer), _pass(other_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in writers:
                each.transport.abort()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    if "/" in begin:
        server = await asyncio.start_unix_server(serve, begin)
    else:
        host, _, port = begin.rpartition(":")
        server = await asyncio.start_server(serve, host, int(port))
    try:
        yield server
    finally:
        server.close()
        for each in serving:
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _connect(end: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if "/" in end:
        return await asyncio.open_unix_connection(end)
    host, _, port = end.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()  # one way that ends, ends the other


async def main(begin: str, end: str) -> None:
    """Forward for ever."""
    async with forwarding(begin, end) as server:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
