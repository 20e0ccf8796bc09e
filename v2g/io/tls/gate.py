"""The gate before a server's protocol: TLS is shaken here, and strangers cannot take all memory.

A connection that has proved nothing yet costs tens of kilobytes under TLS. The gate counts those, by address and in
all: when there are too many, the address that has most of them has to do without its newest.
"""

import asyncio
import contextlib
import ctypes
import gc
import ssl
from collections.abc import Callable
from typing import Any, Final

MAX_STRANGERS: Final = 4096
"""Connections at a time whose peers have not said who they are: enough for a fleet that comes back at once."""

HANDSHAKE_S: Final = 10.0
_SHUTDOWN_S: Final = 2.0


_CROWD: Final = 512
"""After so many at a time, memory is given back."""


class Strangers:
    """Connections whose peers have not proved who they are, `most` at a time."""

    def __init__(self, most: int = MAX_STRANGERS) -> None:
        self._most = most
        self._by_address: dict[str, dict[asyncio.BaseTransport, None]] = {}
        self._addresses: dict[asyncio.BaseTransport, str] = {}
        self._highest = 0
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, transport: asyncio.Transport) -> None:
        """Count a connection; the newest of the address that has most is aborted when there are too many."""
        address = address_of(transport)
        self._addresses[transport] = address
        self._by_address.setdefault(address, {})[transport] = None
        self._highest = max(self._highest, len(self._addresses))
        if len(self._addresses) > self._most:
            crowd = max(self._by_address.values(), key=len)
            newest: Any = next(reversed(crowd))
            self.leave(newest)
            self.turned_away += 1
            newest.abort()

    def change(self, before: asyncio.BaseTransport, after: asyncio.BaseTransport) -> None:
        """Count the same connection by another transport: TLS is spoken on it now."""
        address = self._addresses.pop(before, None)
        if address is not None:
            self._addresses[after] = address
            crowd = self._by_address[address]
            del crowd[before]
            crowd[after] = None

    def leave(self, transport: asyncio.BaseTransport | None) -> None:
        """Count a connection no more: its peer is known, or it has ended. Any number of times."""
        address = None if transport is None else self._addresses.pop(transport, None)
        if transport is not None and address is not None:
            crowd = self._by_address[address]
            del crowd[transport]
            if not crowd:
                del self._by_address[address]
            if self._highest >= _CROWD and len(self._addresses) < _CROWD // 8:
                self._highest = 0
                asyncio.get_running_loop().call_later(_SHUTDOWN_S, _give_back)


class Gate(asyncio.Protocol):
    """Stands before `protocol` until TLS is shaken (at once where `context` is None), then is out of the way.

    Whoever made the protocol has to call `strangers.leave` with its transport when the connection ends, or earlier.
    """

    def __init__(
        self, make: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext | None, strangers: Strangers
    ) -> None:
        self._make = make
        self._context = context
        self._strangers = strangers
        self._early = bytearray()
        self._eof = False
        self._tcp: Any = None  # a stream, which a loop of another make does not say by its class
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._tcp = transport
        self._strangers.enter(self._tcp)
        if self._tcp.is_closing():
            return
        if self._context is None:
            self._pass_on(self._tcp)
            return
        self._tcp.pause_reading()
        self._handshake = asyncio.get_running_loop().create_task(self._shake(self._tcp, self._context))

    def data_received(self, data: bytes) -> None:
        """Keep what comes with the end of the handshake."""
        self._early += data

    def eof_received(self) -> bool:
        """Keep that the peer says no more."""
        self._eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone, or was aborted, before TLS was shaken."""
        self._strangers.leave(self._tcp)

    async def _shake(self, tcp: asyncio.Transport, context: ssl.SSLContext) -> None:
        tcp.pause_reading()  # until TLS reads; uvloop has begun meanwhile
        if tcp.is_closing():
            return
        heard, self._early = self._early, bytearray()
        loop = asyncio.get_running_loop()
        shaking = loop.create_task(
            loop.start_tls(
                tcp,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        )
        try:
            if heard:
                await asyncio.sleep(0)  # TLS is the transport's protocol now, and begins before what follows it
                loop.call_soon(_hand_over, tcp, heard)
            found = await shaking
        except OSError:  # also of TLS, and too late; who wants to hear of it watches the context
            found = None
        finally:
            if not shaking.done():
                shaking.cancel()
                tcp.abort()
        if found is None or found.is_closing():
            self._strangers.leave(tcp)
            tcp.abort()
            return
        self._strangers.change(tcp, found)
        self._pass_on(found)

    def _pass_on(self, transport: asyncio.Transport) -> None:
        protocol: Any = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._early:
            protocol.data_received(bytes(self._early))
        if self._eof:
            protocol.eof_received()
        self._early, self._handshake, self._tcp = bytearray(), None, None


def _give_back() -> None:
    """Give memory that is free back to the system: the C library would keep it, in pieces, for the next crowd."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _hand_over(tcp: asyncio.Transport, heard: bytearray) -> None:
    """Give the transport's protocol what was heard before it was there."""
    protocol: Any = tcp.get_protocol()
    while heard and not tcp.is_closing():
        room = protocol.get_buffer(len(heard))
        count = min(len(room), len(heard))
        room[:count] = heard[:count]
        del heard[:count]
        protocol.buffer_updated(count)


def address_of(transport: asyncio.BaseTransport) -> str:
    """Return the peer's address, empty where there is none: the peer may be gone."""
    peer: Any = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
