"""Parsing and validation of payloads: against the declarations of 2.1, and the further limits of a version.

Constructors of message Structs do not validate, so sent messages are validated here like received ones.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, TypedDict, TypeVar, get_args, get_origin

import msgspec

from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.messages import base, price_schedules
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version, request_type

M = TypeVar("M", bound=Message)

MAX_ID: Final = 36
_INTEGERS: Final = 2**31
MessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]

_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")

_REGEX = re.compile(r"matching regex '.*'", re.DOTALL)

_encode = msgspec.json.Encoder().encode


def read_payload(payload: bytes, type_: type[M], version: Version) -> M:
    """Return a JSON object as a message of `type_`.

    Raises OcppError whose `answer` is the code of OCPP-J 4.3 for the first error: TypeConstraintViolation,
    OccurrenceConstraintViolation (a required field is missing, a list is too short or long),
    PropertyConstraintViolation (a value out of range, too long, or not in its enumeration), FormatViolation (an
    unknown property, not an object).
    """
    try:
        message: M = typed_json.decode_sent(payload, type_)
    except msgspec.ValidationError as error:
        raise OcppError(_shorten(str(error)), answer=_code(str(error))) from None
    except msgspec.DecodeError as error:
        raise OcppError(_shorten(str(error)), answer="FormatViolation") from None
    if b"null" in payload:
        # reject null in place of a value (OCPP-J 4.1.5), except where content is free
        stack: list[tuple[str, object]] = [("$", msgspec.json.decode(payload))]
        while stack:
            path, value = stack.pop()
            if value is None:
                raise OcppError(_shorten(f"null - at `{path}`"), answer="TypeConstraintViolation")
            if isinstance(value, dict):
                stack += [
                    (f"{path}.{k}", v) for k, v in value.items() if k != "customData" and f"{path}.{k}" != "$.data"
                ]
            elif isinstance(value, list):
                stack += [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    if _fields(type_, version) and not _is_plain(message, _plan(type_, version)):
        _check(message, version, "$")
    return message


def read_call(text: str, action: str, version: Version) -> tuple[str, Message] | None:
    """Return message id and request of a CALL for `action`, parsed in one pass.

    None for a frame that needs closer inspection; it may still be valid.
    """
    if "null" in text or "\\u0000" in text:
        return None
    try:
        _, identifier, _, request = _call_decoder(action, version).decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    type_: type[msgspec.Struct] = type(request)
    if _fields(type_, version):
        plan = _plan(type_, version)
        is_plain = plan.only_custom_data and "customData" not in text and "\\u" not in text
        if not is_plain and not _is_plain(request, plan):
            return None
    return identifier, request


@cache
def _call_decoder(action: str, version: Version) -> msgspec.json.Decoder[Any]:
    request = request_type(action, version)
    frame: object = tuple[Literal[2], MessageId, Literal[action], request]  # type: ignore[valid-type]
    return typed_json.decoder(frame)


def without_nul(payload: bytes) -> bytes:
    """Return JSON without U+0000 in its texts: some firmware pads them with it, and not every store accepts it."""
    return _NUL.sub(rb"\1", payload) if b"\\u0000" in payload else payload


def write_payload(message: Message, version: Version) -> bytes:
    """Return a message as a JSON object, with whole numbers as integers.

    Raises OcppError when its values violate its declaration in `version`.
    """
    payload = _encode(message)
    if payload == b"{}" and _may_be_empty(type(message), version):
        return payload
    if b".0" in payload:
        payload = typed_json.whole_numbers(payload)
    read_payload(payload, type(message), version)
    return payload


def check_integers(value: msgspec.Struct, path: str = "$") -> None:
    """Raise OcppError for a number of more than 31 bits in a field that is an integer of OCPP (part 2, 2.1).

    Readers take 32 bits: some stations count without a sign. What is sent, and then recorded, keeps to the standard;
    numbers that only identify, and ids of ISO 15118, are longer.
    """
    if type(value).__module__ == price_schedules.__name__:
        return
    for field in _declared(type(value)):
        content = getattr(value, field.name)
        for item in content if isinstance(content, tuple) else (content,):
            here = f"{path}.{field.encode_name}"
            if isinstance(item, msgspec.Struct):
                check_integers(item, here)
            elif type(item) is int and abs(item) >= _INTEGERS and field.name in _short(type(value)):
                raise OcppError(
                    f"{item} does not fit an OCPP integer - at `{here}`", answer="PropertyConstraintViolation"
                )


@cache
def _short(type_: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of integers of at most 32 bits."""
    return frozenset(
        field.name
        for field in _declared(type_)
        if any(meta.le == base.UNSIGNED for hint in typed_json.parts(field.type) for meta in _metas(hint))
    )


def _metas(hint: object) -> list[msgspec.Meta]:
    return [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, msgspec.Meta)]


@cache
def _may_be_empty(type_: type[Message], version: Version) -> bool:
    try:
        read_payload(b"{}", type_, version)
    except OcppError:
        return False
    return True


S = TypeVar("S", bound=msgspec.Struct)


def without_21(message: S) -> S:
    """Return a message without the fields that 2.0.1 lacks, at any depth."""
    changes: dict[str, object] = {}
    for name, _, rule, nested in _fields(type(message), "2.0.1"):
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
    text = _REGEX.sub("matching its pattern", text)
    return text if len(text) <= 255 else text[:252] + "..."


class _Rule(TypedDict, total=False):
    """What a version limits further; see `messages.base`."""

    absent: bool
    required: bool
    integer: bool
    tenths: bool
    least: int
    max_length: int
    values: tuple[str, ...]
    without: tuple[str, ...]


class _Field(NamedTuple):
    name: str
    wire: str
    rule: _Rule
    nested: bool


@cache
def _declared(type_: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(type_)


@cache
def _fields(type_: type[msgspec.Struct], version: Version) -> tuple[_Field, ...]:
    """Return the fields of a Struct that a version limits further, directly or in nested Structs."""
    found = []
    for field in _declared(type_):
        rule: _Rule = {}
        structs: list[type[msgspec.Struct]] = []
        _gather(field.type, version, rule, structs)
        nested = any(_fields(struct, version) for struct in structs)
        if rule or nested:
            found.append(_Field(field.name, field.encode_name, rule, nested))
    return tuple(found)


def _gather(hint: object, version: Version, rule: _Rule, structs: list[type[msgspec.Struct]]) -> None:
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        for meta in metadata:
            if isinstance(meta, msgspec.Meta) and meta.extra:
                rule.update(meta.extra.get(version, {}))
        _gather(inner, version, rule, structs)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        structs.append(hint)
    else:
        for argument in get_args(hint):
            _gather(argument, version, rule, structs)


class _Plan(NamedTuple):
    """Precomputed plan to check quickly that a Struct has nothing that a version forbids, as is usual.

    `absent` are the fields that this version lacks; `left_out` are their values when omitted. `words` are
    the fields with forbidden values, `nested` those with Structs and their plans, `others` those with
    any other rule. `only_custom_data`: nothing is forbidden but `customData`, at any depth, as in most messages of 1.6.
    """

    absent: Callable[[msgspec.Struct], object] | None
    left_out: object
    words: tuple[tuple[str, frozenset[str]], ...]
    nested: tuple[tuple[str, "_Plan"], ...]
    others: tuple[tuple[str, _Rule], ...]
    only_custom_data: bool


@cache
def _plan(type_: type[msgspec.Struct], version: Version) -> _Plan:
    declared, fields = {field.name: field for field in _declared(type_)}, _fields(type_, version)
    absent = [name for name, _, rule, _ in fields if "absent" in rule]
    nested = []
    for name, _, rule, holds in fields:
        structs: list[type[msgspec.Struct]] = []
        _gather(declared[name].type, version, {}, structs)
        if holds and "absent" not in rule:
            nested.append((name, _plan(structs[0], version)))
            assert len(structs) == 1, f"{type_.__name__}.{name} holds several kinds of Struct"
    left_out = tuple(declared[name].default for name in absent)
    more = any(set(rule) - {"absent"} for _, _, rule, _ in fields)
    return _Plan(
        absent=attrgetter(*absent) if absent else None,
        left_out=left_out if len(left_out) > 1 else left_out[0] if left_out else None,
        words=tuple((name, frozenset(rule["without"])) for name, _, rule, _ in fields if set(rule) == {"without"}),
        nested=tuple(nested),
        others=tuple((name, rule) for name, _, rule, _ in fields if set(rule) - {"without", "absent"}),
        only_custom_data=absent == ["custom_data"] and not more and all(each.only_custom_data for _, each in nested),
    )


def _is_plain(value: msgspec.Struct, plan: _Plan) -> bool:
    """Return False if `_check` is needed: it finds the error, if there is one."""
    if plan.absent is not None and plan.absent(value) != plan.left_out:
        return False
    for name, words in plan.words:
        content = getattr(value, name)
        if content.__class__ is tuple:
            if not words.isdisjoint(content):
                return False
        elif content in words:
            return False
    for name, rule in plan.others:
        content = getattr(value, name)
        if content is None or content == ():
            if "required" in rule:
                return False
        elif content.__class__ is tuple or not _is_allowed(content, rule):
            return False
    for name, inner in plan.nested:
        content = getattr(value, name)
        if content.__class__ is tuple:
            if not all(_is_plain(item, inner) for item in content):
                return False
        elif content is not None and not _is_plain(content, inner):
            return False
    return True


def _is_allowed(value: Any, rule: _Rule) -> bool:
    if "integer" in rule and value % 1:
        return False
    if "tenths" in rule and not _is_tenths(value):
        return False
    if "max_length" in rule and len(value) > rule["max_length"]:
        return False
    if "least" in rule and value < rule["least"]:
        return False
    return value not in rule.get("without", ()) and ("values" not in rule or value in rule["values"])


def _is_tenths(value: float) -> bool:
    """Return whether a number as it is written has at most one digit after the point; binary fractions say nothing."""
    return not Decimal(repr(value)) % _TENTH


_TENTH: Final = Decimal("0.1")


def _check(value: msgspec.Struct, version: Version, path: str) -> None:
    for name, wire, rule, nested in _fields(type(value), version):
        content = getattr(value, name)
        if content is None or content == ():
            if "required" in rule:
                raise OcppError(f"{version} requires {path}.{wire}", answer="OccurrenceConstraintViolation")
            continue
        if "absent" in rule:
            raise OcppError(f"{version} has no {path}.{wire}", answer="FormatViolation")
        for item in content if isinstance(content, tuple) else (content,):
            _check_value(item, rule, f"{path}.{wire}")
            if nested:
                _check(item, version, f"{path}.{wire}")


def _check_value(value: Any, rule: _Rule, path: str) -> None:
    if rule.get("integer") and value % 1:
        raise OcppError(f"2.0.1 requires an integer - at `{path}`", answer="TypeConstraintViolation")
    if "tenths" in rule and not _is_tenths(value):
        raise OcppError(f"Expected a multiple of 0.1 - at `{path}`", answer="PropertyConstraintViolation")
    if "least" in rule and value < rule["least"]:
        least = rule["least"]
        raise OcppError(f"Expected `int` >= {least} - at `{path}`", answer="PropertyConstraintViolation")
    if isinstance(value, str) and len(value) > rule.get("max_length", len(value)):
        most = rule["max_length"]
        raise OcppError(f"Expected `str` of length <= {most} - at `{path}`", answer="PropertyConstraintViolation")
    if value in rule.get("without", ()) or value not in rule.get("values", (value,)):
        raise OcppError(f"2.0.1 does not allow this value - at `{path}`", answer="PropertyConstraintViolation")
