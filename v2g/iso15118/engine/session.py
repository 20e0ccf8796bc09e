"""The sans-I/O core of a session, shared by both roles and all editions.

A shell (`v2g.io.runtime.runner`, a test, a replayed capture) calls `start`, `receive`, `fact`, `tick` and `abort`,
each with `now` (s, any monotonic clock) and `utc_ms` (ms since 1970, possibly simulated), then executes what
`actions()` returns, **in order**, and calls `tick` at `deadline()`. An edition defines how its messages are
decoded (`v2g.iso15118.d20.session`), and its two roles the answers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from v2g import exi
from v2g.errors import CodecError, ExiDecodeError, ExiEncodeError, FrameError
from v2g.exi.bits import Deviation
from v2g.exi.declare import Element, Schema, schema_of
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import DEFAULT_MAX_PAYLOAD, Framer, PayloadType, frame
from v2g.observe import Observe, Scalar

Entropy = Callable[[int], bytes]
"""Returns a number of unpredictable bytes (`os.urandom` in production)."""

OnMessage = Callable[[Element, int], None]
"""Called with a message Struct of the peer and its V2GTP payload type."""


def ignored(_message: Element, _payload_type: int) -> None:
    """Ignore messages: no listener besides the session (`OnMessage`)."""


NO_SESSION: Final = bytes(8)
"""The SessionID of a vehicle that requests a new session."""

MANUFACTURER_RANGE: Final = 0xA000
"""First V2GTP payload type that manufacturers may use."""

MOST_BAD_FRAMES: Final = 3
"""A frame without payload, of another version, or of a type without a place here, is ignored; the third ends the
session."""

MOST_NAMED: Final = 32
"""Fields beyond the schema that a session reports."""

MOST_PADDING: Final = 4
"""Zero bytes that are ignored after the end of an EXI stream; vehicles in the field send one."""


def decode_padded(payload: bytes, schema: Schema, deviations: list[Deviation] | None = None) -> tuple[Element, int]:
    """Return the message of a payload, and how many zero bytes follow the end of its EXI stream (0 to 4).

    What the schema does not allow and the bits do is read, and added to `deviations`. Raises ExiDecodeError.
    """
    found: list[Deviation] = [] if deviations is None else deviations
    try:
        return exi.decode(payload, schema, deviations=found), 0
    except ExiDecodeError:
        for padding in range(1, MOST_PADDING + 1):
            if any(payload[-padding:]):
                break
            try:
                return exi.decode(payload[:-padding], schema, deviations=found), padding
            except ExiDecodeError:
                continue
        raise


class Command(msgspec.Struct, frozen=True):
    """Base of the core's commands to its shell: immediate, slow, or blocking. May result in a Fact."""

    @property
    def always(self) -> bool:
        """Whether it makes safe or closes the journal, and so is executed even after a failed action."""
        return False

    @property
    def overtakes(self) -> "Command | None":
        """Its part that lowers power, and so does not wait for actions on their way to the disk; None: nothing.

        That is executed at once. A command that returns itself is done then; any other is also executed in its turn.
        """
        return None

    def supersedes(self, earlier: "Command") -> bool:
        """Whether `earlier`, which still waits for the disk, is superseded once this has overtaken it."""
        return False


class Inquiry(Command, frozen=True):
    """Base of commands that ask others for the session alone: once it has ended, an answer is not awaited."""


class Fact(msgspec.Struct, frozen=True):
    """Base of the shell's facts for a core: the result of a Command, or a change of state."""


class Send(msgspec.Struct, frozen=True):
    """Bytes for the peer; `message` is their decoded content for traces, None if it is not EXI."""

    data: bytes
    message: Element | None = None


class Received(msgspec.Struct, frozen=True):
    """The latest message of the peer and its EXI."""

    exi: bytes = b""
    message: Element | None = None


class Close(msgspec.Struct, frozen=True):
    """The last action: everything before it is executed, then the connection is closed.

    `reason` is a stable code: `finished`, `paused`, `sequence_timeout`, `FAILED_SequenceError`, ...
    """

    reason: str


Action = Send | Close | Command | Observe


class Session(ABC):
    """The engine. `state` is the place in the sequence chart, `reason` why the session ended, or empty.

    `on_message` is called with each received message before it is processed. `time_scale` is how many (simulated)
    seconds of UTC pass in one of the monotonic clock.
    """

    def __init__(
        self,
        *,
        entropy: Entropy,
        max_payload: int = DEFAULT_MAX_PAYLOAD,
        on_message: OnMessage = ignored,
        time_scale: float = 1.0,
    ) -> None:
        self.state = State.SUPPORTED_APP_PROTOCOL
        self.session_id = NO_SESSION
        self.reason = ""
        self._entropy = entropy
        self._message_callback = on_message
        self._framer = Framer(max_payload, skips=True)
        self._bad_frames = 0
        self._actions: list[Action] = []
        self._closed = False
        self._padded = False
        self._deviations: list[Deviation] = []
        self._named: set[str] = set()
        self._time = SessionTime(scale=time_scale)
        self.newest = Received()
        """For messages that are forwarded or stored."""

    # -- for the shell ------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether Close is among the returned or pending actions; further input has no effect."""
        return self._closed

    def start(self, now: float, utc_ms: int) -> None:
        """Begin: the connection (TLS) is open."""
        if self._at(now, utc_ms):
            self._on_start()

    def receive(self, data: bytes, now: float, utc_ms: int) -> None:
        """Receive plaintext of the connection, split in any way."""
        if not self._at(now, utc_ms):
            return
        try:
            for received in self._framer.feed(data):
                if self._closed:
                    return
                self._receive_frame(received.payload_type, received.payload)
        except CodecError as error:
            # No matching response type is known for an undecodable request: stop and close (V2G20, clause 8.6).
            self._on_broken(error)

    def receive_eof(self, now: float, utc_ms: int) -> None:
        """The peer closed, or the link is lost."""
        if self._at(now, utc_ms):
            self._on_eof()

    def fact(self, fact: Fact, now: float, utc_ms: int) -> None:
        """Handle a result or a change of state."""
        if self._at(now, utc_ms):
            self._on_fact(fact)

    def tick(self, now: float, utc_ms: int) -> None:
        """Let due timers expire; harmless when there are none."""
        if not self._at(now, utc_ms):
            return
        timers = self._time.timers
        for name in [name for name, at in timers.items() if at <= now]:
            # a timer may have been moved or dropped by the one before it
            if not self._closed and timers.get(name, now + 1) <= now:
                del timers[name]
                self._on_timer(name)

    def abort(self, reason: str, now: float, utc_ms: int) -> None:
        """End at once and safely: the shell lost the link, failed, or was stopped."""
        if self._at(now, utc_ms):
            self._on_abort(reason)

    def deadline(self) -> float | None:
        """Return when `tick` has to be called, in the clock of `now`, or None."""
        timers = self._time.timers
        return min(timers.values()) if timers and not self._closed else None

    def actions(self) -> list[Action]:
        """Return the pending actions, in order, and clear them."""
        actions, self._actions = self._actions, []
        return actions

    # -- for an edition ----------------------------------------------------------------------------------------

    @abstractmethod
    def decode(self, payload_type: int, payload: bytes) -> tuple[Element, int]:
        """Return the message of a V2GTP payload, and how many zero octets follow it: see `decode_padded`.

        Raises ExiDecodeError; FrameError for a payload type without a message of this edition.
        """

    # -- for a role: what it must implement ---------------------------------------------------------------------

    @abstractmethod
    def _on_start(self) -> None:
        """The connection is open."""

    @abstractmethod
    def _on_message(self, message: Element, payload_type: int) -> None:
        """A message Struct was received."""

    @abstractmethod
    def _on_discharge(self, payload: bytes) -> None:
        """A signed-discharge frame was received (DER, not yet decoded)."""

    @abstractmethod
    def _on_broken(self, error: CodecError) -> None:
        """The peer sent undecodable data."""

    @abstractmethod
    def _on_eof(self) -> None:
        """The peer is gone."""

    @abstractmethod
    def _on_fact(self, fact: Fact) -> None:
        """A fact was received."""

    @abstractmethod
    def _on_timer(self, name: str) -> None:
        """The named timer expired."""

    @abstractmethod
    def _on_abort(self, reason: str) -> None:
        """Stop everything."""

    # -- for a role: what it may use ----------------------------------------------------------------------------

    def _send(self, message: Element, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        """Encode and send a message Struct, on the main stream of its schema or as `payload_type`.

        `encoded` is an existing encoding of the message, which is sent unchanged.
        """
        if payload_type is None:
            payload_type = schema_of(type(message)).payload_type
            assert payload_type is not None, f"{type(message).__name__} is not a message"
        try:
            payload = encoded or exi.encode(message)
        except ExiEncodeError as error:
            if not self._named:
                raise
            self._on_broken(error)  # what the peer sent beyond the schema cannot be sent back
            return
        self._actions.append(Send(frame(payload_type, payload), None if encoded else message))

    def _send_discharge(self, payload: bytes) -> None:
        """Send a signed-discharge message (DER)."""
        self._actions.append(Send(frame(PayloadType.SIGNED_DISCHARGE, payload)))

    def _command(self, *commands: Command) -> None:
        self._actions.extend(commands)

    def _observe(self, stage: str, name: str, **data: Scalar) -> None:
        self._actions.append(Observe(stage, name, data))

    def _arm(self, name: str, seconds: float) -> None:
        """(Re)start a timer."""
        self._time.timers[name] = self._time.now + seconds

    def _disarm(self, *names: str) -> None:
        for name in names:
            self._time.timers.pop(name, None)

    def _close(self, reason: str) -> None:
        """Make Close the last action."""
        if not self._closed:
            self._closed = True
            self.reason = reason
            self._time.timers.clear()
            self._actions.append(Close(reason))

    # -- inside -------------------------------------------------------------------------------------------------

    def _at(self, now: float, utc_ms: int) -> bool:
        self._time.at(now, utc_ms)
        return not self._closed

    def _receive_frame(self, payload_type: int, payload: bytes) -> None:
        if payload_type == PayloadType.SIGNED_DISCHARGE:
            self._on_discharge(payload)
            return
        try:
            if not payload:
                raise FrameError("V2GTP frame without a payload")
            message, padding = self.decode(payload_type, payload)
        except FrameError:  # V2G20-445
            self._bad_frames += payload_type < MANUFACTURER_RANGE  # others are extensions of another vendor
            if self._bad_frames == MOST_BAD_FRAMES:
                raise
            self._observe("session", "frame_ignored", payload_type=payload_type)
            return
        self._name_deviations()
        if padding:
            payload = payload[:-padding]
            self._on_padding(message, padding)
        self.newest = Received(payload, message)
        self._message_callback(message, payload_type)
        self._on_message(message, payload_type)

    def _noted(self) -> list[Deviation]:
        """Return a list for the deviations of the message that is decoded next."""
        self._deviations = []
        return self._deviations

    def _unlisted(self, fields: Collection[str]) -> Deviation | None:
        """Return a value without a name in one of these fields of the latest message; None without one."""
        return next((each for each in self._deviations if each.kind == "enumeration" and each.field in fields), None)

    def _name_deviations(self) -> None:
        """Report what the latest message has beyond its schema, each field once a session, up to `MOST_NAMED`.

        The session goes on: its role refuses what decides something.
        """
        for each in self._deviations:
            if each.path not in self._named and len(self._named) < MOST_NAMED:
                self._named.add(each.path)
                data: dict[str, Scalar] = {"path": each.path, "kind": each.kind, "value": each.value}
                self._observe("session", "beyond_schema", **data, allowed=each.allowed)

    def _on_padding(self, message: Element, octets: int) -> None:
        """Report once a session that the peer's streams are longer than their messages."""
        if not self._padded:
            self._padded = True
            self._observe("session", "padding_ignored", message=type(message).__name__, octets=octets)
