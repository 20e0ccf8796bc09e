"""ZVT, the protocol between tills and payment terminals (PA00P015, PA00P016 of the VdTH): commands, fields and their
encoding. Pure.

A command is two bytes, the length of its data, and the data. TCP adds no framing.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from v2g.errors import FrameError

STATUS: Final = 0x040F
INTERMEDIATE: Final = 0x04FF
REGISTRATION: Final = 0x0600
COMPLETION: Final = 0x060F
ABORTED: Final = 0x061E
RESERVATION: Final = 0x0622
PARTIAL_REVERSAL: Final = 0x0623
RESERVATION_REVERSAL: Final = 0x0625
ABORT: Final = 0x06B0
READ_CARD: Final = 0x06C0
PRINT_LINE: Final = 0x06D1
PRINT_TEXT: Final = 0x06D3
ACK: Final = 0x8000
NACK: Final = 0x84
"""First byte of a rejection; the second is its reason."""

UNREACHED: Final = frozenset({0x7D, 0x9B, 0xA0})
"""Result codes of a terminal whose provider cannot be reached: communication error, dial-up, receiver not ready."""

MOST_DATA: Final = 8192
"""Longer commands are rejected: receipts of many lines have some kilobytes."""

TIMEOUT: Final = 0x01
AMOUNT: Final = 0x04
TLV: Final = 0x06
TRACE: Final = 0x0B
EXPIRY: Final = 0x0E
SEQUENCE: Final = 0x17
STATUS_BYTE: Final = 0x19
PAN: Final = 0x22
RESULT: Final = 0x27
TERMINAL_ID: Final = 0x29
TEXT: Final = 0x3C
CURRENCY: Final = 0x49
RECEIPT: Final = 0x87
CARD_TYPE: Final = 0x8A
CARD_NAME: Final = 0x8B

NO_RECEIPT: Final = "FFFF"
"""Receipt number with which a till queries open pre-authorisations, and which is the answer if there are none."""

LL: Final = -2
LLL: Final = -3
"""Lengths before the value, as decimal digits in the lower halves of bytes."""

LENGTHS: Final[Mapping[int, int]] = {
        0x01: 1, 0x02: 1, 0x03: 1, AMOUNT: 6, 0x05: 1, TRACE: 3, 0x0C: 3, 0x0D: 2, EXPIRY: 2, SEQUENCE: 2,
        STATUS_BYTE: 1, PAN: LL, 0x23: LL, 0x24: LLL, RESULT: 1, TERMINAL_ID: 4, 0x2A: 15, 0x2D: LL, 0x2E: LLL,
        0x37: 3, 0x3A: 2, 0x3B: 8, TEXT: LLL, 0x3D: 3, CURRENCY: 2, 0x60: LLL, RECEIPT: 2, 0x88: 3, CARD_TYPE: 1,
        CARD_NAME: LL, 0x8C: 1, 0x9A: LLL, 0xA0: 1, 0xA7: LL, 0xAA: 3, 0xAF: LLL, 0xBA: 5, 0xD0: 1, 0xD1: LL, 0xD2: 1,
        0xD3: 1, 0xE0: 1, **dict.fromkeys(range(0xE1, 0xE9), LL), 0xE9: 1, 0xEA: 1, 0xEB: 8, 0xF0: 1,
        **dict.fromkeys(range(0xF1, 0xF9), LL), 0xF9: 1, 0xFA: 1, 0xFB: 1, 0xFC: 1,
    }  # fmt: skip
"""Lengths of the fields (BMPs) in bytes."""


class ZvtCommand(NamedTuple):
    """One command, or an answer."""

    code: int
    data: bytes = b""

    def encode(self) -> bytes:
        size = len(self.data)
        length = bytes([size]) if size < 255 else b"\xff" + size.to_bytes(2, "little")
        return self.code.to_bytes(2, "big") + length + self.data


def cut(buffer: bytearray) -> Iterator[ZvtCommand]:
    """Remove and return complete commands at the front of `buffer`. Raises FrameError for one that is too long."""
    while len(buffer) >= 3:
        start, size = 3, buffer[2]
        if size == 255:
            if len(buffer) < 5:
                return
            start, size = 5, int.from_bytes(buffer[3:5], "little")
        if size > MOST_DATA:
            raise FrameError(f"a command of {size} octets")
        if len(buffer) < start + size:
            return
        command = ZvtCommand(int.from_bytes(buffer[:2], "big"), bytes(buffer[start : start + size]))
        del buffer[: start + size]
        yield command


def fields(data: bytes) -> dict[int, bytes]:
    """Return the fields in some data, by number; fields after an unknown one cannot be parsed.

    Raises FrameError for a truncated one.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        number = data[at]
        at += 1
        if number == TLV:
            size, at = _tlv_length(data, at)
        elif (size := LENGTHS.get(number, 0)) < 0:
            digits = data[at : at - size]
            if len(digits) < -size or any(digit & 0x0F > 9 for digit in digits):
                raise FrameError(f"field {number:02X} has no length")
            at -= size
            size = int("".join(str(digit & 0x0F) for digit in digits))
        elif size == 0:
            break
        if at + size > len(data):
            raise FrameError(f"field {number:02X} is truncated")
        found[number] = data[at : at + size]
        at += size
    return found


def objects(data: bytes) -> dict[int, bytes]:
    """Return the objects of a TLV container, by tag: including those in constructed ones; of duplicates the first.

    Raises FrameError for a truncated one.
    """
    found: dict[int, bytes] = {}
    rest = [data]
    while rest:
        part = rest.pop()
        at = 0
        while at < len(part):
            start = at
            tag, at = part[at], at + 1
            if tag & 0x1F == 0x1F:
                while at < len(part) and at - start < 3 and (at == start + 1 or part[at - 1] & 0x80):
                    tag, at = tag << 8 | part[at], at + 1
            size, at = _tlv_length(part, at)
            if at + size > len(part):
                raise FrameError(f"object {tag:X} is truncated")
            value = part[at : at + size]
            found.setdefault(tag, value)
            if part[start] & 0x20:
                rest.append(value)
            at += size
    return found


def _tlv_length(data: bytes, at: int) -> tuple[int, int]:
    """Return a length in BER, of three bytes at most, and the position after it."""
    first = data[at] if at < len(data) else 0xFF
    if first < 0x80:
        return first, at + 1
    count = {0x81: 1, 0x82: 2}.get(first, 0)
    if not count or at + 1 + count > len(data):
        raise FrameError("an object has no length")
    return int.from_bytes(data[at + 1 : at + 1 + count], "big"), at + 1 + count


def field(number: int, value: bytes) -> bytes:
    """Return a field with its number and, if variable, its length."""
    size = LENGTHS.get(number, 0)
    head = b""
    if size < 0:
        head = bytes(0xF0 | int(digit) for digit in f"{len(value):0{-size}d}")
    elif len(value) != size:
        raise FrameError(f"field {number:02X} has {size} octets, not {len(value)}")
    return bytes([number]) + head + value


def bcd(value: int, octets: int) -> bytes:
    """Return a number in decimal digits. Raises FrameError for one that is too large."""
    text = f"{value:0{2 * octets}d}"
    if value < 0 or len(text) > 2 * octets:
        raise FrameError(f"{value} does not fit into {octets} octets")
    return bytes.fromhex(text)


def number(value: bytes) -> int:
    """Return the number in decimal digits. Raises FrameError for an invalid one."""
    if not value.hex().isdecimal():
        raise FrameError(f"{value.hex()} is not a number")
    return int(value.hex())
