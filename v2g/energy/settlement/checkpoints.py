"""Checkpoints of a journal, which both sides have signed: checked against its entries, and against copies elsewhere.

A copy is one line of JSON, `{"checkpoint":...,"number":...,"receipt":...,"session_id":...}`, with both signed messages
in base64. The vehicle keeps such a file, and the back end gives one of what it received.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.asn1.discharge import CheckpointReceipt, DischargeCheckpoint, DischargeContent, MeterRegisters, ReceiptStatus
from v2g.energy.settlement import records
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import Entry
from v2g.energy.signed import Party, open_signed, terms_hash
from v2g.errors import RefusedError, VerificationError

MAX_COPY_BYTES: Final = 16_384
"""Longest line of a file of copies."""


class Copy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A checkpoint and the vehicle's receipt of it, as one party keeps them."""

    session_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    number: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    checkpoint: Annotated[bytes, Meta(max_length=4096)]
    receipt: Annotated[bytes, Meta(max_length=4096)]


class Checkpoints(msgspec.Struct, frozen=True, kw_only=True):
    """What checkpoints prove of a session. Energies are mWh; both sides signed those of the first `entries` entries.

    Of `after_import_mwh` and `after_export_mwh` only the charger and its meter state anything. `version` is that of the
    signed discharge in use, the highest of the session, 0 without, 2 also for 3. `final`: power had stopped at the last
    one. `ended`: with its receipt the vehicle ended the session, and no energy flowed after it.
    """

    version: int
    issued: int
    countersigned: int
    refused: int
    entries: int
    import_mwh: int
    export_mwh: int
    after_import_mwh: int
    after_export_mwh: int
    final: bool
    ended: bool


class Checker:
    """Checks a journal's checkpoints, and what messages say of them, in one pass."""

    def __init__(self, entries: Sequence[Entry], session_id: bytes, charger: Party, vehicle: Party | None) -> None:
        self._entries, self._session_id = entries, session_id
        self._charger, self._vehicle = charger, vehicle
        self._registers = list(_registers(entries))
        self._issued: dict[int, tuple[DischargeCheckpoint, bytes]] = {}
        self._last: DischargeCheckpoint | None = None
        self._countersigned = self._refused = 0
        self._period: int | None = None
        self._version = 0
        self._ended = False

    def select(self) -> None:
        """Services were selected again, perhaps with another version."""
        self._period = None
        self._ended = False

    def named(self, number: int | None, where: str) -> None:
        """A decision or command names this checkpoint. Raises VerificationError unless the journal has it by now."""
        self._use(1 if number is None else 2, where)
        held = 0 if self._last is None else self._last.number
        if number is not None and number > held:
            raise VerificationError(
                f"the vehicle had countersigned checkpoint {number}, the journal has {held} before this", where=where
            )

    def _use(self, version: int, where: str) -> None:
        if self._period not in (None, version):
            raise VerificationError(f"a message of version {version}, not {self._period}", where=where)
        self._period = version
        self._version = max(self._version, version)

    def issued(self, record: records.CheckpointIssued, position: int, where: str) -> None:
        """`position` is the number of entries before it. Raises VerificationError."""
        checkpoint = _open_checkpoint(record.payload, self._charger, where)
        self._use(2, where)
        started = self._registers[0]
        before = self._issued.get(record.number - 1)
        for wrong, why in (
            (checkpoint.session_id != self._session_id, "it belongs to another session"),
            (checkpoint.number != record.number, "the entry differs from it"),
            (checkpoint.entries > position, "it names entries that follow it"),
            (before is not None and checkpoint.entries <= before[0].entries, "it covers no more than the last one"),
            (checkpoint.begin != started, "the session began with other registers"),
        ):
            if wrong:
                raise VerificationError(f"checkpoint {record.number}: {why}", where=where)
        index = checkpoint.entries - 1
        if checkpoint.head.hex() != self._entries[index].hash:
            why = f"the journal up to entry {index} is not the one that was signed"
            raise VerificationError(f"checkpoint {record.number}: {why}", where=where)
        if checkpoint.now != self._registers[index]:
            raise VerificationError(f"checkpoint {record.number}: the registers differ from the journal", where=where)
        self._issued[record.number] = checkpoint, terms_hash(record.payload)
        self._ended = False

    def answered(self, record: records.CheckpointAnswered, where: str) -> None:
        """Raises VerificationError."""
        receipt = _open_receipt(record.payload, self._vehicle, where)
        checkpoint, hash_ = self._issued.get(record.number, (None, b""))
        if (receipt.session_id, receipt.checkpoint_hash) != (self._session_id, hash_) or checkpoint is None:
            raise VerificationError("the receipt refers to another checkpoint", where=where)
        if (receipt.number, receipt.status.value) != (record.number, record.status):
            raise VerificationError("the entry differs from the receipt", where=where)
        if receipt.status is ReceiptStatus.COUNTERSIGNED:
            self._last, self._countersigned = checkpoint, self._countersigned + 1
            self._ended = receipt.ended is True and checkpoint.final
        else:
            self._refused += 1

    def result(self) -> Checkpoints:
        """Return what is proved, once all entries were checked."""
        begin, end = self._registers[0], self._registers[-1]
        last = begin if self._last is None else self._last.now
        after = end.import_mwh - last.import_mwh, end.export_mwh - last.export_mwh
        return Checkpoints(
            version=self._version,
            issued=len(self._issued),
            countersigned=self._countersigned,
            refused=self._refused,
            entries=0 if self._last is None else self._last.entries,
            import_mwh=last.import_mwh - begin.import_mwh,
            export_mwh=last.export_mwh - begin.export_mwh,
            after_import_mwh=after[0],
            after_export_mwh=after[1],
            final=self._last is not None and self._last.final,
            ended=self._ended and after == (0, 0),
        )


def _registers(entries: Iterable[Entry]) -> Iterator[MeterRegisters]:
    """Yield the registers that each entry, or the last reading before it, has."""
    now = MeterRegisters(import_mwh=0, export_mwh=0)
    for entry in entries:
        if isinstance(entry.data, records.SessionStarted | records.MeterReading | records.SessionEnded):
            now = MeterRegisters(import_mwh=entry.data.import_mwh, export_mwh=entry.data.export_mwh)
        yield now


def open_message(payload: bytes, party: Party | None, where: str) -> DischargeContent:
    """Return what this party signed; None: a vehicle without a contract. Raises VerificationError."""
    if party is None:
        raise VerificationError("a message of a vehicle without a contract", where=where)
    try:
        return open_signed(payload, party)
    except RefusedError as error:
        raise VerificationError(f"{error.reason}: {error}", where=where) from None


def _open_checkpoint(payload: bytes, charger: Party, where: str) -> DischargeCheckpoint:
    content = open_message(payload, charger, where)
    if not isinstance(content, DischargeCheckpoint):
        raise VerificationError("no checkpoint", where=where)
    return content


def _open_receipt(payload: bytes, vehicle: Party | None, where: str) -> CheckpointReceipt:
    content = open_message(payload, vehicle, where)
    if not isinstance(content, CheckpointReceipt):
        raise VerificationError("no receipt", where=where)
    return content


def encode_copy(copy: Copy) -> bytes:
    """Return a copy as a line, with its line feed."""
    return canonical(copy) + b"\n"


def issued_in(entries: Iterable[Entry]) -> dict[int, bytes]:
    """Return the checkpoints of a journal by number, as they were signed."""
    return {each.data.number: each.data.payload for each in entries if isinstance(each.data, records.CheckpointIssued)}


def copies_of(entries: Iterable[Entry], session_id: str) -> Iterator[Copy]:
    """Yield the countersigned checkpoints of a journal."""
    issued: dict[int, bytes] = {}
    for entry in entries:
        match entry.data:
            case records.CheckpointIssued(number=number, payload=payload):
                issued[number] = payload
            case records.CheckpointAnswered(number=number, status=ReceiptStatus.COUNTERSIGNED.value, payload=payload):
                if number in issued:
                    yield Copy(session_id=session_id, number=number, checkpoint=issued[number], receipt=payload)


def read_copies(data: bytes, *, name: str) -> Iterator[tuple[str, Copy]]:
    """Yield the copies in a file, each with its place `name:line`. Raises VerificationError."""
    for number, line in enumerate(data.splitlines(), 1):
        where = f"{name}:{number}"
        if len(line) > MAX_COPY_BYTES:
            raise VerificationError(f"a line of {len(line)} bytes", where=where)
        try:
            yield where, typed_json.decode(line, Copy)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise VerificationError(f"no copy of a checkpoint: {error}", where=where) from None


def check_copies(
    entries: Sequence[Entry], copies: Iterable[tuple[str, Copy]], *, charger: Party, vehicle: Party | None
) -> int:
    """Return how many copies of this session's checkpoints a verified journal has, too; those of others do not count.

    Raises VerificationError, with the place of the copy, for one that the journal lacks or contradicts, and for one of
    another session with these registers. A receipt may be missing: the connection may have ended before it arrived.
    """
    started = entries[0].data
    assert isinstance(started, records.SessionStarted), "checked by verify_lines"
    issued = issued_in(entries)
    count = 0
    for where, copy in copies:
        if copy.session_id != started.session_id:
            if _is_repeated(copy, entries, charger):
                raise VerificationError(f"session {copy.session_id} had these registers already", where=where)
            continue
        checkpoint = _open_checkpoint(copy.checkpoint, charger, where)
        receipt = _open_receipt(copy.receipt, vehicle, where)
        if receipt.checkpoint_hash != terms_hash(copy.checkpoint) or receipt.status is not ReceiptStatus.COUNTERSIGNED:
            raise VerificationError("the receipt does not countersign the checkpoint", where=where)
        if checkpoint.session_id.hex() != copy.session_id or checkpoint.number != copy.number:
            raise VerificationError("the line differs from its checkpoint", where=where)
        if copy.number not in issued:
            raise VerificationError(f"the journal lacks checkpoint {copy.number}", where=where)
        if issued[copy.number] != copy.checkpoint:
            raise VerificationError(f"the journal has another checkpoint {copy.number}", where=where)
        count += 1
    return count


def _is_repeated(copy: Copy, entries: Sequence[Entry], charger: Party) -> bool:
    """Return whether the same charger had energy between the same registers in the session of a copy."""
    try:
        checkpoint = open_signed(copy.checkpoint, charger)
    except RefusedError:
        return False
    if not isinstance(checkpoint, DischargeCheckpoint) or checkpoint.session_id.hex() != copy.session_id:
        return False
    registers = list(_registers(entries))
    return checkpoint.begin == registers[0] != checkpoint.now and checkpoint.now in registers
