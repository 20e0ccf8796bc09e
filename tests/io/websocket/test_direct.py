"""The direct way of a server's websocket: the same frames, in order, however they are cut, from a client not ours."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.server import Server, serve

from v2g.io.websocket.direct import DirectConnection


class Endpoint:
    """A server that keeps what it got, by which way, and answers `text` with `=text` at once."""

    def __init__(self) -> None:
        self.direct: list[str] = []
        self.queued: list[str | bytes] = []
        self.connection: DirectConnection | None = None
        self.server: Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self.server is not None
        port: int = next(iter(self.server.sockets)).getsockname()[1]
        return port

    async def handle(self, connection: DirectConnection) -> None:
        """Read what does not come the direct way."""
        self.connection = connection

        def take(text: str) -> None:
            self.direct.append(text)
            connection.send_now("=" + text)

        connection.on_text = take
        async for frame in connection:
            connection.read_one()
            self.queued.append(frame)
            await connection.send(b"=" + frame if isinstance(frame, bytes) else "=" + frame)


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    found = Endpoint()
    async with serve(  # type: ignore[arg-type]
        found.handle, "127.0.0.1", 0, create_connection=DirectConnection, compression=None, max_size=2**20
    ) as found.server:
        yield found


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    mask = os.urandom(4)
    head = bytes([opcode | (0x80 if fin else 0)])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


async def upgraded(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
async def test_a_text_of_any_size_arrives_and_is_answered(endpoint: Endpoint, size: int) -> None:
    text = "ü" * (size // 2) + "x" * (size % 2)
    async with websockets.connect(f"ws://127.0.0.1:{endpoint.port}", max_size=None) as client:
        await client.send(text)
        assert await client.recv() == "=" + text
    assert [*endpoint.direct, *endpoint.queued] == [text]


async def test_every_cut_of_the_stream_gives_the_same_texts_in_the_same_order(endpoint: Endpoint) -> None:
    texts = ["a", "bb" * 70, "", "ü", "z" * 300]
    stream = b"".join(frame(text.encode()) for text in texts)
    for step in (1, 2, 3, 5, 7, 50, 131, len(stream)):
        reader, writer = await upgraded(endpoint.port)
        endpoint.direct.clear()
        endpoint.queued.clear()
        for start in range(0, len(stream), step):
            writer.write(stream[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(frame(b"\x03\xe8", 8))
        await reader.read(-1)
        writer.close()
        assert [*endpoint.direct, *endpoint.queued] == texts


async def test_fragments_binary_and_pings_between_texts_keep_their_order_and_meaning(endpoint: Endpoint) -> None:
    reader, writer = await upgraded(endpoint.port)
    writer.write(
        frame(b"first")
        + frame(b"sec", fin=False)
        + frame(b"?", 9)
        + frame(b"ond", 0)
        + frame(b"third")
        + frame(b"\0", 2)
    )
    answers = [await read_frame(reader) for _ in range(5)]
    assert sorted(answers) == sorted([(1, b"=first"), (10, b"?"), (1, b"=second"), (1, b"=third"), (2, b"=\0")])
    assert [*endpoint.direct[:1], *endpoint.queued] == ["first", "second", "third", b"\0"]
    writer.close()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"\xff\xfe"), 1007),
        (b"\x81\x01x", 1002),  # not masked
        (frame(b"x", 0), 1002),  # the rest of nothing
        (frame(b"x", 3), 1002),
        (b"\xc1" + frame(b"x")[1:], 1002),  # compressed, which nobody agreed on
        (b"\x81\xff" + struct.pack("!Q", 2**40), 1009),
    ],
    ids=["no UTF-8", "not masked", "rest of nothing", "reserved kind", "compressed", "too long"],  # masks are random
)
async def test_what_breaks_the_protocol_closes_with_the_librarys_code(
    endpoint: Endpoint, sent: bytes, code: int
) -> None:
    reader, writer = await upgraded(endpoint.port)
    writer.write(frame(b"before") + sent)
    assert await read_frame(reader) == (1, b"=before")
    opcode, payload = await read_frame(reader)
    assert (opcode, struct.unpack("!H", payload[:2])[0]) == (8, code)
    writer.close()


async def test_nothing_is_read_from_a_peer_that_does_not_read(endpoint: Endpoint) -> None:
    """Answers pile up only as far as the buffers; once the peer reads, everything comes."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", endpoint.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    text = b"x" * 10_000
    while endpoint.connection is None or not endpoint.connection.paused:
        writer.write(frame(text))
        await asyncio.sleep(0)
    taken = len(endpoint.direct)
    for _ in range(50):
        writer.write(frame(text))
        await asyncio.sleep(0)
    assert len(endpoint.direct) <= taken + 30  # what had been read from the socket in one piece
    assert endpoint.connection.transport.get_write_buffer_size() < 1_000_000
    writer.transport.abort()


async def test_nothing_can_be_sent_at_once_on_a_connection_that_is_gone(endpoint: Endpoint) -> None:
    async with websockets.connect(f"ws://127.0.0.1:{endpoint.port}") as client:
        await client.send("x")
        await client.recv()
    assert endpoint.connection is not None
    await endpoint.connection.wait_closed()
    assert not endpoint.connection.send_now("too late")


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(60):
        first, size = await reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
        return first & 0x0F, await reader.readexactly(size)
