"""Reads the records of Alfen: `AP;type;version;public key;data set;signature;`, the last three in base32.

The data set has 82 octets, little endian, and is all that is signed: not the type, which says whether the reading
begins or ends a transaction. The source is the transparency software of S.A.F.E. e.V.
"""

import base64
import binascii
from decimal import Decimal
from typing import Final

from v2g.energy.meter_records.edl40 import serials
from v2g.energy.meter_records.keys import read_key
from v2g.energy.meter_records.record import Mark, Reading, Record, watt_hours
from v2g.errors import CodecError, RecordError

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
        raise RecordError(f"{len(fields)} of the 6 fields of AP;", verdict="incomplete" if cut else "unreadable")
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
