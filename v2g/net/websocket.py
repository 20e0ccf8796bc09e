"""OCPP over WebSocket and TLS for asyncio, both ends, security profile 3 (OCPP 2.0.1 part 2 A00, part 4 chapter 3).

`connect` and `serve` give an `OcppSocket`, which carries text frames of one station on one version of OCPP;
`RpcConnection` runs a pure `v2g.ocpp.rpc.RpcPeer` on it. The websockets library is imported when first needed.
"""

import asyncio
import logging
import re
import ssl
import stat
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote, unquote

import msgspec

from v2g.errors import KeyAccessError, OcppError, TlsError, TransportError, V2GError
from v2g.net.clock import Clock
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import SUBPROTOCOLS, Version
from v2g.ocpp.rpc import MAX_FRAME, Answered, Called, Failed, RpcPeer, Send

M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)

MAX_BYTES: Final = 4 * MAX_FRAME
"""Frames longer than this (bytes) end the connection with 1009; shorter ones reach `RpcPeer`, which answers them."""

IDENTITY: Final = re.compile(r"[A-Za-z0-9*_=+|@.-]{1,48}")
"""identifierString without the colon (OCPP-J 3.1.1)."""


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files of one end: `ca` holds the trusted roots, `chain` the own certificate first, `key` its PKCS#8 key."""

    ca: Path
    chain: Path
    key: Path


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that shows the station's certificate and verifies the CSMS and its host name."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, files)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that requires and verifies a certificate of the client (security profile 3)."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    return context


def _context(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    try:
        mode = stat.S_IMODE(files.key.stat().st_mode)
        if mode & 0o077:
            raise KeyAccessError(f"{files.key} has mode {mode:04o}", hint=f"chmod 600 {files.key}")
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.chain, files.key)
    except (OSError, ssl.SSLError) as error:
        raise KeyAccessError(f"{files.chain}, {files.key} and {files.ca} are not usable: {error}") from None
    return context


class _WebSocket(Protocol):
    """The part of a websockets connection that is used here."""

    async def send(self, message: str) -> None: ...
    async def recv(self) -> str | bytes: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class OcppSocket:
    """Text frames of the station `identity` on OCPP `version`."""

    def __init__(self, websocket: _WebSocket, identity: str, version: Version) -> None:
        self._websocket = websocket
        self.identity: Final = identity
        self.version: Final = version

    async def send(self, text: str) -> None:
        """Send one frame. Raises TransportError when the connection is gone."""
        from websockets.exceptions import WebSocketException

        try:
            await self._websocket.send(text)
        except (WebSocketException, OSError) as error:
            raise TransportError(f"{self.identity}: {error}") from None

    async def receive(self) -> str:
        """Return the next frame; a binary one, which OCPP has not, comes as "". Raises TransportError at the end."""
        from websockets.exceptions import WebSocketException

        try:
            frame = await self._websocket.recv()
        except (WebSocketException, OSError) as error:
            raise TransportError(f"{self.identity}: {error}") from None
        return frame if isinstance(frame, str) else ""

    async def close(self, reason: str = "", *, code: int = 1000) -> None:
        """Close in good order; harmless when already closed. `reason` has at most 123 bytes."""
        await self._websocket.close(code, reason)


async def connect(
    url: str,
    identity: str,
    *,
    context: ssl.SSLContext | None,
    versions: Sequence[Version] = ("2.1", "2.0.1"),
    timeout: float = 10.0,
    ping_interval: float | None = 20.0,
) -> OcppSocket:
    """Connect a station to the CSMS endpoint `url`, to which `/identity` is added (OCPP-J 3.1.1).

    `versions` are offered in this order. `context` is None for `ws:` only. Raises TlsError or TransportError.
    """
    from websockets.asyncio.client import connect as open_websocket
    from websockets.exceptions import InvalidHandshake, WebSocketException
    from websockets.typing import Subprotocol

    names = {version: Subprotocol(name) for name, version in SUBPROTOCOLS.items()}
    try:
        websocket = await open_websocket(
            f"{url.rstrip('/')}/{quote(identity, safe='')}",
            ssl=context,
            subprotocols=[names[version] for version in versions],
            compression=None,
            user_agent_header=None,
            proxy=None,
            open_timeout=timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_interval,
            close_timeout=2.0,
            max_size=MAX_BYTES,
        )
    except ssl.SSLCertVerificationError as error:
        raise TlsError(f"{url}: {error.verify_message}", reason="peer_certificate") from None
    except ssl.SSLError as error:
        raise TlsError(f"{url}: {error}", reason=(error.reason or "handshake").lower()) from None
    except (InvalidHandshake, WebSocketException, OSError, TimeoutError) as error:
        raise TransportError(f"{url}: {error or type(error).__name__}") from None
    if websocket.subprotocol is None:
        await websocket.close(1002)
        raise TransportError(f"{url}: the CSMS speaks none of OCPP {', '.join(versions)}")
    return OcppSocket(websocket, identity, SUBPROTOCOLS[websocket.subprotocol])


class OcppServer:
    """A listening CSMS endpoint; `port` is the one in use."""

    def __init__(self, server: Any, port: int) -> None:
        self._server = server
        self.port: Final = port

    async def close(self) -> None:
        """Stop listening and close every connection with 1001."""
        self._server.close()
        await self._server.wait_closed()


async def serve(
    host: str,
    port: int,
    handler: Callable[[OcppSocket], Awaitable[None]],
    *,
    context: ssl.SSLContext | None,
    path: str = "/ocpp",
    versions: Sequence[Version] = ("2.1", "2.0.1"),
    admit: Callable[[str], bool] = lambda _: True,
    ping_interval: float | None = 20.0,
) -> OcppServer:
    """Listen for stations on `path/identity`; `handler` runs once for each, and its end closes the connection.

    Answers 404 where the path names no station or `admit` knows none, and 403 where the identity is not the common
    name of the client's certificate. Among the versions offered, the first of `versions` is taken; with none in
    common the handshake completes without a subprotocol and the connection closes (OCPP-J 3.2).
    """
    from websockets.asyncio.server import ServerConnection
    from websockets.asyncio.server import serve as listen
    from websockets.typing import Subprotocol

    names = [Subprotocol(name) for version in versions for name, v in SUBPROTOCOLS.items() if v == version]

    def select(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((name for name in names if name in offered), None)

    async def run(connection: ServerConnection) -> None:
        assert connection.request is not None
        identity = _identity(connection.request.path, path)
        assert identity is not None
        if connection.subprotocol is None:
            await connection.close(1002, "no common version of OCPP")
            return
        await handler(OcppSocket(connection, identity, SUBPROTOCOLS[connection.subprotocol]))

    server = await listen(
        run,
        host,
        port,
        ssl=context,
        process_request=_admission(path, admit, certificates=context is not None),
        select_subprotocol=select,
        server_header=None,
        ping_interval=ping_interval,
        ping_timeout=ping_interval,
        close_timeout=2.0,
        max_size=MAX_BYTES,
    )
    return OcppServer(server, next(iter(server.sockets)).getsockname()[1])


def _admission(path: str, admit: Callable[[str], bool], *, certificates: bool) -> Callable[[Any, Any], Any]:
    """Return what answers an opening handshake that is not to succeed."""

    def check(connection: Any, request: Any) -> Any:
        identity = _identity(request.path, path)
        if identity is None or not admit(identity):
            return connection.respond(404, "no such charging station\n")
        if certificates and _common_name(connection.transport) != identity:
            return connection.respond(403, "the certificate names another charging station\n")
        return None

    return check


def _identity(path: str, base: str) -> str | None:
    """Return the station identity that a request path names, or None."""
    rest = path.partition("?")[0].removeprefix(base.rstrip("/") + "/")
    identity = unquote(rest)
    return identity if rest != path and IDENTITY.fullmatch(identity) else None


def _common_name(transport: asyncio.BaseTransport) -> str | None:
    certificate = transport.get_extra_info("peercert") or {}
    names = [value for group in certificate.get("subject", ()) for key, value in group if key == "commonName"]
    return names[0] if len(names) == 1 else None


class RpcConnection:
    """Runs an RpcPeer on a socket.

    `handle(action, request)` answers the peer's requests, several at a time if need be; it returns the response or
    raises OcppError, whose `answer` becomes the CALLERROR. Anything else it raises is logged and answered with
    InternalError.
    """

    def __init__(
        self,
        socket: OcppSocket,
        peer: RpcPeer,
        *,
        handle: Callable[[str, Message], Awaitable[Message]],
        clock: Clock,
        observe: Callable[[Observe], None],
    ) -> None:
        self.socket: Final = socket
        self._peer = peer
        self._handle = handle
        self._clock = clock
        self._observe = observe
        self._out: deque[str] = deque()
        self._writing = asyncio.Lock()
        self._calls: dict[str, asyncio.Future[Message]] = {}
        self._handlers: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def version(self) -> Version:
        """The version of OCPP that is spoken."""
        return self._peer.version

    async def call(self, request: Message, response: type[M], *, timeout: float | None = None) -> M:
        """Send a request and return its response.

        Raises OcppError for a CALLERROR, an answer that breaks its schema, or a request that breaks its own;
        TimeoutExpired; TransportError when the connection ends first; RefusedError when it is closed or too much
        waits.
        """
        identifier = self._peer.call(request, self._clock.monotonic(), timeout=timeout)
        future = self._calls[identifier] = asyncio.get_running_loop().create_future()
        try:
            self._step()
            await self._flush()
            answer = await future
        finally:
            self._calls.pop(identifier, None)
        assert isinstance(answer, response)
        return answer

    async def run(self) -> None:
        """Read until the connection ends, whoever ends it; then every open call fails."""
        try:
            while True:
                text = await self.socket.receive()
                self._peer.receive(text, self._clock.monotonic())
                self._step()
                await self._flush()
        except TransportError as error:
            _log.info("%s", error)
        finally:
            if self._timer:
                self._timer.cancel()
            self._peer.close(self._clock.monotonic())
            self._step()
            for task in self._handlers:
                task.cancel()

    async def close(self, reason: str = "") -> None:
        """End the connection; `run` then returns."""
        await self.socket.close(reason)

    def _step(self) -> None:
        for action in self._peer.actions():
            match action:
                case Send(text):
                    self._out.append(text)
                case Called():
                    self._start(action)
                case Answered(id=identifier, response=response):
                    if (future := self._calls.get(identifier)) and not future.done():
                        future.set_result(response)
                case Failed(id=identifier, error=error):
                    if (future := self._calls.get(identifier)) and not future.done():
                        future.set_exception(error)
                case Observe():
                    self._observe(action)
        self._arm()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        deadline = self._peer.deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._peer.tick(self._clock.monotonic())
        self._step()
        self._spawn(self._flush())

    def _start(self, called: Called) -> None:
        async def work() -> None:
            answer: Message | OcppError = OcppError("the request could not be handled", answer="InternalError")
            try:
                answer = await self._handle(called.action, called.request)
            except OcppError as error:
                answer = error
            except V2GError as error:
                answer = OcppError(str(error), answer="InternalError")
                _log.warning("%s: %s", called.action, error)
            finally:
                self._peer.answer(called.id, answer)
                self._step()
                await self._flush()

        self._spawn(work())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._handlers.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._handlers.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a request could not be handled", exc_info=error)

    async def _flush(self) -> None:
        async with self._writing:
            while self._out:
                try:
                    await self.socket.send(self._out.popleft())
                except TransportError:
                    return  # `run` sees the end as well, and fails what is open
