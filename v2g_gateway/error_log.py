"""The gateway's error log: one line for each error, of a fixed form (docs/reference/telemetry.md#error-log)."""

import logging
from collections.abc import Callable
from pathlib import Path

from v2g.io.runtime.clock import Clock
from v2g.io.storage.growing_file import MIB, GrowingFile, LogFiles
from v2g.observe import Observe
from v2g.telemetry.error_codes import Level, error_line

_log = logging.getLogger(__name__)


class ErrorLog:
    """Passes events on to `observe`, and writes a line for those that are errors. A full disk costs lines only."""

    def __init__(self, path: Path | None, files: LogFiles, clock: Clock, observe: Callable[[Observe], None]) -> None:
        """Raises TransportError for an unwritable file."""
        self._clock, self._observe = clock, observe
        self._file = None if path is None else GrowingFile(path, max_bytes=files.max_mib * MIB, keep=files.keep)

    def __call__(self, event: Observe) -> None:
        """Handle an event."""
        self._observe(event)
        known = event.declaration
        if self._file is None or not known.code:
            return
        detail = " ".join(f"{key}={value}" for key, value in event.data.items() if value is not None and key != "hint")
        level: Level = "ERROR" if known.severity == "error" else "WARNING"
        try:
            self._file.append(error_line(self._clock.utc_ms(), level, known.code, detail).encode())
        except OSError as error:
            _log.error("an error line is lost: %s", error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
