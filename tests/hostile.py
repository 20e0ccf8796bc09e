"""A server that attacks its clients: over raw sockets, one way at a time."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from typing import Final

_ENDLESS: Final = b"x" * 65_536


def _whole(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(body: bytes, *headers: str) -> list[bytes]:
    """Return an answer with this body."""
    return [_whole(body, *headers)]


HEAD: Final = b"HTTP/1.1 200 OK\r\n"

ATTACKS: Final[dict[str, list[bytes]]] = {
    "a body without end": [HEAD + b"\r\n", *[_ENDLESS] * 600],
    "chunks without end": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"10000\r\n" + _ENDLESS + b"\r\n"] * 600],
    "a chunk of 2**62": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n3fffffffffffffff\r\n", *[_ENDLESS] * 600],
    "a length below nothing": [HEAD + b"Content-Length: -1\r\n\r\n", *[_ENDLESS] * 600],
    "a length of many digits": [HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", *[_ENDLESS] * 600],
    "headers without end": [HEAD, *[b"X: " + b"y" * 1000 + b"\r\n"] * 600],
    "one header without end": [HEAD + b"X: ", *[_ENDLESS] * 600],
    "preliminary answers without end": [b"HTTP/1.1 100 Continue\r\n\r\n" * 5000] * 20,
    "octets that are no HTTP": [bytes(range(256)) * 100],
    "nothing": [],
    "a redirect to itself": [b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"],
    "a redirect to a file": [b"HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"],
    "a bomb of gzip": answers(gzip.compress(bytes(50_000_000)), "Content-Encoding: gzip"),
    "lists in lists": answers(b"[" * 1_000_000),
    "objects in objects": answers(b'{"a":' * 200_000),
    "a number of a million digits": answers(b"[" + b"9" * 1_000_000 + b"]"),
    "elements in elements": answers(b"<a>" * 300_000),
    "entities of entities": answers(
        b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
        + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
        + b"]><a>&j;</a>"
    ),
    "another encoding": answers('<?xml version="1.0" encoding="utf-16"?><a/>'.encode("utf-16")),
    "null": answers(b"null"),
    "true": answers(b"true"),
    "a list of nothing": answers(b'[null, 1, "x", [], {}, true, 1e999]'),
    "half of UTF-8": answers(b'["\xc3'),
}

DRIPPING: Final = "a drip"
"""An octet now and then, for ever."""


@contextlib.asynccontextmanager
async def attacking(attack: str, first: dict[bytes, bytes] | None = None) -> AsyncIterator[str]:
    """Serve an attack to every request but those for a path in `first`, which get that body; yield the URL."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            line = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
            harmless = next((body for path, body in (first or {}).items() if line.startswith(path)), None)
            pieces = ATTACKS.get(attack, [HEAD, b"\r\n"]) if harmless is None else answers(harmless)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            while attack == DRIPPING and harmless is None:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
