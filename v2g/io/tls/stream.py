"""A TLS channel on an asyncio connection: the handshake with a time-out, then bytes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from v2g.errors import TlsError, TransportError
from v2g.io.tls.endpoint import TlsChannel
from v2g.pki.credentials import Credentials
from v2g.pki.verify import VerifiedChain

HANDSHAKE_SECONDS: Final = 4.5
"""A client's time-out from TCP connection to finished handshake: it has time for another attempt."""
ACCEPT_SECONDS: Final = 15.0
"""A server's: slow vehicles, and a powerline that loses packets, take seconds. Within CommunicationSetup (18 s)."""

CLOSED_HINT: Final = "some peers close without an alert when no group is in common: see security_profile"
SILENT_HINT: Final = "is there a TLS peer at the other end?"

_CLOSE_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 0.4
_CHUNK: Final = 64 * 1024


class TlsStream:
    """A connection after its handshake. One reader and one writer at a time."""

    def __init__(
        self, channel: TlsChannel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, began: float
    ) -> None:
        self.began = began
        """When its handshake began, s of the loop's clock: one that began later can be done earlier."""
        self._channel = channel
        self._reader = reader
        self._writer = writer
        self._closed = False
        self.peer: VerifiedChain | None = channel.peer
        """The peer's chain, verified for its role; None for a client in TLS 1.2."""
        self.peer_chain: tuple[bytes, ...] = channel.peer.der if channel.peer is not None else ()
        """The same as DER, leaf first, without the root."""
        self.own: Credentials | None = channel.shown
        """The own chain that was sent; None for a client that has none to send."""
        self.cipher: str = channel.cipher
        self.group: str = channel.group
        self.version: str = channel.version
        self.ocsp_responses: tuple[bytes, ...] = channel.ocsp_responses
        """The verified answer for each certificate of `peer_chain` (client side), or b"" without one."""
        self.unproven: str = channel.unproven
        """Why the server's revocation status is unknown (client side), or ""."""

    @property
    def address(self) -> str:
        """The peer's IP address, with interface if link-local; empty once it is gone."""
        peer = self._writer.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    @property
    def peer_name(self) -> str:
        """The common name of the peer's certificate, "" without one."""
        return self.peer.subject_cn if self.peer is not None else ""

    @property
    def peer_leaf(self) -> bytes:
        """The peer's certificate, DER; b"" without one."""
        return self.peer_chain[0] if self.peer_chain else b""

    @property
    def ocsp_response(self) -> bytes:
        """The verified answer for the server's own certificate, or b""."""
        return self.ocsp_responses[0] if self.ocsp_responses else b""

    async def read(self, n: int) -> bytes:
        """Return 1 to `n` bytes, or b"" once the peer has closed with close_notify.

        Raises TlsError with reason `truncated` for an end without close_notify, or with the peer's reason for
        rejecting us: in TLS 1.3 a client learns only here that its certificate was rejected.
        """
        while True:
            data = self._channel.read(n)
            self._send()
            if data is not None:
                return data
            try:
                received = await self._reader.read(_CHUNK)
            except OSError as error:
                raise TransportError(f"connection lost: {error}") from None
            if not received:
                if self._closed:
                    return b""
                raise TlsError("the connection ended without close_notify", reason="truncated")
            self._channel.feed(received)

    async def write(self, data: bytes) -> None:
        """Send everything. Raises TransportError."""
        self._channel.write(data)
        self._send()
        try:
            await self._writer.drain()
        except OSError as error:
            raise TransportError(f"connection lost: {error}") from None

    async def close(self) -> None:
        """Send close_notify and close; never longer than a second, idempotent."""
        if self._closed:
            return
        self._closed = True
        self._channel.shutdown()
        self._send()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                self._writer.close()
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    def _send(self) -> None:
        data = self._channel.take()
        if data and not self._writer.is_closing():
            self._writer.write(data)


async def handshake(
    opener: Callable[[bytes], Awaitable[TlsChannel | None]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    until: float,
) -> TlsStream:
    """Return the connection after its handshake, at the latest at `until` (s, of the loop's clock).

    `opener` returns its channel by the first bytes of the peer, None until they suffice. Raises TlsError with the
    cause, after sending its alert; the caller closes the connection. The time-out does not depend on received bytes.
    """
    began = asyncio.get_running_loop().time()
    received = sent = 0
    first = b""
    try:
        async with asyncio.timeout_at(until):
            while (channel := await opener(first)) is None:
                first += await _receive(reader)
                received = len(first)
            channel.feed(first)
            while True:
                try:
                    done = channel.handshake()
                finally:
                    answer = channel.take()  # also the alert
                    sent += len(answer)
                    writer.write(answer)
                if done:
                    return TlsStream(channel, reader, writer, began)
                data = await _receive(reader)
                received += len(data)
                channel.feed(data)
    except TimeoutError:
        raise _stalled(until - began, received, sent) from None


async def _receive(reader: asyncio.StreamReader) -> bytes:
    try:
        data = await reader.read(_CHUNK)
    except OSError as error:
        raise TlsError(
            f"the connection was lost in the handshake: {error}", reason="closed", hint=CLOSED_HINT
        ) from None
    if not data:
        raise TlsError("the peer closed the connection in the handshake", reason="closed", hint=CLOSED_HINT)
    return data


def _stalled(seconds: float, received: int, sent: int) -> TlsError:
    """Return the error of a timed-out handshake, by its progress."""
    if not received:
        what = "accepted the connection and sent nothing" if sent else "connected and sent nothing"
        return TlsError(f"the peer {what} for {seconds:.1f} s", reason="peer_silent", hint=SILENT_HINT)
    where = (
        f"after {received} bytes received and {sent} bytes sent" if sent else f"{received} bytes into its first message"
    )
    return TlsError(
        f"the peer did not continue {where} within {seconds:.1f} s", reason="peer_stalled", hint=SILENT_HINT
    )


async def close_gracefully(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close so that the peer gets our alert: closing with unread data would reset the connection and lose it."""
    try:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                writer.write_eof()
                while await reader.read(_CHUNK):
                    pass
    finally:
        writer.close()
