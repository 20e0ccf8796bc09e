"""DER (X.690) for messages declared as msgspec Structs, with AUTOMATIC TAGS (X.680 24.2).

A Struct is a SEQUENCE whose component number i has the implicit context tag [i]; a CHOICE is a tuple of Struct
types, alternative number i tagged [i]. `int` is INTEGER, `bytes` OCTET STRING, `str` UTF8String, `bool` BOOLEAN,
`tuple[X, ...]` SEQUENCE OF; an `enum.Enum` is ENUMERATED, its members numbered from 0 in their order; `X | None` is an
OPTIONAL component. Ranges and sizes come from `msgspec.Meta`. Nothing has a default value, so a value has exactly one
encoding, and decoding accepts only it.

The declarations are compiled once per type. Importing this module costs about 1 ms; a general ASN.1 compiler costs
70 ms and 24 MiB in each process, so it verifies this one in the tests instead of running in the field.
"""

import enum
import functools
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec import inspect

from v2g.errors import Asn1Error

S = TypeVar("S", bound=msgspec.Struct)

MAX_BYTES = 70_000
"""Maximum length of an accepted message; the longest possible SignedMessage is shorter."""

_CONTEXT = 0x80
_CONSTRUCTED = 0x20


class _Type(Protocol):
    """One node of a compiled declaration: contents octets only, without tag and length."""

    universal: int
    """Identifier octet if untagged; its constructed bit also applies to a context tag."""

    def encode(self, value: object, path: str) -> bytes:
        """Return the contents octets. Raises Asn1Error with `path`."""

    def decode(self, data: bytes, path: str) -> object:
        """Return the value of contents octets. Raises Asn1Error with `path`."""


class _Integer:
    universal = 0x02

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def _check(self, value: int, path: str) -> int:
        if not self._low <= value <= self._high:
            raise Asn1Error(f"{path}: {value} is outside {self._low}..{self._high}")
        return value

    def encode(self, value: object, path: str) -> bytes:
        if type(value) is not int:
            raise Asn1Error(f"{path}: {type(value).__name__} is not an integer")
        self._check(value, path)
        bits = (value if value >= 0 else ~value).bit_length()
        return value.to_bytes(bits // 8 + 1, "big", signed=True)

    def decode(self, data: bytes, path: str) -> int:
        if not 1 <= len(data) <= 9:
            raise Asn1Error(f"{path}: an integer of {len(data)} bytes")
        if len(data) > 1 and (data[0], data[1] >> 7) in ((0x00, 0), (0xFF, 1)):
            raise Asn1Error(f"{path}: the integer is padded")
        return self._check(int.from_bytes(data, "big", signed=True), path)


class _Boolean:
    universal = 0x01

    def encode(self, value: object, path: str) -> bytes:
        if not isinstance(value, bool):
            raise Asn1Error(f"{path}: {type(value).__name__} is not a boolean")
        return b"\xff" if value else b"\x00"

    def decode(self, data: bytes, path: str) -> bool:
        if data not in (b"\x00", b"\xff"):
            raise Asn1Error(f"{path}: a boolean must be 00 or FF")
        return data == b"\xff"


class _Enumerated:
    universal = 0x0A

    def __init__(self, members: type[enum.Enum]) -> None:
        self._members = tuple(members)
        self._number = _Integer(0, len(self._members) - 1)

    def encode(self, value: object, path: str) -> bytes:
        if value not in self._members:
            raise Asn1Error(f"{path}: {value!r} is not one of its values")
        return self._number.encode(self._members.index(value), path)

    def decode(self, data: bytes, path: str) -> enum.Enum:
        return self._members[self._number.decode(data, path)]


def _check_size(size: int, low: int, high: int, path: str) -> None:
    if not low <= size <= high:
        raise Asn1Error(f"{path}: size {size} is outside {low}..{high}")


class _Octets:
    universal = 0x04

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def encode(self, value: object, path: str) -> bytes:
        if not isinstance(value, bytes):
            raise Asn1Error(f"{path}: {type(value).__name__} is not a byte string")
        _check_size(len(value), self._low, self._high, path)
        return value

    def decode(self, data: bytes, path: str) -> bytes:
        _check_size(len(data), self._low, self._high, path)
        return data


class _Text:
    universal = 0x0C

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def encode(self, value: object, path: str) -> bytes:
        if not isinstance(value, str):
            raise Asn1Error(f"{path}: {type(value).__name__} is not text")
        _check_size(len(value), self._low, self._high, path)
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise Asn1Error(f"{path}: {error}") from None

    def decode(self, data: bytes, path: str) -> str:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise Asn1Error(f"{path}: {error}") from None
        _check_size(len(text), self._low, self._high, path)
        return text


class _Sequence:
    universal = 0x30

    def __init__(self, struct: type[msgspec.Struct], fields: Sequence[tuple[str, _Type, bool]]) -> None:
        """`fields`: name, node, and whether it is optional."""
        self._struct = struct
        self._fields = [
            (name, node, _context(number, node), optional) for number, (name, node, optional) in enumerate(fields)
        ]

    def encode(self, value: object, path: str) -> bytes:
        if type(value) is not self._struct:
            raise Asn1Error(f"{path}: {type(value).__name__} instead of {self._struct.__name__}")
        return b"".join(
            wrap(tag, node.encode(field, f"{path}.{name}"))
            for name, node, tag, optional in self._fields
            if (field := getattr(value, name)) is not None or not optional
        )

    def decode(self, data: bytes, path: str) -> msgspec.Struct:
        values: dict[str, object] = {}
        for name, node, tag, optional in self._fields:
            if optional and data[:1] != bytes((tag,)):
                values[name] = None
                continue
            inner, data = _unwrap(tag, data, f"{path}.{name}")
            values[name] = node.decode(inner, f"{path}.{name}")
        if data:
            raise Asn1Error(f"{path}: {len(data)} bytes too many")
        return self._struct(**values)


class _SequenceOf:
    universal = 0x30

    def __init__(self, item: _Type, low: int, high: int) -> None:
        self._item, self._low, self._high = item, low, high

    def encode(self, value: object, path: str) -> bytes:
        if not isinstance(value, tuple):
            raise Asn1Error(f"{path}: {type(value).__name__} is not a tuple")
        _check_size(len(value), self._low, self._high, path)
        tag = self._item.universal
        return b"".join(wrap(tag, self._item.encode(item, f"{path}[{i}]")) for i, item in enumerate(value))

    def decode(self, data: bytes, path: str) -> tuple[object, ...]:
        items: list[object] = []
        while data and len(items) < self._high:
            inner, data = _unwrap(self._item.universal, data, f"{path}[{len(items)}]")
            items.append(self._item.decode(inner, f"{path}[{len(items)}]"))
        if data:
            raise Asn1Error(f"{path}: more than {self._high} elements")
        _check_size(len(items), self._low, self._high, path)
        return tuple(items)


def _context(number: int, node: _Type) -> int:
    assert number < 31, "high tag numbers are not needed"
    return _CONTEXT | node.universal & _CONSTRUCTED | number


def wrap(tag: int, *parts: bytes) -> bytes:
    """Return an element with these parts as contents."""
    contents = b"".join(parts)
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + contents


def _unwrap(tag: int, data: bytes, path: str) -> tuple[bytes, bytes]:
    """Return the contents of the first element of `data`, and the rest."""
    if len(data) < 2:
        raise Asn1Error(f"{path}: the message ends early")
    if data[0] != tag:
        raise Asn1Error(f"{path}: tag {data[0]:02X} instead of {tag:02X}")
    size, start = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        start += count
        size = int.from_bytes(data[2:start], "big")
        if not 1 <= count <= 3 or len(data) < start or size < max(0x80, 1 << 8 * (count - 1)):
            raise Asn1Error(f"{path}: the length is not in its shortest form")
    if len(data) - start < size:
        raise Asn1Error(f"{path}: {size} bytes announced, but {len(data) - start} present")
    return data[start : start + size], data[start + size :]


def _compile(type_: inspect.Type) -> _Type:
    """Return the node of one declared type. Types that no declaration uses are a programming error."""
    match type_:
        case inspect.BoolType():
            return _Boolean()
        case inspect.IntType(ge=int(low), le=int(high)):
            return _Integer(low, high)
        case inspect.BytesType(min_length=low, max_length=int(high)):
            return _Octets(low or 0, high)
        case inspect.StrType(min_length=low, max_length=int(high)):
            return _Text(low or 0, high)
        case inspect.EnumType(cls=members):
            return _Enumerated(members)
        case inspect.VarTupleType(item_type=item, min_length=low, max_length=int(high)):
            return _SequenceOf(_compile(item), low or 0, high)
        case inspect.StructType(cls=struct, fields=fields):
            return _Sequence(struct, [(field.name, *_component(field.type)) for field in fields])
        case other:
            raise TypeError(f"{other} has no bounds, or is not supported")


def _component(type_: inspect.Type) -> tuple[_Type, bool]:
    """Return the node of a SEQUENCE's component, and whether it is optional."""
    if isinstance(type_, inspect.UnionType) and type_.includes_none:
        (present,) = (each for each in type_.types if not isinstance(each, inspect.NoneType))
        return _compile(present), True
    return _compile(type_), False


@functools.cache  # depends on the declaration only
def _compiled(struct: type[msgspec.Struct]) -> _Type:
    return _compile(inspect.type_info(struct))


def encode(value: msgspec.Struct) -> bytes:
    """Return a SEQUENCE as DER. Raises Asn1Error with the field that violates its declaration."""
    name = type(value).__name__
    return wrap(0x30, _compiled(type(value)).encode(value, name))


def decode(data: bytes, struct: type[S]) -> S:
    """Return the SEQUENCE whose only encoding is `data`. Raises Asn1Error for everything else."""
    if len(data) > MAX_BYTES:
        raise Asn1Error(f"{len(data)} bytes exceed the maximum of {struct.__name__}")
    contents, rest = _unwrap(0x30, bytes(data), struct.__name__)
    if rest:
        raise Asn1Error(f"{struct.__name__}: {len(rest)} bytes too many")
    value = _compiled(struct).decode(contents, struct.__name__)
    assert isinstance(value, struct)
    return value


def encode_choice(value: msgspec.Struct, alternatives: Sequence[type[msgspec.Struct]]) -> bytes:
    """Return a CHOICE among SEQUENCEs as DER. Raises Asn1Error, also for a value that is not an alternative."""
    if type(value) not in alternatives:
        raise Asn1Error(f"{type(value).__name__} is not one of the alternatives")
    node = _compiled(type(value))
    return wrap(_context(alternatives.index(type(value)), node), node.encode(value, type(value).__name__))


def decode_choice(data: bytes, alternatives: Sequence[type[msgspec.Struct]]) -> msgspec.Struct:
    """Return the alternative whose only encoding is `data`. Raises Asn1Error for everything else."""
    number = data[0] ^ (_CONTEXT | _CONSTRUCTED) if data else len(alternatives)
    if len(data) > MAX_BYTES or not 0 <= number < len(alternatives):
        raise Asn1Error(f"not one of {', '.join(struct.__name__ for struct in alternatives)}")
    struct = alternatives[number]
    contents, rest = _unwrap(data[0], bytes(data), struct.__name__)
    if rest:
        raise Asn1Error(f"{struct.__name__}: {len(rest)} bytes too many")
    value = _compiled(struct).decode(contents, struct.__name__)
    assert isinstance(value, struct)
    return value
