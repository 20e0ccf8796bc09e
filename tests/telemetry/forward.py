"""Passes TCP connections on: `python -m tests.telemetry.forward FROM TO`, each `HOST:PORT` or the path of a socket.

Namespaces share no network, but files: a socket in a folder leads from one to the other.
"""

import asyncio
import contextlib
import sys


async def forward(begin: str, end: str) -> asyncio.Server:
    """Listen at `begin`, and connect to `end` for each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            other_reader, other_writer = await _connect(end)
            await asyncio.gather(_pass(reader, other_writer), _pass(other_reader, writer))
            other_writer.close()
        writer.close()

    if "/" in begin:
        return await asyncio.start_unix_server(serve, begin)
    host, _, port = begin.rpartition(":")
    return await asyncio.start_server(serve, host, int(port))


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
    server = await forward(begin, end)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
