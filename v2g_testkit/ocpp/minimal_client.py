"""A minimal WebSocket client of a charging station: thousands of connections per process.

Frames are masked with zeros, which the server still has to unmask; the server's accept key is not checked.
"""

import asyncio
import ssl
import struct
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import quote, urlsplit

from v2g.errors import TransportError
from v2g.io.websocket.client import MAX_BYTES, basic_authorization
from v2g.ocpp.routes import SUBPROTOCOLS, Version
from v2g.text import printable

_CONTINUATION, _TEXT, _CLOSE, _PING, _PONG = 0, 1, 8, 9, 10
_MOST_HEAD: Final = 16_384


def upgrade(url: str, identity: str, version: Version, password: str | None = None) -> bytes:
    """Return the request that opens a station's connection; `url` is without the identity."""
    parts = urlsplit(url)
    (subprotocol,) = (name for name, each in SUBPROTOCOLS.items() if each == version)
    lines = [
        f"GET {parts.path.rstrip('/')}/{quote(identity, safe='')} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Sec-WebSocket-Protocol: {subprotocol}",
        *([] if password is None else [f"Authorization: {basic_authorization(identity, password)}"]),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(text: str) -> bytes:
    """Return a text frame of a client."""
    return _framed(_TEXT, text.encode())


def _framed(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


class MinimalClient(asyncio.Protocol):
    """One connection: sends `request` of `upgrade`, passes texts to `on_text`, answers pings.

    `opened` is done after the handshake; it raises TransportError if there is none. `gone` is done at the end, with the
    reason.
    """

    transport: asyncio.Transport

    def __init__(
        self, request: bytes, on_text: Callable[[bytes], None], on_pong: Callable[[bytes], None] = lambda _: None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[str] = loop.create_future()
        self.on_text, self.on_pong = on_text, on_pong
        self.may_write = True
        """False while the server reads more slowly than we write."""
        self._request = request
        self._buffer = b""
        self._parts = b""
        self._upgraded = False
        self._reason = "connection lost"

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping with at most 125 bytes."""
        self.transport.write(_framed(_PING, payload))

    def send(self, text: str) -> None:
        """Send a text."""
        self.transport.write(frame(text))

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake."""
        self.transport = cast(asyncio.Transport, transport)  # that of uvloop is no subclass
        self.transport.write(self._request)

    def pause_writing(self) -> None:
        self.may_write = False

    def resume_writing(self) -> None:
        self.may_write = True

    def data_received(self, data: bytes) -> None:
        """Take frames apart."""
        data = self._buffer + data if self._buffer else data
        if not self._upgraded:
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                if len(head) > _MOST_HEAD:
                    self._end("the answer to the handshake is too long")
            elif not head.startswith(b"HTTP/1.1 101"):
                status = printable(head.split(b"\r\n", 1)[0][:100].decode(errors="replace"))
                self._end(status.replace("HTTP/1.1", "HTTP status"))
            else:
                self._upgraded = True
                if not self.opened.done():
                    self.opened.set_result(None)
            data = rest
            if not self._upgraded:
                return
        while len(data) >= 2:
            size, start = data[1], 2
            if size == 126 and len(data) >= 4:
                (size,), start = struct.unpack_from("!H", data, 2), 4
            elif size == 127 and len(data) >= 10:
                (size,), start = struct.unpack_from("!Q", data, 2), 10
            elif size > 125:
                break
            if size > MAX_BYTES:
                self._end(f"a frame of {size} bytes")
                return
            if len(data) < start + size:
                break
            self._take(data[0], data[start : start + size])
            data = data[start + size :]
        self._buffer = data

    def _take(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if first == 0x81:
            self.on_text(payload)
        elif opcode in (_TEXT, _CONTINUATION):
            self._parts += payload
            if len(self._parts) > MAX_BYTES:
                self._end(f"a text of more than {MAX_BYTES} bytes")
            elif first & 0x80:
                self._parts, whole = b"", self._parts
                self.on_text(whole)
        elif opcode == _PING:
            self.transport.write(_framed(_PONG, payload))
        elif opcode == _PONG:
            self.on_pong(payload)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            said = printable(payload[2:].decode(errors="replace"))
            self._reason = f"closed with {code} {said}".rstrip()
            self.transport.write(_framed(_CLOSE, payload[:2]))
            self.transport.close()

    def _end(self, reason: str) -> None:
        self._reason = reason
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """End; with TLS 1.3 this is where a client learns that its certificate is rejected, or missing."""
        if isinstance(error, ssl.SSLError):
            self._reason = f"connection lost: {printable(str(error))}"
        if not self.opened.done():
            self.opened.set_exception(TransportError(self._reason))
            self.opened.exception()  # marked as read: its caller may have gone
        if not self.gone.done():
            self.gone.set_result(self._reason)
