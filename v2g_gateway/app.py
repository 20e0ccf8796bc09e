"""The gateway program: runs until SIGTERM or SIGINT, delivers what it can within a few seconds, and ends."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from v2g.io.ota.unreadable import read_or_go_back
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.program import run
from v2g.io.runtime.service_manager import notify
from v2g.io.runtime.supervision import Supervisor, defects_reported
from v2g.io.storage.growing_file import MIB, GrowingFile, LogFiles
from v2g.observe import Observe
from v2g.pki.profile import Role
from v2g.telemetry.error_codes import Level, error_line
from v2g.typed_json import Fields
from v2g_gateway.config import GatewayConfig, load_config
from v2g_gateway.gateway import Gateway, state_folder

# -- The gateway's error log: one line for each error, of a fixed form (docs/reference/telemetry.md#error-log) -------

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


def main(config_path: Path, events: Path | None) -> int:
    """Run until a signal ends it; return the exit code."""
    return run(
        lambda: read_or_go_back(config_path, partial(load_config, name=str(config_path)), _place),
        lambda config: config.log,
        lambda config: _run(config, events or config.log.events),
    )


def _place(tree: Fields) -> tuple[Fields, Path]:
    return tree["update"], state_folder(Path(tree["outbox"]))


async def _run(config: GatewayConfig, events: Path | None) -> int:
    clock = Clock(config.clock)
    with contextlib.ExitStack() as stack:
        events_log = EventLog("gateway", clock, events, files=config.log)
        stack.callback(events_log.close)
        observe = ErrorLog(config.error_log, config.log, clock, events_log)
        stack.callback(observe.close)
        stack.enter_context(defects_reported(observe))
        supervisor = Supervisor(observe)
        if config.enrolment is not None and config.own_files is not None:
            from v2g.io.http.self_enrolment import SelfEnrolment  # only where it is configured

            enrolment = SelfEnrolment(config.enrolment, *config.own_files, Role.GATEWAY, clock, observe)
            await enrolment.first()
            supervisor.keep("enrolment", enrolment.run)
        gateway = await Gateway.open(config, clock, observe)
        notify("READY=1")
        try:
            await asyncio.Event().wait()
        finally:
            await supervisor.close()
            await gateway.close()
    return 0
