"""JSON and plain values into declared types, in any thread: the one way to do it in programs that have threads.

msgspec works out what a Struct's fields are when it first meets the type, and may let another thread run meanwhile.
That thread finds the work half done, and the process ends with SIGSEGV (msgspec 0.22). So no two threads work types
out at once. Encoding needs no types and is safe by itself.
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
def decoder(type_: Any) -> msgspec.json.Decoder[Any]: ...
def decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    """Return the decoder of JSON into a type, the same one each time."""
    with _working_out:
        return _decoder(type_)


@functools.cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


@overload
def decode(data: bytes | str, type_: type[T]) -> T: ...
@overload
def decode(data: bytes | str, type_: Any) -> Any: ...
def decode(data: bytes | str, type_: Any) -> Any:
    """Return JSON as a type. Raises msgspec.DecodeError, of which a ValidationError is JSON of another type."""
    return decoder(type_).decode(data)


@overload
def convert(
    value: Any, type_: type[T], *, strict: bool = True, dec_hook: Callable[[type, Any], Any] | None = None
) -> T: ...
@overload
def convert(
    value: Any, type_: Any, *, strict: bool = True, dec_hook: Callable[[type, Any], Any] | None = None
) -> Any: ...
def convert(value: Any, type_: Any, *, strict: bool = True, dec_hook: Callable[[type, Any], Any] | None = None) -> Any:
    """Return plain values as a type, as `msgspec.convert` does. Raises msgspec.ValidationError."""
    with _working_out:
        return msgspec.convert(value, type_, strict=strict, dec_hook=dec_hook)
