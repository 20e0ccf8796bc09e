"""Thread-safe conversion of JSON and plain values into declared types, for all programs with threads.

msgspec analyses a Struct's fields when it first meets the type, and may let another thread run meanwhile. That thread
finds the analysis incomplete, and the process ends with SIGSEGV (msgspec 0.22). So only one thread at a time analyses
types. Encoding needs no types and is thread-safe.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

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
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
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


DecHook = Callable[[type, object], object]
"""Returns a plain value as a type that is unknown to msgspec."""


@overload
def convert(value: object, type_: type[T], *, strict: bool = True, dec_hook: DecHook | None = None) -> T: ...
@overload
def convert(value: object, type_: object, *, strict: bool = True, dec_hook: DecHook | None = None) -> Any: ...
def convert(value: object, type_: Any, *, strict: bool = True, dec_hook: DecHook | None = None) -> Any:
    """Return plain values as a type, as `msgspec.convert` does. Raises msgspec.ValidationError."""
    with _working_out:
        return msgspec.convert(value, type_, strict=strict, dec_hook=dec_hook)
