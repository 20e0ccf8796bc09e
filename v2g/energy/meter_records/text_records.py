"""Reads records that are one text: of Alfen, and PCDF.

Alfen: `AP;type;version;public key;data set;signature;`, the last three in base32.
The data set has 82 octets, little endian, and is all that is signed: not the type, which says whether the reading
begins or ends a transaction. The source is the transparency software of S.A.F.E. e.V.
"""

import base64
import binascii
import re
from decimal import Decimal
from typing import Final

from v2g.energy.meter_records.edl40 import serials
from v2g.energy.meter_records.keys import read_key
from v2g.energy.meter_records.record import Mark, Reading, Record, watt_hours
from v2g.errors import CodecError, RecordError
from v2g.text import printable

_OCTETS: Final = 82
_WATT_HOURS: Final = 30
_MARKS: Final[dict[str, Mark]] = {"0": "begin", "1": "end", "2": ""}


def read_alfen(data: bytes) -> Record:
    """Return a record. Raises RecordError."""
    fields = data.decode("latin-1").split(";")
    if fields[-1].strip() == "":
        fields.pop()
    if len(fields) != 6:
        cut = len(fields) < 6
        raise RecordError(f"AP; has {len(fields)} fields instead of 6", verdict="incomplete" if cut else "unreadable")
    _, kind, version, key, written, signature = (each.strip() for each in fields)
    if kind not in _MARKS or version not in ("2", "3"):
        raise RecordError("a type or version of AP; that is not known")
    octets, signed = _base32(written, "data set"), _base32(signature, "signature")
    if len(octets) != _OCTETS:
        cut = len(octets) < _OCTETS
        raise RecordError(f"a data set of {len(octets)} octets", verdict="incomplete" if cut else "unreadable")
    seconds, value, session, page = (
        int.from_bytes(octets[start : start + size], "little") for start, size in ((34, 4), (46, 8), (74, 4), (78, 4))
    )
    try:
        own_key = read_key(key)
    except CodecError as error:
        raise RecordError(f"the record's public key: {error}") from None
    scaler = int.from_bytes(octets[45:46], signed=True)
    if octets[44] != _WATT_HOURS or abs(scaler) > 12:
        raise RecordError("the data set is not in Wh")
    user = octets[54:74].rstrip(b"\0")
    return Record(
        format="ALFEN",
        signed=octets,
        signatures=(signed,),
        curve="secp192r1",
        serials=(*serials(octets[16:26]), octets[0:10].hex().upper()),
        session=str(session),
        user=user.decode() if user.isascii() and user.decode().isprintable() else user.hex().upper(),
        page=page,
        readings=(
            Reading(
                register=octets[38:44].hex().upper(),
                wh=watt_hours(Decimal(value).scaleb(scaler), "Wh", "the data set"),
                mark=_MARKS[kind],
                transaction=kind,
                utc_ms=seconds * 1000,
            ),
        ),
        own_key=own_key,
        sealed_marks=False,
    )


def _base32(text: str, what: str) -> bytes:
    plain = text.rstrip("=")
    try:
        octets = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except (binascii.Error, ValueError):
        raise RecordError(f"the {what} is not base32") from None
    if base64.b32encode(octets).decode().rstrip("=") != plain:
        raise RecordError(f"the {what} is not base32")
    return octets


_HEADER: Final = "128.8.0"
_FIELD: Final = re.compile(r"\((?P<name>[A-Z]{2,3}):(?P<value>[^()]*)\)")
_NEEDED: Final = ("RV", "SI", "HW", "PK", "SG")
_ENERGY: Final = re.compile(r"(?P<number>\d{1,12}(?:\.\d{1,9})?)\*(?P<unit>k?Wh)\Z")
_SESSION: Final = re.compile(r"(?P<user>[^*]*)\*(?P<kind>[^*]*)\*(?P<id>[^*]*)\Z")


def read_pcdf(data: bytes) -> Record:
    """Return a record. Raises RecordError."""
    try:
        text = data.strip(b"\x02\x03 \t\r\n").decode()
    except UnicodeDecodeError:
        raise RecordError("a PCDF record that is not UTF-8") from None
    body = text.removeprefix(_HEADER)
    pairs = [(match["name"], match["value"]) for match in _FIELD.finditer(body)]
    fields = dict(pairs)
    if "".join(f"({name}:{value})" for name, value in pairs) != body:
        cut = not body.endswith(")")
        raise RecordError("the record is not a row of (NAME:value)", verdict="incomplete" if cut else "unreadable")
    if len(fields) != len(pairs):
        raise RecordError("a field stands twice")
    if not pairs or pairs[-1][0] != "SG":
        raise RecordError("the record does not end with its signature", verdict="incomplete")
    if missing := [each for each in _NEEDED if each not in fields]:
        raise RecordError(f"the record has no {missing[0]}", verdict="incomplete")
    energy, session = _ENERGY.match(fields["RV"]), _SESSION.match(fields["SI"])
    if energy is None or session is None:
        wrong = "RV" if energy is None else "SI"
        raise RecordError(f"{wrong}: {printable(fields[wrong][:40])!r} is not readable")
    try:
        own_key, signature = read_key(fields["PK"]), bytes.fromhex(fields["SG"])
    except (CodecError, ValueError) as error:
        raise RecordError(f"PK or SG: {error}") from None
    state = "G" if fields.get("BV") == "1" else "E"
    count = fields.get("CSC", "")
    return Record(
        format="PCDF",
        signed=text[: text.rindex("(SG:")].encode(),
        signatures=(signature,),
        curve="secp256r1",
        serials=(fields["HW"],),
        session=session["id"],
        user=session["user"],
        page=int(count) if count.isdecimal() and len(count) < 10 else None,
        readings=(
            Reading(register=_HEADER, wh=Decimal(0), mark="begin", state=state),
            Reading(
                register=_HEADER,
                wh=watt_hours(Decimal(energy["number"]), energy["unit"], "RV"),
                mark="end" if fields.get("SP") == "1" else "",
                state=state,
            ),
        ),
        own_key=own_key,
        remarks=() if fields.get("SP") == "1" else ("the record is not the last of its transaction",),
    )
