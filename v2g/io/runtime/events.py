"""Writes events of programs as JSON lines, with both clocks."""

import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from v2g.events import EVENTS
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.event_socket import EventSocket
from v2g.io.storage.growing_file import MIB, GrowingFile, LogFiles
from v2g.observe import Callbacks, Observe

if TYPE_CHECKING:  # a back end has no ISO 15118 session, and need not load one
    from v2g.io.runtime.trace import Trace
    from v2g.iso15118.engine.core import Conversation, Core

_encode = msgspec.json.Encoder(order="deterministic").encode
_log = logging.getLogger(__name__)

MOST_HELD: Final = 2000

_LEVELS: Final = {each.key: logging.getLevelNamesMapping()[each.severity.upper()] for each in EVENTS.values()}


class EventLog:
    """Appends one JSON object a line: `t` (s, CLOCK_MONOTONIC), `utc_ms`, `process`, `stage`, `name`, `data`.

    Without a path it only logs, and retains the last lines for `recent`. Lines are written unbuffered, so that a killed
    process loses none; `files` limits the size and number of files. A full disk costs
    events, never the session: unlike the journal, they are not evidence. Events of a conversation
    go to its `trace`, too, and all events to the readers of `local`.
    """

    def __init__(
        self,
        process: str,
        clock: Clock,
        path: Path | None = None,
        *,
        trace: "Trace | None" = None,
        files: LogFiles = LogFiles(),  # noqa: B008 - it is immutable
        local: EventSocket | None = None,
    ) -> None:
        """Raises StoreError for an unwritable file."""
        self._process = process
        self.path: Final = path
        self._trace = trace
        self.local: Final = local
        self._clock = clock
        self._file = GrowingFile(path, max_bytes=files.max_mib * MIB, keep=files.keep) if path else None
        self._held: deque[tuple[float, int, Observe]] = deque(maxlen=0 if path else MOST_HELD)
        self.on_event: Final = Callbacks[Observe]()
        """Called with each event, in the event loop."""
        self.brief = False
        """Whether events of severity `debug`, such as each charge loop, are in no file and reach no reader (R130)."""

    def __call__(self, event: Observe) -> None:
        """Record one event."""
        level = _LEVELS.get((event.stage, event.name), logging.INFO)
        self.on_event.tell(event)
        if self.brief and level <= logging.DEBUG:
            return
        if _log.isEnabledFor(level):
            details = "".join(f" {key}={value}" for key, value in event.data.items() if value is not None)
            _log.log(level, "%s %s%s", event.stage, event.name, details)
        if self._trace is not None:
            self._trace.event(event)
        now, utc_ms = self._clock.monotonic(), self._clock.utc_ms()
        is_read = self.local is not None and self.local.is_read
        line = self._line(now, utc_ms, event) + b"\n" if is_read or self._file is not None else b""
        if self.local is not None and is_read:
            self.local.publish(line)
        if self._file is None:
            self._held.append((now, utc_ms, event))
        else:
            try:
                self._file.append(line)
            except OSError as error:
                _log.error("an event is lost: %s", error)

    def _line(self, now: float, utc_ms: int, event: Observe) -> bytes:
        record: dict[str, object] = {
            "t": now,
            "utc_ms": utc_ms,
            "process": self._process,
            "stage": event.stage,
            "name": event.name,
            "data": event.data,
        }
        return _encode(record)

    def line(self, event: Observe) -> bytes:
        """Return an event as readers of `local` get it, of this time."""
        return self._line(self._clock.monotonic(), self._clock.utc_ms(), event) + b"\n"

    def recent(self) -> list[bytes]:
        """Return the last lines, oldest first, if they go to no file."""
        return [self._line(*held) for held in list(self._held)]

    def tracer(self, evse_id: str = "") -> "Callable[[Conversation], Core]":
        """Return a function that wraps a core for a runner, with tracing if configured.

        `evse_id` identifies one of several EVSEs in its events.
        """
        return _untraced if self._trace is None else self._trace.place(evse_id).traced

    def close(self) -> None:
        """Close the files."""
        if self._file is not None:
            self._file.close()
        if self._trace is not None:
            self._trace.close()


def _untraced(core: "Conversation") -> "Core":
    return core
