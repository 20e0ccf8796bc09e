"""Reads rows from the pages of a damaged SQLite database, whatever its tree still says (https://sqlite.org/fileformat2).

A row comes from each cell that makes sense: of tables and indexes, of present, former and damaged content. So the
reader has to know by a checksum which of them were written as they are.
"""

import contextlib
import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

Value = int | float | bytes | str | None

_PAGE: Final = 4096
"""Size of pages, unless the file says another one that is valid."""

_INDEX_INTERIOR, _INDEX_LEAF, _TABLE_LEAF = 0x02, 0x0A, 0x0D
_LOG_HEADER, _FRAME_HEADER = 32, 24
_MOST_VALUE: Final = 1 << 20
"""Octets of a row: outboxes have no larger ones."""
_MOST_COLUMNS: Final = 64
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class _Damaged(Exception):
    """A cell makes no sense."""


class _Pages:
    """Pages of a file by number, from 1 on; those in its log are newer."""

    def __init__(self, data: "mmap.mmap | bytes", size: int, newer: Mapping[int, bytes]) -> None:
        self._data, self.size, self._newer = data, size, newer

    def of_file(self, number: int) -> bytes:
        return self._data[(number - 1) * self.size : number * self.size]

    def __getitem__(self, number: int) -> bytes:
        return self._newer.get(number) or self.of_file(number)


def read_log(path: Path) -> bytes:
    """Return the write-ahead log of a database; to be read before a program opens it. Raises OSError."""
    log = path.with_name(f"{path.name}-wal")
    return log.read_bytes() if log.exists() else b""


def rows(path: Path, log: bytes) -> Iterator[Sequence[Value]]:
    """Yield the values of all rows that the file and its write-ahead log may hold. Raises OSError."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if length else contextlib.nullcontext(b"") as data:
            size = int.from_bytes(data[16:18], "big")
            size = 65536 if size == 1 else size
            size = size if size >= 512 and size & (size - 1) == 0 and len(data) % size == 0 else _PAGE
            frames = list(_frames(log, size))
            pages = _Pages(data, size, {each.number: each.page for each in frames})
            for number in range(1, length // size + 1):
                yield from _rows_of(number, pages.of_file(number), pages)
            for each in frames:
                yield from _rows_of(each.number, each.page, pages)


def rows_committed(log: bytes) -> Iterator[Sequence[Value]]:
    """Yield the values of all rows in a write-ahead log that belong to a finished transaction, whatever is damaged.

    Behind the end there may be older transactions, with another salt.
    """
    frames, begun = list(_frames(log, _PAGE)), list[_Frame]()
    pages = _Pages(b"", _PAGE, {each.number: each.page for each in frames})
    for frame in frames:
        begun.append(frame)
        if frame.ends:
            for each in begun:
                if each.salt == frame.salt:
                    yield from _rows_of(each.number, each.page, pages)
            begun.clear()


class _Frame(NamedTuple):
    """A page in a log; `ends`: it is the last one of a transaction."""

    number: int
    ends: bool
    salt: bytes
    page: bytes


def _frames(log: bytes, size: int) -> Iterator[_Frame]:
    for begin in range(_LOG_HEADER, len(log) - size - _FRAME_HEADER + 1, _FRAME_HEADER + size):
        number, pages = struct.unpack_from(">II", log, begin)
        content = begin + _FRAME_HEADER
        yield _Frame(number, pages > 0, log[begin + 8 : begin + 16], log[content : content + size])


def _rows_of(number: int, page: bytes, pages: _Pages) -> Iterator[Sequence[Value]]:
    begin, size = 100 if number == 1 else 0, pages.size
    if len(page) < size or page[begin] not in (_INDEX_INTERIOR, _INDEX_LEAF, _TABLE_LEAF):
        return
    kind = page[begin]
    count = int.from_bytes(page[begin + 3 : begin + 5], "big")
    places = begin + (12 if kind == _INDEX_INTERIOR else 8)
    for place in range(places, min(places + 2 * count, size - 1), 2):
        cell = int.from_bytes(page[place : place + 2], "big") + (4 if kind == _INDEX_INTERIOR else 0)
        try:
            yield _values(_payload(page, cell, kind, pages))
        except (_Damaged, IndexError, struct.error):
            continue


def _payload(page: bytes, at: int, kind: int, pages: _Pages) -> bytes:
    """Return the content of a cell, also of its overflow pages."""
    length, at = _varint(page, at)
    if length > _MOST_VALUE:
        raise _Damaged
    size = pages.size
    most = size - 35
    if kind == _TABLE_LEAF:
        _, at = _varint(page, at)
    else:
        most = (size - 12) * 64 // 255 - 23
    if length <= most:
        return page[at : at + length]
    least = (size - 12) * 32 // 255 - 23
    local = least + (length - least) % (size - 4)
    local = local if local <= most else least
    found, following = page[at : at + local], int.from_bytes(page[at + local : at + local + 4], "big")
    seen: set[int] = set()
    while len(found) < length:
        page = pages[following] if following not in seen else b""
        if len(page) < size:
            raise _Damaged
        seen.add(following)
        found += page[4 : 4 + length - len(found)]
        following = int.from_bytes(page[:4], "big")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        value = value << 7 | data[at + place] & 0x7F
        if data[at + place] < 0x80:
            return value, at + place + 1
    return value << 8 | data[at + 8], at + 9


def _values(payload: bytes) -> Sequence[Value]:
    end, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
        if len(kinds) > _MOST_COLUMNS:
            raise _Damaged
    values: list[Value] = []
    at = end
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return values


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    """Return a value of a serial type, and where the next one begins."""
    if kind in (0, 8, 9):
        return (None, 0, 1)[(0, 8, 9).index(kind)], at
    length = _INTEGERS.get(kind, 8 if kind == 7 else (kind - 12) // 2)
    content = payload[at : at + length]
    if kind in (10, 11) or len(content) < length:
        raise _Damaged
    if kind in _INTEGERS:
        return int.from_bytes(content, "big", signed=True), at + length
    if kind == 7:
        return struct.unpack(">d", content)[0], at + length
    return content if kind % 2 == 0 else content.decode(errors="replace"), at + length
