"""Writes what programs observe as JSON lines, stamped with both clocks."""

import logging
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from v2g.net.clock import Clock
from v2g.observe import Observe

_encode = msgspec.json.Encoder(order="deterministic").encode
_log = logging.getLogger(__name__)


class EventLog:
    """Appends one JSON object a line: `t` (s, CLOCK_MONOTONIC), `utc_ms`, `process`, `stage`, `name`, `data`.

    With no path it only logs. Lines are written unbuffered, so that a killed process loses none. A disk that is full
    costs events, never the session that they are about: unlike the books, they prove nothing.
    """

    def __init__(self, process: str, clock: Clock, path: Path | None = None) -> None:
        self._process = process
        self._clock = clock
        self._torn = False
        self._file: BinaryIO | None = path.open("ab", buffering=0) if path else None

    def __call__(self, event: Observe) -> None:
        """Record one event."""
        _log.info("%s %s %s", event.stage, event.name, event.data)
        if self._file is not None:
            record: dict[str, Any] = {
                "t": self._clock.monotonic(),
                "utc_ms": self._clock.utc_ms(),
                "process": self._process,
                "stage": event.stage,
                "name": event.name,
                "data": event.data,
            }
            line = _encode(record) + b"\n"
            try:
                torn = self._file.write(b"\n" + line if self._torn else line) < len(line)
            except OSError as error:
                _log.error("an event is lost: %s", error)
            else:
                self._torn = torn

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
