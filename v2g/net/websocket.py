"""OCPP over WebSocket and TLS for asyncio (OCPP 2.0.1 part 2 A00, part 4 chapter 3).

`connect`, and `serve` of `v2g.net.ocpp_server`, give an `OcppSocket`, which carries text frames of one station on one
version of OCPP; `RpcConnection` runs a pure `v2g.ocpp.rpc.RpcPeer` on it. The websockets library is imported when first
needed.
"""

import asyncio
import base64
import logging
import ssl
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from v2g.errors import KeyAccessError, OcppError, TlsError, TransportError, V2GError
from v2g.net.clock import Clock
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import SUBPROTOCOLS, Version
from v2g.ocpp.rpc import MAX_FRAME, Answered, Called, Failed, RpcPeer, Send, Told

M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)

MAX_BYTES: Final = 4 * MAX_FRAME
"""Frames longer than this (bytes) end the connection with 1009; shorter ones reach `RpcPeer`, which answers them."""

SUITES: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384"
)
"""TLS 1.2 suites of the CSMS: the four of A00.FR.318 (RSA last, for lack of forward secrecy), ECDHE beside them."""


class TlsFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files of one end: `ca` holds the trusted roots, `chain` the own certificate first, `key` its PKCS#8 key."""

    ca: Path
    chain: Path
    key: Path


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that shows the station's certificate and verifies the CSMS and its host name."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files.chain, files.key)
    _trust(context, files.ca)
    return context


def server_context(
    chain: Path, key: Path, roots: Sequence[Path] = (), *, second: tuple[Path, Path] | None = None
) -> ssl.SSLContext:
    """Return the context of a CSMS: TLS 1.2 or newer, the suites of A00.FR.318, no compression (A00.FR.321).

    With `roots` it requires and verifies a certificate of the client (security profile 3), without it asks for none
    (profile 2). `second`: chain and key of the other kind, elliptic or RSA. Raises KeyAccessError.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, chain, key)
    if second is not None:
        _show(context, *second)
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    for root in roots:
        _trust(context, root)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(protocol: int, chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # A00.FR.313, A00.FR.416
    _show(context, chain, key)
    return context


def _show(context: ssl.SSLContext, chain: Path, key: Path) -> None:
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
        if mode & 0o077:
            raise KeyAccessError(f"{key} has mode {mode:04o}", hint=f"chmod 600 {key}")
        context.load_cert_chain(chain, key)
    except (OSError, ssl.SSLError) as error:
        raise KeyAccessError(f"{chain} and {key} are not usable: {error}") from None


def _trust(context: ssl.SSLContext, root: Path) -> None:
    try:
        context.load_verify_locations(root)
    except (OSError, ssl.SSLError) as error:
        raise KeyAccessError(f"{root} is not usable: {error}", hint="roots are PEM files") from None


class _WebSocket(Protocol):
    """The part of a websockets connection that is used here."""

    async def send(self, message: str) -> None: ...
    async def recv(self) -> str | bytes: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class Direct(Protocol):
    """A connection that hands over frames as they arrive: `v2g.net.direct_websocket`."""

    on_text: Callable[[str], None] | None

    def send_now(self, text: str) -> bool:
        """Send a frame at once, if that is possible."""

    def read_one(self) -> None:
        """Note that a frame was read in the ordinary way."""


class OcppSocket:
    """Text frames of the station `identity` on OCPP `version`."""

    __slots__ = ("_direct", "_websocket", "identity", "version")

    def __init__(self, websocket: _WebSocket, identity: str, version: Version) -> None:
        self._websocket = websocket
        # asked for by a name: isinstance of a Protocol takes a quarter of a millisecond
        self._direct: Direct | None = websocket if hasattr(websocket, "send_now") else None  # type: ignore[assignment]
        self.identity: Final = identity
        self.version: Final = version

    def listen(self, take: Callable[[str], None]) -> None:
        """Have frames handed to `take` as soon as they arrive, where the connection can; `receive` gives the others."""
        if self._direct is not None:
            self._direct.on_text = take

    def send_now(self, text: str) -> bool:
        """Send one frame at once; False when only `send` can say whether that works."""
        return self._direct is not None and self._direct.send_now(text)

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
        if self._direct is not None:
            self._direct.read_one()
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
    password: str | None = None,
) -> OcppSocket:
    """Connect a station to the CSMS endpoint `url`, to which `/identity` is added (OCPP-J 3.1.1).

    `versions` are offered in this order. `context` is None for `ws:` only. `password` is for HTTP Basic authentication
    (A00.FR.203). Raises TlsError or TransportError.
    """
    from websockets.asyncio.client import connect as open_websocket
    from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
    from websockets.typing import Subprotocol

    names = {version: Subprotocol(name) for name, version in SUBPROTOCOLS.items()}
    headers = {} if password is None else {"Authorization": basic_authorization(identity, password)}
    try:
        websocket = await open_websocket(
            f"{url.rstrip('/')}/{quote(identity, safe='')}",
            ssl=context,
            subprotocols=[names[version] for version in versions],
            compression=None,
            user_agent_header=None,
            additional_headers=headers,
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
    except InvalidStatus as error:
        said = "".join(filter(str.isprintable, (error.response.body or b"")[:_MAX_SAID].decode(errors="replace")))
        raise TransportError(f"{url}: HTTP status {error.response.status_code}{said and f': {said}'}") from None
    except (InvalidHandshake, WebSocketException, OSError, TimeoutError, ValueError) as error:  # ValueError: the URL
        raise TransportError(f"{url}: {str(error) or type(error).__name__}") from None
    if websocket.subprotocol is None:
        await websocket.close(1002)
        raise TransportError(f"{url}: the CSMS speaks none of OCPP {', '.join(versions)}")
    return OcppSocket(websocket, identity, SUBPROTOCOLS[websocket.subprotocol])


_MAX_SAID: Final = 120
"""Bytes of a refusal's body that are told; it comes from anywhere."""

MAX_TOLD: Final = 256
"""Messages without answers that may be in work at once: nothing else slows down a peer that sends them."""


def basic_authorization(identity: str, password: str) -> str:
    """Return the header by which a station shows its password (A00.FR.203 to .205)."""
    return "Basic " + base64.b64encode(f"{identity}:{password}".encode()).decode()


class RpcConnection:
    """Runs an RpcPeer on a socket.

    `handle(action, request)` answers the peer's requests, several at a time if need be; it returns the response or
    raises OcppError, whose `answer` becomes the CALLERROR. Anything else it raises is logged and answered with
    InternalError. `quick(action, request)` is asked before: it answers what needs no waiting, or returns None.
    `told(action, message)` takes what the peer sends without wanting an answer (2.1); what it raises is
    logged, and messages are dropped while too many are in work. `tap` is shown every frame.
    """

    __slots__ = (
        "_armed",
        "_calls",
        "_clock",
        "_handle",
        "_handlers",
        "_observe",
        "_out",
        "_peer",
        "_quick",
        "_tap",
        "_timer",
        "_told",
        "_writing",
        "socket",
    )

    def __init__(
        self,
        socket: OcppSocket,
        peer: RpcPeer,
        *,
        handle: Callable[[str, Message], Awaitable[Message]],
        clock: Clock,
        observe: Callable[[Observe], None],
        told: Callable[[str, Message], Awaitable[None]] | None = None,
        quick: Callable[[str, Message], Message | None] = lambda _action, _request: None,
        tap: Callable[[Literal["received", "sent"], str], None] = lambda _direction, _text: None,
    ) -> None:
        self.socket: Final = socket
        self._tap = tap
        self._peer = peer
        self._handle = handle
        self._quick = quick
        self._told = told
        self._clock = clock
        self._observe = observe
        self._out: list[str] = []
        self._writing: asyncio.Lock | None = None  # made when a frame has to wait, which few do
        self._calls: dict[str, asyncio.Future[Message]] = {}
        self._handlers: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed: float | None = None

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
        self.socket.listen(self._receive)
        try:
            while True:
                self._receive(await self.socket.receive())
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

    def _receive(self, text: str) -> None:
        self._tap("received", text)
        self._peer.receive(text, self._clock.monotonic())
        self._step()
        if self._out and not self._is_writing():
            self._spawn(self._flush())

    def _step(self) -> None:
        while actions := self._peer.actions():  # a quick answer makes another one
            for action in actions:
                match action:
                    case Called():
                        self._start(action)
                    case Send(text):
                        self._send(text)
                    case Told():
                        self._tell(action)
                    case Answered(id=identifier, response=response):
                        if (future := self._calls.get(identifier)) and not future.done():
                            future.set_result(response)
                    case Failed(id=identifier, error=error):
                        if (future := self._calls.get(identifier)) and not future.done():
                            future.set_exception(error)
                    case Observe():
                        self._observe(action)
        self._arm()

    def _is_writing(self) -> bool:
        return self._writing is not None and self._writing.locked()

    def _send(self, text: str) -> None:
        """Send at once if nothing waits before and the peer can take it."""
        if not self._out and not self._is_writing() and self.socket.send_now(text):
            self._tap("sent", text)
        else:
            self._out.append(text)

    def _arm(self) -> None:
        deadline = self._peer.deadline()
        if deadline == self._armed:
            return
        self._armed = deadline
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._armed = None
        self._peer.tick(self._clock.monotonic())
        self._step()
        self._spawn(self._flush())

    def _start(self, called: Called) -> None:
        try:
            quick = self._quick(called.action, called.request)
        except OcppError as error:
            self._peer.answer(called.id, error)
            return
        if quick is not None:
            self._peer.answer(called.id, quick)
            return

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

    def _tell(self, told: Told) -> None:
        if self._told is None or len(self._handlers) >= MAX_TOLD:
            self._observe(Observe("ocpp", "send_dropped", {"action": told.action}))
            return
        handler = self._told

        async def work() -> None:
            try:
                await handler(told.action, told.message)
            except V2GError as error:
                _log.warning("%s: %s", told.action, error)

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
        if not self._out:
            return
        if self._writing is None:
            self._writing = asyncio.Lock()
        async with self._writing:
            while self._out:
                text = self._out.pop(0)
                self._tap("sent", text)
                try:
                    await self.socket.send(text)
                except TransportError:
                    return  # `run` sees the end as well, and fails what is open
