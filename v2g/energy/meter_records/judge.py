"""Verdicts on signed records of meters: each by itself, and then those of one transaction together.

The signature is verified with a key that is known from elsewhere. A key that came with the record, or only in its file,
proves that the record is whole, not whose it is: the judgement says so.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal

import msgspec

from v2g.energy.meter_records.container import SML, FoundRecord, carried
from v2g.energy.meter_records.edl40 import read_edl40, read_edl40_xml
from v2g.energy.meter_records.keys import HashName, MeterKey, read_key
from v2g.energy.meter_records.ocmf import read_ocmf
from v2g.energy.meter_records.record import Direction, Energy, Format, Record, energies, joined
from v2g.energy.meter_records.text_records import read_alfen, read_pcdf
from v2g.errors import CodecError, RecordError
from v2g.text import printable

Verdict = Literal[
    "verified",
    "invalid",
    "unreadable",
    "incomplete",
    "unsupported",
    "no_key",
    "other_meter",
    "other_transaction",
    "reordered",
]
MEANINGS: Final[Mapping[Verdict, str]] = {
    "verified": "the key signed this",
    "invalid": "no known key signed this",
    "unreadable": "no record of a known format, or a field that the reason names",
    "incomplete": "the record is cut; or, of several, pages or the begin or end of a transaction are missing",
    "unsupported": "the signature method, a sealed record, or a curve without its package",
    "no_key": "none to verify with; at the back end also: only the one in the message",
    "other_meter": "verified, of another serial number, or by another key that came along; at the back end also: by "
    "the key in the message, which is not the meter's",
    "other_transaction": "verified, of another page, session or user than expected, or than the record before",
    "reordered": "verified, but its page or time is before that of the record that precedes it",
}

KeySource = Literal["", "given", "file", "record"]
"""Whence the key that verified a record is: known from elsewhere, from its file, or from within itself."""

_COARSEST_WH: Final = Decimal(10)

_HASHES: Final[tuple[HashName, ...]] = ("SHA256", "SHA384", "SHA512")


class ReadableFormat(msgspec.Struct, frozen=True):
    """A format: its reader, the first octets of its records, and what its signature covers."""

    name: Format
    read: Callable[[bytes], Record]
    start: bytes
    signed: str
    marks: str


FORMATS: Final = (
    ReadableFormat(
        "OCMF", read_ocmf, b"OCMF|", "the payload's octets as they came", "`TX`: `B`, and `E`, `L`, `R`, `A` or `P`"
    ),
    ReadableFormat(
        "EDL40", read_edl40, SML, "320 octets made from the list's values", "`context` in the file, which is not signed"
    ),
    ReadableFormat(
        "EDL40", read_edl40_xml, b"<", "320 octets, as they came or of the values in XML", "where it stands, not signed"
    ),
    ReadableFormat("ISA-EDL40", read_edl40, SML, "320 octets made from the list's values", "both in one record"),
    ReadableFormat("ALFEN", read_alfen, b"AP;", "the data set of 82 octets", "the type before it, which is not signed"),
    ReadableFormat("PCDF", read_pcdf, b"128.8.0(", "the text before `(SG:`", "one record has the whole transaction"),
)


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What is known from elsewhere: keys that may have signed, the meter's serial, and a name of the transaction."""

    keys: tuple[MeterKey, ...] = ()
    meter: str = ""
    transaction: str = ""


class RecordJudgement(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a record that was found; `reason` is empty for a verified one.

    `energies` are those between marked readings: of the record, or, at the record that ends it, of its transaction.
    `key` is the one that signed it.
    """

    found: FoundRecord
    verdict: Verdict
    reason: str
    record: Record | None = None
    key: MeterKey | None = None
    key_source: KeySource = ""
    remarks: tuple[str, ...] = ()
    energies: tuple[Energy, ...] = ()

    @property
    def place(self) -> str:
        """Where the record was found."""
        return self.found.place

    @property
    def verified(self) -> Record | None:
        """The record, None unless it is verified."""
        return self.record if self.verdict == "verified" else None


def read_record(data: bytes) -> Record:
    """Return a record of any format, as it is written: plain, or in base64, base32 or hex. Raises RecordError."""
    octets = carried(data)
    return next(each.read for each in FORMATS if octets.startswith(each.start))(octets)


def judge(found: FoundRecord, expected: Expected) -> RecordJudgement:
    """Return the verdict on one record by itself."""
    try:
        record = _marked(read_record(found.data), found)
    except RecordError as error:
        return RecordJudgement(found=found, verdict=error.verdict, reason=str(error))
    remarks = list(record.remarks)
    if record.marks and not record.sealed_marks:
        remarks.append("the signature does not cover which reading begins and ends")
    keys, source = _keys(found, record, expected, remarks)
    signer = _signer(record, keys, remarks)
    verdict, reason = _fits(found, record, expected) if isinstance(signer, MeterKey) else signer
    counted = energies(record.readings) if verdict == "verified" else ()
    if verdict == "verified" and not counted and {"begin", "end"} <= {each.mark for each in record.readings}:
        remarks.append("no energy: no register has one begin and, after it, one end, in a unit of energy")
    return RecordJudgement(
        found=found,
        verdict=verdict,
        reason=reason,
        record=record,
        key=signer if isinstance(signer, MeterKey) else None,
        key_source=source,
        remarks=tuple(remarks),
        energies=counted,
    )


def _marked(record: Record, found: FoundRecord) -> Record:
    """Return a record whose own reading is not marked with the mark that its file gives it."""
    if record.sealed_marks or record.marks:
        return record
    return msgspec.structs.replace(
        record, readings=tuple(msgspec.structs.replace(each, mark=found.mark) for each in record.readings)
    )


def _keys(
    found: FoundRecord, record: Record, expected: Expected, remarks: list[str]
) -> tuple[Sequence[MeterKey], KeySource]:
    """Return the keys to try: those that are known, else that of the file, else that of the record itself."""
    beside: MeterKey | None = None
    if found.key:
        try:
            beside = read_key(found.key)
        except CodecError as error:
            remarks.append(str(error))
    came = beside or record.own_key
    if expected.keys:
        if came is not None and not any(came.is_same(each) for each in expected.keys):
            remarks.append("the key that came with the record is not a known one")
        return expected.keys, "given"
    if came is None:
        return (), ""
    return (came,), "file" if beside is not None else "record"


def _signer(record: Record, keys: Iterable[MeterKey], remarks: list[str]) -> MeterKey | tuple[Verdict, str]:
    """Return the key that signed a record, by the hash that it names or another that meters use, or why none did."""
    hashes: list[HashName] = [record.hash_name, *(each for each in _HASHES if each != record.hash_name)]
    wrong: tuple[Verdict, str] | None = None
    for key in keys:
        if key.curve and record.curve and key.curve != record.curve:
            wrong = wrong or ("invalid", f"the record is signed by {record.curve}, the key is of {key.curve}")
            continue
        try:
            for hash_name, signature in itertools.product(hashes, record.signatures):
                if key.verifies(record.signed, signature, record.curve, hash_name):
                    if hash_name != record.hash_name:
                        remarks.append(f"signed over {hash_name}, not {record.hash_name} as it says")
                    return key
            wrong = "invalid", "the signature does not match"
        except RecordError as error:
            wrong = wrong or (error.verdict, str(error))
    return wrong or ("no_key", "no public key")


def _fits(found: FoundRecord, record: Record, expected: Expected) -> tuple[Verdict, str]:
    if expected.meter and expected.meter not in record.serials:
        return "other_meter", f"of the meter {printable(joined(record.serials))}, not {printable(expected.meter)}"
    names = [each for each in (record.session, record.label, found.name) if each]
    if expected.transaction and expected.transaction not in names:
        its = printable(", ".join(names)) or "unnamed"
        return "other_transaction", f"of the transaction {its}, not {printable(expected.transaction)}"
    return "verified", ""


def carries(record: Record, direction: Direction, wh: Decimal, digit_wh: Decimal) -> bool:
    """Whether a usable reading of a verified record is this value, as a message reports it: rounded by less than its
    last digit, at most by 10 Wh.
    """
    room = min(_COARSEST_WH, digit_wh)
    readings = (each for each in record.readings if each.direction == direction and each.usable)
    return any(each.wh is not None and abs(each.wh - wh) < room for each in readings)


def judge_all(found: Iterable[FoundRecord], expected: Expected) -> list[RecordJudgement]:
    """Return the verdicts on the records of a file, also whether those of one transaction belong together.

    A record with begin and end stands for itself. Of others, the one that ends a transaction has its energies. What
    stands again, as where a message was sent again or has the begin beside the end, counts once.
    """
    judged = [judge(each, expected) for each in found]
    if len(judged) < 2:
        return judged
    first: dict[object, int] = {}
    copies: dict[int, int] = {}
    begun: dict[_Meter, list[int]] = {}
    for at, each in enumerate(judged):
        record = each.verified
        if record is None:
            continue
        if (earlier := first.setdefault((record.format, record.signed, record.readings, each.key), at)) != at:
            copies[at] = earlier
            continue
        meter, marks = _meter(record), record.marks
        before = begun.get(meter, [])
        opened = judged[before[0]].record if before else None
        if opened is not None and "begin" in marks and opened.session == record.session != "":
            before.append(at)  # each record of this format repeats the begin
            if "end" in marks:
                del begun[meter]
        elif marks == {"begin"}:
            begun[meter] = [at]
            if before:
                judged[before[0]] = _without_end(judged[before[0]])
        elif marks == {"end"}:
            begun.pop(meter, None)
            part = [judged[place] for place in before]
            judged[at] = _ended(part, each) if part else _without_begin(each, meter, judged[at:], begun)
        elif not marks and before:
            wrong = _misplaced(judged[before[-1]], each)
            if wrong is None:
                before.append(at)
            else:
                judged[at] = wrong
    for places in begun.values():
        judged[places[0]] = _without_end(judged[places[0]])
    for at, earlier in copies.items():
        judged[at] = _copied(judged[earlier], judged[at])
    return judged


_Meter = tuple[str, tuple[str, ...]]
"""Format and serials of a record."""


def _meter(record: Record) -> _Meter:
    return record.format, record.serials


def _ended(before: Sequence[RecordJudgement], end: RecordJudgement) -> RecordJudgement:
    """Return the judgement on the end of a transaction whose earlier records are these."""
    wrong = _misplaced(before[-1], end)
    if wrong is not None:
        return wrong
    readings = [reading for each in (*before, end) if each.record for reading in each.record.readings]
    return msgspec.structs.replace(end, energies=energies(readings))


def _misplaced(before: RecordJudgement, after: RecordJudgement) -> RecordJudgement | None:
    """Return the judgement on a record that does not follow the one before it, None if it does."""
    assert before.record is not None, "it is verified"
    assert after.record is not None, "it is verified"
    assert before.key is not None, "it is verified"
    assert after.key is not None, "it is verified"
    if after.key_source != "given" and not before.key.is_same(after.key):
        return _as(after, "other_meter", f"signed by another key than {before.place}")  # whoever adds one adds a key
    mine, its = before.found.name, after.found.name
    if mine and its and mine != its and not after.record.gapless:  # else its own pages say more than the file
        return _as(after, "other_transaction", f"the file gives it to {its}, {before.place} to {mine}")
    wrong = out_of_place(before.record, after.record)
    return None if wrong is None else _as(after, wrong[0], f"{wrong[1]}: it follows {before.place}")


def out_of_place(one: Record, two: Record) -> tuple[Verdict, str] | None:
    """Return why a record does not follow another one of its transaction, None if it does; both are verified."""
    if one.serials and two.serials and one.serials != two.serials:
        return "other_meter", f"of the meter {joined(two.serials)}, not {joined(one.serials)}"
    for name, mine, its in (("session", one.session, two.session), ("user", one.user, two.user)):
        if mine and its and mine != its:
            return "other_transaction", f"its {name} is {its}, not {mine}"
    if one.page is not None and two.page is not None and one.context == two.context:
        if two.page <= one.page:
            return "reordered", f"page {two.label} after page {one.label}"
        if two.gapless and two.page > one.page + 1:
            return "incomplete", f"no page {one.context}{one.page + 1} before {two.label}"
        return None
    times = [[each.utc_ms for each in record.readings if each.utc_ms is not None] for record in (one, two)]
    return ("reordered", "its time is earlier") if all(times) and min(times[1]) < max(times[0]) else None


def _without_begin(
    end: RecordJudgement, meter: _Meter, later: Iterable[RecordJudgement], begun: Iterable[_Meter]
) -> RecordJudgement:
    """Return the judgement on an end without a begin before it: why there is none."""
    for each in later:
        begin = each.verified
        if begin is not None and begin.marks == {"begin"} and _meter(begin) == meter and _misplaced(each, end) is None:
            return _as(end, "reordered", f"it stands before {each.place}, which begins its transaction")
    if names := " and ".join(joined(serials) for _, serials in begun):
        return _as(end, "other_meter", f"it ends a transaction of {joined(meter[1])}, that begun is of {names}")
    return _as(end, "incomplete", "no record begins its transaction")


def _without_end(begin: RecordJudgement) -> RecordJudgement:
    return _as(begin, "incomplete", "no record ends its transaction")


def _copied(first: RecordJudgement, copy: RecordJudgement) -> RecordJudgement:
    remarks = (*copy.remarks, printable(f"the same as {first.place}"))
    return msgspec.structs.replace(_as(copy, first.verdict, first.reason), remarks=remarks)


def _as(judged: RecordJudgement, verdict: Verdict, reason: str) -> RecordJudgement:
    return msgspec.structs.replace(judged, verdict=verdict, reason=printable(reason), energies=())
