"""TCP without TLS: DIN 70121 has nothing else, ISO 15118-2 allows it, ISO 15118-20 forbids it (V2G20-1235, V2G20-1237).

Only on request, and with a warning: peers are not authenticated, everybody can read and change the messages, and so
contracts are not used. ISO 15118-20 uses it only in laboratories, with `security_profile = "interop"`.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import ssl
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

from v2g.errors import ConfigError, TransportError
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.io.tls.endpoint import TlsProfile
from v2g.iso15118.select import TRANSPORTS, EditionName
from v2g.observe import Observe
from v2g.pki.credentials import Credentials

_LIMIT: Final = 2**16


async def start_server(
    accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
    host: str,
    port: int,
    *,
    limit: int = _LIMIT,
    tls: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Do as `asyncio.start_server`, which leaves the port open when it is cancelled. Raises OSError.

    `limit`: longest line that a reader takes, bytes.
    """
    server = await asyncio.start_server(accept, host, port, start_serving=False, limit=limit, ssl=tls)
    try:
        await server.start_serving()
    except BaseException:
        server.close()
        raise
    return server


async def listen(
    protocol: str,
    accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    hint: str = "host must be an address of this machine, and the port be free",
) -> asyncio.Server:
    """Do as `start_server`. Raises TransportError with the name of the protocol."""
    try:
        return await start_server(accept, host, port, tls=tls)
    except OSError as error:
        raise TransportError(f"{protocol} at {host}, port {port}: {error.strerror or error}", hint=hint) from None


def port_of(server: asyncio.Server | None) -> int:
    """Return the TCP port of a server that listens."""
    assert server is not None
    return int(server.sockets[0].getsockname()[1])


MAX_CONNECTIONS: Final = 8
"""Limit of connections; further ones are closed at once. A charger serves one vehicle at each EVSE."""

_CLOSE_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


def permit(profile: TlsProfile, observe: Callable[[Observe], None], *, editions: Collection[EditionName] = ()) -> None:
    """Warn about connections without TLS. Raises ConfigError without a profile or edition for them."""
    if not profile.interop and TRANSPORTS["none"].isdisjoint(editions):
        raise ConfigError(
            f"sdp.without_tls: {profile.name} does not allow connections without TLS",
            hint='in a laboratory, use security_profile = "interop"',
        )
    _log.warning("sdp.without_tls: vehicle and charger may talk without TLS; everybody can read and change it")
    observe(Observe("tls", "not_demanded", {"profile": profile.name}))


class Recording(Protocol):
    """What records a connection."""

    def received(self, data: bytes) -> None:
        """Bytes of the peer."""

    def sent(self, data: bytes) -> None:
        """Our own bytes."""

    def closed(self) -> None:
        """The end; idempotent."""


class StreamRecorder(Protocol):
    """What begins a recording: `v2g.io.capture.tcp_recorder.ConnectionRecorder`."""

    def open(self, writer: asyncio.StreamWriter, *, server: bool) -> Recording | None:
        """A connection, `server` at its server; None: it is not recorded."""


class PlainStream:
    """A TCP connection with an unauthenticated peer. One reader and one writer at a time."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recording: Recording | None = None
    ) -> None:
        self.began = asyncio.get_running_loop().time()
        """When it was made, s of the loop's clock."""
        self._reader, self._writer, self._recording = reader, writer, recording
        self.own: Credentials | None = None
        """Empty: there are no certificates."""
        self.peer_leaf = b""
        self.peer_name = ""
        self.version = self.cipher = self.group = "none"
        peer: tuple[str, ...] | None = writer.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""

    async def read(self, n: int) -> bytes:
        """Return 1 to `n` bytes, or b"" at the end. Raises TransportError."""
        try:
            data = await self._reader.read(n)
        except OSError as error:
            raise TransportError(f"connection lost: {error}") from None
        if self._recording is not None:
            self._recording.received(data)
        return data

    async def write(self, data: bytes) -> None:
        """Send everything. Raises TransportError."""
        if self._recording is not None:
            self._recording.sent(data)
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise TransportError(f"connection lost: {error}") from None

    async def close(self) -> None:
        """Close; never longer than a second, idempotent."""
        if self._recording is not None:
            self._recording.closed()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                self._writer.close()
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()


class PlainServer:
    """A listening server; made by `serve`."""

    def __init__(self, handler: Callable[[PlainStream], Awaitable[None]], recorder: StreamRecorder | None) -> None:
        self._handler, self._recorder = handler, recorder
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The TCP port."""
        return port_of(self._server)

    async def listen(self, host: str, ports: range) -> None:
        """Bind the first free port of `ports`, from a random one on. Raises TransportError."""
        first = secrets.randbelow(len(ports))
        for port in (*ports[first:], *ports[:first]):
            with contextlib.suppress(OSError):
                self._server = await start_server(self._accept, host, port)
                return
        raise TransportError(f"{host} has no free port from {ports[0]} to {ports[-1]}")

    async def close(self) -> None:
        """Stop listening and end all connections."""
        assert self._server is not None
        self._server.close()
        await cancel_tasks(*self._tasks)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        recording = self._recorder.open(writer, server=True) if self._recorder is not None else None
        task = spawn(self._serve_one(PlainStream(reader, writer, recording)))
        self._tasks.add(task)
        task.add_done_callback(lambda _: writer.transport.abort())
        task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, stream: PlainStream) -> None:
        try:
            await self._handler(stream)
        finally:
            await stream.close()


async def serve(
    host: str,
    ports: range,
    handler: Callable[[PlainStream], Awaitable[None]],
    *,
    recorder: StreamRecorder | None = None,
) -> PlainServer:
    """Listen at a free one of `ports` and run `handler` for every client. Raises TransportError."""
    server = PlainServer(handler, recorder)
    await server.listen(host, ports)
    return server


async def dial(host: str, port: int, timeout: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect within `timeout` s. Raises TransportError."""
    try:
        async with asyncio.timeout(timeout):
            return await asyncio.open_connection(host, port)
    except TimeoutError:
        raise TransportError(f"cannot reach {host} port {port} in {timeout:g} s") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise TransportError(f"cannot reach {host} port {port}: {why}") from None


async def connect(host: str, port: int, *, timeout: float, recorder: StreamRecorder | None = None) -> PlainStream:
    """Connect within `timeout` s. Raises TransportError."""
    reader, writer = await dial(host, port, timeout)
    return PlainStream(reader, writer, recorder.open(writer, server=False) if recorder is not None else None)
