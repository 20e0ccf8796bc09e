"""Thread-safe conversion of JSON and plain values into declared types, for all programs with threads.

msgspec analyses a Struct's fields when it first meets the type, and may let another thread run meanwhile. That thread
finds the analysis incomplete, and the process ends with SIGSEGV (msgspec 0.22). So only one thread at a time analyses
types. Encoding needs no types and is thread-safe.
"""

import functools
import math
import re
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, TypeVar, get_args, overload

import msgspec

T = TypeVar("T")

Fields = dict[str, Any]
"""Values by name whose types their reader knows: of a JSON object, a row, a message, arguments."""

_working_out = threading.RLock()


@overload
def decoder(type_: type[T]) -> msgspec.json.Decoder[T]: ...
@overload
def decoder(type_: object) -> msgspec.json.Decoder[Any]: ...
def decoder(type_: object) -> msgspec.json.Decoder[Any]:
    """Return the decoder of JSON into a type, cached."""
    with _working_out:
        return _decoder(type_)


@functools.cache
def _decoder(type_: object) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def packed(type_: type[T]) -> Callable[[bytes], T]:
    """Return a function that decodes MessagePack into a type."""
    with _working_out:
        return msgspec.msgpack.Decoder(type_).decode


@overload
def decode(data: bytes | str, type_: type[T]) -> T: ...
@overload
def decode(data: bytes | str, type_: object) -> Any: ...
def decode(data: bytes | str, type_: object) -> Any:
    """Return JSON as a type. Raises msgspec.DecodeError; its subclass ValidationError for JSON of another type."""
    try:
        return decoder(type_).decode(data)
    except (UnicodeError, RecursionError) as error:  # msgspec raises these, too
        raise msgspec.DecodeError(str(error)) from None


def decode_sent(data: bytes | str, type_: type[T]) -> T:
    """Return JSON of others as a type: as `decode`, and `1.0` or `1e0` where an integer is asked is an integer.

    So the JSON schemas count since draft-06. Only data that `decode` refuses is read a second time.
    """
    try:
        return decode(data, type_)
    except msgspec.ValidationError as error:
        if ", got `float`" not in str(error):
            raise
    return decode(whole_numbers(data), type_)


def whole_numbers(data: bytes | str) -> bytes:
    """Return JSON with integers in place of numbers such as `1.0`. Raises msgspec.DecodeError."""
    try:
        return msgspec.json.encode(_numbers.decode(data))
    except (UnicodeError, RecursionError, ValueError) as error:
        raise msgspec.DecodeError(str(error)) from None


def number(text: str) -> int | float:
    """Return a JSON number: an integer if its value is one below 2^53. Raises ValueError for one beyond all floats."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is out of range")
    if not value:  # or too small for a float
        return value if text.lower().partition("e")[0].strip("-0.") else 0
    whole = value.is_integer() and abs(value) < _EXACT and Decimal(text) == int(value)
    return int(value) if whole else value


def decode_exact(data: bytes) -> object:
    """Return JSON as plain values, of which numbers are int, or Decimal where they are not whole, or their text where
    they are out of range: one of them is no reason to refuse the others. Raises msgspec.DecodeError."""
    try:
        return _exact.decode(data)
    except (UnicodeError, RecursionError, ArithmeticError, ValueError) as error:
        raise msgspec.DecodeError(str(error)) from None


def _exact_number(text: str) -> int | Decimal | str:
    found = Decimal(text)
    if abs(found.adjusted()) > _MOST_DIGITS:
        return text
    return int(found) if found == found.to_integral_value() else found


_EXACT: Final = 2**53
_MOST_DIGITS: Final = 30
_exact: Final = msgspec.json.Decoder(float_hook=_exact_number)
_numbers: Final = msgspec.json.Decoder(float_hook=number)


def decode_kept(data: bytes, type_: type[T]) -> T:
    """Return a document that a program keeps for itself, without fields that a newer program has added.

    After an update the older program may come back (R133, R135), and then reads what the newer one has kept. So a
    release adds only what others can leave out: fields with defaults, collections, tables. A change that an older
    program cannot leave out takes two releases: the first reads both forms and writes the older one, the next writes
    the newer one under a higher format. Raises as `decode`.
    """
    try:
        return decode(data, type_)
    except msgspec.ValidationError as error:
        problem = str(error)
    plain = msgspec.json.decode(data)
    for _ in range(_MOST_ADDED):
        if (found := _ADDED.fullmatch(problem)) is None:
            break
        name, path = found.groups()
        _leave_out(plain, _STEP.findall(path or ""), name)
        try:
            return decode(msgspec.json.encode(plain), type_)
        except msgspec.ValidationError as error:
            problem = str(error)
    raise msgspec.ValidationError(problem)


_ADDED: Final = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$(.*)`)?")
_STEP: Final = re.compile(r"\[[^]]*\]|[^.\[]+")
_MOST_ADDED: Final = 100


def _leave_out(plain: object, path: list[str], name: str) -> None:
    """Remove a field from all objects at a path, of which `[...]` and `[0]` are elements."""
    if not path:
        if isinstance(plain, dict):
            plain.pop(name, None)
        return
    elements = list(plain.values()) if isinstance(plain, dict) else plain if isinstance(plain, list) else []
    if not path[0].startswith("["):
        elements = [plain.get(path[0])] if isinstance(plain, dict) else []
    for each in elements:
        _leave_out(each, path[1:], name)


DecHook = Callable[[type, object], object]
"""Returns a plain value as a type that is unknown to msgspec."""


@overload
def convert(value: object, type_: type[T], *, strict: bool = True, dec_hook: DecHook | None = None) -> T: ...
@overload
def convert(value: object, type_: object, *, strict: bool = True, dec_hook: DecHook | None = None) -> Any: ...
def convert(value: object, type_: object, *, strict: bool = True, dec_hook: DecHook | None = None) -> Any:
    """Return plain values as a type, as `msgspec.convert` does. Raises msgspec.ValidationError."""
    with _working_out:
        return msgspec.convert(value, type_, strict=strict, dec_hook=dec_hook)


def parts(hint: object) -> Iterator[object]:
    """Yield a type and, of it and so on, its members, items and the values of a Literal."""
    yield hint
    for inner in get_args(hint):
        yield from parts(inner)


def structs_in(hint: object) -> Iterator[type[msgspec.Struct]]:
    """Yield the structs among a type's parts."""
    return (each for each in parts(hint) if isinstance(each, type) and issubclass(each, msgspec.Struct))
