"""Tracing of a conversation, and reading of traces.

`Trace` is between a runner and its core: bytes pass unchanged, split into frames, so that each
message is recorded with the state before and after it. The cores know nothing of it.
"""

import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

from msgspec import Meta

from v2g.errors import CodecError, ConfigError, FrameError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.storage.growing_file import MIB, Beside, GrowingFile, LogFiles, in_a_thread
from v2g.iso15118 import trace as lines
from v2g.iso15118.engine.core import Conversation
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import NO_SESSION, Action, Fact, Send
from v2g.iso15118.engine.v2gtp import DEFAULT_MAX_PAYLOAD, HEADER_SIZE, read_header
from v2g.iso15118.trace import Line, Way
from v2g.observe import Observe

_log = logging.getLogger(__name__)

FACTS: Final = frozenset({"link", "sdp", "tls", "session", "power", "stop", "hardware", "basic"})
"""Stages whose events are traced, too, because messages do not show them."""

_ARRIVALS: Final = frozenset({"plugged_in", "pilot_digital", "matching_started", "accepted"})
"""Events that belong to the next conversation, once one is over."""


Moment = tuple[int, float]
"""UTC (ms since 1970, possibly simulated) and CLOCK_MONOTONIC (s)."""


class LogConfig(LogFiles, frozen=True, forbid_unknown_fields=True):
    """Traces, and their retention. Files renamed by other programs are reopened on SIGHUP."""

    trace: Path | None = None
    """File for one JSON line per message, read by `v2g trace`; full ones are retained like those of events."""
    trace_max_mib: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Size of a full trace, MiB."""


class TraceFile:
    """JSON lines in a growing file. A full disk ends the trace, never a session."""

    def __init__(self, path: Path, *, max_mib: int, keep: int = 1, beside: Beside = in_a_thread) -> None:
        """Open the file; an incomplete last line is completed. Raises StoreError."""
        self._file = GrowingFile(path, max_bytes=max_mib * MIB, keep=keep, beside=beside)

    def write(self, line: Line) -> None:
        """Append a line."""
        try:
            self._file.append(lines.encode_line(line))
        except OSError as error:
            _log.error("the trace %s ends: %s", self._file.path, error.strerror)
            self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()


class TraceLines(Protocol):
    """Destination of lines: a `TraceFile`, or the memory of a tester."""

    def write(self, line: Line) -> None:
        """Take a line."""

    def close(self) -> None:
        """Close."""


class Trace:
    """All messages of one process, by conversation.

    A program with several EVSEs has several at a time: each EVSE is a place, whose id is in its events.
    """

    def __init__(self, process: str, clock: Clock, file: TraceLines, *, process_run: str = "") -> None:
        """`process_run` identifies this run of the process; random when empty."""
        self._process = process
        self._clock = clock
        self._file = file
        self._process_run = process_run or os.urandom(4).hex()
        self._places: dict[str, TracePlace] = {}
        self._count = 0

    def place(self, evse_id: str = "") -> "TracePlace":
        """Return one of several EVSEs; the empty one stands for the whole program."""
        if evse_id not in self._places:
            self._places[evse_id] = TracePlace(self, evse_id)
        return self._places[evse_id]

    def event(self, event: Observe) -> None:
        """Trace an event if messages do not show it."""
        if event.stage in FACTS:
            place = str(event.data.get("evse_id", ""))
            self.place(place if place in self._places else "").event(event)

    def now(self) -> Moment:
        """Return the time."""
        return self._clock.utc_ms(), self._clock.monotonic()

    def next_run(self) -> str:
        """Return the name of a new conversation."""
        self._count += 1
        return f"{self._process_run}.{self._count}"

    def write(self, at: Moment, way: Way, name: str, **fields: Any) -> None:
        """Write a line; `fields` are those of Line."""
        time, mono_ms = lines.rfc3339(at[0]), round(at[1] * 1000, 3)
        self._file.write(Line(time=time, mono_ms=mono_ms, process=self._process, way=way, name=name, **fields))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TracePlace:
    """A place of conversations, one after the other."""

    def __init__(self, trace: Trace, evse_id: str) -> None:
        self._trace = trace
        self._evse_id = evse_id
        self._run = ""
        self._over = False
        self._session = ""

    def traced(self, core: Conversation) -> "TracedCore":
        """Return `core` wrapped for a runner, with tracing."""
        self._begin()
        return TracedCore(core, self)

    def event(self, event: Observe) -> None:
        if event.name in _ARRIVALS:
            self._begin()
        self._write(self.now(), "fact", event.name, stage=event.stage, body=event.data)

    def now(self) -> Moment:
        """Return the time."""
        return self._trace.now()

    def message(
        self,
        at: Moment,
        way: Way,
        payload_type: int,
        payload: bytes,
        message: Any,
        core: Conversation,
        states: tuple[State, State],
    ) -> None:
        """Trace a message; `states` are those before and after its step.

        `message` is the decoded payload, None if not known yet.
        """
        if core.session_id != NO_SESSION:
            self._session = core.session_id.hex()
        place = lines.describe(payload_type, payload, core.decode, message)
        before, after = states
        # An exchange changes state with its response: a request shows the state before it.
        if not place.name.endswith("Res"):
            before = after = before if way == "in" else after
        self._write(
            at,
            way,
            place.name,
            stream=lines.stream_name(payload_type),
            state=before.value,
            next=after.value,
            body=place.body,
            exi="" if place.withheld else payload.hex(),
            withheld=place.withheld,
            error=place.error,
        )

    def broken(self, at: Moment, data: bytes, error: CodecError, core: Conversation) -> None:
        """Trace bytes that are not a frame."""
        self._write(at, "in", "", state=core.state.value, next=core.state.value, exi=data.hex(), error=str(error))

    def ended(self) -> None:
        """Mark the end of the conversation: later lines belong to the next one, after an arrival."""
        self._over = True

    def _begin(self) -> None:
        if self._over:
            self._run, self._over, self._session = "", False, ""

    def _write(self, at: Moment, way: Way, name: str, **fields: object) -> None:
        self._run = self._run or self._trace.next_run()
        self._trace.write(at, way, name, run=self._run, session=self._session, evse=self._evse_id, **fields)


class TracedCore:
    """A traced core; see `v2g.io.runtime.runner.Core`."""

    def __init__(self, core: Conversation, place: TracePlace) -> None:
        self._core = core
        self._place = place
        self._frame = bytearray()
        self._lost = False
        self._actions: list[Action] = []

    @property
    def closed(self) -> bool:
        return self._core.closed

    @property
    def reason(self) -> str:
        return self._core.reason

    def deadline(self) -> float | None:
        return self._core.deadline()

    def start(self, now: float, utc_ms: int) -> None:
        before = self._state
        self._core.start(now, utc_ms)
        self._look(before)

    def receive(self, data: bytes, now: float, utc_ms: int) -> None:
        """See Session. Frames received together are fed one by one, which makes no difference to a core."""
        while data:
            size = self._size(data)
            piece, data = data[:size], data[size:]
            before, at = self._state, self._place.now()
            self._core.receive(piece, now, utc_ms)
            self._note(piece, before, at)
            self._look(before)

    def receive_eof(self, now: float, utc_ms: int) -> None:
        before = self._state
        self._core.receive_eof(now, utc_ms)
        self._look(before)

    def fact(self, fact: Fact, now: float, utc_ms: int) -> None:
        before = self._state
        self._core.fact(fact, now, utc_ms)
        self._look(before)

    def tick(self, now: float, utc_ms: int) -> None:
        before = self._state
        self._core.tick(now, utc_ms)
        self._look(before)

    def abort(self, reason: str, now: float, utc_ms: int) -> None:
        before = self._state
        self._core.abort(reason, now, utc_ms)
        self._look(before)

    def actions(self) -> list[Action]:
        self._look(self._state)
        actions, self._actions = self._actions, []
        return actions

    @property
    def _state(self) -> State:
        """The state of the conversation; a failing core closes in its current state."""
        over = self._core.closed and self._core.state is not State.PAUSED
        return State.ENDED if over else self._core.state

    def _size(self, data: bytes) -> int:
        """Return how many bytes of `data` the core gets at once: at most the rest of the current frame."""
        frame = self._frame
        if self._lost or len(frame) + len(data) < HEADER_SIZE:
            return len(data)
        try:
            return HEADER_SIZE + _header(frame[:HEADER_SIZE] + data[:HEADER_SIZE])[1] - len(frame)
        except FrameError:
            return HEADER_SIZE - len(frame)

    def _note(self, piece: bytes, before: State, at: Moment) -> None:
        """Process a piece; trace the message when complete. One without payload is complete with its header."""
        if self._lost:
            return
        self._frame += piece
        if len(self._frame) < HEADER_SIZE:
            return
        try:
            payload_type, length = _header(self._frame)
        except FrameError as error:
            self._place.broken(at, bytes(self._frame), error, self._core)
            self._lost = True
            return
        if len(self._frame) == HEADER_SIZE + length:
            payload = bytes(self._frame[HEADER_SIZE:])
            self._frame.clear()
            newest = self._core.newest
            message = newest.message if newest.exi == payload else None
            self._place.message(at, "in", payload_type, payload, message, self._core, (before, self._state))

    def _look(self, before: State) -> None:
        """Return the core's actions and trace what it sends."""
        for action in self._core.actions():
            self._actions.append(action)
            if isinstance(action, Send):
                payload_type = int.from_bytes(action.data[2:4], "big")
                self._place.message(
                    self._place.now(),
                    "out",
                    payload_type,
                    action.data[HEADER_SIZE:],
                    action.message,
                    self._core,
                    (before, self._state),
                )
        if self._core.closed:
            self._place.ended()


def _header(frame: bytes | bytearray) -> tuple[int, int]:
    return read_header(frame, max_payload=DEFAULT_MAX_PAYLOAD)


def open_trace(config: LogConfig, process: str, clock: Clock) -> Trace | None:
    """Return the configured trace, or None. Raises StoreError."""
    if config.trace is None:
        return None
    return Trace(process, clock, TraceFile(config.trace, max_mib=config.trace_max_mib, keep=config.keep))


_MAX_LINE: Final = 64 * 2**20
"""Longest line of a trace, octets: far more than any message."""


def read(path: Path, errors: list[V2GError] | None = None) -> Iterator[Line]:
    """Yield the lines of a trace. Raises ConfigError when it cannot be read, CodecError with the line's number.

    An incomplete last line is skipped: the program that wrote it was killed, or is still writing. With `errors` other
    lines are skipped, too, and added to it as CodecError.
    """
    try:
        with path.open("rb") as file:
            for number, text in enumerate(iter(partial(file.readline, _MAX_LINE), b""), 1):
                if len(text) == _MAX_LINE:
                    raise CodecError(f"{path}:{number}: incomplete line", hint="is it a trace?")
                if not text.endswith(b"\n"):
                    return
                try:
                    if not text.isspace():
                        yield _line(path, number, text)
                except CodecError as error:
                    if errors is None:
                        raise
                    errors.append(error)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give the file that log.trace names") from None


def _line(path: Path, number: int, text: bytes) -> Line:
    try:
        return lines.decode_line(text)
    except CodecError as error:
        raise CodecError(f"{path}:{number}: {error}", hint=error.hint) from None
