"""Conditions on payloads, and default payloads of answers from the declarations of the messages.

A condition is `path: value`, or `path: {min: 3}` and the like. A path is keys joined by dots
(`transactionInfo.chargingState`); in a list a number is an index and `*` any item.
"""

import copy
import zlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect

from v2g.config import nearest
from v2g.ocpp.routes import Version, response_type
from v2g.ocpp.times import format_time

_NO: Final = ("Rejected", "Invalid", "Failed", "Unknown", "NotFound", "NoChargingProfile")
"""Statuses of rejection, the plainest first."""

_INTERVAL_S: Final = 300


def response_payload(
    action: str, request: Mapping[str, object], *, good: bool, utc_ms: int, version: Version = "2.1"
) -> dict[str, object] | None:
    """Return the shortest payload that accepts or rejects a request; None if the response cannot reject."""
    payload: dict[str, object] = copy.deepcopy(_least(action, good, version))
    if action == "TransactionEvent" and (not good or "idToken" in request):
        payload["idTokenInfo"] = {"status": "Accepted" if good else "Invalid"}
    elif not good and not _refuses(payload):
        return None
    if action == "BootNotification":
        payload["interval"] = _INTERVAL_S
    if action == "StartTransaction":  # of a start that is sent again the same number
        payload["transactionId"] = 1 + zlib.crc32(msgspec.json.encode(request)) % (2**31 - 1)
    for name in ("vatNumber", "evseId"):  # VatNumberValidation: those of the request (C18.FR.10)
        if name in request and action == "VatNumberValidation":
            payload[name] = request[name]
    now = format_time(utc_ms)
    return {name: _stamped(value, now) for name, value in payload.items()}


def fill(payload: dict[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return a payload with changes merged in, at any depth."""
    merged = dict(payload)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = fill(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


_NOW: Final = "\0now"


def _stamped(value: object, now: str) -> object:
    if isinstance(value, dict):
        return {key: _stamped(inner, now) for key, inner in value.items()}
    if isinstance(value, list):
        return [_stamped(inner, now) for inner in value]
    return now if value == _NOW else value


def _refuses(value: object) -> bool:
    if isinstance(value, dict):
        return any(_refuses(inner) for inner in value.values())
    return isinstance(value, str) and value in _NO


@cache
def _least(action: str, good: bool, version: Version) -> dict[str, object]:
    info = inspect.type_info(response_type(action, version))
    assert isinstance(info, inspect.StructType)
    return _struct(info, good)


def _struct(info: inspect.StructType, good: bool) -> dict[str, object]:
    return {field.encode_name: _value(field.type, good) for field in info.fields if field.required}


def _value(info: inspect.Type, good: bool) -> object:
    match info:
        case inspect.Metadata(type=inner):
            return _value(inner, good)
        case inspect.StructType():
            return _struct(info, good)
        case inspect.LiteralType(values=words):
            return _word([str(word) for word in words], good)
        case inspect.StrType(pattern=pattern):
            return _NOW if pattern else ""
        case inspect.VarTupleType(item_type=item):
            return [_value(item, good)]
        case inspect.BoolType():
            return False
        case inspect.IntType(ge=least) | inspect.FloatType(ge=least):
            return max(0, least or 0)
        case inspect.UnionType(types=types):
            return _value(types[0], good)
    raise msgspec.ValidationError(f"no value for {info}")


def _word(words: list[str], good: bool) -> str:
    preferred = ("Accepted",) if good else _NO
    return next((word for word in preferred if word in words), words[0])


OPERATORS: Final = frozenset({"is", "not", "one_of", "like", "min", "max", "present"})
"""`is` and `not` a value, `one_of` several, `like` a pattern with * and ?, from `min` to `max`, `present` or not."""


def matches(conditions: Mapping[str, object], payload: object) -> bool:
    """Return whether a payload meets all conditions."""
    return not unmet(conditions, payload)


def unmet(conditions: Mapping[str, object], payload: object) -> list[str]:
    """Return the conditions that a payload does not meet, as text."""
    return [
        f"{path} is {_shown(list(_values(payload, path.split('.'))))}, not {_wanted(condition)}"
        for path, condition in conditions.items()
        if not _holds(condition, list(_values(payload, path.split("."))))
    ]


def check_conditions(conditions: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yield path, problem and hint of every invalid condition."""
    for path, condition in conditions.items():
        if not isinstance(condition, dict):
            continue
        for name, value in condition.items():
            if name not in OPERATORS:
                yield path, f"unknown condition {name!r}", nearest(name, OPERATORS)
            elif name == "one_of" and not isinstance(value, list):
                yield path, "one_of needs a list", ""
            elif name == "like" and not isinstance(value, str):
                yield path, "like needs a text with * and ?", ""
            elif name in ("min", "max") and not _is_number(value):
                yield path, f"{name} needs a number", ""
            elif name == "present" and not isinstance(value, bool):
                yield path, "present needs true or false", ""


def _values(payload: object, path: list[str]) -> Iterator[object]:
    if not path:
        yield payload
        return
    step, *rest = path
    if isinstance(payload, dict) and step in payload:
        yield from _values(payload[step], rest)
    elif isinstance(payload, list) and step == "*":
        for item in payload:
            yield from _values(item, rest)
    elif isinstance(payload, list) and step.isdecimal() and int(step) < len(payload):
        yield from _values(payload[int(step)], rest)


def _holds(condition: object, found: list[object]) -> bool:
    if not isinstance(condition, dict):
        return any(_equal(value, condition) for value in found)
    if "present" in condition and condition["present"] != bool(found):
        return False
    rest = {name: wanted for name, wanted in condition.items() if name != "present"}
    return not rest or any(all(_meets(value, name, wanted) for name, wanted in rest.items()) for value in found)


def _meets(value: Any, name: str, wanted: Any) -> bool:
    match name:
        case "is":
            return _equal(value, wanted)
        case "not":
            return not _equal(value, wanted)
        case "one_of":
            return any(_equal(value, each) for each in wanted)
        case "like":
            return isinstance(value, str) and fnmatchcase(value, wanted)
        case "min":
            return _is_number(value) and bool(value >= wanted)
    return _is_number(value) and bool(value <= wanted)


def _equal(value: object, wanted: object) -> bool:
    """Compare as JSON does: true is not 1, 1.0 is."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(found: list[object]) -> str:
    return "absent" if not found else " and ".join(repr(value)[:60] for value in found[:3])


def _wanted(condition: object) -> str:
    if not isinstance(condition, dict):
        return repr(condition)
    return ", ".join(f"{name} {value!r}" for name, value in condition.items())
