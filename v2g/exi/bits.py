"""Bits of an EXI body: the reader of generated decoders, and the functions of generated encoders.

The reader has a window of the stream in one integer `w`, of which the low `n` bits are still unread; generated code
works on copies of both and returns `n` before each call. A stream that ends early reads as zero bits for at
most a window's length, and is rejected at the next refill or at the end.

An encoder's accumulator is an integer with a leading 1 bit, so that its length is known without a counter.
"""

from collections.abc import Collection
from typing import Final, NoReturn

from v2g.exi.declare import Schema
from v2g.exi.names import Names

__all__ = [
    "FLUSH_BITS",
    "GUARANTEED_BITS",
    "MAX_INTEGER_BITS",
    "Output",
    "Reader",
    "Refusal",
    "TolerantReader",
    "finish",
    "flush",
    "put_binary",
    "put_characters",
    "put_string",
    "put_varint",
]

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


class Refusal(Exception):
    """Why a stream or a value is rejected."""


class Reader:
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
            raise Refusal("the stream ends too early")
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
        raise Refusal(why)

    def outside(self, n: int, value: int, low: int | None, high: int | None) -> None:
        """Report an integer outside the range of its type; one that returns accepts it."""
        bounds = [f"at least {low}"] if low is not None else []
        bounds += [f"at most {high}"] if high is not None else []
        self.refuse(n, f"{value} where {' and '.join(bounds)} is allowed")

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
                raise Refusal(f"an integer of more than {bits} bits")
        if value >> bits:
            raise Refusal(f"an integer of more than {bits} bits")
        return value

    def octets(self, size: int) -> bytes:
        """Read `size` octets at any position of the stream."""
        position = self.position
        if position + 8 * size > 8 * self._end:
            raise Refusal(f"{size} octets are announced, {max(0, self.left) // 8} are left")
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
        if size < shortest or (longest is not None and size > longest):
            raise Refusal(f"{size} octets where {_span(shortest, longest)} are allowed")
        return self.octets(size)

    def string(self, shortest: int, longest: int | None) -> str:
        """Read a string that is a miss in the value tables, which are empty in V2G (EXI 7.3.3)."""
        size = self.varint(32) - 2
        if size < 0:
            raise Refusal("a hit in a string table that has no entries")
        if size < shortest or (longest is not None and size > longest):
            raise Refusal(f"{size} characters where {_span(shortest, longest)} are allowed")
        return self.characters(size)

    def characters(self, size: int) -> str:
        """Read `size` code points (EXI 7.1.10)."""
        position = self.position
        if position + 8 * size > 8 * self._end:
            raise Refusal(f"{size} characters are announced, at most {max(0, self.left) // 8} are left")
        value = self.octets(size)
        if value.isascii():
            return value.decode("ascii")
        self._seek(position)
        return "".join([self._character() for _ in range(size)])

    def _character(self) -> str:
        code = self.varint(21)
        if code > _MAX_CODE_POINT or 0xD800 <= code <= 0xDFFF:
            raise Refusal(f"{code:#x} is not a character")
        return chr(code)

    def _seek(self, position: int) -> None:
        first, offset = divmod(position, 8)
        self._next = first + _WINDOW
        self.w = int.from_bytes(self._data[first : self._next])
        self.n = 8 * _WINDOW - offset

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
        if shortest:
            raise Refusal(f"no characters where {_span(shortest, longest)} are allowed")
        return ""

    def empty_binary(self, shortest: int, longest: int | None) -> bytes:
        """Read the end of an element where its octets may begin, after the escape to the second level."""
        self._end_at_once()
        if shortest:
            raise Refusal(f"no octets where {_span(shortest, longest)} are allowed")
        return b""

    def _end_at_once(self) -> None:
        """Read second-level event 0, the end: one of 7 where attributes may come, of 5 after the last (EXI 8.5.4.4.1).

        Java codecs write it for a value of length zero, where cbexigen writes the length.
        """
        if self.take(3):
            raise Refusal("xsi:type, xsi:nil, an undeclared attribute or element, or an untyped value")

    def end(self) -> None:
        """Read the end of an element, where nothing else is allowed."""
        if self.take(1):
            raise Refusal("content that the schema does not foresee")


class TolerantReader(Reader):
    """Accepts integers and strings beyond certain bounds: of types with the bounds in `exceeding`."""

    __slots__ = ("_exceeding",)

    def __init__(
        self, data: bytes, schema: Schema, *, loose: bool = False, exceeding: Collection[tuple[int, int]]
    ) -> None:
        super().__init__(data, schema, loose=loose)
        self._exceeding = exceeding

    def outside(self, n: int, value: int, low: int | None, high: int | None) -> None:
        """See Reader."""
        if (low, high) not in self._exceeding:
            super().outside(n, value, low, high)

    def string(self, shortest: int, longest: int | None) -> str:
        """See Reader; the stream's length is the only bound of a string that may be longer."""
        return super().string(*((0, None) if (shortest, longest) in self._exceeding else (shortest, longest)))


def _span(shortest: int, longest: int | None) -> str:
    if longest is None:
        return f"at least {shortest}"
    return str(longest) if shortest == longest else f"{shortest} to {longest}"


class Output(bytearray):
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
        raise Refusal(f"{size} characters where {_span(shortest, longest)} are allowed")
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
            raise Refusal(f"{code:#x} is half a character")
        while code > 127:
            octets.append(128 | code & 127)
            code >>= 7
        octets.append(code)
    return acc << 8 * len(octets) | int.from_bytes(octets)


def put_binary(acc: int, value: bytes, shortest: int, longest: int | None) -> int:
    """Append octets with their number."""
    size = len(value)
    if size < shortest or (longest is not None and size > longest):
        raise Refusal(f"{size} octets where {_span(shortest, longest)} are allowed")
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
