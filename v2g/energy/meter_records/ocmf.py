"""Reads OCMF of versions 0.1 to 1.x by its own text, and as makers write it.

`OCMF|payload|signature`, and with some makers `|public key`. The signature is over the payload's octets as they came.
Of a reading, what is equal to the reading before it may be left out, within one record. Makers write numbers as text
and text as numbers, OBIS codes in many spellings, and raw signatures for DER.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from v2g.energy.meter_records.keys import HashName, MeterKey, curve_name, read_key, transport_forms
from v2g.energy.meter_records.record import MOST_OCTETS, Mark, Reading, Record, watt_hours
from v2g.errors import CodecError, RecordError
from v2g.text import printable

HEADER: Final = b"OCMF|"
DEFAULT_METHOD: Final = "ECDSA-secp256r1-SHA256"
"""Signature method of a record that names none (table 22)."""

MOST_READINGS: Final = 1000
_MARKS: Final[Mapping[str, Mark]] = {"B": "begin", "E": "end", "L": "end", "R": "end", "A": "end", "P": "end"}
"""Begin and end of a transaction: in general, locally, remotely, by an error, by power failure (table 7)."""

_METHOD: Final = re.compile(
    r"ECDSA(?:[-_ ]+(?P<curve>(?!SHA).+?))??(?:[-_ ]+SHA[-_ ]?(?P<bits>256|384|512))?\Z", re.IGNORECASE
)
_TIME: Final = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[,.](?P<part>\d{1,9}))? *(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?"
    r"(?: *(?P<clock>[A-Z]))?\Z",
    re.IGNORECASE,
)
_SECTION: Final = re.compile(rb'(?:"(?:[^"\\]|\\.)*+"|[^|"])*+', re.DOTALL)
"""What is before the next `|` that stands in no text."""
_PAGE: Final = re.compile(r"(?P<context>[A-Za-z]?) *(?P<number>\d{1,18})\Z")
_OTHER_REGISTER: Final = frozenset({"RV", "RI", "RU", "RT"})


def read_ocmf(data: bytes) -> Record:
    """Return a record. Raises RecordError, with the field where it can be told."""
    data = data.strip(b" \t\r\n\x00\xef\xbb\xbf")
    if len(data) > MOST_OCTETS:
        raise RecordError(f"an OCMF record of {len(data)} octets")
    sections = _sections(data)
    if sections[0] != HEADER[:-1]:
        raise RecordError("not OCMF|payload|signature")
    if len(sections) < 3 or not sections[2].strip():
        raise RecordError("the record ends before its signature section", verdict="incomplete")
    if len(sections) > 4:
        raise RecordError("more than four sections: not OCMF|payload|signature")
    payload = _object(sections[1], "payload")
    end = sections[2].rfind(b"}") + 1 or len(sections[2])  # makers write a key, or a note, after it
    signature = _object(sections[2][:end], "signature")
    curve, hash_name = _method(signature)
    written = _text(signature, "SD", "signature")
    signatures = tuple(transport_forms(written))
    if not signatures:
        raise RecordError("signature.SD is neither hex nor base64", verdict="unreadable" if written else "incomplete")
    if _text(signature, "SE", "signature").lower() == "base64":
        signatures = signatures[::-1]
    remarks: list[str] = []
    written = _text(payload, "PG")
    found = _PAGE.match(written)
    if written and found is None:
        remarks.append(f"payload.PG: {printable(written[:40])!r} is not a page")
    context, page = ("", None) if found is None else (found["context"].upper(), int(found["number"]))
    return Record(
        format="OCMF",
        signed=sections[1],
        signatures=signatures,
        curve=curve,
        hash_name=hash_name,
        serials=tuple(dict.fromkeys(filter(None, (_text(payload, each) for each in ("MS", "GS"))))),
        user=_text(payload, "ID"),
        context=context,
        page=page,
        gapless=True,
        readings=_readings(payload, remarks),
        own_key=_own_key((sections[2][end:], *sections[3:]), remarks),
        remarks=tuple(dict.fromkeys(remarks)),
    )


def payload_of(record: Record) -> Mapping[str, object]:
    """Return the payload's fields as JSON has them, numbers as Decimal."""
    return _object(record.signed, "payload")


def _sections(data: bytes) -> list[bytes]:
    """Return what is between `|`, of which a text of the payload may have some."""
    found: list[bytes] = []
    at = -1
    while at < len(data):
        section = _SECTION.match(data, at + 1)
        if section is None or data[section.end() : section.end() + 1] not in (b"", b"|"):
            return data.split(b"|")  # a text without its end
        found.append(section[0])
        at = section.end()
    return found


def _object(section: bytes, place: str) -> dict[str, object]:
    """Return a section as JSON, numbers exact; a field that stands twice with two values has no meaning."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if any(found[name] is not value and found[name] != value for name, value in pairs):  # NaN equals nothing
            raise RecordError(f"{place}: a field stands twice, with two values")
        return found

    def number(text: str) -> Decimal:
        try:
            return Decimal(text)
        except InvalidOperation:
            raise RecordError(f"{place}: no number of a meter: {printable(text[:40])}") from None

    try:
        text = section.decode()
    except UnicodeDecodeError:
        text = section.decode("latin-1")
    try:
        found = json.loads(
            text, object_pairs_hook=once, parse_float=number, parse_int=number, parse_constant=number, strict=False
        )
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        where = f"{place}, character {error.pos + 1}"
        raise RecordError(f"{where}: {error.msg}", verdict="incomplete" if cut else "unreadable") from None
    except RecursionError:
        raise RecordError(f"{place}: nested too deep") from None
    if not isinstance(found, dict):
        raise RecordError(f"{place}: not an object")
    return found


def _text(fields: Mapping[str, object], name: str, place: str = "payload") -> str:
    """Return a field as text, stripped; "" if it is absent. Makers write numbers and truth values for text."""
    match fields.get(name):
        case None:
            return ""
        case bool(value):
            return "true" if value else "false"
        case str() | Decimal() as value:
            return str(value).strip()
        case _:
            raise RecordError(f"{place}.{name}: not a text")


def _method(signature: Mapping[str, object]) -> tuple[str, HashName]:
    written = _text(signature, "SA", "signature")
    found = _METHOD.match(written or DEFAULT_METHOD)
    curve = curve_name(found["curve"] or "") if found is not None else ""
    if found is None or (found["curve"] and not curve):
        raise RecordError(f"the signature method {printable(written[:60])!r} is not supported", verdict="unsupported")
    hash_names: dict[str, HashName] = {"384": "SHA384", "512": "SHA512"}
    return curve if written else "", hash_names.get(found["bits"], "SHA256")


def _own_key(sections: Sequence[bytes], remarks: list[str]) -> MeterKey | None:
    written = b"".join(sections).strip().decode("latin-1")
    try:
        return read_key(written) if written else None
    except CodecError as error:
        remarks.append(f"after the signature section: {error}")
        return None


def _readings(payload: Mapping[str, object], remarks: list[str]) -> tuple[Reading, ...]:
    rows = payload.get("RD")
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_READINGS:
        raise RecordError(f"payload.RD: not a list of 1 to {MOST_READINGS} readings")
    before: dict[str, object] = {}
    found = []
    for number, row in enumerate(rows):
        place = f"payload.RD[{number}]"
        if not isinstance(row, dict):
            raise RecordError(f"{place}: not an object")
        if row.get("RI", before.get("RI")) != before.get("RI"):
            before = {name: value for name, value in before.items() if name not in _OTHER_REGISTER}
        before = before | row
        found.append(_reading(before, place, remarks))
    return tuple(found)


def _reading(row: Mapping[str, object], place: str, remarks: list[str]) -> Reading:
    transaction = _text(row, "TX", place)
    register, unit, value = (_text(row, each, place) for each in ("RI", "RU", "RV"))
    wh = watt_hours(_number(value, f"{place}.RV"), unit, f"{place}.RV") if value else None
    utc_ms, clock = moment(_text(row, "TM", place), f"{place}.TM", remarks)
    reading = Reading(
        register=register,
        wh=wh,
        mark=_MARKS.get(transaction.upper(), ""),
        transaction=transaction,
        utc_ms=utc_ms,
        clock=clock,
        state=_text(row, "ST", place),
        errors=_text(row, "EF", place),
    )
    if value and wh is None and reading.direction is not None:
        remarks.append(f"{place}.RU: {printable(unit[:40])!r} is no unit of energy that OCMF has (Wh, kWh)")
    return reading


def _number(written: str, place: str) -> Decimal:
    """Return a number, also as text with blanks."""
    try:
        number = Decimal(re.sub(r"\s", "", written))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or "_" in written:
        comma = "; OCMF's numbers have a point, and what is signed cannot be corrected" if "," in written else ""
        raise RecordError(f"{place}: {printable(written[:40])!r} is not a number{comma}")
    return number


def moment(written: str, place: str, remarks: list[str]) -> tuple[int | None, str]:
    """Return a time as UTC ms, and the state of the clock; None and a remark for a time that says no moment."""
    found = _TIME.match(written)
    try:
        time = datetime.fromisoformat(found["time"] + (found["zone"] or "").upper()) if found is not None else None
        utc = time.astimezone(UTC) if time is not None and time.tzinfo is not None else None
    except (ValueError, OverflowError):
        utc = None
    if found is None or utc is None:
        if written:
            remarks.append(f"{place}: {printable(written[:40])!r} is no moment")
        return None, found["clock"] or "" if found is not None else ""
    ms = int((found["part"] or "0").ljust(3, "0")[:3])
    return (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) + ms, found["clock"] or ""
