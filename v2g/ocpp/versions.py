"""Reads and checks payloads: against the declarations, which are 2.1, and against what 2.0.1 limits more.

Constructors of message Structs do not validate, so what is sent passes through here as well as what is received.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version

M = TypeVar("M", bound=Message)

_encode = msgspec.json.Encoder().encode


def read_payload(payload: bytes, type_: type[M], version: Version) -> M:
    """Return a JSON object as a message of `type_`.

    Raises OcppError whose `answer` is the code of OCPP-J 4.3 for what is wrong first: TypeConstraintViolation,
    OccurrenceConstraintViolation (a required field is missing, a list is too short or long),
    PropertyConstraintViolation (a value out of range, too long, or not in its enumeration), FormatViolation (an
    unknown property, an object that is none).
    """
    try:
        message = msgspec.json.decode(payload, type=type_)
    except msgspec.ValidationError as error:
        raise OcppError(_shorten(str(error)), answer=_code(str(error))) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise OcppError(_shorten(str(error)), answer="FormatViolation") from None
    if b"null" in payload:
        _refuse_null(payload)
    if version == "2.0.1":
        _check(message, "$")
    return message


def write_payload(message: Message, version: Version) -> bytes:
    """Return a message as a JSON object. Raises OcppError when its values break its declaration in `version`."""
    payload = _encode(message)
    read_payload(payload, type(message), version)
    return payload


S = TypeVar("S", bound=msgspec.Struct)


def without_21(message: S) -> S:
    """Return a message without the fields that 2.0.1 does not know, at any depth."""
    changes: dict[str, Any] = {}
    for name, _, rule, nested in _fields(type(message)):
        content = getattr(message, name)
        if content is None or content == ():
            continue
        if "absent" in rule:
            changes[name] = () if isinstance(content, tuple) else None
        elif nested:
            lower = tuple(map(without_21, content)) if isinstance(content, tuple) else without_21(content)
            if lower != content:
                changes[name] = lower
    return msgspec.structs.replace(message, **changes) if changes else message


def _code(text: str) -> str:
    if "missing required field" in text or "`array` of length" in text:
        return "OccurrenceConstraintViolation"
    if "unknown field" in text or text.startswith("Expected `object`"):
        return "FormatViolation"
    if ", got `" in text:
        return "TypeConstraintViolation"
    return "PropertyConstraintViolation"


def _shorten(text: str) -> str:
    return text if len(text) <= 255 else text[:252] + "..."


def _refuse_null(payload: bytes) -> None:
    """Refuse null in place of a value (OCPP-J 4.1.5), except where content is free."""
    stack: list[tuple[str, Any]] = [("$", msgspec.json.decode(payload))]
    while stack:
        path, value = stack.pop()
        if value is None:
            raise OcppError(_shorten(f"null - at `{path}`"), answer="TypeConstraintViolation")
        if isinstance(value, dict):
            stack += [(f"{path}.{k}", v) for k, v in value.items() if k != "customData" and f"{path}.{k}" != "$.data"]
        elif isinstance(value, list):
            stack += [(f"{path}[{i}]", v) for i, v in enumerate(value)]


class _Field(NamedTuple):
    name: str
    wire: str
    rule: Mapping[str, Any]
    nested: bool


@cache
def _fields(type_: type[msgspec.Struct]) -> tuple[_Field, ...]:
    """Return the fields of a Struct that 2.0.1 limits, or that hold Structs in which it limits some."""
    hints = get_type_hints(type_, include_extras=True)
    found = []
    for field in msgspec.structs.fields(type_):
        rule: dict[str, Any] = {}
        structs: list[type[msgspec.Struct]] = []
        _gather(hints[field.name], rule, structs)
        nested = any(_fields(struct) for struct in structs)
        if rule or nested:
            found.append(_Field(field.name, field.encode_name, rule, nested))
    return tuple(found)


def _gather(hint: Any, rule: dict[str, Any], structs: list[type[msgspec.Struct]]) -> None:
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        for meta in metadata:
            if isinstance(meta, msgspec.Meta) and meta.extra:
                rule.update(meta.extra.get("2.0.1", {}))
        _gather(inner, rule, structs)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        structs.append(hint)
    else:
        for argument in get_args(hint):
            _gather(argument, rule, structs)


def _check(value: msgspec.Struct, path: str) -> None:
    for name, wire, rule, nested in _fields(type(value)):
        content = getattr(value, name)
        if content is None or content == ():
            if "required" in rule:
                raise OcppError(f"2.0.1 requires {path}.{wire}", answer="OccurrenceConstraintViolation")
            continue
        if "absent" in rule:
            raise OcppError(f"2.0.1 has no {path}.{wire}", answer="FormatViolation")
        for item in content if isinstance(content, tuple) else (content,):
            _check_value(item, rule, f"{path}.{wire}")
            if nested:
                _check(item, f"{path}.{wire}")


def _check_value(value: Any, rule: Mapping[str, Any], path: str) -> None:
    if rule.get("integer") and not isinstance(value, int):
        raise OcppError(f"2.0.1 wants an integer - at `{path}`", answer="TypeConstraintViolation")
    too_long = isinstance(value, str) and len(value) > rule.get("max_length", len(value))
    if too_long or value in rule.get("without", ()) or value not in rule.get("values", (value,)):
        raise OcppError(f"2.0.1 does not allow this value - at `{path}`", answer="PropertyConstraintViolation")
