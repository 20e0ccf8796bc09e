"""Connections whose peers have proved nothing: bounded, fair by address, and the TLS handshake comes before a
protocol."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from pki_tools.tree import PkiTree
from tests.waiting import until
from v2g.io.tls.gate import Gate, Strangers

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Echo(asyncio.Protocol):
    """Answers what it receives."""

    def __init__(self, strangers: Strangers) -> None:
        self._strangers = strangers
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data == b"me":
            self._strangers.leave(self._transport)
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._strangers.leave(self._transport)


def contexts(pki: PkiTree) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return those of a server and a client."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
    return server, ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))


@contextlib.asynccontextmanager
async def listening(strangers: Strangers, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Listen with `Echo` behind the gate."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Gate(lambda: Echo(strangers), context, strangers), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def on(loop: Callable[[], asyncio.AbstractEventLoop], work: Any) -> None:
    """Run a test on one of the loops that the programs use."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [True, False])
def test_what_comes_with_the_end_of_the_handshake_is_received(
    loop: Callable[[], asyncio.AbstractEventLoop], tls: bool, pki: PkiTree
) -> None:
    server, client = contexts(pki)

    async def work() -> None:
        strangers = Strangers()
        async with listening(strangers, server if tls else None) as port:
            for _ in range(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client if tls else None)
                writer.write(b"at once")
                assert await reader.readexactly(7) == b"at once"
                writer.write(b"me")
                assert await reader.readexactly(2) == b"me"
                assert len(strangers) == 0
                writer.close()
                await writer.wait_closed()

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
def test_silent_strangers_are_bounded_and_keep_no_other_address_out(
    loop: Callable[[], asyncio.AbstractEventLoop], pki: PkiTree
) -> None:
    server, client = contexts(pki)

    async def work() -> None:
        strangers = Strangers(most=10)
        async with listening(strangers, server) as port:
            silent = [socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) for _ in range(50)]
            await until(lambda: strangers.turned_away == 40)
            assert len(strangers) == 10
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
            writer.write(b"honest")
            assert await reader.readexactly(6) == b"honest"
            writer.close()
            for each in silent:
                each.close()
            await until(lambda: len(strangers) == 0)

    on(loop, work())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00"])
def test_a_handshake_that_comes_to_nothing_leaves_nothing(
    loop: Callable[[], asyncio.AbstractEventLoop], said: bytes, pki: PkiTree
) -> None:
    server, _client = contexts(pki)

    async def work() -> None:
        strangers = Strangers()
        async with listening(strangers, server) as port:
            for _ in range(30):
                _reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(said)
                await writer.drain()
                writer.transport.abort()
            await until(lambda: len(strangers) == 0)

    on(loop, work())


class Peer(asyncio.Transport):
    """A connection of an address."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1)})
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def test_addresses_of_one_customers_network_do_not_push_others_out() -> None:
    strangers = Strangers(most=8)
    others = [Peer(f"2001:db8:{number}::1") for number in range(4)]
    crowd = [Peer(f"2001:db8:ffff::{number:x}") for number in range(100)]
    for peer in (*crowd[:50], *others, *crowd[50:]):
        strangers.enter(peer)
    assert len(strangers) == 8
    assert not [peer for peer in others if peer.aborted]
