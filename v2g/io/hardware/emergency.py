"""The emergency output of a charger or a vehicle: asserted at once, recorded, and released by a person only (R127).

The output, a solenoid or the input of a fire panel, does not wait for the disk; the event that acknowledges it does.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import StoreError, TransportError
from v2g.hardware.interfaces import EmergencyOutput
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.hardware.gpio import GpiodLines, GpioLine, GpioLines
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.supervision import run_all
from v2g.io.storage.emergency_log import EmergencyLog, EmergencyRecord
from v2g.observe import Observe

OUTPUT: Final = "emergency.output"
"""File of a simulated output."""

CHECK_S: Final = 1.0
"""Interval at which an asserted output and its record are looked after."""


class GpioEmergencyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line that switches a solenoid or the input of a fire panel."""

    output: GpioLine
    """Active while asserted. When the program ends, its chip decides: use a relay that latches."""
    feedback: GpioLine | None = None
    """Active while the output has effect; none: as commanded."""


class GpioEmergencyOutput:
    """See EmergencyOutput."""

    def __init__(self, lines: GpioLines, *, feedback: bool) -> None:
        self._lines, self._feedback, self._commanded = lines, feedback, False

    @property
    def asserted(self) -> bool:
        """See EmergencyOutput. Raises TransportError."""
        return self._lines.read()["feedback"] if self._feedback else self._commanded

    def set(self, *, asserted: bool) -> None:
        """See EmergencyOutput. Raises TransportError."""
        self._lines.write("output", active=asserted)
        self._commanded = asserted


class SimulatedEmergencyOutput:
    """A relay that latches: its state is the presence of a file; without one it forgets. See EmergencyOutput."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._asserted = path, False

    @property
    def asserted(self) -> bool:
        return self._asserted if self._path is None else self._path.exists()

    def set(self, *, asserted: bool) -> None:
        self._asserted = asserted
        try:
            if self._path is not None and asserted:
                self._path.touch()
            elif self._path is not None:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise TransportError(f"{self._path}: {error.strerror}") from None


@asynccontextmanager
async def open_gpio(config: GpioEmergencyConfig, _: DriverContext | None = None) -> AsyncIterator[GpioEmergencyOutput]:
    """Take the lines. Raises TransportError, and ConfigError without the extra `gpio`."""
    inputs = {} if config.feedback is None else {"feedback": config.feedback}
    lines = GpiodLines({"output": config.output}, inputs)
    try:
        yield GpioEmergencyOutput(lines, feedback=config.feedback is not None)
    finally:
        lines.close()


DRIVER: Final = Driver("emergency", GpioEmergencyConfig, open_gpio)


class Emergency:
    """The output with its record. What lasts from an earlier run is asserted at once, and otherwise released."""

    def __init__(
        self,
        output: EmergencyOutput,
        log: EmergencyLog,
        disk: DiskThread,
        *,
        utc_ms: Callable[[], int],
        observe: Callable[[Observe], None],
    ) -> None:
        self._output, self._log, self._disk = output, log, disk
        self._utc_ms, self._observe = utc_ms, observe
        self._unwritten: EmergencyRecord | None = None
        self._writing = self._ineffective = False
        lasting = log.latched
        self.cause = "" if lasting is None else lasting.cause
        """Why the output is asserted; empty if it is not."""
        run_all((partial(output.set, asserted=lasting is not None),))
        if lasting is not None:
            self._acknowledge(lasting)

    def trip(self, cause: str, evidence: Mapping[str, float | None]) -> None:
        """Assert the output, and record why. The first cause counts."""
        if self.cause:
            return
        self.cause = cause
        run_all((partial(self._output.set, asserted=True),))
        shown = {name[:500]: value for name, value in list(evidence.items())[:100]}
        self._unwritten = EmergencyRecord(utc_ms=self._utc_ms(), what="asserted", cause=cause[:500], evidence=shown)
        self._write()

    def check(self) -> None:
        """Repeat what did not succeed: an output without effect, a record that is not on the disk. Every CHECK_S."""
        if not self.cause:
            return
        self._write()
        effective = True
        try:
            effective = self._output.asserted
            if not effective:
                self._output.set(asserted=True)
        except TransportError:
            effective = False
        if not effective and not self._ineffective:
            self._observe(Observe("emergency", "without_effect", {"cause": self.cause}))
        self._ineffective = not effective

    def _write(self) -> None:
        record = self._unwritten
        if record is None or self._writing:
            return
        self._writing = True
        written = self._disk.do(partial(self._log.append, record), lambda: None)
        written.add_done_callback(lambda done: self._written(record, done.exception()))

    def _written(self, record: EmergencyRecord, error: BaseException | None) -> None:
        self._writing = False
        if error is None:
            self._unwritten = None
            self._acknowledge(record)
        else:
            assert isinstance(error, StoreError)
            self._observe(Observe("emergency", "not_recorded", {"cause": record.cause, "error": str(error)}))

    def _acknowledge(self, record: EmergencyRecord) -> None:
        self._observe(Observe("emergency", "asserted", {"cause": record.cause, "since_ms": record.utc_ms}))
