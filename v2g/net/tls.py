"""TLS 1.3 of ISO 15118-20 as asyncio streams: both sides show certificates, and every failure has a name.

Neither side resumes: no session is stored, no pre-shared key and no early data are accepted.
"""

import asyncio
import contextlib
import errno
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from v2g.errors import TlsError, TransportError
from v2g.net.tls_channel import (
    INTEROP,
    ISO15118_20,
    PROFILES,
    Channel,
    Endpoint,
    Staple,
    TlsProfile,
    utc_now,
)
from v2g.pki.credentials import Credentials
from v2g.pki.profiles import Role
from v2g.pki.verify import VerifiedChain

__all__ = ["INTEROP", "ISO15118_20", "PROFILES", "TlsProfile", "TlsServer", "TlsStream", "connect", "serve"]

HANDSHAKE_SECONDS: Final = 5.0
"""How long a peer may take from TCP connection to finished handshake."""

MAX_HANDSHAKES: Final = 32
"""How many connections may be without a finished handshake; the oldest makes room, since an honest one is quick."""

CLOSED_HINT: Final = "some peers close without a word when they share none of our groups: see security_profile"

_CLOSE_SECONDS: Final = 1.0
_CHUNK: Final = 64 * 1024
_log = logging.getLogger(__name__)


class TlsStream:
    """A connection after its handshake. One reader and one writer at a time."""

    def __init__(self, channel: Channel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert channel.peer is not None
        self._channel = channel
        self._reader = reader
        self._writer = writer
        self._closed = False
        self.peer: VerifiedChain = channel.peer
        """The peer's chain, verified for the role that was asked for."""
        self.peer_chain: tuple[bytes, ...] = channel.peer.der
        """The same as DER, leaf first, without the root."""
        self.cipher: str = channel.cipher
        self.group: str = channel.group
        self.version: str = channel.version
        self.ocsp_response: bytes = channel.ocsp_response
        """The stapled answer that was checked (client side), or b""."""

    async def read(self, n: int) -> bytes:
        """Return 1 to `n` bytes, or b"" once the peer has closed with close_notify.

        Raises TlsError with reason `truncated` for an end without close_notify, or with the reason for which the
        peer refused us: in TLS 1.3 a client learns of the refusal of its certificate only here.
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
        """Say close_notify and close; never longer than a second, harmless when already closed."""
        if self._closed:
            return
        self._closed = True
        self._channel.shutdown()
        self._send()
        await _close(self._writer)

    def _send(self) -> None:
        data = self._channel.take()
        if data and not self._writer.is_closing():
            self._writer.write(data)


async def connect(
    host: str,
    port: int,
    *,
    credentials: Credentials,
    anchors: tuple[bytes, ...],
    profile: TlsProfile = ISO15118_20,
    timeout: float = HANDSHAKE_SECONDS,
    peer_role: Role = Role.SECC,
    now: Callable[[], datetime] = utc_now,
) -> TlsStream:
    """Connect to a TLS server whose chain ends in one of `anchors` (DER), showing `credentials`.

    `timeout` is in seconds and covers connecting and handshake. Raises TransportError when there is no TCP
    connection, TlsError with its reason when there is no common ground or no trust.
    """
    endpoint = Endpoint(
        server=False, credentials=credentials, anchors=anchors, profile=profile, peer_role=peer_role, now=now
    )
    channel = Channel(endpoint)
    try:
        async with asyncio.timeout(timeout):
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError as error:
                raise TransportError(f"cannot reach {host} port {port}: {error.strerror or error}") from None
            try:
                await _handshake(channel, reader, writer)
            except BaseException:
                # Not awaited: the alert is on its way, and there may be no time left.
                writer.close()
                raise
    except TimeoutError:
        raise TlsError(f"{host} port {port} did not finish the handshake in {timeout:g} s", reason="timeout") from None
    return TlsStream(channel, reader, writer)


class TlsServer:
    """A listening server; made by `serve`."""

    def __init__(
        self,
        endpoint: Endpoint,
        handler: Callable[[TlsStream], Awaitable[None]],
        on_failure: Callable[[TlsError], None] | None,
        timeout: float,
    ) -> None:
        self._endpoint = endpoint
        self._handler = handler
        self._on_failure = on_failure
        self._timeout = timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes: dict[asyncio.Task[None], None] = {}  # in the order in which they began
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The TCP port that is listened on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # aborted transports close their sockets in the next round of the loop

    async def _listen(self, host: str, ports: range) -> None:
        first = secrets.randbelow(len(ports))
        for port in (*ports[first:], *ports[:first]):
            try:
                self._server = await asyncio.start_server(self._accept, host, port)
            except OSError as error:
                if error.errno == errno.EADDRINUSE and len(ports) > 1:
                    continue
                raise TransportError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
            return
        raise TransportError(f"{host} has no free port from {ports[0]} to {ports[-1]}")

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve_one(reader, writer))
        self._tasks.add(task)
        self._handshakes[task] = None
        if len(self._handshakes) > MAX_HANDSHAKES:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.cancel()
        # However the task ends, even cancelled before its first step, the socket must not stay open.
        task.add_done_callback(lambda _: writer.transport.abort())
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._handshakes.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            context = {"message": "TLS connection handler failed", "exception": task.exception(), "task": task}
            task.get_loop().call_exception_handler(context)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(self._endpoint)
        try:
            try:
                async with asyncio.timeout(self._timeout):
                    await _handshake(channel, reader, writer)
            except TimeoutError:
                raise TlsError(f"no finished handshake in {self._timeout:g} s", reason="timeout") from None
        except TlsError as error:
            _log.warning("TLS handshake with %s: %s: %s", writer.get_extra_info("peername"), error.reason, error)
            if self._on_failure is not None:
                self._on_failure(error)
            await _linger(reader, writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._handshakes.pop(task, None)
        stream = TlsStream(channel, reader, writer)
        try:
            await self._handler(stream)
        finally:
            await stream.close()


async def serve(
    host: str,
    port: int | range,
    handler: Callable[[TlsStream], Awaitable[None]],
    *,
    credentials: Credentials,
    anchors: tuple[bytes, ...],
    profile: TlsProfile = ISO15118_20,
    staple: Staple = None,
    timeout: float = HANDSHAKE_SECONDS,
    peer_role: Role = Role.VEHICLE,
    now: Callable[[], datetime] = utc_now,
    on_failure: Callable[[TlsError], None] | None = None,
) -> TlsServer:
    """Listen and run `handler` for every client whose chain ends in one of `anchors` (DER).

    `port` 0 is any free one, a range is a random free one of its ports.

    `staple` is the DER OCSP answer for our leaf, or a callable that returns the current one. A handshake that fails
    or takes more than `timeout` s goes to `on_failure` and the log. Raises TransportError when the port is taken.
    """
    endpoint = Endpoint(
        server=True,
        credentials=credentials,
        anchors=anchors,
        profile=profile,
        peer_role=peer_role,
        staple=staple,
        now=now,
    )
    Channel(endpoint)  # unusable credentials are found now, not at the first client
    server = TlsServer(endpoint, handler, on_failure, timeout)
    await server._listen(host, port if isinstance(port, range) else range(port, port + 1))
    return server


async def _handshake(channel: Channel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            done = channel.handshake()
        finally:
            writer.write(channel.take())  # also the alert that says why
        if done:
            return
        try:
            received = await reader.read(_CHUNK)
        except OSError as error:
            raise TlsError(f"connection lost in the handshake: {error}", reason="closed") from None
        if not received:
            raise TlsError("the peer closed the connection in the handshake", reason="closed", hint=CLOSED_HINT)
        channel.feed(received)


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close so that the peer gets our alert: closing with unread data would reset the connection and lose it."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            writer.write_eof()
            while await reader.read(_CHUNK):
                pass
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
