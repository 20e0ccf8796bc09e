"""The charger's journal: takes readings, returns lines to store durably, and closes intervals by itself."""

import itertools
from collections.abc import Sequence
from typing import Final, Self

import msgspec
from msgspec import UNSET

from v2g.energy.discharge_gate import JournalHead
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement import records
from v2g.energy.settlement.intervals import IntervalCloser, Registers
from v2g.energy.settlement.journal import Entry, Journal, JournalState, verify_lines
from v2g.errors import StoreError, VerificationError

CLOCK_STEP_MS: Final = 1000
"""A clock that steps further has jumped, ms."""


class SessionJournal:
    """One session's journal and its open interval.

    Every method returns lines, in order, which must be stored durably, in one write, before they take effect.
    """

    def __init__(self) -> None:
        self._journal = Journal()
        self._closer: IntervalCloser | None = None
        self._turns: tuple[int, ...] = ()  # where the tariff's price changes, UTC ms
        self._pending: list[
            records.IntervalClosed
        ] = []  # closed by a reading, but the process was killed before writing it
        self._finished = False  # the last reading is there; pending intervals and session_ended are missing

    @classmethod
    def resume(cls, data: bytes) -> Self:
        """Return the journal that continues a journal file, after a restart. Raises VerificationError."""
        made = cls()
        entries = verify_lines(data)
        made._journal = Journal.resume(data)
        readings = readings_of(entries, substitutes=True)
        closer = IntervalCloser(readings[0])
        expected = [each for reading in readings[1:] for each in closer.add(reading)]
        written = [entry.data for entry in entries if isinstance(entry.data, records.IntervalClosed)]
        last = next((each.data for each in reversed(entries) if isinstance(each.data, records.MeterReading)), None)
        if len(written) > len(expected) or (last is not None and last.reason == "end"):
            expected += closer.finish()
            made._finished = True
        if written != expected[: len(written)]:
            raise VerificationError("the intervals differ from those of the readings", where="journal.jsonl:1")
        made._pending = expected[len(written) :]
        made._closer = closer
        tariffs = [entry.data.tariff for entry in entries if isinstance(entry.data, records.TariffSet)]
        made._turns = _turns(tariffs[-1]) if tariffs else ()
        return made

    @property
    def state(self) -> JournalState:
        """Head hash, count, last registers and whether the session has ended. Read only."""
        return self._journal.state

    @property
    def head(self) -> JournalHead:
        """The present head and registers, for a checkpoint once they are durable."""
        state = self._journal.state
        return JournalHead(
            entries=state.count,
            head=state.head,
            import_mwh=state.import_mwh,
            export_mwh=state.export_mwh,
            checkpoint=state.checkpoint,
            countersigned=state.countersigned,
        )

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

    def record(self, record: records.AnyRecord, utc_ms: int) -> list[bytes]:
        """Return the lines for one record: itself, and after a meter reading the intervals that it closes.

        The registers of a reading are those that the meter shows; the entry has those that follow from them, and its
        status. `session_ended` is written by `end`. Raises StoreError if the record contradicts the journal.
        """
        if isinstance(record, records.SessionEnded | records.IntervalClosed):
            raise StoreError("intervals are closed automatically, and session_ended is written by end()")
        if isinstance(record, records.MeterReading):
            record = self._followed(record, utc_ms)
        lines = self._pay()
        lines.append(self._journal.append(record, utc_ms))
        utc_ms = self._journal.state.utc_ms
        if isinstance(record, records.SessionStarted):
            self._closer = IntervalCloser(Registers(utc_ms, record.import_mwh, record.export_mwh))
        elif isinstance(record, records.TariffSet):
            self._turns = _turns(record.tariff)
        elif isinstance(record, records.MeterReading):
            assert self._closer is not None, "a journal must start with session_started"
            self._pending = self._closer.add(_registers(record, utc_ms))
            lines += self._pay()
        return lines

    def end(
        self, reason: str, utc_ms: int, *, import_mwh: int | None = None, export_mwh: int | None = None
    ) -> list[bytes]:
        """Return the lines that end the session, with the registers that the meter shows or else the last durable ones.

        Without registers the session ends at its last entry, since the time after it is unknown, with a reading that is
        marked as missing. Raises StoreError if there is no session, or it has ended.
        """
        state, lines = self._journal.state, []
        if self._closer is None:
            raise StoreError("no session to end")
        if import_mwh is None and export_mwh is None:
            utc_ms = state.utc_ms
        if not self._finished:
            reading = records.MeterReading(
                import_mwh=state.meter.shown_import_mwh if import_mwh is None else import_mwh,
                export_mwh=state.meter.shown_export_mwh if export_mwh is None else export_mwh,
                reason="end",
                status=("missing",) if import_mwh is None and export_mwh is None else UNSET,
            )
            lines = self.record(reading, utc_ms)
            self._pending = self._closer.finish()
        lines += self._pay()
        ended = records.SessionEnded(reason=reason, import_mwh=state.import_mwh, export_mwh=state.export_mwh)
        return [*lines, self._journal.append(ended, state.utc_ms)]

    def _followed(self, record: records.MeterReading, utc_ms: int) -> records.MeterReading:
        """Return the entry for what the meter shows; time that goes back is a status of its own."""
        state = self._journal.state
        if utc_ms < state.utc_ms - CLOCK_STEP_MS:
            known = () if record.status is UNSET else record.status
            record = msgspec.structs.replace(record, status=tuple(sorted({*known, "time_jump"})))
        return state.meter.reading(record, max(utc_ms, state.utc_ms))

    def _pay(self) -> list[bytes]:
        """Return the lines of pending intervals, at the time of the reading that closed them."""
        pending, self._pending = self._pending, []
        return [self._journal.append(each, self._journal.state.utc_ms) for each in pending]


def _turns(tariff: Tariff) -> tuple[int, ...]:
    """Return where a series has another price than before (UTC ms)."""
    return tuple(
        after.start_ms
        for before, after in itertools.pairwise(tariff.slots)
        if (before.import_price, before.export_compensation) != (after.import_price, after.export_compensation)
    )


def readings_of(entries: Sequence[Entry], *, substitutes: bool = False) -> list[Registers]:
    """Return the readings of a journal in order, the start of the session first.

    Where the meter did not answer there is none, except at the end; with `substitutes` also there.
    """
    found: list[Registers] = []
    for entry in entries:
        record = entry.data
        if not isinstance(record, records.SessionStarted | records.MeterReading | records.SessionEnded):
            continue
        reading = _registers(record, entry.utc_ms)
        if found and isinstance(record, records.SessionEnded) and _same(found[-1], reading):
            continue  # the end is that of the last reading
        if found and found[-1].basis == "substitute" and not substitutes:
            found.pop()
        found.append(reading)
    return found


def _same(one: Registers, other: Registers) -> bool:
    return (one.utc_ms, one.import_mwh, one.export_mwh) == (other.utc_ms, other.import_mwh, other.export_mwh)


def _registers(record: records.SessionStarted | records.MeterReading | records.SessionEnded, utc_ms: int) -> Registers:
    status = record.status if isinstance(record, records.MeterReading) else UNSET
    missing = status is not UNSET and "missing" in status
    return Registers(utc_ms, record.import_mwh, record.export_mwh, "substitute" if missing else "metered", status)
