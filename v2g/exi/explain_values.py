"""Values of explained streams: read as in the codec, and described."""

from enum import Enum
from typing import Final

from v2g.exi.bits import MAX_INTEGER_BITS, Reader
from v2g.exi.model import Simple

__all__ = ["read_value", "show_length", "show_value"]

_LONGEST_SHOWN: Final = 120
"""Maximum number of characters shown of a value."""


def read_value(reader: Reader, simple: Simple) -> object:
    """Read a value like the codec."""
    match simple.kind:
        case "string":
            return reader.string(simple.shortest, simple.longest)
        case "binary":
            return reader.binary(simple.shortest, simple.longest)
        case "boolean":
            return reader.take(1) == 1
        case "enumeration":
            assert simple.members is not None
            index, members = reader.take(simple.width), tuple(simple.members)
            return members[index] if index < len(members) else reader.unlisted(reader.n, index, members)
        case "bits":
            value = reader.take(simple.width) + (simple.low or 0)
        case _:
            sign = simple.kind == "integer" and reader.take(1)
            bounds = [abs(each) for each in (simple.low, simple.high) if each is not None]
            known = simple.high is not None and (simple.kind == "unsigned" or simple.low is not None)
            value = reader.varint(max(64, max(bounds).bit_length()) if known else MAX_INTEGER_BITS)
            value = ~value if sign else value
    if (simple.low is not None and value < simple.low) or (simple.high is not None and value > simple.high):
        reader.outside(reader.n, value, simple.low, simple.high)
    return value


def show_length(value: int | None, simple: Simple) -> str:
    if value is None:
        return "length"
    if simple.kind == "binary":
        return f"{value} octet{'' if value == 1 else 's'} follow"
    size = value - 2
    return f"{size} character{'' if size == 1 else 's'} follow (written as {value})" if size >= 0 else f"{value}"


def show_value(read: object, simple: Simple, value: object) -> str:
    """Return the meaning of a value, given the part that was read."""
    if read is None:
        return "ends too early"
    if value is None:
        return f"{read}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return f"{value.value} (number {read})"
    if isinstance(value, bytes):
        return _cut(value.hex())
    if isinstance(value, str):
        return _cut(f'"{value}"')
    return f"{value}" if value == read or simple.kind != "bits" else f"{value} (written as {read})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
