"""Reading what stations of 1.6 send: soft violations are mended, or left out, and named; hard ones are refused.

Soft is what does not change the meaning of what else is there: unknown fields, names and texts in other case, times
without zone, numbers as texts and texts as numbers, an optional field or an element of a list that cannot be read (of a
value all, where its quantity or unit cannot), an identifier that is too long, the last register of a transaction, which
ends all the same. What else has to be there and is not is hard.
"""

import math
import re
from typing import Final, TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.messages.base import DateTime, Message
from v2g.ocpp.quirks import QUIRKS, read_tolerantly
from v2g.ocpp.times import format_time
from v2g.ocpp.v16.bridge import LONGEST_ID_TAG, NO_READING
from v2g.ocpp.v16.messages import IdTagInfo, MeterValuesConf, StartTransactionConf, StopTransactionConf

M = TypeVar("M", bound=Message)

LEFT_OUT: Final = "left_out"
LONG_ID_TAG: Final = "long_id_tag"
_LONGEST: Final = 36
"""Characters of an identifier in 2.0.1."""
_S_SINCE_1970, _MS_SINCE_1970 = 10**9, 10**12
"""From the least time since 1970 on: 2001, in s and in ms."""
_OTHER: Final = {"errorCode": "OtherError", "reason": "Other"}
"""What a word means that is none of its enumeration."""
_SYNONYMS: Final = {
    "": "NoError", "none": "NoError", "error": "Faulted", "fault": "Faulted",
    "%": "Percent", "amp": "A", "amps": "A", "ampere": "A", "amperes": "A", "c": "Celsius", "°c": "Celsius",
    "hz": "Hertz", "occupied": "Preparing", "volt": "V", "volts": "V", "watt": "W", "watts": "W",
}  # fmt: skip
"""What other words mean where the enumeration has the one that is meant; `Occupied` is of OCPP 1.5."""
_JOINTS: Final = re.compile(r"[\s._-]")
_WHOLE: Final = re.compile(r"[+-]?\d{1,15}(?:[.,]\d{1,2}|\.\d{3,9}|,\d{4,9})?")
"""A number for a whole one; with three digits after a comma, it could be a thousand times as much."""
_SAY_WHAT: Final = frozenset({"format", "measurand", "phase", "unit"})
"""Fields of a value without which it would be that of another quantity."""
NEVER_SET: Final = "1970-01-01T00:00:00Z"
"""A time in place of one that cannot be read: the bridge takes the time of receipt instead."""
_ABSENT: Final = {"errorCode": "NoError", "meterStop": NO_READING, "timestamp": NEVER_SET}
"""What a field that has to be there is read as where it is not, or null."""


def read_softly(payload: bytes, type_: type[M]) -> tuple[M, frozenset[str]]:
    """Return a message that was refused, and what was wrong: names of `QUIRKS`, and `left_out`.

    Raises OcppError, as `read_payload`, for a hard violation.
    """
    try:
        return read_tolerantly(payload, type_, "1.6", QUIRKS)
    except OcppError as error:
        try:
            document = msgspec.json.decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise error from None
        if not isinstance(document, dict):
            raise
        id_tag = document.get("idTag")
        if isinstance(id_tag, str) and LONGEST_ID_TAG < len(id_tag) <= _LONGEST and "id_tag" in type_.__struct_fields__:
            message, shown = read_softly(msgspec.json.encode(document | {"idTag": ""}), type_)
            return msgspec.structs.replace(message, id_tag=id_tag), shown | {LONG_ID_TAG}  # as it is: never cut
        left = msgspec.json.encode(_readable(document, type_))
        message, shown = read_tolerantly(left, type_, "1.6", QUIRKS)
        return message, shown | {LEFT_OUT}


def answer_anyway(action: str) -> Message | None:
    """Return the answer to a message of a transaction that cannot be read, as stations repeat for ever what gets a
    CALLERROR, or boot; None for other messages. The number of a start is one that no transaction has."""
    match action:
        case "StartTransaction":
            return StartTransactionConf(transaction_id=2**31 - 1, id_tag_info=IdTagInfo(status="Invalid"))
        case "StopTransaction":
            return StopTransactionConf()
        case "MeterValues":
            return MeterValuesConf()
    return None


def _readable(document: dict[str, object], type_: type[msgspec.Struct]) -> dict[str, object]:
    """Return an object without the optional fields and the elements of lists that cannot be read."""
    found: dict[str, object] = {}
    names = {each.casefold(): each for each in document}
    for field in msgspec.structs.fields(type_):
        name = field.encode_name if field.encode_name in document else names.get(field.encode_name.casefold())
        value = None if name is None else document[name]
        if value is None:
            if field.required and field.encode_name in _ABSENT:
                found[field.encode_name] = _ABSENT[field.encode_name]
            continue
        inner = next(typed_json.structs_in(field.type), None)
        if isinstance(value, list) and inner is not None:
            value = [_readable(each, inner) for each in value if isinstance(each, dict)]
            value = [each for each in value if _reads(each, inner)]
        elif not _reads(value, field.type):
            value = _meant(value, [*typed_json.parts(field.type)])
        if field.required and field.type is DateTime and not _reads(value, field.type):
            value = NEVER_SET
        if field.encode_name == "meterStop" and not _reads(value, field.type):
            value = NO_READING
        if isinstance(value, str) and field.encode_name in _OTHER and not _reads(value, field.type):
            value = _OTHER[field.encode_name]
        if field.encode_name in _SAY_WHAT and not _reads(value, field.type):
            return {}
        if field.required or _reads(value, field.type):
            found[field.encode_name] = value
    return found


def _meant(value: object, parts: list[object]) -> object:
    """Return a value of a field of this type as what its station means by it, or as it is."""
    match value:
        case bool():
            return str(value).lower() if str in parts else value
        case int() | str() if bool in parts:
            return {"true": True, "1": True, "false": False, "0": False}.get(str(value).strip().casefold(), value)
        case int() | float() if DateTime in parts:
            seconds = value / 1000 if value >= _MS_SINCE_1970 else value
            return format_time(round(seconds * 1000)) if _S_SINCE_1970 <= seconds < 10 * _S_SINCE_1970 else value
        case int() | float() if str in parts:
            return f"{value:.15g}" if isinstance(value, float) else str(value)
        case float() if math.isfinite(value) and int in parts:
            return round(value)
        case str() if DateTime in parts and value.strip().isdecimal():
            return _meant(int(value[:15]), parts)
        case str() if int in parts and _WHOLE.fullmatch(value.strip()):
            return round(float(value.replace(",", ".")))
        case dict() | list() if str in parts:  # DataTransfer's `data`
            return msgspec.json.encode(value).decode()
        case str():
            words = {_JOINTS.sub("", each).casefold(): each for each in parts if isinstance(each, str)}
            word = _JOINTS.sub("", value).casefold()
            synonym = _SYNONYMS.get(word, "")
            return words.get(word) or (synonym if synonym in words.values() else value)
    return value


def _reads(value: object, hint: object) -> bool:
    try:
        typed_json.convert(value, hint)
    except msgspec.ValidationError:
        return False
    return True
