"""Keeps the journal of one session: entries of the core and the meter, on disk before anything follows.

Entries are made in the event loop and written by the disk's thread, in the same order. The result is a
future, done when the entry is on the disk: until then nothing that depends on it may proceed.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec
from msgspec import UNSET

from secc.hardware.meter import Meter
from secc.session import ports
from v2g.energy.settlement import records
from v2g.energy.settlement.session_journal import CLOCK_STEP_MS, SessionJournal
from v2g.errors import StoreError
from v2g.hardware.meters.plausibility import unmetered_mwh
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.iso15118.engine.session import Command, Fact
from v2g.units import QUARTER_MS

CLOSED_S: Final = 0.2
"""Interval of checks of closed journals, real seconds."""
NEWS_S: Final = 1.0
"""Longest sleep before a new tariff is noticed, real seconds."""

_READ_BEFORE: Final[dict[type[records.AnyRecord], str]] = {
    records.TariffSet: "price",
    records.TermsDecided: "price",
    records.MeteringConfirmed: "confirmation",
}
"""Reason of the reading before an entry: before other prices, and before a reading that the vehicle confirmed, so that
the registers are not less after a crash."""


class LineFile(Protocol):
    """Durable storage of lines: `v2g.io.storage.journal_file.JournalFile`."""

    def append(self, lines: Iterable[bytes]) -> None:
        """Write lines durably. Raises StoreError."""

    def close(self) -> None:
        """Close the file."""


class _Journal:
    """The file of a journal, used only by the disk's thread. After a failure it accepts nothing."""

    def __init__(self, opening: Callable[[], LineFile]) -> None:
        self._opening: Callable[[], LineFile] | None = opening
        self._file: LineFile | None = None

    def append(self, lines: list[bytes], meter: Meter | None) -> None:
        """Write these lines durably; before readings the registers of their meter, which must not fall behind."""
        opening, self._opening = self._opening, None
        if opening is not None:
            self._file = opening()
        if self._file is None:
            raise StoreError("the journal could not be opened", hint="energy transfer stops without a journal")
        if meter is not None:
            meter.sync()
        self._file.append(lines)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class JournalWriter:
    """The journal of one session, opened by its `session_started` and closed by its `session_ended`.

    `open_file` takes the session id (hex) and returns the file, in the disk's thread; `on_line` gets each line once
    it is durable, for the copy at the CSMS; `on_status` what is wrong with a reading, and the reading's reason.
    `flowed_mwh` returns the energy in and out that the power electronics has measured itself, since its start.
    Everything raises StoreError when the disk fails: then no power may follow.
    """

    def __init__(
        self,
        open_file: Callable[[str], LineFile],
        *,
        meter: Meter,
        clock: Clock,
        disk: DiskThread,
        on_line: Callable[[bytes], None],
        on_status: Callable[[Sequence[records.MeterStatus], str], None] = lambda status, reason: None,
        flowed_mwh: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        self._open_file = open_file
        self._meter, self._clock, self._disk, self._on_line = meter, clock, disk, on_line
        self._on_status, self._flowed_mwh = on_status, flowed_mwh
        self._began = ((0, 0), (0, 0))  # both measurements at the session's start
        self._session_journal = SessionJournal()
        self._journal: _Journal | None = None
        self._metered = False  # energy may have flowed
        self._offset_ms: int | None = None  # UTC less elapsed time, at the last reading

    @property
    def is_open(self) -> bool:
        """Whether the session has begun and not ended."""
        return self._journal is not None

    def reopen(self, file: LineFile, data: bytes) -> None:
        """Continue a journal after a restart; `data` is the file's content. Raises VerificationError."""
        self._session_journal, self._journal = SessionJournal.resume(data), _Journal(lambda: file)
        self._metered, self._began = True, self._measurements()

    def take_over(self, other: "JournalWriter") -> None:
        """Take over the journal of a paused session from `other`."""
        self._session_journal, self._journal = other._session_journal, other._journal
        self._metered, self._offset_ms = other._metered, other._offset_ms
        self._began = other._began
        other._journal = None

    async def put_down(self) -> None:
        """Close the file and leave the journal open: the session continues after a restart."""
        journal = self._journal
        if journal is not None:
            lines = self._unmetered(self._clock.utc_ms())
            written = self._append(lines, None, _nothing) if lines else None
            self._journal = None
            await self._disk.do(journal.close, _nothing)
            if written is not None:
                await written

    def execute(self, command: Command) -> "asyncio.Future[Fact | None] | None":
        """Execute Journal, RecordMeter or CloseJournal; the result of RecordMeter is a fact. Others are ignored."""
        match command:
            case ports.Journal(record=record, utc_ms=utc_ms):
                return self.write(record, utc_ms)
            case ports.RecordMeter(reason=reason, power_w=power_w, soc=soc):
                return self.record_meter(reason, power_w=power_w, soc=soc)
            case ports.CloseJournal(reason=reason):
                return self.close(reason)
        return None

    def write(self, record: records.AnyRecord, utc_ms: int | None = None) -> "asyncio.Future[Fact | None]":
        """Write an entry, of this time or of now; `session_started` opens the file."""
        if isinstance(record, records.SessionStarted):
            self._journal = _Journal(partial(self._open_file, record.session_id))
            self._began = self._flowed_mwh(), (record.import_mwh, record.export_mwh)
        reason = _READ_BEFORE.get(type(record))
        if not (self._metered and reason):
            at_ms = self._clock.utc_ms() if utc_ms is None else utc_ms
            return self._append(self._session_journal.record(record, at_ms), None, _nothing)
        reading = self._meter.read(self._clock.utc_ms())
        lines = self._read(reason, reading) + self._session_journal.record(record, reading.utc_ms)
        return self._append(lines, self._meter, _nothing)

    def record_meter(
        self, reason: str, *, power_w: int | None = None, soc: int | None = None
    ) -> "asyncio.Future[Fact | None]":
        """Read the meter, write the reading and the completed intervals, and return it as a fact."""
        reading = self._meter.read(self._clock.utc_ms())
        fact = msgspec.structs.replace(reading, reason=reason)
        if not self.is_open:
            return self._disk.do(_nothing, lambda: fact)
        lines = self._read(reason, reading, power_w, soc)
        known = msgspec.structs.replace(fact, journal=self._session_journal.head)
        return self._append(lines, self._meter, lambda: known)

    def _read(
        self, reason: str, reading: ports.MeterRead, power_w: int | None = None, soc: int | None = None
    ) -> list[bytes]:
        """Return the lines of a reading: a good one, or one that is marked."""
        self._meter.save(sync=False)
        self._metered = True
        status: list[records.MeterStatus] = [] if reading.answered else ["missing"]
        # whether UTC has moved unlike time since the last reading
        before, self._offset_ms = self._offset_ms, reading.utc_ms - self._clock.elapsed_ms()
        if before is not None and abs(self._offset_ms - before) > CLOCK_STEP_MS * max(1.0, self._clock.scale):
            status.append("time_jump")
        shown = reading.shown or {"import_mwh": 0, "export_mwh": 0}
        record = records.MeterReading(**shown, reason=reason, power_w=power_w, soc=soc, status=tuple(status) or UNSET)
        lines = self._session_journal.record(record, reading.utc_ms)
        if found := self._session_journal.state.status:
            self._on_status(found, reason)
        return lines

    def close(self, reason: str) -> "asyncio.Future[Fact | None] | None":
        """Write the last reading, the last interval and `session_ended`; does nothing when not open."""
        if self._journal is None:
            return None
        last = self._meter.read(self._clock.utc_ms())
        self._meter.save(sync=False)
        lines = [] if last.answered else self._shown_last(last)
        lines += self._unmetered(last.utc_ms if last.answered else 0)
        lines += self._session_journal.end(reason, last.utc_ms, **last.shown)
        written = self._append(lines, self._meter, _nothing)
        journal, self._journal = self._journal, None
        self._disk.do(journal.close, _nothing).add_done_callback(_retrieved)  # written lines are already on the disk
        return written

    def _shown_last(self, silent: ports.MeterRead) -> list[bytes]:
        """Return the lines of the last reading of a meter that does not answer any more, if it shows more than the
        journal has: else nothing would count since the reading before, up to a quarter hour."""
        state = self._session_journal.state
        shown = msgspec.structs.replace(silent, answered=True).shown
        record = records.MeterReading(**shown, reason="interval", status=UNSET)
        if (record.import_mwh, record.export_mwh) == (state.meter.shown_import_mwh, state.meter.shown_export_mwh):
            return []
        age_s = max(0.0, self._clock.monotonic() - self._meter.read_at) * self._clock.scale
        return self._session_journal.record(record, max(state.utc_ms, silent.utc_ms - round(age_s * 1000)))

    def _measurements(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return energy in and out by the power electronics, and by the meter as the journal counts it, each since a
        start of its own."""
        state, reading = self._session_journal.state, self._meter.read(self._clock.utc_ms())
        counted = state.meter
        if reading.answered:
            counted, _ = counted.follow(**reading.shown, utc_ms=max(state.utc_ms, reading.utc_ms))
        return self._flowed_mwh(), (counted.import_mwh, counted.export_mwh)

    def _unmetered(self, utc_ms: int) -> list[bytes]:
        """Return the lines of what has flowed without the meter counting it; none within the errors of both."""
        flowed, metered = self._measurements()
        flowed_before, metered_before = self._began
        missing = [
            unmetered_mwh(flowed[each] - flowed_before[each], metered[each] - metered_before[each]) for each in (0, 1)
        ]
        if not any(missing):
            return []
        self._began = flowed, metered
        record = records.EnergyUnmetered(import_mwh=missing[0], export_mwh=missing[1])
        return self._session_journal.record(record, utc_ms)

    async def close_intervals(self, on_interval: Callable[[ports.MeterRead], None]) -> None:
        """Record a reading at each quarter hour while the journal is open, and pass it on; runs until cancelled.

        Another one where the price changes: energy is priced by what the meter showed, not by interpolation.
        """
        while True:
            due_ms = self._session_journal.next_reading_ms if self.is_open else None
            if due_ms is None:
                await asyncio.sleep(CLOSED_S)
                continue
            # an interval is closed by the first reading after its end
            wait_s = max(0.001, (due_ms + 1 - self._clock.utc_ms()) / 1000 / self._clock.scale)
            await asyncio.sleep(min(wait_s, NEWS_S))
            if self.is_open and self._clock.utc_ms() > due_ms:
                over = due_ms % QUARTER_MS == 0
                reading = await self.record_meter("interval" if over else "price")
                assert isinstance(reading, ports.MeterRead)
                if over:
                    on_interval(reading)

    def _append(
        self, lines: list[bytes], meter: Meter | None, then: Callable[[], Fact | None]
    ) -> "asyncio.Future[Fact | None]":
        if self._journal is None:
            raise StoreError("the journal is not open", hint="session_started comes first")

        def tell() -> Fact | None:
            for line in lines:
                self._on_line(line)
            return then()

        return self._disk.do(partial(self._journal.append, lines, meter), tell)


def _nothing() -> Fact | None:
    """Do nothing, without a result."""
    return None


def _retrieved(future: "asyncio.Future[Fact | None]") -> None:
    """Retrieve an exception without consequences."""
    if not future.cancelled():
        future.exception()
