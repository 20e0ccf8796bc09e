"""A connection of SHIP 1.0.1, either side: frames and the time go in; frames, events and the end come out. Pure.

A frame is a binary WebSocket message: its first byte is the type, the rest the value. Times are s, monotonic.
"""

from collections import deque
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.eebus.json_form import Element, Tag, decode, encode
from v2g.errors import CodecError

INIT, CONTROL, DATA, END = range(4)
INIT_FRAME: Final = b"\0\0"

CMI_S: Final = 10.0
HANDSHAKE_S: Final = 10.0
HELLO_S: Final = 60.0
PROLONG_BEFORE_S: Final = 30.0
LEAST_GAP_S: Final = 1.0
WAITING_MS: Final = range(1, 240_001)
"""What a node may say that it waits (58 000 to 240 000 ms by 13.4.4.1.3); shorter remainders are heeded, too."""
ABORT_S: Final = 1.0
"""Between the last message of a refusal and the end of the connection."""
CLOSE_MS: Final = 500
HELD: Final = 64
"""Limit of data frames that arrive before the handshake has ended."""

NORMAL, OTHER_ID, REJECTED, UNPAIRED = 4001, 4450, 4452, 4500
"""WebSocket close codes in use (G)."""

Phase = Literal["init", "hello", "protocol", "pin", "access", "data", "closing", "closed"]


class _Hello(Element, frozen=True):
    phase: Literal["pending", "ready", "aborted"]
    waiting: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    prolongation_request: bool | None = None


class _Version(Element, frozen=True):
    major: int
    minor: int


class _Formats(Element, frozen=True):
    format: tuple[str, ...] = ()


class _Protocol(Element, frozen=True):
    handshake_type: Literal["announceMax", "select"]
    version: _Version
    formats: _Formats


class _ProtocolError(Element, frozen=True):
    error: int


class _PinState(Element, frozen=True):
    pin_state: Literal["required", "optional", "pinOk", "none"]
    input_permission: Literal["busy", "ok"] | None = None


class _AccessMethods(Element, frozen=True):
    id: Annotated[str, Meta(max_length=200)]


class _Control(Element, frozen=True):
    """The messages of type `CONTROL`, one of which is there; `error` is how ship-go sends a protocol error."""

    connection_hello: _Hello | None = None
    message_protocol_handshake: _Protocol | None = None
    message_protocol_handshake_error: _ProtocolError | None = None
    error: int | None = None
    connection_pin_state: _PinState | None = None
    connection_pin_input: Tag | None = None
    connection_pin_error: Tag | None = None
    access_methods_request: Tag | None = None
    access_methods: _AccessMethods | None = None


class _Close(Element, frozen=True):
    phase: Literal["announce", "confirm"]
    max_time: Annotated[int, Meta(ge=0)] | None = None
    reason: str | None = None


class _End(Element, frozen=True):
    connection_close: _Close


class _DataHeader(Element, frozen=True):
    protocol_id: str


class _Data(Element, frozen=True):
    header: _DataHeader
    payload: object = None


class _DataMessage(Element, frozen=True):
    data: _Data


_FORMAT: Final = "JSON-UTF8"
_READY_PIN: Final = _Control(connection_pin_state=_PinState(pin_state="none"))


class ShipConnection:
    """One connection. After each call: send `take()`, deliver `received`, close once `ended` is not None, and call
    `tick` at `due`.

    `trusted`: the user trusts the peer's SKI; `peer_id`: its SHIP id if it is known from before.
    """

    def __init__(self, *, client: bool, ship_id: str, trusted: bool, now: float, peer_id: str | None = None) -> None:
        self._client, self._ship_id, self._trusted = client, ship_id, trusted
        self.peer_id = peer_id
        self.phase: Phase = "init"
        self.received: deque[bytes] = deque()
        """Payloads of data: JSON of SPINE."""
        self.ended: int | None = None
        self.why = ""
        """Reason of the end, for people."""
        self._out: list[bytes] = []
        self._until: float | None = now + CMI_S
        self._prolong_at: float | None = None
        self._peer_ready = False
        self._announced = False
        self._methods_seen = False
        self._ends_with: int = NORMAL
        if client:
            self._out.append(INIT_FRAME)

    @property
    def due(self) -> float | None:
        """When `tick` is needed; None for no time."""
        return min((each for each in (self._until, self._prolong_at) if each is not None), default=None)

    @property
    def trusted(self) -> bool:
        """Whether the user trusted the peer when the connection began, or has since."""
        return self._trusted

    def take(self) -> list[bytes]:
        """Return frames to send."""
        frames, self._out = self._out, []
        return frames

    def trust(self, now: float) -> None:
        """The user trusts the peer now."""
        self._trusted = True
        if self.phase == "hello":
            self._say_hello(now)
            self._go_on(now)

    def send(self, payload: bytes) -> None:
        """Send a datagram, JSON in EEBUS form. Outside of `data` it is dropped."""
        if self.phase == "data":
            self._out.append(b'\2{"data":[{"header":[{"protocolId":"ee1.0"}]},{"payload":' + payload + b"}]}")

    def close(self, now: float, reason: str = "unspecific") -> None:
        """Announce the end; `reason` is unspecific or removedConnection (unpaired)."""
        if self.phase in ("closing", "closed"):
            return
        code: int = UNPAIRED if reason == "removedConnection" else NORMAL
        if self.phase == "data":
            self._end(_Close(phase="announce", max_time=CLOSE_MS, reason=reason))
        elif self.phase == "hello":
            self._control(_Control(connection_hello=_Hello(phase="aborted")))
            code = REJECTED
        self._finish(now + CLOSE_MS / 1000, code, reason)

    def tick(self, now: float) -> None:
        """Process the time."""
        if self._prolong_at is not None and now >= self._prolong_at:
            self._prolong_at = None
            self._control(_Control(connection_hello=_Hello(phase="pending", prolongation_request=True)))
        if self._until is None or now < self._until:
            return
        if self.phase == "closing":
            self.phase, self.ended, self._until = "closed", self._ends_with, None
        elif self.phase == "hello":
            self._refuse(now, "not trusted in time")
        elif self.phase == "protocol":
            self._protocol_error(now, 1, "no protocol handshake in time")
        else:
            self._finish(now, NORMAL, f"no answer in time ({self.phase})")

    def receive(self, frame: bytes, now: float) -> None:
        """Process a frame. One that breaks the protocol ends the connection; never raises."""
        if self.phase == "closed":
            return
        try:
            self._take(frame, now)
        except CodecError as error:
            why = str(error)
            if self.phase == "protocol":
                self._protocol_error(now, 2, why)
            elif self.phase == "hello":
                self._refuse(now, why)
            else:
                self._finish(now, NORMAL, why)
        if self.phase == "closing":
            self.tick(now)

    def _take(self, frame: bytes, now: float) -> None:
        if len(frame) < 2:
            raise CodecError("an empty frame")
        kind, value = frame[0], frame[1:]
        if self.phase == "init":
            if not self._client:
                self._out.append(INIT_FRAME)
            if frame != INIT_FRAME:
                self._finish(now, NORMAL, "the first frame is not that of SHIP")
                return
            self.phase = "hello"
            self._say_hello(now)
        elif kind == END:
            said = decode(value, _End).connection_close
            if said.phase == "announce" and self.phase != "closing":
                self._end(_Close(phase="confirm"))
            self._finish(now, NORMAL, f"closed by the peer ({(said.reason or 'confirmed')[:40]})")
        elif self.phase == "closing":
            return
        elif kind == DATA:
            if self.phase not in ("data", "access", "pin") or len(self.received) >= HELD:
                raise CodecError("data before the handshake has ended, or too many")
            message = decode(value, _DataMessage).data
            if message.header.protocol_id == "ee1.0":
                self.received.append(msgspec.json.encode(message.payload))
        elif kind == CONTROL:
            self._take_control(decode(value, _Control), now)
        # other types: reserved, ignored

    def _say_hello(self, now: float) -> None:
        self._until = now + HELLO_S
        self._prolong_at = None
        phase: Literal["pending", "ready"] = "ready" if self._trusted else "pending"
        self._control(_Control(connection_hello=_Hello(phase=phase, waiting=int(HELLO_S * 1000))))

    def _take_hello(self, hello: _Hello, now: float) -> None:
        if hello.phase == "aborted":
            self._finish(now, REJECTED, "the peer does not trust this charger")
        elif self.phase == "hello":
            self._peer_ready = self._peer_ready or hello.phase == "ready"
            if hello.prolongation_request:
                self._say_hello(now)
            elif not self._trusted and hello.waiting is not None and hello.waiting in WAITING_MS:
                self._until = now + hello.waiting / 1000
                self._prolong_at = max(now + LEAST_GAP_S, self._until - PROLONG_BEFORE_S)
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self._peer_ready and self._trusted:
            self.phase, self._until, self._prolong_at = "protocol", now + HANDSHAKE_S, None
            if self._client:
                self._say_protocol("announceMax")

    def _say_protocol(self, kind: Literal["announceMax", "select"]) -> None:
        said = _Protocol(handshake_type=kind, version=_Version(major=1, minor=0), formats=_Formats(format=(_FORMAT,)))
        self._control(_Control(message_protocol_handshake=said))

    def _take_protocol(self, said: _Protocol, now: float) -> None:
        if self.phase != "protocol":
            return
        announced = said.handshake_type == "announceMax"
        if announced is (self._client or self._announced):
            self._protocol_error(now, 2, "out of order")
        elif _FORMAT not in said.formats.format or said.version.major < 1:
            self._protocol_error(now, 3, "no common protocol version and format")
        elif announced:
            self._announced, self._until = True, now + HANDSHAKE_S
            self._say_protocol("select")
        elif said.version != _Version(major=1, minor=0) or said.formats.format != (_FORMAT,):
            self._protocol_error(now, 3, "another selection")
        else:
            if self._client:
                self._say_protocol("select")
            self.phase, self._until = "pin", now + HANDSHAKE_S
            self._control(_READY_PIN)

    def _complete(self) -> None:
        if self.phase == "access" and self._methods_seen:
            self.phase, self._until = "data", None

    def _take_control(self, said: _Control, now: float) -> None:
        if said.connection_hello is not None:
            self._take_hello(said.connection_hello, now)
        elif said.message_protocol_handshake is not None:
            self._take_protocol(said.message_protocol_handshake, now)
        elif said.message_protocol_handshake_error is not None or said.error is not None:
            self._finish(now, NORMAL, "the peer reports an error of the protocol handshake")
        elif said.connection_pin_state is not None:
            if said.connection_pin_state.pin_state == "required":
                self._finish(now, REJECTED, "the peer asks for a PIN")
            elif self.phase == "pin":
                self.phase, self._until = "access", now + HANDSHAKE_S
                self._control(_Control(access_methods_request=Tag()))
                self._complete()
        elif said.access_methods_request is not None:
            if self.phase not in ("access", "data", "pin"):
                raise CodecError("access methods are asked before the handshake")
            self._control(_Control(access_methods=_AccessMethods(id=self._ship_id)))
        elif said.access_methods is not None and self.phase in ("access", "pin"):
            if self.peer_id not in (None, said.access_methods.id):
                self._finish(now, OTHER_ID, "the peer has another SHIP id than before")
                return
            self.peer_id, self._methods_seen = said.access_methods.id, True
            self._complete()

    def _refuse(self, now: float, why: str) -> None:
        self._control(_Control(connection_hello=_Hello(phase="aborted")))
        self._finish(now + ABORT_S, REJECTED, why)

    def _protocol_error(self, now: float, number: int, why: str) -> None:
        self._control(_Control(message_protocol_handshake_error=_ProtocolError(error=number)))
        self._finish(now + ABORT_S, NORMAL, why)

    def _finish(self, at: float, code: int, why: str) -> None:
        """End the connection at a time."""
        if self.phase == "closing" and self._until is not None:
            at = min(at, self._until)
        else:
            self.why, self._ends_with = why, code
        self.phase, self._until, self._prolong_at = "closing", at, None

    def _control(self, message: _Control) -> None:
        self._out.append(bytes((CONTROL,)) + encode(message))

    def _end(self, message: _Close) -> None:
        self._out.append(bytes((END,)) + encode(_End(connection_close=message)))
