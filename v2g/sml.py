"""Smart Message Language: how German meters write files of messages. Pure.

Source: BSI TR-03109-1, annex IV, part b: Smart Message Language 1.04 (transport 8, encoding 6, messages 5).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from v2g.errors import FrameError

ESCAPE: Final = b"\x1b" * 4
START: Final = ESCAPE + b"\x01" * 4
_END: Final = 0x1A

MOST_FILE: Final = 8 * 1024
"""Limit of octets of one file; meters send less than 1 KiB."""
MOST_DEPTH: Final = 8
"""Limit of lists in lists; a value of a meter is in the fifth."""

LIST_RESPONSE: Final = 0x0701
"""SML_GetList.Res."""

Value = int | bool | bytes | None | Sequence["Value"]
"""A decoded value; None where an optional one is absent."""


def _crc_table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        crc = octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC: Final = _crc_table()


def crc16(data: bytes, start: int = 0xFFFF) -> int:
    """Return the checksum of ISO/IEC 13239 (CRC-16/X-25); from 0, CRC-16/KERMIT."""
    crc = start
    for octet in data:
        crc = crc >> 8 ^ _CRC[(crc ^ octet) & 0xFF]
    return crc ^ start


class SmlFramer:
    """Finds whole files in a stream of octets, and drops everything else."""

    def __init__(self) -> None:
        self._sent = bytearray()  # from START on, as on the line
        self._payload = bytearray()
        self._escapes = self._at = 0
        self.waiting = False
        """Whether a file has begun and not ended."""
        self.errors = 0
        """Files that were broken off, too long, or had a wrong checksum."""

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Process received octets; yield the messages of every whole file, without escapes."""
        for octet in data:
            self._sent.append(octet)
            if not self.waiting:
                del self._sent[: -len(START)]
                if self._sent == START:
                    self._begin()
                continue
            if len(self._sent) > MOST_FILE:
                self._drop()
            elif self._escapes == 4:
                if len(self._sent) - self._at == 4 and (payload := self._escaped()) is not None:
                    yield payload
            elif octet == ESCAPE[0]:
                self._escapes += 1
                if self._escapes == 4:
                    self._at = len(self._sent)
            else:
                self._payload += ESCAPE[: self._escapes] + bytes((octet,))
                self._escapes = 0

    def _begin(self) -> None:
        self.waiting, self._escapes = True, 0
        self._sent, self._payload = bytearray(START), bytearray()

    def _drop(self) -> None:
        self.errors += 1
        self.waiting = False
        self._sent.clear()

    def _escaped(self) -> bytes | None:
        """Process the four octets after an escape: an escaped escape, a new start, or the end with its checksum."""
        after = bytes(self._sent[-4:])
        self._escapes = 0
        if after == ESCAPE:
            self._payload += ESCAPE
        elif after == START[4:]:
            self.errors += 1
            self._begin()
        else:
            fill, sent, payload = after[1], bytes(self._sent[:-2]), bytes(self._payload)
            # Holley DTZ541 has CRC-16/KERMIT, high octet first
            checks = (crc16(sent).to_bytes(2, "little"), crc16(sent, 0).to_bytes(2, "big"))
            fits = after[0] == _END and fill <= 3 and after[2:] in checks
            self._drop()
            if fits and len(payload) >= fill:
                self.errors -= 1
                return payload[: len(payload) - fill]
        return None


def list_bodies(payload: bytes) -> Iterator[Sequence[Value]]:
    """Yield the lists of a file (SML_GetList.Res), each with its seven parts: client, server, name, time, values,
    signature, time of the gateway. Raises FrameError for octets that are no messages of SML.
    """
    at = 0
    while at < len(payload):
        if payload[at] == 0:  # fill octets, which some meters do not count
            at += 1
            continue
        message, at = _decode(payload, at, MOST_DEPTH)
        match message:
            case [_, _, _, [int(kind), body], _, None]:  # that of the file covers the checksum of the message, too
                if kind != LIST_RESPONSE:
                    continue
            case _:
                raise FrameError("not a message of SML")
        match body:
            case [_, _, _, _, [*_], _, _]:
                yield body
            case _:
                raise FrameError("a list of SML has not its seven parts")


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    """Return the value at a place, and where the next begins. Raises FrameError."""
    if at >= len(data):
        raise FrameError("a value of SML is cut")
    first = data[at]
    if first == 0:
        return None, at + 1  # end of a message
    kind, length, begin = first >> 4 & 7, first & 15, at
    while data[at] & 0x80:
        at += 1
        if at - begin > 3 or at >= len(data) or data[at] & 0x70:
            raise FrameError("a value of SML has a wrong length")
        length = length << 4 | data[at] & 15
    at += 1
    if kind == 7:
        if depth == 0 or length > len(data) - at:
            raise FrameError("lists of SML are too deep or too long")
        items: list[Value] = []
        for _ in range(length):
            item, at = _decode(data, at, depth - 1)
            items.append(item)
        return items, at
    end = begin + length
    if not at <= end <= len(data):
        raise FrameError("a value of SML is cut")
    content = data[at:end]
    match kind, len(content):
        case 0, size:
            return (content if size else None), end
        case 4, 1:
            return content != b"\0", end
        case ((5 | 6), size) if 1 <= size <= 8:
            return int.from_bytes(content, "big", signed=kind == 5), end
    raise FrameError(f"a value of SML has the unknown type {first:#04x}")
