"""Reads EDL40 of EMH (eHZ, and eMOC with a longer signature) and ISA-EDL40: signed lists of SML, and EDL40 as XML.

What is signed is not the list as it is sent, but 320 octets that are put together from its values in little endian: the
server's id, times, status, register, unit, power of ten, value, contract and more, filled up with zeros. The list's
signature ends with two octets of the log, which are signed, too. A time is signed as local time without its offset, so
no moment in UTC is proven, and none is read. XML is `signedMeterValue`, which has those octets, or the
`ChargingProcess` of Mennekes, which has the values of begin and end, each with its signature.

The source of both layouts is the transparency software of S.A.F.E. e.V.
"""

from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from xml.etree.ElementTree import tostring

import msgspec

from v2g.energy.meter_records.keys import read_key, transport_forms
from v2g.energy.meter_records.record import MOST_OCTETS, Mark, Reading, Record, watt_hours
from v2g.errors import CodecError, FrameError, RecordError
from v2g.sml import SmlFramer, Value, list_bodies
from v2g.text import printable
from v2g.xml_text import Node, child, children, local_name, read_xml, text_at

_SIGNED: Final = 320
_WATT_HOURS: Final = 30
"""Unit of DLMS (IEC 62056-62)."""

_VALUE: Final = bytes.fromhex("0100011100ff")
_COMPENSATED: Final = bytes.fromhex("0100011100c8")
_HISTORICAL: Final = bytes.fromhex("010001110064")
_RESISTANCE: Final = bytes.fromhex("00af6c6c72ff")
_STOPWATCH: Final = bytes.fromhex("00af647572ff")
_PRICE: Final = bytes.fromhex("00af707263ff")
_SECONDS: Final = bytes.fromhex("810060080001")
_PAGE: Final = bytes.fromhex("8180817101ff")
_CONTRACT: Final = bytes.fromhex("8182815401ff")

_ISA_VALUE: Final = bytes.fromhex("0100010800ff")
_ISA_START: Final = bytes.fromhex("010001080080")
_ISA_PAGE: Final = bytes.fromhex("8180c7f040ff")
_ISA_TEXT: Final = bytes.fromhex("8180816101ff")
_ISA_END: Final = bytes.fromhex("8180816202ff")
"""Name of the list that ends a transaction; those of its begin and its updates are 00 and 01."""

_EMOC_STATUS: Final = {0: 17, 3: 31, 4: 16, 5: 11, 6: 9, 7: 8}
"""Bit of the signed status -> bit of the status that is sent."""

_KEYS: Final = {"signedMeterValue": "publicKey", "ChargingProcess": "PublicKey"}
_MEASUREMENTS: Final[Mapping[str, Mark]] = {"MeasurementStart": "begin", "MeasurementEnd": "end"}

_Rows = Mapping[bytes, list[Value]]


def read_edl40(data: bytes) -> Record:
    """Return the record in a file of SML. Raises RecordError."""
    framer = SmlFramer()
    try:
        payload = next(framer.receive(data), None)
        if payload is None:
            cut = framer.waiting
            why = "the file of SML has no end" if cut else "the checksum of the file of SML is wrong"
            raise RecordError(why, verdict="incomplete" if cut else "unreadable")
        for _, server, name, _, values, signature, _ in list_bodies(payload):
            assert isinstance(values, list), "checked by list_bodies"
            rows = {
                row[0]: row for row in values if isinstance(row, list) and len(row) == 7 and isinstance(row[0], bytes)
            }
            if isinstance(server, bytes) and isinstance(signature, bytes) and len(rows) == len(values):
                return _read(server, name, rows, signature)
    except FrameError as error:
        raise RecordError(str(error)) from None
    raise RecordError("the file of SML has no signed list")


def _read(server: bytes, name: Value, rows: _Rows, signature: bytes) -> Record:
    if len(signature) not in (50, 66) or len(server) != 10:
        raise RecordError(f"a signature of {len(signature)} octets of the server {server.hex()}")
    if _ISA_START in rows:
        return _isa(server, name, rows, signature)
    extended = len(signature) == 66
    status, seconds = _number(rows, _VALUE, 1), _inner(_cell(rows, _SECONDS, 5), "seconds")
    if extended:
        status = sum((status >> sent & 1) << bit for bit, sent in _EMOC_STATUS.items())
    more = b""
    if extended:
        optional = {
            each: _number(rows, each, 5) for each in (_HISTORICAL, _COMPENSATED, _RESISTANCE, _STOPWATCH, _PRICE)
        }
        more = (
            _little(optional[_HISTORICAL], 8) + _little(optional[_COMPENSATED], 8) + _little(optional[_RESISTANCE], 2)
            + _little(optional[_STOPWATCH], 4) + _little(optional[_PRICE], 2)[::-1]
        )  # fmt: skip
    parts = (
        server, _little(_local(rows, _VALUE), 4), _little(status & 0xFF, 1), _little(seconds, 4),
        _little(_number(rows, _PAGE, 5), 4), _counted(rows, _VALUE), signature[-2:], _contract(rows),
        _little(_local(rows, _CONTRACT), 4), more,
    )  # fmt: skip
    readings = [_reading(rows, _VALUE, "")]
    if extended and _number(rows, _COMPENSATED, 5):
        readings.append(_reading(rows, _COMPENSATED, "", unit_of=_VALUE))
    return _of_octets(b"".join(parts).ljust(_SIGNED, b"\0"), signature, readings)


def read_edl40_xml(data: bytes) -> Record:
    """Return the record in a signedMeterValue, or in a ChargingProcess that has one measurement. Raises RecordError."""
    try:
        root = read_xml(data, "the record", most_bytes=MOST_OCTETS)
        own_key = read_key(written) if (written := text_at(root, _KEYS.get(local_name(root), ""))) else None
    except CodecError as error:
        whole = data.rstrip().endswith(tuple(f"{each}>".encode() for each in _KEYS))
        raise RecordError(str(error), verdict="unreadable" if whole else "incomplete") from None
    match local_name(root):
        case "signedMeterValue":
            signed, signature = (_octets(root, each) for each in ("encodedMeterValue", "meterValueSignature"))
            if len(signed) != _SIGNED:
                cut = len(signed) < _SIGNED
                why = f"encodedMeterValue has {len(signed)} octets"
                raise RecordError(why, verdict="incomplete" if cut else "unreadable")
            record = _of_octets(signed, signature)
        case "ChargingProcess":
            record = _of_process(root)
        case other:
            raise RecordError(f"XML of {printable(other)[:40]}: a record of no known format")
    return msgspec.structs.replace(record, own_key=own_key)


def measurements(process: Node) -> Iterator[tuple[Mark, bytes]]:
    """Yield the begin and the end of a ChargingProcess, each a ChargingProcess with one measurement."""
    for name, mark in _MEASUREMENTS.items():
        if children(process, name):
            others = _MEASUREMENTS.keys() - {name}
            part = Node(process.tag)
            part.extend(each for each in process if local_name(each) not in others)
            yield mark, tostring(part)


def _of_process(process: Node) -> Record:
    """Return the record that the values of a measurement give; its register is 1.17.0, its unit Wh."""
    found = [each for name in _MEASUREMENTS for each in children(process, name)]
    if len(found) != 1:
        why = f"a ChargingProcess with {len(found)} measurements"
        raise RecordError(why, verdict="unreadable" if found else "incomplete")
    names = ("MeterStatus", "SecondIndex", "Pagination", "Scaler", "Value", "EventCounter")
    try:
        status, seconds, page, scaler, value, events = (int(text_at(found[0], each)) for each in names)
        customer = text_at(found[0], "TimestampCustomerIdent") or text_at(process, "TimestampCustomerIdent")
        time, since = (
            timegm(datetime.fromisoformat(each).timetuple()) for each in (text_at(found[0], "Timestamp"), customer)
        )
    except ValueError as error:
        raise RecordError(f"{local_name(found[0])}: {printable(str(error))}") from None
    signature = _octets(found[0], "Signature")
    log = signature[-2:] if len(signature) in (50, 66) else (events & 0xFFFF).to_bytes(2)
    signed = (
        _octets(process, "ServerId") + _little(time, 4) + _little(status & 0xFF, 1) + _little(seconds, 4)
        + _little(page, 4) + _VALUE + _little(_WATT_HOURS, 1) + _little(scaler & 0xFF, 1) + _little(value, 8) + log
        + _octets(process, "CustomerIdent").ljust(128, b"\0") + _little(since, 4)
    )  # fmt: skip
    if len(signed) != 173:
        raise RecordError("ServerId or CustomerIdent has a wrong length")
    return _of_octets(signed.ljust(_SIGNED, b"\0"), signature)


def _octets(node: Node, name: str) -> bytes:
    """Return the octets of an element that is written in hex or base64, as its attribute `encoding` says."""
    found = child(node, name)
    text = text_at(node, name)
    forms = list(transport_forms(text))
    if found is None or not forms:
        raise RecordError(f"{name} is missing" if not text else f"{name} is neither hex nor base64")
    return forms[-1 if found.get("encoding") == "base64" else 0]


def _of_octets(signed: bytes, signature: bytes, readings: Sequence[Reading] = ()) -> Record:
    """Return the record of the octets that are signed; their own reading unless others are given."""
    size = {48: 24, 50: 24, 64: 32, 66: 32}.get(len(signature))
    if size is None:
        raise RecordError(f"a signature of {len(signature)} octets")
    if not readings:
        scaler = int.from_bytes(signed[30:31], signed=True)
        if signed[29] != _WATT_HOURS or abs(scaler) > 12:
            raise RecordError("the value is not in Wh")
        value = Decimal(int.from_bytes(signed[31:39], "little")).scaleb(scaler)
        register = signed[23:29].hex().upper()
        readings = (Reading(register=register, wh=watt_hours(value, "Wh", register)),)
    # eMOC counts the readings of a transaction in the first octet, and dates each
    contract = signed[41:169].rstrip(b"\0") if size == 24 else b""
    return Record(
        format="EDL40",
        signed=signed,
        signatures=(signature[: 2 * size],),
        curve="secp192r1" if size == 24 else "secp256r1",
        serials=serials(signed[:10]),
        session=str(int.from_bytes(signed[169:173], "little")) if contract else "",
        user=contract.hex().upper(),
        page=int.from_bytes(signed[19:23], "little"),
        readings=tuple(readings),
        sealed_marks=False,
    )


def _isa(server: bytes, name: Value, rows: _Rows, signature: bytes) -> Record:
    value_signature, text = _cell(rows, _ISA_VALUE, 6), _cell(rows, _ISA_TEXT, 5)
    texts = (name, value_signature, text)
    if len(signature) != 66 or not all(isinstance(each, bytes) for each in texts):
        raise RecordError("an ISA-EDL40 list without its name, its signatures or its text")
    assert isinstance(name, bytes), "just checked"
    assert isinstance(value_signature, bytes), "just checked"
    assert isinstance(text, bytes), "just checked"
    if len(name) != 6 or len(value_signature) != 66 or len(text) > 20:
        raise RecordError("an ISA-EDL40 list whose name, signature or text has a wrong length")
    page = _number(rows, _ISA_PAGE, 5)
    parts = (
        server, _little(_local(rows, _ISA_VALUE), 4), _little(_number(rows, _ISA_VALUE, 1) & 0xFF, 1),
        _counted(rows, _ISA_VALUE), signature[-2:], value_signature, _contract(rows),
        _little(_local(rows, _ISA_START), 4), text.ljust(20, b"\0"),
        _little(_number(rows, _ISA_START, 1) & 0xFF, 1), _counted(rows, _ISA_START), name, _little(page, 4),
    )  # fmt: skip
    return Record(
        format="ISA-EDL40",
        signed=b"".join(parts).ljust(_SIGNED, b"\0"),
        signatures=(signature[:-2],),
        curve="secp256r1",
        serials=serials(server),
        session=f"{_local(rows, _ISA_START)}",
        page=page,
        readings=(
            # the start is kept of the same register, under a code of its own
            _reading(rows, _ISA_START, "begin", register=_ISA_VALUE),
            _reading(rows, _ISA_VALUE, "end" if name == _ISA_END else ""),
        ),
    )


def serials(server: bytes) -> tuple[str, ...]:
    """Return the names of a server's id: as DIN 43863-5 prints it, if it is one, and in hexadecimal."""
    number = int.from_bytes(server[6:])
    maker = server[2:5]
    if len(server) != 10 or not (maker.isascii() and maker.isalpha()):
        return (server.hex().upper(),)
    digits = f"{number:08d}" if number < 10**8 else f"{number:08X}"
    return f"{server[1]}{maker.decode()}{server[5]:02X}{digits}", server.hex().upper()


def _cell(rows: _Rows, code: bytes, column: int) -> Value:
    if code not in rows:
        raise RecordError(f"the list has no {code.hex().upper()}", verdict="incomplete")
    return rows[code][column]


def _number(rows: _Rows, code: bytes, column: int) -> int:
    value = _cell(rows, code, column)
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecordError(f"{code.hex().upper()} is not a number")
    return value


def _inner(value: Value, what: str) -> int:
    """Return the number in a choice, or in a choice of a choice."""
    for _ in range(3):
        match value:
            case int() if not isinstance(value, bool):
                return value
            case [int(), inner]:
                value = inner
            case _:
                break
    raise RecordError(f"the list's {what} are not a number")


def _local(rows: _Rows, code: bytes) -> int:
    """Return the time of an entry in seconds, with the offsets to local time, as it is signed."""
    match _cell(rows, code, 2):
        case [int(), [int(seconds), int(offset_min), int(season_min)]]:
            return seconds + 60 * (offset_min + season_min)
        case [int(), int(seconds)]:
            return seconds
        case _:
            raise RecordError(f"{code.hex().upper()} has no time")


def _contract(rows: _Rows) -> bytes:
    contract = _cell(rows, _CONTRACT, 5)
    if not isinstance(contract, bytes) or len(contract) > 128:
        raise RecordError("the contract is not a text of 128 octets")
    return contract.ljust(128, b"\0")


def _counted(rows: _Rows, code: bytes) -> bytes:
    """Return an entry as it is signed: its code, unit, power of ten and value."""
    unit, scaler, value = (_number(rows, code, column) for column in (3, 4, 5))
    return code + _little(unit, 1) + _little(scaler & 0xFF, 1) + _little(value & (2**64 - 1), 8)


def _reading(rows: _Rows, code: bytes, mark: Mark, *, register: bytes = b"", unit_of: bytes = b"") -> Reading:
    place = code.hex().upper()
    if _number(rows, unit_of or code, 3) != _WATT_HOURS:
        raise RecordError(f"{place} is not in Wh")
    scaler = _number(rows, unit_of or code, 4)
    if abs(scaler) > 12:
        raise RecordError(f"{place} has the power of ten {scaler}")
    return Reading(
        register=(register or code).hex().upper(),
        wh=watt_hours(Decimal(_number(rows, code, 5)).scaleb(scaler), "Wh", place),
        mark=mark,
    )


def _little(number: int, size: int) -> bytes:
    try:
        return number.to_bytes(size, "little")
    except OverflowError:
        raise RecordError(f"{number} does not fit {size} octets") from None
