"""Finds signed records in what people have: XML of S.A.F.E.'s transparency software and of Mennekes, OCPP messages,
CDRs of OCPI, plain text; and those of OCMF within any other text, as in the lines of a log or a table.
"""

import html
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final
from xml.etree.ElementTree import tostring

import msgspec

from v2g import typed_json
from v2g.energy.meter_records.edl40 import measurements
from v2g.energy.meter_records.keys import transport_forms
from v2g.energy.meter_records.ocmf import HEADER
from v2g.energy.meter_records.record import MOST_OCTETS, Mark
from v2g.errors import CodecError, RecordError
from v2g.sml import START
from v2g.text import printable
from v2g.xml_text import Node, children, local_name, read_xml, text_at

MOST_FILE: Final = 16 * 1024 * 1024
"""Limit of a file, in octets."""
MOST_RECORDS: Final = 10_000

SML: Final = START
"""First octets of a file of SML."""
_BLANK: Final = b" \t\r\n\x00\xef\xbb\xbf\x02"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_STARTS: Final = (HEADER, b"AP;", b"128.8.0(", b"<", SML)
_SEALED: Final = bytes.fromhex("060a2b0601040183d67701010201")
"""OID of S.A.F.E.'s seal with its version, 1: data that RSA encrypts with the meter's private key."""
_PLAIN: Final = re.compile(rb"^[ \t]*(?=OCMF\|)", re.MULTILINE)
_QUOTED: Final = re.compile(rb'OCMF\|\s*\{\s*(\\+"|""|&[a-z#])')
_BLANKS: Final = re.compile(r"\s*")
_PARTING: Final = re.compile(r"\s*\|\s*")
_OWN_KEY: Final = re.compile(r"[ \t]*\|?[ \t]*[0-9A-Za-z+/=]{60,}")
_objects: Final = json.JSONDecoder(parse_float=str, parse_int=str, strict=False)
_MARKS: Final[dict[str, Mark]] = {"Transaction.Begin": "begin", "Transaction.End": "end"}

_RECORDS: Final = ("signedMeterData", "signedMeterValue", "signed_data")  # of OCPP, 1.6 and OCPI
_json: Final = typed_json.decoder(object)


class FoundRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record where it was found, not read yet, and what stands beside it, which nobody signed.

    `data` is the record as it is written there. `mark` and `name` are the context and the transaction that a file gives
    it.
    """

    place: str
    data: bytes
    key: str = ""
    mark: Mark = ""
    name: str = ""


def find_records(data: bytes) -> list[FoundRecord]:
    """Return the records of a file, at least one. Raises CodecError."""
    if len(data) > MOST_FILE:
        raise CodecError(f"{len(data)} octets of signed records", hint=f"at most {MOST_FILE} are read")
    if data.startswith(_UTF16):  # of Windows' shell
        data = data.decode("utf-16", "replace").encode()
    bare = data.lstrip(_BLANK)  # a file of SML may end with zeros
    try:
        if bare.startswith(b"<"):
            found = list(_of_xml(read_xml(bare.rstrip(_BLANK), "the file", most_bytes=MOST_FILE)))
        elif bare.startswith((b"{", b"[", b'"')):
            found = list(_of_json(bare))
        else:
            found = [FoundRecord(place="", data=each) for each in _of_text(bare)]
    except CodecError:  # a log's lines may begin as XML or JSON do, too
        found = [FoundRecord(place="", data=each) for each in islice(_frames(bare), MOST_RECORDS + 1)]
        if not found:
            raise
    if not any(each.data for each in found):
        raise CodecError("the file has no signed record")
    if len(found) > MOST_RECORDS:
        raise CodecError(f"{len(found)} signed records", hint=f"at most {MOST_RECORDS} are read")
    return [msgspec.structs.replace(each, place=f"record {number}") for number, each in enumerate(found, 1)]


def carried(data: bytes) -> bytes:
    """Return the octets of a record that is written plain, in base64, base32 or hex, as OCPP's `signedMeterData`, or in
    one of them within base64. Raises RecordError.
    """
    if len(data) > 3 * MOST_OCTETS:
        raise RecordError(f"a record of {len(data)} octets")
    if not data.strip(_BLANK):
        raise RecordError("no signed record stands here")
    forms = [data if data.lstrip(_BLANK).startswith(SML) else data.rstrip(_BLANK)]
    for _ in range(3):
        for each in forms:
            bare = each.lstrip(_BLANK)
            if bare.startswith(_STARTS):
                return bare if bare.startswith(SML) else bare.rstrip(_BLANK)
            if bare[:1] == b"\x30" and _SEALED[:-3] in bare[:20]:
                raise RecordError("a record that S.A.F.E.'s seal encrypts by RSA, not signed", verdict="unsupported")
        forms = [form for each in forms if each.isascii() for form in transport_forms(each.decode())]
    raise RecordError("a record of no known format (OCMF, Alfen, EDL40, PCDF)")


def _of_text(data: bytes) -> list[bytes]:
    """Return the parts of a text: one for each record's header, or each line, or the whole."""
    starts = [match.end() for match in _PLAIN.finditer(data)]
    if starts and not data[: starts[0]].strip(_BLANK) and len(starts) == data.count(HEADER):
        return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
    lines = [line for line in data.splitlines() if line.strip()]
    if not data.startswith(SML) and all(_is_record(line) for line in lines):
        return lines
    return list(islice(_frames(data), MOST_RECORDS + 1)) or [data]


def _frames(data: bytes) -> Iterator[bytes]:
    """Yield each record of OCMF within other text; where one does not end as it should, the rest of its line."""
    at = data.find(HEADER)
    while at >= 0:
        rest = data[at : at + MOST_OCTETS]
        length = _length(rest)
        if length:
            yield rest[:length]
        elif (written := _unquoted(rest)) is not None:
            inner, length = written
            yield from _frames(inner)
        else:
            yield (line := rest.partition(b"\n")[0])
            length = len(line)
        at = data.find(HEADER, at + length)


def _length(rest: bytes) -> int:
    """Return how many octets the record takes with which a text begins: two objects, and a key that follows; else 0."""
    text, at = rest.decode("latin-1"), len(HEADER)
    try:
        for between in (_BLANKS, _PARTING):
            if (found := between.match(text, at)) is None:
                return 0
            at = _objects.raw_decode(text, found.end())[1]
    except (ValueError, RecursionError):
        return 0
    key = _OWN_KEY.match(text, at)
    return at if key is None else key.end()


def _unquoted(rest: bytes) -> tuple[bytes, int] | None:
    """Return a text as it was before it became one of JSON, a field of CSV or a part of XML, and how many octets it
    takes there; None if it is not in such a form."""
    form = _QUOTED.match(rest)
    if form is None:
        return None
    kind, undo = next((kind, undo) for start, kind, undo in _QUOTINGS if form[1].startswith(start))
    written = kind.match(rest)
    try:
        inner = undo(written[0].decode()).encode() if written else rest
    except ValueError:
        return None
    return (inner, written.end()) if written and inner != written[0] else None


def _of_json_text(text: str) -> str:
    return str(json.loads(f'"{text}"', strict=False))


_QUOTINGS: Final[tuple[tuple[bytes, re.Pattern[bytes], Callable[[str], str]], ...]] = (
    (b"\\", re.compile(rb'(?:[^"\\]|\\.)*+'), _of_json_text),
    (b'"', re.compile(rb'(?:[^"]|"")*+'), lambda text: text.replace('""', '"')),  # a field of CSV
    (b"&", re.compile(rb"[^<]*+"), html.unescape),  # XML
)


def _is_record(line: bytes) -> bool:
    try:
        octets = carried(line)
    except RecordError:
        return False
    return octets[:1] != b"<" or octets[-1:] == b">"  # the base64 of `<` begins other words, as OCPI's PARKING_TIME


def _of_json(data: bytes) -> Iterator[FoundRecord]:
    """Yield every SignedMeterValue of OCPP and of OCPI's CDRs in JSON, and every record in a text: alone, in messages,
    in lines of them.

    Stations of OCPP 1.6 put a SignedMeterValue as JSON into the text of a sampled value.
    """
    try:
        left: deque[tuple[object, str]] = deque((each, "") for each in _json.decode_lines(data))
        while left:
            value, key = left.popleft()
            match value:
                case dict():
                    keys = (each for name, each in value.items() if _names_key(name) and isinstance(each, str))
                    key = next(keys, key)
                    signed = (*_RECORDS, "value") if value.get("format") == "SignedData" else _RECORDS
                    texts = [name for name in signed if isinstance(value.get(name), str) and value[name][:1] != "{"]
                    yield from (FoundRecord(place="", data=value[name].encode(), key=key) for name in texts)
                    others = [(each, key) for name, each in value.items() if name not in texts and not _names_key(name)]
                    left.extendleft(reversed(others))
                case list():
                    left.extendleft((item, key) for item in reversed(value))
                case str() if not value.startswith("<") and _is_record(value.encode()):
                    yield FoundRecord(place="", data=value.encode(), key=key)
                case str() if value.startswith("{") and '"signedMeter' in value:
                    left.appendleft((_json.decode(value.encode()), key))
                case str():
                    yield from (FoundRecord(place="", data=each, key=key) for each in _frames(value.encode()))
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise CodecError(f"the file is not JSON: {error}") from None


def _names_key(field: str) -> bool:
    return field.replace("_", "").lower().startswith("publickey")


def _of_xml(root: Node) -> Iterator[FoundRecord]:
    if local_name(root) == "signedMeterValue":
        yield FoundRecord(place="", data=tostring(root))
        return
    if processes := [each for each in root.iter() if local_name(each) == "ChargingProcess"]:
        for each in processes:
            yield from (FoundRecord(place="", data=data, mark=mark) for mark, data in measurements(each))
        return
    if local_name(root) != "values":
        texts = (text for each in root.iter() for text in (each.text, each.tail, *each.attrib.values()) if text)
        found = [FoundRecord(place="", data=frame) for text in texts for frame in _frames(text.encode())]
        if found:
            yield from found
            return
        raise CodecError(f"the file's root is {printable(local_name(root))[:40]}, not values")
    for value in children(root, "value"):
        signed = [*children(value, "signedData"), *children(value, "encodedData")]
        yield FoundRecord(
            place="",
            data=(signed[0].text or "").encode() if signed else b"",
            key=text_at(value, "publicKey"),
            mark=_MARKS.get(value.get("context", "").partition(" ")[0], ""),
            name=value.get("transactionId", ""),
        )
