"""A server's websocket that delivers frames without a task or queue.

The websockets library passes every message through a queue to a task, and every message sent takes locks.
Nearly all frames of OCPP arrive complete and alone: those are parsed here and passed to a function at once, and
replies go out in one write. Everything else (fragments, control frames, binary, closing, errors, partial frames) is
handled by the library, with the same protocol state.
"""

import asyncio
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.frames import DATA_OPCODES, CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import OPEN, Event

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

_SHAKEN: Final = Request("", Headers())  # the library checks that there was one
_WHOLE_TEXT: Final = 0x81
_MASKED: Final = 0x80
_LENGTH: Final = struct.Struct("!H")
_HEADERS: Final = tuple(bytes((_WHOLE_TEXT, length)) for length in range(126))
_LONG: Final = struct.Struct("!BBH")
_LONGER: Final = struct.Struct("!BBQ")


class _Few(list[Any]):
    """A queue that is nearly always empty; a deque takes 700 bytes, for each of thousands."""

    __slots__ = ()

    def popleft(self) -> object:
        return self.pop(0)

    def extendleft(self, items: Iterable[object]) -> None:
        for each in items:
            self.insert(0, each)


class DirectConnection(ServerConnection):
    """A connection whose complete text frames go to `on_text(text)`, once set and while no older frame is queued.

    While the peer does not read, nothing is read from it.
    """

    __slots__ = ("_beat", "_queued", "on_text")  # beside the library's: past 30, a dict takes 1.5 KiB

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.on_text: Callable[[str], None] | None = None
        self.drain_waiters: Any = _Few()
        self._queued = 0
        self._received_at = True
        self._beat: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self.recv_messages.frames.queue = _Few()  # type: ignore[assignment]  # supports the operations that the library uses

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._beat is not None:
            self._beat.cancel()
        super().connection_lost(exc)

    def forget_handshake(self) -> None:
        """Release the request and response of the opening handshake: 3 KiB that are no longer needed."""
        for shown in (self.request, self.response):
            if shown is not None:
                shown.headers.clear()  # the library's parser still refers to them
        self.request, self.response = _SHAKEN, None

    def start_keepalive(self) -> None:
        """Ping the peer periodically, by a timer: the library would use a task for each connection."""
        if self.ping_interval is not None:
            self._beat = self.loop.call_later(self.ping_interval, self._watch_silence)

    def stop_pings(self) -> None:
        """Ping no more."""
        self.ping_interval = None
        if self._beat is not None:
            self._beat.cancel()

    def _watch_silence(self) -> None:
        """Close if nothing was received since the last ping, else send the next."""
        if self.protocol.state is not OPEN:
            return
        if self._received_at:
            self._received_at = False
            self.protocol.send_ping(b"")
            self.start_keepalive()
        else:
            self.protocol.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self._beat = self.loop.call_later(self.close_timeout or 0, self.transport.abort)
        self.send_data()

    def read_one(self) -> None:
        """Note that a message was taken from the library's queue."""
        self._queued -= 1

    def send_now(self, text: str) -> bool:
        """Send a frame immediately; False when the connection is closing, or the peer has too much unread data."""
        if self.paused or self.protocol.state is not OPEN or self.transport.is_closing():
            return False
        payload = text.encode()
        length = len(payload)
        if length < 126:
            header = _HEADERS[length]
        elif length < 65536:
            header = _LONG.pack(_WHOLE_TEXT, 126, length)
        else:
            header = _LONGER.pack(_WHOLE_TEXT, 127, length)
        self.transport.write(header + payload)
        return True

    def data_received(self, data: bytes) -> None:
        """Process received bytes: complete frames at the front here, the rest by the library."""
        self._received_at = True
        protocol = self.protocol
        if (
            self.on_text is not None
            and self._queued == 0
            and protocol.state is OPEN
            and not protocol.reader.buffer
            and protocol.current_size is None
        ):
            data = self._take_whole(data, self.on_text)
        if data:
            super().data_received(data)

    def _take_whole(self, data: bytes, take: Callable[[str], None]) -> bytes:
        """Deliver complete text frames; return the rest, from the first other frame on."""
        while len(data) > 6 and data[0] == _WHOLE_TEXT and data[1] & _MASKED:
            length, start = data[1] & 0x7F, 2
            if length == 126:
                (length,), start = _LENGTH.unpack_from(data, 2), 4
            if (length >= 127 and start == 2) or len(data) < start + 4 + length:
                break
            end = start + 4 + length
            try:
                text = apply_mask(data[start + 4 : end], data[start : start + 4]).decode()
            except UnicodeDecodeError:
                break
            data = data[end:]
            take(text)
            if self.protocol.state is not OPEN:
                break
        return data

    def process_event(self, event: Event) -> None:
        """Process the library's events: a reassembled text is delivered the direct way, too."""
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            whole = event.fin and event.opcode == _WHOLE_TEXT & 0x0F
            if whole and self.on_text is not None and self._queued == 0:
                try:
                    text = bytes(event.data).decode()
                except UnicodeDecodeError:
                    pass  # the library closes for it, with the right code
                else:
                    self.on_text(text)
                    return
            self._queued += event.fin
        super().process_event(event)

    def pause_writing(self) -> None:
        """Stop reading while the peer does not read."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading."""
        super().resume_writing()
        if not self.transport.is_closing():
            self.transport.resume_reading()
