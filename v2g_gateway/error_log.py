"""The gateway's error log: one line for each error, of a fixed form (docs/reference/telemetry.md#error-log)."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from v2g.io.runtime.clock import Clock
from v2g.io.storage.growing_file import MIB, GrowingFile, LogFiles
from v2g.observe import Observe
from v2g.telemetry.error_codes import Level, error_line

_log = logging.getLogger(__name__)

ERRORS: Final[dict[str, tuple[int, Level]]] = {
    "message_timeout": (0x1A4, "ERROR"),
    "can_fault": (0x1C1, "ERROR"),
    "records_dropped": (0x1D1, "WARNING"),
    "waiting": (0x1D2, "WARNING"),
    "record_unreadable": (0x1D3, "ERROR"),
    "boot_renumbered": (0x1D4, "WARNING"),
    "outbox_damaged": (0x1D5, "ERROR"),
    "schema_unregistered": (0x2B9, "ERROR"),
    "task_failed": (0x1E1, "ERROR"),
}
"""Code and level, by the name of the gateway's event."""


class ErrorLog:
    """Passes events on to `observe`, and writes a line for those that are errors. A full disk costs lines only."""

    def __init__(self, path: Path | None, files: LogFiles, clock: Clock, observe: Callable[[Observe], None]) -> None:
        """Raises TransportError for an unwritable file."""
        self._clock, self._observe = clock, observe
        self._file = None if path is None else GrowingFile(path, max_bytes=files.max_mib * MIB, keep=files.keep)

    def __call__(self, event: Observe) -> None:
        """Handle an event."""
        self._observe(event)
        known = ERRORS.get(event.name)
        if self._file is None or known is None:
            return
        code, level = known
        detail = " ".join(f"{key}={value}" for key, value in event.data.items() if value is not None and key != "hint")
        try:
            self._file.append(error_line(self._clock.utc_ms(), level, code, detail).encode())
        except OSError as error:
            _log.error("an error line is lost: %s", error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
