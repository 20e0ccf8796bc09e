"""The journal of one session: append-only lines of canonical JSON, each with the hash of the previous one.

A line is `{"data":{"kind":...},"hash":...,"previous":...,"sequence":...,"utc_ms":...}` and a line feed; `hash` is
SHA-256 over the canonical form without itself, `previous` the hash of the previous line (zeros in the first). The same
rules bind writer and reader: a journal that cannot be proved is not written.
"""

from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from v2g.asn1.discharge import ReceiptStatus
from v2g.energy.settlement.canonical import canonical, parse_canonical, sha256_hex
from v2g.energy.settlement.records import (
    AnyRecord,
    CheckpointAnswered,
    CheckpointIssued,
    Correction,
    IntervalClosed,
    MeterReading,
    MeterStatus,
    SessionEnded,
    SessionStarted,
)
from v2g.energy.settlement.registers import MeterState
from v2g.errors import StoreError, VerificationError

GENESIS: Final = "0" * 64
"""`previous` of the first line."""

MAX_LINE_BYTES: Final = 1_000_000

MAX_SESSION_MS: Final = 366 * 24 * 3600 * 1000
"""Maximum length of a session; a clock that jumps further is not trusted."""

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _Unhashed(msgspec.Struct, frozen=True, kw_only=True):
    data: AnyRecord
    previous: Digest
    sequence: Annotated[int, Meta(ge=0)]
    utc_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a journal."""

    data: AnyRecord
    hash: Digest
    previous: Digest
    sequence: Annotated[int, Meta(ge=0)]
    utc_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class JournalState:
    """The state of a journal, as far as it determines which entries may follow."""

    def __init__(self) -> None:
        self.head = GENESIS
        self.count = 0
        self.utc_ms = 0
        self.start_ms = 0
        self.import_mwh = 0
        self.export_mwh = 0
        self.ended = False
        self.meter = MeterState(0, 0, 0, 0, 0)
        self.status: tuple[MeterStatus, ...] = ()
        self.checkpoint = 0
        self.countersigned = 0

    def problem(self, record: AnyRecord, utc_ms: int) -> str:
        """Return why `record` cannot be next, "" if it can."""
        if isinstance(record, SessionStarted) != (self.count == 0):
            return "a journal must start with session_started, and have only one"
        if utc_ms < self.utc_ms:
            return f"time goes back by {self.utc_ms - utc_ms} ms"
        if self.count and utc_ms - self.start_ms > MAX_SESSION_MS and not self.ended:
            return f"a session of {(utc_ms - self.start_ms) // 86_400_000} days"
        if self.ended and not isinstance(record, Correction):
            return "only corrections may follow session_ended"
        if isinstance(record, Correction) and not self.ended:
            return "a line may be corrected only after session_ended"
        if isinstance(record, MeterReading | SessionEnded):
            if record.import_mwh < self.import_mwh:
                return f"the import register falls from {self.import_mwh} to {record.import_mwh} mWh"
            if record.export_mwh < self.export_mwh:
                return f"the export register falls from {self.export_mwh} to {record.export_mwh} mWh"
        if isinstance(record, MeterReading) and (wrong := self.meter.problem(record, utc_ms)):
            return wrong
        if isinstance(record, CheckpointIssued) and record.number != self.checkpoint + 1:
            return f"checkpoint {record.number} follows {self.checkpoint}"
        if isinstance(record, CheckpointAnswered) and not self.countersigned < record.number <= self.checkpoint:
            return f"an answer to checkpoint {record.number} of {self.checkpoint}, after {self.countersigned}"
        if isinstance(record, IntervalClosed) and not record.start_ms < record.end_ms <= utc_ms:
            return "an interval must end after its start, and not in the future"
        return ""

    def advance(self, entry: Entry) -> None:
        """Apply an entry that `problem` accepts."""
        if isinstance(entry.data, SessionStarted):
            self.start_ms = entry.utc_ms
            self.meter = MeterState.at_start(entry.data, entry.utc_ms)
        elif isinstance(entry.data, MeterReading):
            self.meter = self.meter.after(entry.data, entry.utc_ms)
            self.status = entry.data.status or ()
        self.head, self.count, self.utc_ms = entry.hash, self.count + 1, entry.utc_ms
        if isinstance(entry.data, SessionStarted | MeterReading | SessionEnded):
            self.import_mwh, self.export_mwh = entry.data.import_mwh, entry.data.export_mwh
        self.ended = self.ended or isinstance(entry.data, SessionEnded)
        if isinstance(entry.data, CheckpointIssued):
            self.checkpoint = entry.data.number
        elif isinstance(entry.data, CheckpointAnswered) and entry.data.status == ReceiptStatus.COUNTERSIGNED.value:
            self.countersigned = entry.data.number


class Journal:
    """The writer. It has no file: `append` returns the line to store durably."""

    def __init__(self, state: JournalState | None = None) -> None:
        self._state = state or JournalState()

    @classmethod
    def resume(cls, data: bytes) -> Self:
        """Return the journal that continues the lines in `data`. Raises VerificationError if they are invalid."""
        state = JournalState()
        _read(data, "journal.jsonl", state)
        return cls(state)

    @property
    def state(self) -> JournalState:
        """Head, count, last registers, last reading's status and whether the session has ended. Read only."""
        return self._state

    def append(self, record: AnyRecord, utc_ms: int) -> bytes:
        """Return the next line with its line feed; if the clock went back, the time of the last entry is used.

        Raises StoreError if the record contradicts the journal (a register that falls, an entry after the end).
        """
        utc_ms = max(utc_ms, self._state.utc_ms)
        if problem := self._state.problem(record, utc_ms):
            raise StoreError(f"journal entry {self._state.count}: {problem}")
        body = _Unhashed(data=record, previous=self._state.head, sequence=self._state.count, utc_ms=utc_ms)
        entry = Entry(
            data=record,
            hash=sha256_hex(canonical(body)),
            previous=body.previous,
            sequence=body.sequence,
            utc_ms=utc_ms,
        )
        self._state.advance(entry)
        return canonical(entry) + b"\n"


def verify_lines(data: bytes, *, name: str = "journal.jsonl") -> tuple[Entry, ...]:
    """Return the entries of a whole journal file.

    Raises VerificationError, with `where` as `name:line`, unless every line is canonical, linked to the previous one
    and possible after it, and the last one is complete.
    """
    return _read(data, name, JournalState())


def _read(data: bytes, name: str, state: JournalState) -> tuple[Entry, ...]:
    lines = data.split(b"\n")
    if lines.pop():
        raise VerificationError("the last line is incomplete", where=f"{name}:{len(lines) + 1}")
    if not lines:
        raise VerificationError("the journal is empty", where=f"{name}:1")
    return tuple(_read_line(line, f"{name}:{number}", state) for number, line in enumerate(lines, 1))


def _read_line(line: bytes, where: str, state: JournalState) -> Entry:
    if len(line) > MAX_LINE_BYTES:
        raise VerificationError(f"a line of {len(line)} bytes", where=where)
    entry = parse_canonical(line, Entry, where=where)
    if entry.sequence != state.count:
        raise VerificationError(f"entry {entry.sequence} found, {state.count} expected", where=where)
    if entry.previous != state.head:
        raise VerificationError("the line does not continue the previous one", where=where)
    body = _Unhashed(data=entry.data, previous=entry.previous, sequence=entry.sequence, utc_ms=entry.utc_ms)
    if entry.hash != sha256_hex(canonical(body)):
        raise VerificationError("the hash does not match the entry", where=where)
    if problem := state.problem(entry.data, entry.utc_ms):
        raise VerificationError(problem, where=where)
    state.advance(entry)
    return entry
