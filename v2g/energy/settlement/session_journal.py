"""The charger's journal: takes readings, returns lines to store durably, and closes intervals by itself."""

import itertools
from collections.abc import Sequence
from typing import Self

from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.intervals import IntervalCloser, Registers
from v2g.energy.settlement.journal import Entry, Journal, JournalState, verify_lines
from v2g.energy.settlement.records import (
    AnyRecord,
    IntervalClosed,
    MeterReading,
    SessionEnded,
    SessionStarted,
    TariffSet,
)
from v2g.errors import StoreError, VerificationError


class SessionJournal:
    """One session's journal and its open interval.

    Every method returns lines, in order, which must be stored durably, in one write, before they take effect.
    """

    def __init__(self) -> None:
        self._journal = Journal()
        self._closer: IntervalCloser | None = None
        self._turns: tuple[int, ...] = ()  # where the tariff's price changes, UTC ms
        self._pending: list[IntervalClosed] = []  # closed by a reading, but the process was killed before writing it
        self._finished = False  # the last interval is closed, only session_ended is missing

    @classmethod
    def resume(cls, data: bytes) -> Self:
        """Return the journal that continues a journal file, after a restart. Raises VerificationError."""
        made = cls()
        entries = verify_lines(data)
        made._journal = Journal.resume(data)
        readings = readings_of(entries)
        closer = IntervalCloser(readings[0])
        expected = [each for reading in readings[1:] for each in closer.add(reading)]
        written = [entry.data for entry in entries if isinstance(entry.data, IntervalClosed)]
        if written == expected[: len(written)]:
            made._pending = expected[len(written) :]
        elif written == expected + closer.finish():
            made._finished = True
        else:
            raise VerificationError("the intervals differ from those of the readings", where="journal.jsonl:1")
        made._closer = closer
        tariffs = [entry.data.tariff for entry in entries if isinstance(entry.data, TariffSet)]
        made._turns = _turns(tariffs[-1]) if tariffs else ()
        return made

    @property
    def state(self) -> JournalState:
        """Head hash, count, last registers and whether the session has ended. Read only."""
        return self._journal.state

    @property
    def next_boundary_ms(self) -> int | None:
        """The quarter hour (UTC ms) that is closed next; None before the start."""
        return self._closer.next_boundary_ms if self._closer else None

    @property
    def next_reading_ms(self) -> int | None:
        """When (UTC ms) the meter should be read next: at a quarter hour, and where the tariff has another price."""
        if self._closer is None:
            return None
        boundary_ms, last_ms = self._closer.next_boundary_ms, self._closer.last_ms
        return min((each for each in self._turns if last_ms < each < boundary_ms), default=boundary_ms)

    def record(self, record: AnyRecord, utc_ms: int) -> list[bytes]:
        """Return the lines for one record: itself, and after a meter reading the intervals that it closes.

        `session_ended` is written by `end`. Raises StoreError if the record contradicts the journal.
        """
        if isinstance(record, SessionEnded | IntervalClosed):
            raise StoreError("intervals are closed automatically, and session_ended is written by end()")
        lines = self._pay(utc_ms)
        lines.append(self._journal.append(record, utc_ms))
        utc_ms = self._journal.state.utc_ms
        if isinstance(record, SessionStarted):
            self._closer = IntervalCloser(Registers(utc_ms, record.import_mwh, record.export_mwh))
        elif isinstance(record, TariffSet):
            self._turns = _turns(record.tariff)
        elif isinstance(record, MeterReading):
            assert self._closer is not None, "a journal must start with session_started"
            self._pending = self._closer.add(Registers(utc_ms, record.import_mwh, record.export_mwh))
            lines += self._pay(utc_ms)
        return lines

    def end(
        self, reason: str, utc_ms: int, *, import_mwh: int | None = None, export_mwh: int | None = None
    ) -> list[bytes]:
        """Return the lines that end the session, with the given registers or else the last durable ones.

        Without registers the session ends at its last entry, since the time after it is unknown. Raises StoreError if
        there is no session, or it has ended.
        """
        state, lines = self._journal.state, []
        if self._closer is None:
            raise StoreError("no session to end")
        if import_mwh is None and export_mwh is None:
            utc_ms = state.utc_ms
        if not self._finished:
            reading = MeterReading(
                import_mwh=state.import_mwh if import_mwh is None else import_mwh,
                export_mwh=state.export_mwh if export_mwh is None else export_mwh,
                reason="end",
            )
            lines = self.record(reading, utc_ms)
            self._pending = self._closer.finish()
            lines += self._pay(utc_ms)
        ended = SessionEnded(reason=reason, import_mwh=state.import_mwh, export_mwh=state.export_mwh)
        return [*lines, self._journal.append(ended, state.utc_ms)]

    def _pay(self, utc_ms: int) -> list[bytes]:
        pending, self._pending = self._pending, []
        return [self._journal.append(each, utc_ms) for each in pending]


def _turns(tariff: Tariff) -> tuple[int, ...]:
    """Return where a series has another price than before (UTC ms)."""
    return tuple(
        after.start_ms
        for before, after in itertools.pairwise(tariff.slots)
        if (before.import_price, before.export_compensation) != (after.import_price, after.export_compensation)
    )


def readings_of(entries: Sequence[Entry]) -> list[Registers]:
    """Return all readings of a journal in order, the start of the session first."""
    return [
        Registers(entry.utc_ms, entry.data.import_mwh, entry.data.export_mwh)
        for entry in entries
        if isinstance(entry.data, SessionStarted | MeterReading | SessionEnded)
    ]
