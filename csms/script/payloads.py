"""Default payloads of answers, from the declarations of the messages."""

import copy
from collections.abc import Mapping
from functools import cache
from typing import Final

import msgspec
from msgspec import inspect

from v2g.ocpp.routes import response_type
from v2g.ocpp.times import format_time

_NO: Final = ("Rejected", "Invalid", "Failed", "Unknown", "NotFound", "NoChargingProfile")
"""Statuses of rejection, the plainest first."""

_INTERVAL_S: Final = 300


def response_payload(
    action: str, request: Mapping[str, object], *, good: bool, utc_ms: int
) -> dict[str, object] | None:
    """Return the shortest payload that accepts or rejects a request; None if the response cannot reject."""
    payload: dict[str, object] = copy.deepcopy(_least(action, good))
    if action == "TransactionEvent" and (not good or "idToken" in request):
        payload["idTokenInfo"] = {"status": "Accepted" if good else "Invalid"}
    elif not good and not _refuses(payload):
        return None
    if action == "BootNotification":
        payload["interval"] = _INTERVAL_S
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
def _least(action: str, good: bool) -> dict[str, object]:
    info = inspect.type_info(response_type(action))
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
            return least or 0
        case inspect.UnionType(types=types):
            return _value(types[0], good)
    raise msgspec.ValidationError(f"no value for {info}")


def _word(words: list[str], good: bool) -> str:
    preferred = ("Accepted",) if good else _NO
    return next((word for word in preferred if word in words), words[0])
