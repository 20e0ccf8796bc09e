"""Reads PCDF: `128.8.0(ST:..)(CT:..)...(RV:0003.276*kWh)...(PK:..)(SG:..)`, one text for a whole transaction.

RV is the energy of the transaction. The signature is over the text before it, by secp256r1 and SHA-256. Times have no
zone. The source is the transparency software of S.A.F.E. e.V.
"""

import re
from decimal import Decimal
from typing import Final

from v2g.energy.meter_records.keys import read_key
from v2g.energy.meter_records.record import Reading, Record, watt_hours
from v2g.errors import CodecError, RecordError
from v2g.text import printable

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
