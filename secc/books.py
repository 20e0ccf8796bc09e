"""Keeps the journal of one session: what the core says and what the meter shows, on disk before anything follows."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from secc.core import ports
from secc.meter import Meter
from v2g.errors import StoreError
from v2g.iso15118.session import Command
from v2g.net.clock import Clock
from v2g.settlement.ledger import Ledger
from v2g.settlement.records import AnyRecord, MeterReading, SessionStarted

CLOSED_S: Final = 0.2
"""How often closed books are looked at, real seconds."""


class LineFile(Protocol):
    """Where lines become durable: `v2g.net.journal_file.JournalFile`."""

    def append(self, lines: Iterable[bytes]) -> None:
        """Write lines; they are on the disk when this returns. Raises StoreError."""

    def close(self) -> None:
        """Let go of the file."""


class Books:
    """The journal of one session, opened by its `session_started` and closed by its `session_ended`.

    `open_file` is given the session id (hex) and returns the file; `on_line` gets each line once it is durable, for
    the copy at the CSMS. Everything raises StoreError when the disk does not take it: then no power may follow.
    """

    def __init__(
        self,
        open_file: Callable[[str], LineFile],
        *,
        meter: Meter,
        clock: Clock,
        on_line: Callable[[bytes], None],
    ) -> None:
        self._open_file = open_file
        self._meter, self._clock, self._on_line = meter, clock, on_line
        self._ledger = Ledger()
        self._file: LineFile | None = None

    @property
    def is_open(self) -> bool:
        """Whether the session has begun and not ended."""
        return self._file is not None

    def execute(self, command: Command) -> ports.MeterRead | None:
        """Carry out Journal, RecordMeter or CloseBooks; the outcome of RecordMeter is a fact. Others do nothing."""
        match command:
            case ports.Journal(record=record):
                self.write(record)
            case ports.RecordMeter(reason=reason, power_w=power_w, soc=soc):
                return self.record_meter(reason, power_w=power_w, soc=soc)
            case ports.CloseBooks(reason=reason):
                self.close(reason)
        return None

    def write(self, record: AnyRecord) -> None:
        """Write an entry; `session_started` opens the file."""
        if isinstance(record, SessionStarted):
            self._file = self._open_file(record.session_id)
        self._append(self._ledger.record(record, self._clock.utc_ms()))

    def record_meter(self, reason: str, *, power_w: int | None = None, soc: int | None = None) -> ports.MeterRead:
        """Read the meter, write the reading and the intervals that it closes, and return it as a fact."""
        reading = self._meter.read(self._clock.utc_ms())
        if self.is_open:
            self._meter.save()  # registers on disk never fall behind the journal
            record = MeterReading(
                import_mwh=reading.import_mwh, export_mwh=reading.export_mwh, reason=reason, power_w=power_w, soc=soc
            )
            self._append(self._ledger.record(record, reading.utc_ms))
        return ports.MeterRead(reading.utc_ms, reading.import_mwh, reading.export_mwh, self._meter.serial)

    def close(self, reason: str) -> None:
        """Write the last reading, the last interval and `session_ended`; harmless when nothing is open."""
        if self._file is None:
            return
        last = self._meter.read(self._clock.utc_ms())
        self._meter.save()
        self._append(self._ledger.end(reason, last.utc_ms, import_mwh=last.import_mwh, export_mwh=last.export_mwh))
        self._file.close()
        self._file = None

    async def close_intervals(self, on_interval: Callable[[ports.MeterRead], None]) -> None:
        """Take a reading at each quarter hour while the books are open, and pass it on; runs until cancelled."""
        while True:
            boundary_ms = self._ledger.next_boundary_ms if self.is_open else None
            if boundary_ms is None:
                await asyncio.sleep(CLOSED_S)
                continue
            # an interval is closed by the first reading after its end
            wait_ms = boundary_ms + 1 - self._clock.utc_ms()
            await asyncio.sleep(max(0.001, wait_ms / 1000 / self._clock.scale))
            if self.is_open and self._clock.utc_ms() > boundary_ms:
                on_interval(self.record_meter("interval"))

    def _append(self, lines: list[bytes]) -> None:
        if self._file is None:
            raise StoreError("the books are not open", hint="session_started comes first")
        self._file.append(lines)
        for line in lines:
            self._on_line(line)
