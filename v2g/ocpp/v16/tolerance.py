"""Reading what stations of 1.6 send: soft violations are mended, or left out, and named; hard ones are refused.

Soft is what does not change the meaning of what else is there: unknown fields, texts in other case, times without zone,
an optional field or an element of a list that cannot be read (of a value all, where its quantity or unit cannot), an
identifier that is too long. What has to be there and is not is hard.
"""

import math
from typing import Final, TypeVar, get_args, get_origin

import msgspec

from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.messages.base import DateTime, Message
from v2g.ocpp.quirks import QUIRKS, read_tolerantly
from v2g.ocpp.v16.bridge import LONGEST_ID_TAG
from v2g.ocpp.v16.messages import IdTagInfo, MeterValuesConf, StartTransactionConf, StopTransactionConf

M = TypeVar("M", bound=Message)

LEFT_OUT: Final = "left_out"
LONG_ID_TAG: Final = "long_id_tag"
_LONGEST: Final = 36
"""Characters of an identifier in 2.0.1."""
_OTHER: Final = {"errorCode": "OtherError", "reason": "Other"}
"""What a word means that is none of its enumeration."""
_SAY_WHAT: Final = frozenset({"format", "measurand", "phase", "unit"})
"""Fields of a value without which it would be that of another quantity."""
NEVER_SET: Final = "1970-01-01T00:00:00Z"
"""A time in place of one that cannot be read: the bridge takes the time of receipt instead."""


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
    found = {}
    for field in msgspec.structs.fields(type_):
        if field.encode_name not in document:
            continue
        value = document[field.encode_name]
        inner = next(
            (each for each in _parts(field.type) if isinstance(each, type) and issubclass(each, msgspec.Struct)), None
        )
        if isinstance(value, list) and inner is not None:
            value = [_readable(each, inner) for each in value if isinstance(each, dict)]
            value = [each for each in value if _reads(each, inner)]
        elif isinstance(value, float) and math.isfinite(value) and int in _parts(field.type):
            value = round(value)
        if field.required and field.type is DateTime and not _reads(value, field.type):
            value = NEVER_SET
        if isinstance(value, str):
            word = value.strip().casefold()
            value = next(
                (each for each in _parts(field.type) if isinstance(each, str) and each.casefold() == word), value
            )
        if isinstance(value, str) and field.encode_name in _OTHER and not _reads(value, field.type):
            value = _OTHER[field.encode_name]
        if field.encode_name in _SAY_WHAT and not _reads(value, field.type):
            return {}
        if field.required or _reads(value, field.type):
            found[field.encode_name] = value
    return found


def _reads(value: object, hint: object) -> bool:
    try:
        typed_json.convert(value, hint, strict=False)
    except msgspec.ValidationError:
        return False
    return True


def _parts(hint: object) -> list[object]:
    return [hint, *(part for each in get_args(hint) for part in _parts(each))] if get_origin(hint) else [hint]
