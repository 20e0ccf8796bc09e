"""The journal of one session: append-only lines of canonical JSON, each with the hash of the previous one.

A line is `{"data":{"kind":...},"hash":...,"previous":...,"sequence":...,"utc_ms":...}` and a line feed; `hash` is
SHA-256 over the canonical form without itself, `previous` the hash of the previous line (zeros in the first). The same
rules bind writer and reader: a journal that cannot be proved is not written.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.asn1.discharge import ReceiptStatus
from v2g.energy.settlement import records
from v2g.energy.settlement.canonical import canonical, sha256_hex
from v2g.energy.settlement.registers import MeterState
from v2g.errors import StoreError, VerificationError

GENESIS: Final = "0" * 64
"""`previous` of the first line."""

MAX_LINE_BYTES: Final = 1_000_000

MAX_SESSION_MS: Final = 366 * 24 * 3600 * 1000
"""Maximum length of a session; a clock that jumps further is not trusted."""

_HASH: Final = b',"hash":"'
_AFTER_HASH: Final = b',"previous":"'
_HASH_LENGTH: Final = len(_HASH) + len(GENESIS) + 1
"""A line is its hashed content with the hash between the sorted keys."""

_REGISTERS: Final = (records.MeterReading, records.SessionEnded)
_ALL_REGISTERS: Final = (records.MeterReading, records.SessionEnded, records.SessionStarted)

Digest = Annotated[str, Meta(min_length=64, max_length=64)]  # it must equal one that was computed


class _Unhashed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    data: records.AnyRecord
    previous: Digest
    sequence: Annotated[int, Meta(ge=0)]
    utc_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One line of a journal."""

    data: records.AnyRecord
    hash: Digest
    previous: Digest
    sequence: Annotated[int, Meta(ge=0)]
    utc_ms: Annotated[int, Meta(ge=0, le=2**53 - 1)]

    @property
    def kind(self) -> str:
        """The kind of its record."""
        return str(self.data.__struct_config__.tag)


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
        self.metered = False
        self.status: tuple[records.MeterStatus, ...] = ()
        self.checkpoint = 0
        self.countersigned = 0

    def problem(self, record: records.AnyRecord, utc_ms: int) -> str:
        """Return why `record` cannot be next, "" if it can."""
        if isinstance(record, records.SessionStarted) != (self.count == 0):
            return "a journal must start with session_started, and have only one"
        if utc_ms < self.utc_ms:
            return f"time goes back by {self.utc_ms - utc_ms} ms"
        if self.ended != isinstance(record, records.Addition):
            return (
                "only corrections may follow session_ended"
                if self.ended
                else "a line may be corrected only after session_ended"
            )
        if self.count and utc_ms - self.start_ms > MAX_SESSION_MS and not self.ended:
            return f"a session of {(utc_ms - self.start_ms) // 86_400_000} days"
        if isinstance(record, _REGISTERS):
            if record.import_mwh < self.import_mwh:
                return f"the import register falls from {self.import_mwh} to {record.import_mwh} mWh"
            if record.export_mwh < self.export_mwh:
                return f"the export register falls from {self.export_mwh} to {record.export_mwh} mWh"
            if isinstance(record, records.MeterReading):
                return self.meter.problem(record, utc_ms)
        elif isinstance(record, records.IntervalClosed):
            if not record.start_ms < record.end_ms <= utc_ms:
                return "an interval must end after its start, and not in the future"
        elif isinstance(record, records.ServiceChanged):
            if record.reason == "selected" and self.metered:
                return "services are first selected before the first meter reading"
        elif isinstance(record, records.CheckpointIssued):
            if record.number != self.checkpoint + 1:
                return f"checkpoint {record.number} follows {self.checkpoint}"
        elif (
            isinstance(record, records.CheckpointAnswered) and not self.countersigned < record.number <= self.checkpoint
        ):
            return f"an answer to checkpoint {record.number} of {self.checkpoint}, after {self.countersigned}"
        return ""

    def advance(self, record: records.AnyRecord, utc_ms: int, head: str) -> None:
        """Apply an entry that `problem` accepts; `head` is its hash."""
        self.head, self.utc_ms = head, utc_ms
        self.count += 1
        if isinstance(record, records.MeterReading):
            self.meter = self.meter.after(record, utc_ms)
            moved = (record.import_mwh, record.export_mwh) != (self.import_mwh, self.export_mwh)
            self.metered = self.metered or moved or record.reason != "interval"  # while a driver is authorised
            self.status = record.status or ()
        elif isinstance(record, records.SessionStarted):
            self.start_ms = utc_ms
            self.meter = MeterState.at_start(record, utc_ms)
        elif isinstance(record, records.CheckpointIssued):
            self.checkpoint = record.number
        elif isinstance(record, records.CheckpointAnswered) and record.status == ReceiptStatus.COUNTERSIGNED.value:
            self.countersigned = record.number
        elif isinstance(record, records.SessionEnded):
            self.ended = True
        if isinstance(record, _ALL_REGISTERS):
            self.import_mwh, self.export_mwh = record.import_mwh, record.export_mwh


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

    def append(self, record: records.AnyRecord, utc_ms: int) -> bytes:
        """Return the next line with its line feed; if the clock went back, the time of the last entry is used.

        Raises StoreError if the record contradicts the journal (a register that falls, an entry after the end).
        """
        utc_ms = max(utc_ms, self._state.utc_ms)
        if problem := self._state.problem(record, utc_ms):
            raise StoreError(f"journal entry {self._state.count}: {problem}")
        state = self._state
        body = canonical(_Unhashed(data=record, previous=state.head, sequence=state.count, utc_ms=utc_ms))
        place, digest = body.rindex(_AFTER_HASH), sha256_hex(body)
        state.advance(record, utc_ms, digest)
        return b"".join((body[:place], _HASH, digest.encode(), b'"', body[place:], b"\n"))


def verify_lines(data: bytes, *, name: str = "journal.jsonl") -> tuple[Entry, ...]:
    """Return the entries of a whole journal file.

    Raises VerificationError, with `where` as `name:line`, unless every line is canonical, linked to the previous one
    and possible after it, and the last one is complete.
    """
    return _read(data, name, JournalState())


def readable_lines(data: bytes) -> Iterator[tuple[int, Entry, bool]]:
    """Yield what can be read of a journal that `verify_lines` rejects: number, entry, and whether all is valid so far.

    Nothing is proved by it; lines that cannot be read are left out.
    """
    state, valid = JournalState(), True
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            entry = _entry(line, "", number)
            if valid:
                _advance(state, entry, line, "", number)
        except VerificationError:
            valid = False
            with suppress(VerificationError):
                yield number, _entry(line, "", number), False
        else:
            yield number, entry, valid


def _read(data: bytes, name: str, state: JournalState) -> tuple[Entry, ...]:
    *lines, torn = data.split(b"\n")
    entries = []
    for number, line in enumerate(lines, 1):
        entry = _entry(line, name, number)
        _advance(state, entry, line, name, number)
        entries.append(entry)
    if torn or not lines:
        raise _wrong("the last line is incomplete" if torn else "the journal is empty", name, len(lines) + 1)
    return tuple(entries)


def _entry(line: bytes, name: str, number: int) -> Entry:
    """Return the entry in a line, whatever is before it."""
    if len(line) > MAX_LINE_BYTES:
        raise _wrong(f"a line of {len(line)} bytes", name, number)
    try:
        entry = typed_json.decoder(Entry).decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise _wrong(str(error), name, number) from None
    if canonical(entry) != line:
        raise _wrong("not in canonical form", name, number, hint="it was edited after it was written")
    return entry


def _advance(state: JournalState, entry: Entry, line: bytes, name: str, number: int) -> None:
    """Let `state` take an entry that continues it."""
    if entry.sequence != state.count:
        raise _wrong(f"entry {entry.sequence} found, {state.count} expected", name, number)
    if entry.previous != state.head:
        raise _wrong("the line does not continue the previous one", name, number)
    place = line.rindex(_HASH)  # what follows it is of fixed form, and has no other
    if entry.hash != sha256_hex(line[:place] + line[place + _HASH_LENGTH :]):
        raise _wrong("the hash does not match the entry", name, number)
    if problem := state.problem(entry.data, entry.utc_ms):
        raise _wrong(problem, name, number)
    state.advance(entry.data, entry.utc_ms, entry.hash)


def _wrong(reason: str, name: str, number: int, *, hint: str = "") -> VerificationError:
    return VerificationError(reason, where=f"{name}:{number}", hint=hint)
