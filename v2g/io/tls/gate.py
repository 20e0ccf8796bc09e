"""Admission of connections before a server's protocol: TLS handshakes, with bounded memory for unauthenticated peers.

An unauthenticated connection costs tens of kilobytes under TLS. Such connections are counted, by address and in
total: when there are too many, the newest of the address with the most is closed.
"""

import asyncio
import contextlib
import ctypes
import gc
import ssl
from collections.abc import Callable
from typing import Any, Final

from v2g.io.runtime.supervision import child, spawn
from v2g.rates import caller_at

MAX_STRANGERS: Final = 4096
"""Limit of unauthenticated connections: enough for a fleet that reconnects at once."""

HANDSHAKE_S: Final = 10.0
_SHUTDOWN_S: Final = 2.0


_CROWD: Final = 512
"""Memory is trimmed after so many at a time."""


class Strangers:
    """Unauthenticated connections, `most` at a time."""

    def __init__(self, most: int = MAX_STRANGERS) -> None:
        self._most = most
        self._by_address: dict[str, dict[asyncio.BaseTransport, None]] = {}
        self._addresses: dict[asyncio.BaseTransport, str] = {}
        self._highest = 0
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, transport: asyncio.Transport) -> None:
        """Count a connection; the newest of the address with the most is aborted when there are too many."""
        address = caller_at(address_of(transport))
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
        """Count the same connection by another transport: TLS has been added."""
        address = self._addresses.pop(before, None)
        if address is not None:
            self._addresses[after] = address
            crowd = self._by_address[address]
            del crowd[before]
            crowd[after] = None

    def leave(self, transport: asyncio.BaseTransport | None) -> None:
        """Stop counting a connection: its peer is authenticated, or it has ended. Idempotent."""
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
    """Precedes `protocol` until the TLS handshake is done (immediately if `context` is None).

    The protocol's owner must call `strangers.leave` with its transport when the connection ends, or earlier.
    """

    def __init__(
        self, make: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext | None, strangers: Strangers
    ) -> None:
        self._make = make
        self._context = context
        self._strangers = strangers
        self._early = bytearray()
        self._eof = False
        self._tcp: Any = None  # a stream; uvloop's class does not show it
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
        self._handshake = spawn(self._shake(self._tcp, self._context))

    def data_received(self, data: bytes) -> None:
        """Buffer data that arrives with the end of the handshake."""
        self._early += data

    def eof_received(self) -> bool:
        """Store that the peer has ended its side."""
        self._eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer disconnected, or was aborted, during the handshake."""
        self._strangers.leave(self._tcp)

    async def _shake(self, tcp: asyncio.Transport, context: ssl.SSLContext) -> None:
        tcp.pause_reading()  # until TLS reads; uvloop has already begun
        if tcp.is_closing():
            return
        early, self._early = self._early, bytearray()
        loop = asyncio.get_running_loop()
        shaking = child(
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
            if early:
                await asyncio.sleep(0)  # TLS is now the transport's protocol, and begins before the next step
                loop.call_soon(_hand_over, tcp, early)
            found = await shaking
        except OSError:  # also of TLS; observers watch the context
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
    """Return free memory to the system: the C library would keep it, fragmented."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _hand_over(tcp: asyncio.Transport, early: bytearray) -> None:
    """Deliver buffered data to the transport's protocol."""
    protocol: Any = tcp.get_protocol()
    while early and not tcp.is_closing():
        room = protocol.get_buffer(len(early))
        count = min(len(room), len(early))
        room[:count] = early[:count]
        del early[:count]
        protocol.buffer_updated(count)


def address_of(transport: asyncio.BaseTransport) -> str:
    """Return the peer's address, empty if the peer is gone."""
    peer: object = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
