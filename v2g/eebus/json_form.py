"""The JSON form of SHIP and SPINE: an object of k members is written as an array of k objects with one member each.

The outermost object stays one. An empty object is `[]`; what `[]` means to a reader follows from the declaration. Read
is also what others write: plain objects, several members in one, white space, zero bytes at the end, unknown members.
"""

import functools
import types
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from v2g import typed_json
from v2g.errors import CodecError

MOST_BYTES: Final = 512 * 1024
"""Longer texts are refused; the discovery data of a big system has some ten thousand."""
MOST_ITEMS: Final = 4096
"""Longer lists are refused."""

T = TypeVar("T", bound=Struct)


class Element(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An object of SHIP or SPINE: fields in the order of its schema, None where a member is absent."""


class Tag(Element, frozen=True):
    """A member that only is there or not, such as `partial`: an empty object."""


def encode(message: Element) -> bytes:
    """Return a message with its one outermost object."""
    plain: dict[str, object] = msgspec.to_builtins(message)
    return msgspec.json.encode({name: to_wire(value) for name, value in plain.items()})


def to_wire(value: object) -> object:
    """Return plain JSON values in the form of the wire."""
    if isinstance(value, Mapping):
        return [{name: to_wire(each)} for name, each in value.items()]
    if isinstance(value, list | tuple):
        return [to_wire(each) for each in value]
    return value


def decode(data: bytes, kind: type[T]) -> T:
    """Return a message. Raises CodecError."""
    if len(data) > MOST_BYTES:
        raise CodecError(f"more than {MOST_BYTES} bytes of JSON")
    try:
        wire: object = typed_json.decode(data.rstrip(b"\0"), object)
        # the plain JSON object of a declared one, without members that are not declared
        plain = _plain(wire, _shape(kind))
        assert isinstance(plain, dict)
        return typed_json.convert(plain, kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CodecError(str(error)[:200]) from None


class _List(Struct, frozen=True):
    of: object


class _Object(Struct, frozen=True):
    members: dict[str, object]


def _plain(wire: object, shape: object) -> object:
    if isinstance(shape, _List):
        items = [] if wire == {} else wire if isinstance(wire, list) else [wire]  # one item may stand alone
        if len(items) > MOST_ITEMS:
            raise CodecError("a list is too long")
        return [_plain(each, shape.of) for each in items]
    if isinstance(shape, _Object):
        found: dict[str, object] = {}
        for part in wire if isinstance(wire, list) else [wire]:
            if not isinstance(part, dict):
                raise CodecError("a member of an object has no name")
            known = {name: value for name, value in part.items() if name in shape.members and value is not None}
            found |= {name: _plain(value, shape.members[name]) for name, value in known.items()}
        return found
    return int(wire) if isinstance(wire, float) and wire.is_integer() else wire  # there are no other numbers


@functools.cache
def _shape(kind: object) -> "_List | _Object | None":
    """Return how a declared type is nested; None for a scalar."""
    if get_origin(kind) is Annotated:
        return _shape(get_args(kind)[0])
    if get_origin(kind) is types.UnionType:
        return next((found for each in get_args(kind) if (found := _shape(each)) is not None), None)
    if get_origin(kind) is tuple:
        return _List(_shape(get_args(kind)[0]))
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _Object({field.encode_name: _shape(field.type) for field in msgspec.structs.fields(kind)})
    return None
