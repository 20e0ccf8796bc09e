"""The CSMS end of OCPP over WebSocket: a listener, with one security profile (OCPP 2.0.1 part 2 A00).

A station's opening handshake is a `Handshake`; the caller decides whether to admit it.
"""

import asyncio
import base64
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import msgspec

from v2g.errors import StoreError
from v2g.io.tls.gate import Gate, Strangers, address_of
from v2g.io.websocket.client import MAX_BYTES, OcppSocket
from v2g.ocpp.routes import SUBPROTOCOLS, Version

if TYPE_CHECKING:
    from websockets.extensions import ServerExtensionFactory

_log = logging.getLogger(__name__)

IDENTITY: Final = re.compile(r"[A-Za-z0-9*_=+|@.-]{1,48}")
"""identifierString without the colon (OCPP-J 3.1.1)."""

_OPENING_S: Final = 120.0
"""Time-out of an opening handshake after TLS: passwords of many stations are checked in turn."""

REQUEST_S: Final = 10.0
"""Time-out of the request of that handshake, which is all that a station has to send."""


class Secret(str):
    """A text whose repr is hidden."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(...)"


class Credentials(msgspec.Struct, frozen=True):
    """User name and password of HTTP basic authentication."""

    username: str
    password: Secret


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """A station's opening handshake.

    `identity`: the one in its URL, None if invalid. `host`: where it connects, as it writes it in the header of that
    name. `offered`: WebSocket subprotocols. `version`: the negotiated one, None without a common one. `credentials`:
    None without (valid) basic authentication. `transport`: gives access to the certificate.
    """

    path: str
    identity: str | None
    address: str
    offered: tuple[str, ...]
    version: Version | None
    credentials: Credentials | None
    transport: asyncio.BaseTransport
    host: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """The HTTP answer to a rejected station: a status, a reason, and when to retry (s)."""

    status: int
    text: str
    retry_after_s: int = 0


Welcome = Callable[[Handshake], Awaitable[Refusal | None]]


async def welcome(handshake: Handshake) -> Refusal | None:
    """Admit every identity, if its certificate, when there is one, matches."""
    if handshake.identity is None:
        return Refusal(404, "no such charging station")
    if handshake.transport.get_extra_info("ssl_object") and peer_name(handshake.transport) != handshake.identity:
        return Refusal(403, "the certificate is of another charging station")
    return None


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
    welcome: Welcome = welcome,
    strange: Callable[[str], None] = lambda _address: None,
    strangers: Strangers | None = None,
    ping_interval: float | None = 20.0,
    shared: bool = False,
    without_subprotocol: Container[str | None] = (),
) -> OcppServer:
    """Listen for stations on `path/identity`; `handler` runs once for each, and its end closes the connection.

    `welcome` decides who is admitted; `strange(address)` is called for TLS if `context` is None. `strangers` limits the
    unauthenticated connections. Among the versions offered,
    the first of `versions` is used; with none in common the handshake completes without a subprotocol and the
    connection closes (OCPP-J 3.2); stations in `without_subprotocol` may offer none, which is 1.6, or one in wrong
    case. `shared`: other processes may listen at the same port.
    """
    from websockets.asyncio.server import ServerConnection
    from websockets.asyncio.server import serve as listen
    from websockets.typing import Subprotocol

    from v2g.io.websocket.direct import DirectConnection

    names = [Subprotocol(name) for version in versions for name, v in SUBPROTOCOLS.items() if v == version]

    def choose(identity: str | None, offered: Sequence[str]) -> tuple[Subprotocol | None, Version | None]:
        """Return the subprotocol as the station writes it, and its version."""
        written = {each.casefold() if identity in without_subprotocol else each: each for each in offered}
        for name in names:
            if name in written:
                return Subprotocol(written[name]), SUBPROTOCOLS[name]
        is_named = bool(offered) or identity not in without_subprotocol
        return None, None if is_named or "1.6" not in versions else "1.6"

    chosen: WeakKeyDictionary[object, Subprotocol | None] = WeakKeyDictionary()

    def select(connection: ServerConnection, _: Sequence[Subprotocol]) -> Subprotocol | None:
        return chosen.pop(connection.protocol, None)

    async def check(connection: ServerConnection, request: Any) -> Any:
        headers = request.headers
        offered = tuple(
            name.strip()[:64] for line in headers.get_all("Sec-WebSocket-Protocol") for name in line.split(",")
        )[:16]
        identity = identity_in(request.path, path)
        chosen[connection.protocol], version = choose(identity, tuple(filter(None, offered)))
        shown = Handshake(
            path=request.path[:512],
            identity=identity,
            address=address_of(connection.transport),
            offered=offered,
            version=version,
            credentials=read_credentials(headers.get_all("Authorization")),
            transport=connection.transport,
            host=(headers.get_all("Host") or [""])[0][:300],
        )
        try:
            refusal = await welcome(shown)
        except StoreError as error:
            _log.warning("%s: %s", identity, error)
            refusal = Refusal(503, error.answer)
        if refusal is None:
            return None
        response = connection.respond(refusal.status, refusal.text + "\n")
        if refusal.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="OCPP", charset="UTF-8"'
        if refusal.retry_after_s:
            response.headers["Retry-After"] = str(refusal.retry_after_s)
        return response

    outside = Strangers() if strangers is None else strangers

    class Counted(DirectConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.loop.call_later(REQUEST_S, self._abort_silent)

        def _abort_silent(self) -> None:
            if self.request is None:
                self.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            outside.leave(self.transport)
            super().connection_lost(exc)

    class Plain(Counted):
        def data_received(self, data: bytes) -> None:
            if self.request is None and data[:1] == b"\x16":  # a TLS record: Handshake
                strange(address_of(self.transport))
            super().data_received(data)

    class PendingConnection(Gate):
        """What the library uses as the connection until that is created."""

        def __init__(self, protocol: object, server: object, **options: object) -> None:
            kind = Plain if context is None else Counted
            super().__init__(lambda: kind(protocol, server, **options), context, outside)
            self.protocol = protocol

    async def run(connection: ServerConnection) -> None:
        assert connection.request is not None
        identity = identity_in(connection.request.path, path)
        assert identity is not None
        _, version = choose(identity, () if connection.subprotocol is None else (connection.subprotocol,))
        offers = connection.request.headers.get_all("Sec-WebSocket-Protocol") if connection.subprotocol is None else []
        if version is None or offers:
            await connection.close(1002, f"no common version of OCPP; supported: {', '.join(names)}"[:123])
            return
        assert isinstance(connection, DirectConnection)
        outside.leave(connection.transport)
        connection.forget_handshake()
        await handler(OcppSocket(connection, identity, version))

    server = await listen(
        run,
        host,
        port,
        process_request=check,
        select_subprotocol=select,
        server_header=None,
        ping_interval=ping_interval,
        ping_timeout=ping_interval,
        close_timeout=2.0,
        max_size=MAX_BYTES,
        backlog=4096,  # after a restart all stations reconnect at once
        create_connection=cast("Any", PendingConnection),
        open_timeout=_OPENING_S,
        compression=None,
        extensions=[_deflate()],
        reuse_port=shared or None,
    )
    return OcppServer(server, next(iter(server.sockets)).getsockname()[1])


def _deflate() -> "ServerExtensionFactory":
    """Return the compression for stations (RFC 7692; OCPP-J 3.4: a CSMS supports it).

    Without context takeover: a window for each direction would take 300 KiB a connection. `max_size` limits the
    size of a decompressed frame.
    """
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

    return ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)


def read_credentials(lines: Sequence[str]) -> Credentials | None:
    """Return the credentials in header lines `Authorization`, None for none, several or another scheme (RFC 7617)."""
    if len(lines) != 1:
        return None
    scheme, _, encoded = lines[0].strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, octets = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        username = name.decode()
    except ValueError:  # not base64, not ASCII, or not UTF-8 inside
        return None
    try:
        password = octets.decode()
    except UnicodeDecodeError:  # OCPP 1.6 sends the octets whose hexadecimal digits are its AuthorizationKey
        password = octets.hex()
    return Credentials(username, Secret(password)) if colon else None


def identity_in(path: str, base: str) -> str | None:
    """Return the station identity in a request path below `base`, or None; some stations append a slash."""
    rest = path.partition("?")[0].removeprefix(base.rstrip("/") + "/")
    identity = unquote(rest.removesuffix("/"))
    return identity if rest != path and IDENTITY.fullmatch(identity) else None


def peer_name(transport: asyncio.BaseTransport) -> str | None:
    """Return the common name of a peer's certificate, None without one or with several."""
    certificate = transport.get_extra_info("peercert") or {}
    names = [value for group in certificate.get("subject", ()) for key, value in group if key == "commonName"]
    return names[0] if len(names) == 1 else None


def watch_handshakes(context: ssl.SSLContext, failed: Callable[[ssl.SSLError], None]) -> None:
    """Call `failed` for every failed TLS handshake on `context`; asyncio does not report them."""

    class Watched(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                failed(error)
                raise

    context.sslobject_class = Watched
