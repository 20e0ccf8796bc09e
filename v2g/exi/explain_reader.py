"""A recording variant of the codec's reader of bits."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from v2g.exi.bits import TolerantReader
from v2g.exi.declare import Schema

__all__ = ["Piece", "Recorder"]

_T = TypeVar("_T")


class Piece(msgspec.Struct):
    """Bits read in one step."""

    start: int
    width: int
    kind: Literal["bits", "number", "octets", "characters"]
    value: Any = None
    note: str = ""


class Recorder(TolerantReader):
    """The codec's reader, recording what is read at which position."""

    def __init__(self, data: bytes, schema: Schema, *, loose: bool) -> None:
        super().__init__(data, schema, loose=loose)
        self._inside = False
        self._pieces: list[Piece] = []

    def _deviates(self, kind: Literal["number", "length", "enumeration"], value: int, allowed: str) -> None:
        """The codec names what is beyond the schema, with its path."""

    def drain(self) -> list[Piece]:
        """Return the bits read since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def note(self, what: str) -> None:
        """Record the meaning of the last bits."""
        for piece in reversed(self._pieces):
            if piece.note:
                break
            piece.note = what

    def take(self, width: int) -> int:
        return self._record("bits", lambda: super(Recorder, self).take(width))

    def varint(self, bits: int = 64) -> int:
        return self._record("number", lambda: super(Recorder, self).varint(bits))

    def octets(self, size: int) -> bytes:
        return self._record("octets", lambda: super(Recorder, self).octets(size))

    def characters(self, size: int) -> str:
        return self._record("characters", lambda: super(Recorder, self).characters(size))

    def _record(self, kind: Literal["bits", "number", "octets", "characters"], read: Callable[[], _T]) -> _T:
        """Read and record, unless it is part of a larger value."""
        if self._inside:
            return read()
        self._inside = True
        piece = Piece(self.position, 0, kind)
        try:
            value = read()
            piece.value = value
            return value
        finally:
            self._inside = False
            piece.width = self.position - piece.start
            self._pieces.append(piece)
