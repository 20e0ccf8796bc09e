"""OCPP over WebSocket and TLS for asyncio (OCPP 2.0.1 part 2 A00, part 4 chapter 3).

`connect`, and `serve` of `v2g.io.websocket.server`, return an `OcppSocket`, which carries text frames of one station on
one version of OCPP; `v2g.io.websocket.rpc` runs calls on it. The websockets library is imported when first needed.
"""

import asyncio
import base64
import fcntl
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from v2g.errors import SubprotocolError, TlsError, TransportError, UpgradeRefusedError
from v2g.ocpp.routes import SUBPROTOCOLS, Version
from v2g.ocpp.rpc import MAX_FRAME
from v2g.rates import retry_after
from v2g.text import printable, redacted

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

MAX_BYTES: Final = 4 * MAX_FRAME
"""Longer frames (bytes) end the connection with 1009; shorter ones reach `RpcPeer`, which answers them."""

_SIOCOUTQNSD: Final = 0x894B
"""Octets of a TCP connection that are not sent yet (tcp(7), Linux)."""


class _WebSocket(Protocol):
    """The methods of a websockets connection used here."""

    @property
    def state(self) -> object: ...
    async def send(self, message: str) -> None: ...
    async def recv(self) -> str | bytes: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class Direct(Protocol):
    """A connection that delivers frames as they arrive: `v2g.io.websocket.direct`."""

    on_text: Callable[[str], None] | None

    def send_now(self, text: str) -> bool:
        """Send a frame at once, if that is possible."""

    def read_one(self) -> None:
        """Note that a frame was received by `recv`."""

    def stop_pings(self) -> None:
        """Ping no more."""


class OcppSocket:
    """Text frames of the station `identity` on OCPP `version`."""

    __slots__ = ("_direct", "_websocket", "identity", "version")

    def __init__(self, websocket: _WebSocket, identity: str, version: Version) -> None:
        self._websocket = websocket
        # checked by a name: isinstance of a Protocol takes 0.25 ms
        self._direct: Direct | None = websocket if hasattr(websocket, "send_now") else None  # type: ignore[assignment]
        self.identity: Final = identity
        self.version: Final = version

    @property
    def transport(self) -> object:
        """The connection below, as in its handshake; None in memory."""
        return getattr(self._websocket, "transport", None)

    @property
    def is_open(self) -> bool:
        """Whether frames can be exchanged: the opening handshake is done, and no end has begun to close."""
        from websockets.protocol import State

        return self._websocket.state is State.OPEN

    def listen(self, take: Callable[[str], None]) -> None:
        """Deliver frames to `take` as soon as they arrive, if possible; `receive` returns the others."""
        if self._direct is not None:
            self._direct.on_text = take

    def send_now(self, text: str) -> bool:
        """Send one frame immediately; False when `send` must be used."""
        return self._direct is not None and self._direct.send_now(text)

    async def send(self, text: str) -> None:
        """Send one frame. Raises TransportError when the connection is lost."""
        from websockets.exceptions import WebSocketException

        try:
            await self._websocket.send(text)
        except (WebSocketException, OSError) as error:
            raise TransportError(f"{self.identity}: {error}") from None

    async def receive(self) -> str:
        """Return the next frame; a binary one, which OCPP does not use, is "". Raises TransportError at the end."""
        from websockets.exceptions import WebSocketException

        try:
            frame = await self._websocket.recv()
        except (WebSocketException, OSError) as error:
            raise TransportError(f"{self.identity}: {error}") from None
        if self._direct is not None:
            self._direct.read_one()
        return frame if isinstance(frame, str) else ""

    def drop_unread(self) -> bool:
        """End the connection at once, without what could not be sent yet as the peer does not read; False if that is
        nothing."""
        transport: Any = self.transport
        tcp = None if transport is None or transport.is_closing() else transport.get_extra_info("socket")
        if tcp is None or not (
            transport.get_write_buffer_size() or any(fcntl.ioctl(tcp.fileno(), _SIOCOUTQNSD, bytes(4)))
        ):
            return False
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        return True

    def stop_pings(self) -> None:
        """Ping no more: silence of the peer no longer ends the connection."""
        if self._direct is not None:
            self._direct.stop_pings()

    def ping_every(self, interval: float | None) -> None:
        """Ping the server at another interval from now on, s; None: never."""
        from websockets.asyncio.connection import Connection

        websocket = self._websocket
        if not self.is_open or not isinstance(websocket, Connection):  # one in memory has nothing to ping
            return
        if websocket.keepalive_task is not None:
            websocket.keepalive_task.cancel()
            websocket.keepalive_task = None
        websocket.ping_interval = websocket.ping_timeout = interval
        websocket.start_keepalive()

    async def close(self, reason: str = "", *, code: int = 1000) -> None:
        """Close gracefully; idempotent. `reason` has at most 123 bytes."""
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
    username: str | None = None,
) -> OcppSocket:
    """Connect a station to the CSMS endpoint `url`, with `/identity` appended (OCPP-J 3.1.1).

    `versions` are offered in this order. `context` is None for `ws:` only. `password` is for HTTP Basic authentication
    (A00.FR.203); only tests set another `username` than the identity. Raises SubprotocolError, TlsError,
    UpgradeRefusedError or TransportError.
    """
    names = {version: name for name, version in SUBPROTOCOLS.items()}
    credentials = None if password is None else (username or identity, password)
    offered = [names[version] for version in versions]
    websocket = await _open(url, identity, offered, context, credentials, timeout, ping_interval)
    if websocket.subprotocol is None:
        await websocket.close(1002)
        raise SubprotocolError(f"{redacted(url)}: the CSMS does not support OCPP {', '.join(versions)}")
    return OcppSocket(websocket, identity, SUBPROTOCOLS[websocket.subprotocol])


async def agreed(
    url: str,
    identity: str,
    names: Sequence[str],
    *,
    context: ssl.SSLContext | None,
    password: str | None = None,
    timeout: float = 10.0,
) -> str | None:
    """Return the WebSocket subprotocol of these names that the CSMS agrees to (OCPP-J 3.3), and close the connection.

    None: it agrees to none, and has closed the connection itself. Raises as `connect`; also TransportError if it does
    not close it.
    """
    credentials = None if password is None else (identity, password)
    websocket = await _open(url, identity, names, context, credentials, timeout, None)
    chosen = websocket.subprotocol
    try:
        if chosen is None:
            async with asyncio.timeout(timeout):
                await websocket.wait_closed()
    except TimeoutError:
        raise TransportError(f"{redacted(url)}: the CSMS keeps a connection without a subprotocol") from None
    finally:
        await websocket.close()
    return chosen


async def _open(
    url: str,
    identity: str,
    names: Sequence[str],
    context: ssl.SSLContext | None,
    credentials: tuple[str, str] | None,
    timeout: float,
    ping_interval: float | None,
) -> "ClientConnection":
    from websockets.asyncio.client import connect as open_websocket
    from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
    from websockets.typing import Subprotocol

    shown = redacted(url)
    headers = {} if credentials is None else {"Authorization": basic_authorization(*credentials)}
    try:
        return await open_websocket(
            f"{url.rstrip('/')}/{quote(identity, safe='')}",
            ssl=context,
            subprotocols=[Subprotocol(name) for name in names],
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
    except ssl.SSLError as error:
        raise tls_error(shown, error) from None
    except InvalidStatus as error:
        said = printable((error.response.body or b"")[:_MAX_SAID].decode(errors="replace").strip())
        status = error.response.status_code
        raise UpgradeRefusedError(
            f"{shown}: HTTP status {status}{said and f': {said}'}",
            status=status,
            wait_s=retry_after((error.response.headers.get_all("Retry-After") or [""])[0], datetime.now(UTC)) or 0.0,
        ) from None
    except (InvalidHandshake, WebSocketException, OSError, TimeoutError, ValueError) as error:  # ValueError: the URL
        raise TransportError(f"{shown}: {redacted(str(error)) or type(error).__name__}") from None


_OUT_OF_TIME: Final = (9, 10)
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_MAX_SAID: Final = 120
"""Bytes of an error response's body that are reported."""


def tls_error(where: str, error: ssl.SSLError) -> TlsError:
    """Return what failed in a TLS handshake with a server: `peer_certificate`, or OpenSSL's reason in lower case."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message
        if error.verify_code in _OUT_OF_TIME:  # more often it is our clock, of a device without a battery for it
            said += f", by the clock of this machine ({datetime.now(UTC):%Y-%m-%d %H:%M} UTC)"
        return TlsError(f"{where}: {said}", reason="peer_certificate")
    return TlsError(f"{where}: {error}", reason=(error.reason or "handshake").lower())


def basic_authorization(username: str, password: str) -> str:
    """Return the header with a station's password (A00.FR.203 to .205); octets that are no text, as in 1.6, are escaped
    in it as surrogates."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode(errors="surrogateescape")).decode()
