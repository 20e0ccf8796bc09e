"""Bits of an EXI body: the reader of generated decoders, and the functions of generated encoders.

The reader has a window of the stream in one integer `w`, of which the low `n` bits are still unread; generated code
works on copies of both and returns `n` before each call. A stream that ends early reads as zero bits for at
most a window's length, and is rejected at the next refill or at the end.

An encoder's accumulator is an integer with a leading 1 bit, so that its length is known without a counter.
"""

import sys
from collections.abc import Iterable
from enum import Enum
from functools import cache
from types import FrameType
from typing import Final, Literal, NoReturn

import msgspec

from v2g.exi.declare import Schema
from v2g.exi.model import Kind, QName, model_of

_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_XSD: Final = "http://www.w3.org/2001/XMLSchema"

XSI_TYPE: Final = QName("type", _XSI)
XSD_ANY_TYPE: Final = QName("anyType", _XSD)

_BUILT_IN: Final = {
    "": "",
    "http://www.w3.org/XML/1998/namespace": "base id lang space",
    _XSI: "nil type",
    _XSD: "ENTITIES ENTITY ID IDREF IDREFS NCName NMTOKEN NMTOKENS NOTATION Name QName anySimpleType anyType anyURI"
    " base64Binary boolean byte date dateTime decimal double duration float gDay gMonth gMonthDay gYear gYearMonth"
    " hexBinary int integer language long negativeInteger nonNegativeInteger nonPositiveInteger normalizedString"
    " positiveInteger short string time token unsignedByte unsignedInt unsignedLong unsignedShort",
}
"""Initial entries of the string tables (EXI appendix D)."""


class NameTable:
    """Entries in the order of their addition, and their positions."""

    __slots__ = ("_places", "entries")

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self.entries = list(entries)
        self._places = {entry: place for place, entry in enumerate(self.entries)}

    def __contains__(self, entry: str) -> bool:
        return entry in self._places

    def add(self, entry: str) -> None:
        """Append an entry. A repeated one gets a second position, which encoders do not use."""
        self._places.setdefault(entry, len(self.entries))
        self.entries.append(entry)

    def place(self, entry: str) -> int:
        """Return the position of an entry."""
        return self._places[entry]


class Names:
    """Namespaces and local names seen so far in one stream.

    Initially it has the built-in entries, the namespaces of the schemas, and the declared names without a
    namespace. Declared names of schema namespaces are omitted: wildcards here accept undeclared elements only.
    """

    __slots__ = ("_closed", "locals", "typed", "uris")

    def __init__(self, schema: Schema) -> None:
        uris = [*_BUILT_IN, *sorted(each.uri for each in schema.closure())]
        self.uris: Final = NameTable(uris)
        self._closed: Final = frozenset(uris[1:])
        self.locals: Final = {uri: NameTable(_BUILT_IN.get(uri, "").split()) for uri in uris}
        self.locals[""] = NameTable(_names_without_namespace(schema))
        self.typed: Final[set[QName]] = set()
        """Undeclared elements that have had an xsi:type: their built-in grammars have learned it (EXI 8.4.3)."""

    def is_closed(self, uri: str) -> bool:
        """Whether the namespace is built in or one of a schema, so that no undeclared element is in it."""
        return uri in self._closed

    def add_uri(self, uri: str) -> None:
        """Add a namespace."""
        self.uris.add(uri)
        self.locals[uri] = NameTable()

    def add_local(self, uri: str, name: str) -> None:
        self.locals[uri].add(name)


@cache
def _names_without_namespace(schema: Schema) -> tuple[str, ...]:
    """Return the declared names that have no namespace, sorted."""
    return tuple(
        sorted(
            {
                event.qname.local
                for each in schema.closure()
                for declaration in each.types()
                for particle in model_of(declaration).particles
                for event in particle.events
                if event.kind is not Kind.TEXT and not event.qname.uri
            }
        )
    )


GUARANTEED_BITS: Final = 192
"""Minimum number of bits in the window after a refill."""

FLUSH_BITS: Final = 4096
"""Size at which an encoder moves its accumulator into the output."""

MAX_INTEGER_BITS: Final = 4096
"""Limit of integers without bounds in the schema (certificate serial numbers)."""

_WINDOW: Final = 64
_PADDING: Final = bytes(3 * _WINDOW)
_UNFORESEEN: Final = "an event that the schema does not foresee, or a deviation that is not supported"
_MAX_CODE_POINT: Final = 0x10FFFF


FILE: Final = "<generated from the declarations>"
"""Name of the generated source in tracebacks."""

MOST_BEYOND: Final = 2**32 - 1
"""Magnitude up to which a number beyond its type is still read."""


class ExiRefusal(Exception):
    """Why a stream or a value is rejected."""


class Deviation(msgspec.Struct, frozen=True):
    """A value that the bits allow and the schema does not: the path of its field, and what is allowed there."""

    path: str
    kind: Literal["number", "length", "enumeration"]
    value: int
    """The number, the length in characters or octets, or the code of an enumeration's value."""
    allowed: str

    @property
    def field(self) -> str:
        """The name of the element or attribute."""
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.path}: {self.kind} {self.value} where {self.allowed} is allowed"


@cache
def _unlisted(members: type[Enum], code: int) -> Enum:
    """Return a value that an enumeration has a code for, and no name: none of its members."""
    made = object.__new__(members)
    made._name_ = made._value_ = f"Unlisted_{code}"
    return made


def is_listed(value: Enum) -> bool:
    """Return whether a value is one of the schema, and not only one of the bits (`TolerantReader`)."""
    return value._name_ in type(value).__members__


def labelled_path(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Return the element path of frames and their lines, the outermost first, by the labels of generated lines."""
    path = ""
    for frame, line in frames:
        labels = frame.f_globals.get("_labels")
        if labels is not None and frame.f_code.co_filename == FILE and labels[line - 1]:
            path += f"/{labels[line - 1]}"
    return path


class BitReader:
    """Unread bits of one stream. `loose` reads full lists as cbexigen writes them; `full` is set once one was read."""

    __slots__ = ("_data", "_end", "_names", "_next", "_schema", "depth", "full", "loose", "n", "w")

    def __init__(self, data: bytes, schema: Schema, *, loose: bool = False) -> None:
        self._data = data + _PADDING
        self._end = len(data)
        self._next = _WINDOW
        self.w = int.from_bytes(self._data[:_WINDOW])
        self.n = 8 * _WINDOW
        self.loose = loose
        self.full = False
        self.depth = 0
        self._schema = schema
        self._names: Names | None = None

    @property
    def names(self) -> Names:
        """String tables of this stream, created at the first wildcard."""
        if self._names is None:
            self._names = Names(self._schema)
        return self._names

    @property
    def position(self) -> int:
        """Bits read so far."""
        return 8 * self._next - self.n

    @property
    def left(self) -> int:
        """Unread bits of the stream; negative if it ended early."""
        return 8 * self._end - self.position

    def more(self) -> int:
        """Refill the window and return the number of unread bits in it."""
        if self._next > self._end + _WINDOW:
            raise ExiRefusal("the stream ends too early")
        data = self._data[self._next : self._next + _WINDOW]
        self.w = (self.w & ((1 << self.n) - 1)) << 8 * _WINDOW | int.from_bytes(data)
        self._next += _WINDOW
        self.n += 8 * _WINDOW
        return self.n

    def refill(self, n: int) -> tuple[int, int]:
        """The same for generated code, of whose copy of the window `n` bits are unread; return it and the window."""
        self.n = n
        return self.more(), self.w

    def refuse(self, n: int, why: str) -> NoReturn:
        """Report what is just before the last `n` bits of the window."""
        self.n = n
        raise ExiRefusal(why)

    def outside(self, n: int, value: int, low: int | None, high: int | None) -> None:
        """Report an integer outside the range of its type; one that returns accepts it."""
        self.refuse(n, f"{value} where {_range(low, high)} is allowed")

    def unlisted(self, n: int, code: int, members: tuple[Enum, ...]) -> Enum:
        """Report a code of an enumeration without a value; one that returns accepts it."""
        self.refuse(n, f"no value of {type(members[0]).__name__}")

    def measured(self, size: int, shortest: int, longest: int | None, what: str) -> None:
        """Report a length (of "characters" or "octets") outside the limits of its type; one that returns accepts it."""
        if size < shortest or (longest is not None and size > longest):
            raise ExiRefusal(f"{size or 'no'} {what} where {_span(shortest, longest)} are allowed")

    def unforeseen(self, n: int) -> NoReturn:
        """Report an event code that is not used, or escapes to deviations from the schema."""
        self.refuse(n, _UNFORESEEN)

    def misplaced(self, n: int, bits: int) -> NoReturn:
        """Report the first of the bits that should be zero; the lowest of `bits` is just before the last `n` bits."""
        self.refuse(n + bits.bit_length(), _UNFORESEEN)

    def note(self, what: str) -> None:
        """Report the last item read from an undeclared element, for explaining readers."""

    def take(self, width: int) -> int:
        """Read an n-bit unsigned integer of at most `GUARANTEED_BITS`."""
        if self.n < width:
            self.more()
        self.n -= width
        return self.w >> self.n & ((1 << width) - 1)

    def varint(self, bits: int = 64) -> int:
        """Read an unsigned integer (EXI 7.1.6) that must fit into `bits`."""
        value = shift = 0
        while True:
            octet = self.take(8)
            value |= (octet & 127) << shift
            if octet < 128:
                break
            shift += 7
            if shift > bits:
                raise ExiRefusal(f"an integer of more than {bits} bits")
        if value >> bits:
            raise ExiRefusal(f"an integer of more than {bits} bits")
        return value

    def octets(self, size: int) -> bytes:
        """Read `size` octets at any position of the stream."""
        position = self.position
        if position + 8 * size > 8 * self._end:
            raise ExiRefusal(f"{size} octets are announced, {max(0, self.left) // 8} are left")
        first, offset = divmod(position, 8)
        value = self._data[first : first + size]
        if offset:
            bits = int.from_bytes(value) << 8 | self._data[first + size]
            value = (bits >> (8 - offset) & ((1 << 8 * size) - 1)).to_bytes(size)
        self._next = first + size + _WINDOW
        self.w = int.from_bytes(self._data[first + size : self._next])
        self.n = 8 * _WINDOW - offset
        return value

    def binary(self, shortest: int, longest: int | None) -> bytes:
        """Read a length and that many octets (EXI 7.1.1)."""
        size = self.varint(32)
        self.measured(size, shortest, longest, "octets")
        return self.octets(size)

    def string(self, shortest: int, longest: int | None) -> str:
        """Read a string that is a miss in the value tables, which are empty in V2G (EXI 7.3.3)."""
        size = self.varint(32) - 2
        if size < 0:
            raise ExiRefusal("a hit in a string table that has no entries")
        self.measured(size, shortest, longest, "characters")
        return self.characters(size)

    def characters(self, size: int) -> str:
        """Read `size` code points (EXI 7.1.10)."""
        position = self.position
        if position + 8 * size > 8 * self._end:
            raise ExiRefusal(f"{size} characters are announced, at most {max(0, self.left) // 8} are left")
        value = self.octets(size)
        if value.isascii():
            return value.decode("ascii")
        first, offset = divmod(position, 8)
        self._next = first + _WINDOW
        self.w = int.from_bytes(self._data[first : self._next])
        self.n = 8 * _WINDOW - offset
        return "".join([self._character() for _ in range(size)])

    def _character(self) -> str:
        code = self.varint(21)
        if code > _MAX_CODE_POINT or 0xD800 <= code <= 0xDFFF:
            raise ExiRefusal(f"{code:#x} is not a character")
        return chr(code)

    def string_element(self, shortest: int, longest: int | None) -> str:
        """Read the content and end of an element with a string value, in either form of an empty one."""
        if self.take(1):
            return self.empty_string(shortest, longest)
        value = self.string(shortest, longest)
        self.end()
        return value

    def binary_element(self, shortest: int, longest: int | None) -> bytes:
        """Read the content and end of an element with a value of octets, in either form of an empty one."""
        if self.take(1):
            return self.empty_binary(shortest, longest)
        value = self.binary(shortest, longest)
        self.end()
        return value

    def empty_string(self, shortest: int, longest: int | None) -> str:
        """Read the end of an element where its string may begin, after the escape to the second level."""
        self._end_at_once()
        self.measured(0, shortest, longest, "characters")
        return ""

    def empty_binary(self, shortest: int, longest: int | None) -> bytes:
        """Read the end of an element where its octets may begin, after the escape to the second level."""
        self._end_at_once()
        self.measured(0, shortest, longest, "octets")
        return b""

    def _end_at_once(self) -> None:
        """Read second-level event 0, the end: one of 7 where attributes may come, of 5 after the last (EXI 8.5.4.4.1).

        Java codecs write it for a value of length zero, where cbexigen writes the length.
        """
        if self.take(3):
            raise ExiRefusal("xsi:type, xsi:nil, an undeclared attribute or element, or an untyped value")

    def end(self) -> None:
        """Read the end of an element, where nothing else is allowed."""
        if self.take(1):
            raise ExiRefusal("content that the schema does not foresee")


class TolerantReader(BitReader):
    """Accepts what the bits allow beyond the schema, and notes it in `deviations`.

    Numbers up to `MOST_BEYOND` in magnitude, lengths up to four times the limit and 64 at least, codes without a value.
    """

    __slots__ = ("deviations",)

    def __init__(self, data: bytes, schema: Schema, *, loose: bool = False) -> None:
        super().__init__(data, schema, loose=loose)
        self.deviations: list[Deviation] = []

    def outside(self, n: int, value: int, low: int | None, high: int | None) -> None:
        if abs(value) > MOST_BEYOND:
            super().outside(n, value, low, high)
        self._deviates("number", value, _range(low, high))

    def unlisted(self, n: int, code: int, members: tuple[Enum, ...]) -> Enum:
        self._deviates("enumeration", code, f"at most {len(members) - 1}")
        return _unlisted(type(members[0]), code)

    def measured(self, size: int, shortest: int, longest: int | None, what: str) -> None:
        if longest is not None and size > max(64, 4 * longest):
            super().measured(size, shortest, longest, what)
        if size < shortest or (longest is not None and size > longest):
            self._deviates("length", size, f"{_span(shortest, longest)} {what}")

    def _deviates(self, kind: Literal["number", "length", "enumeration"], value: int, allowed: str) -> None:
        frames: list[tuple[FrameType, int]] = []
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            frames.append((frame, frame.f_lineno))
            frame = frame.f_back
        self.deviations.append(Deviation(labelled_path(reversed(frames)), kind, value, allowed))


def _range(low: int | None, high: int | None) -> str:
    bounds = [f"at least {low}"] if low is not None else []
    return " and ".join([*bounds, *([f"at most {high}"] if high is not None else [])])


def _span(shortest: int, longest: int | None) -> str:
    if longest is None:
        return f"at least {shortest}"
    return str(longest) if shortest == longest else f"{shortest} to {longest}"


class BitOutput(bytearray):
    """An encoder's completed octets, and the string tables of its stream.

    `loose` ends full lists as cbexigen does.
    """

    def __init__(self, schema: Schema, *, loose: bool = False) -> None:
        super().__init__()
        self.loose = loose
        self._schema = schema
        self._names: Names | None = None

    @property
    def names(self) -> Names:
        """String tables of this stream, created at the first wildcard."""
        if self._names is None:
            self._names = Names(self._schema)
        return self._names


def put_varint(acc: int, value: int) -> int:
    """Append an unsigned integer (EXI 7.1.6)."""
    while value > 127:
        acc = acc << 8 | 128 | value & 127
        value >>= 7
    return acc << 8 | value


def put_string(acc: int, value: str, longest: int | None, shortest: int = 0) -> int:
    """Append a string with its length; `longest` and `shortest` are in characters."""
    size = len(value)
    if size < shortest or (longest is not None and size > longest):
        raise ExiRefusal(f"{size} characters where {_span(shortest, longest)} are allowed")
    acc = put_varint(acc, size + 2)
    if value.isascii():
        return acc << 8 * size | int.from_bytes(value.encode("ascii"))
    return put_characters(acc, value)


def put_characters(acc: int, value: str) -> int:
    """Append code points (EXI 7.1.10)."""
    octets = bytearray()
    for character in value:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            raise ExiRefusal(f"{code:#x} is half a character")
        while code > 127:
            octets.append(128 | code & 127)
            code >>= 7
        octets.append(code)
    return acc << 8 * len(octets) | int.from_bytes(octets)


def put_binary(acc: int, value: bytes, shortest: int, longest: int | None) -> int:
    """Append octets with their number."""
    size = len(value)
    if size < shortest or (longest is not None and size > longest):
        raise ExiRefusal(f"{size} octets where {_span(shortest, longest)} are allowed")
    acc = acc << 8 | size if size < 128 else put_varint(acc, size)
    return acc << 8 * size | int.from_bytes(value)


def flush(acc: int, out: bytearray) -> int:
    """Move the complete octets of the accumulator into the output and return the rest."""
    rest = (acc.bit_length() - 1) & 7
    whole = acc >> rest
    size = (whole.bit_length() - 1) >> 3
    out += (whole ^ 1 << 8 * size).to_bytes(size)
    return 1 << rest | acc & ((1 << rest) - 1)


def finish(acc: int, out: bytearray) -> bytes:
    """Pad to an octet and return the whole output."""
    acc <<= -(acc.bit_length() - 1) & 7
    flush(acc, out)
    return bytes(out)
