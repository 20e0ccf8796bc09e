"""QR codes (ISO/IEC 18004) of addresses, as SVG: byte mode, error correction M, versions 1 to 10. Pure."""

from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from typing import Final

from markupsafe import Markup

MOST: Final = 213
"""Octets that fit."""

_BLOCKS: Final = (
    (10, 16), (16, 28), (26, 44), (18, 32, 32), (24, 43, 43), (16, 27, 27, 27, 27), (18, 31, 31, 31, 31),
    (22, 38, 38, 39, 39), (22, 36, 36, 36, 37, 37), (26, 43, 43, 43, 43, 44),
)  # fmt: skip
"""By version: octets of error correction of each block, and octets of data of each block (table 9, level M)."""

_ALIGNED: Final = (
    (), (6, 18), (6, 22), (6, 26), (6, 30), (6, 34), (6, 22, 38), (6, 24, 42), (6, 26, 46), (6, 28, 50),
)  # fmt: skip
"""By version: rows and columns of alignment patterns (annex E)."""

_LOGS: Final = [0] * 256
_POWERS: Final = [1] * 512
for _at in range(1, 512):
    _POWERS[_at] = _POWERS[_at - 1] << 1 ^ (0x11D if _POWERS[_at - 1] & 0x80 else 0)
    if _at < 255:
        _LOGS[_POWERS[_at]] = _at

_MASKS: Final = (
    lambda i, j: (i + j) % 2 == 0, lambda i, j: i % 2 == 0, lambda i, j: j % 3 == 0, lambda i, j: (i + j) % 3 == 0,
    lambda i, j: (i // 2 + j // 3) % 2 == 0, lambda i, j: i * j % 2 + i * j % 3 == 0,
    lambda i, j: (i * j % 2 + i * j % 3) % 2 == 0, lambda i, j: ((i + j) % 2 + i * j % 3) % 2 == 0,
)  # fmt: skip

Modules = list[list[bool | None]]
"""Rows of modules: dark, light, or not placed yet."""


def code(text: str, mask: int | None = None) -> list[list[bool]]:
    """Return the modules of a text's code, True for dark ones; without a `mask` (0 to 7) with that of the least
    penalty. Raises ValueError for a text that is too long."""
    octets = text.encode()
    sizes = (sum(each[1:]) - (2 if version < 10 else 3) for version, each in enumerate(_BLOCKS, 1))
    version = next((version for version, most in enumerate(sizes, 1) if len(octets) <= most), 0)
    if not version:
        raise ValueError(f"a QR code has at most {MOST} octets")
    bits = list(_stream(octets, version))
    made = [_masked(version, bits, each) for each in (range(8) if mask is None else (mask,))]
    return min(made, key=_penalty)


def svg(text: str, about: str) -> Markup:
    """Return a picture of a text's code, dark on light whatever the page, with the quiet zone of four modules."""
    rows = code(text)
    size, parts = len(rows) + 8, []
    for y, row in enumerate(rows, 4):
        x = 4
        for dark, run in groupby(row):
            width = len(list(run))
            parts += [f"M{x} {y}h{width}v1h-{width}z"] if dark else []
            x += width
    return Markup(
        '<svg class="qr" viewBox="0 0 {0} {0}" role="img" aria-label="{1}" shape-rendering="crispEdges">'
        '<rect width="{0}" height="{0}" fill="#fff"/><path d="{2}" fill="#000"/></svg>'
    ).format(size, about, "".join(parts))


def _stream(octets: bytes, version: int) -> Iterator[int]:
    """Yield all bits: data and error correction of the blocks, interleaved."""
    correction, *sizes = _BLOCKS[version - 1]
    count = 8 if version < 10 else 16
    bits = f"0100{len(octets):0{count}b}" + "".join(f"{each:08b}" for each in octets)
    capacity = 8 * sum(sizes)
    bits += "0" * min(4, capacity - len(bits))
    bits += "0" * (-len(bits) % 8)
    data = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    data += [0xEC if at % 2 == 0 else 0x11 for at in range(sum(sizes) - len(data))]
    blocks, begin = [], 0
    for size in sizes:
        blocks.append(data[begin : begin + size])
        begin += size
    repairs = [_remainder(each, correction) for each in blocks]
    for column in (*zip_longest(*blocks), *zip_longest(*repairs)):
        for octet in column:
            if octet is not None:
                yield from (octet >> shift & 1 for shift in range(7, -1, -1))


def _remainder(data: Sequence[int], count: int) -> list[int]:
    """Return the octets of error correction of a block (Reed-Solomon over GF(256))."""
    generator = [1]
    for power in range(count):
        shifted = [*generator, 0]
        for at, each in enumerate(generator):
            shifted[at + 1] ^= _times(each, _POWERS[power])
        generator = shifted
    rest = [*data, *([0] * count)]
    for at in range(len(data)):
        factor = rest[at]
        for offset, each in enumerate(generator):
            rest[at + offset] ^= _times(each, factor)
    return rest[len(data) :]


def _times(a: int, b: int) -> int:
    return _POWERS[_LOGS[a] + _LOGS[b]] if a and b else 0


def _frame(version: int) -> Modules:
    """Return the patterns of a version by which readers find and align it; places of format and version are light."""
    size = 17 + 4 * version
    found: Modules = [[None] * size for _ in range(size)]
    for top, left in ((0, 0), (0, size - 7), (size - 7, 0)):
        for y in range(max(0, top - 1), min(size, top + 8)):
            for x in range(max(0, left - 1), min(size, left + 8)):
                away = max(abs(y - top - 3), abs(x - left - 3))
                found[y][x] = away in (0, 1, 3)
    last = _ALIGNED[version - 1][-1:]
    for y in _ALIGNED[version - 1]:
        for x in _ALIGNED[version - 1]:
            if (y, x) not in ((6, 6), *((6, each) for each in last), *((each, 6) for each in last)):
                for dy in range(-2, 3):
                    for dx in range(-2, 3):
                        found[y + dy][x + dx] = max(abs(dy), abs(dx)) != 1
    for at in range(8, size - 8):
        found[6][at] = found[at][6] = at % 2 == 0
    for at in range(9):
        for y, x in ((at, 8), (8, at), *(((size - 1 - at, 8), (8, size - 1 - at)) if at < 8 else ())):
            found[y][x] = bool(found[y][x])
    found[size - 8][8] = True
    if version >= 7:
        word = _checked(version, 12, 0x1F25)
        for at in range(18):
            y, x = at // 3, size - 11 + at % 3
            found[y][x] = found[x][y] = bool(word >> at & 1)
    return found


def _checked(value: int, count: int, polynomial: int) -> int:
    """Return a value followed by so many bits of a BCH code."""
    rest = value << count
    for shift in range(rest.bit_length() - 1, count - 1, -1):
        if rest >> shift & 1:
            rest ^= polynomial << (shift - count)
    return value << count | rest


def _masked(version: int, bits: Sequence[int], mask: int) -> list[list[bool]]:
    """Return the modules of a code with a mask: columns of two from the right, up and down (7.7.3)."""
    found, size, nth = _frame(version), 17 + 4 * version, 0
    for pair, right in enumerate((*range(size - 1, 6, -2), 5, 3, 1)):
        for y in range(size) if pair % 2 else range(size - 1, -1, -1):
            for x in (right, right - 1):
                if found[y][x] is None:
                    bit = bits[nth] if nth < len(bits) else 0
                    found[y][x] = bool(bit) != _MASKS[mask](y, x)
                    nth += 1
    word = _checked(mask, 10, 0x537) ^ 0x5412  # level M is 00
    for at in range(15):
        dark = bool(word >> at & 1)
        y = at if at < 6 else at + 1 if at < 8 else size - 15 + at
        x = size - 1 - at if at < 8 else 15 - at if at < 9 else 14 - at
        found[y][8] = found[8][x] = dark
    return [[bool(each) for each in row] for row in found]


def _penalty(rows: list[list[bool]]) -> int:
    """Return how hard a code is to read (7.8.3)."""
    size, found = len(rows), 0
    for lines in (rows, [list(each) for each in zip(*rows, strict=True)]):
        for line in lines:
            found += sum(length - 2 for _, run in groupby(line) if (length := len(list(run))) >= 5)
            text = "".join("1" if each else "0" for each in line)
            for at in range(size - 10):
                found += 40 * (text[at : at + 11] in ("10111010000", "00001011101"))
    for y in range(size - 1):
        for x in range(size - 1):
            found += 3 * (rows[y][x] == rows[y][x + 1] == rows[y + 1][x] == rows[y + 1][x + 1])
    dark = sum(map(sum, rows))
    return found + 10 * (abs(20 * dark - 10 * size * size) // (size * size))
