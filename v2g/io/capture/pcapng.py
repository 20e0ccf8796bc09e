"""pcapng, the capture format of Wireshark (draft-ietf-opsawg-pcapng): blocks to bytes and back, pure.

Written: section header, interface descriptions, enhanced packets with nanoseconds, direction and comment, and
decryption secrets (a TLS key log). Read: the same and what other programs write in both byte orders; other
blocks are skipped.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from v2g.errors import FrameError

ETHERNET: Final = 1
"""LINKTYPE_ETHERNET."""

TLS_KEY_LOG: Final = 0x544C534B
"""Kind of secrets: lines of an NSS key log."""

MAX_BLOCK: Final = 1024 * 1024
"""Limit of a block when reading, bytes; a frame has 1518, a key log of a session some hundred."""

MAX_INTERFACES: Final = 256

LATEST_NS: Final = 253_402_300_799_999_999_999
"""The last time (ns since 1970) in calendars: the end of the year 9999."""

_SECTION: Final = 0x0A0D0D0A  # the same in both byte orders
_INTERFACE, _OLD_PACKET, _SIMPLE, _PACKET, _SECRETS = 1, 2, 3, 6, 10
_HEADS: Final = {_PACKET: "IIIII", _OLD_PACKET: "HHIIII"}
"""Kind of packet -> its fields before the data: interface, (packets that were lost,) stamp in two parts, lengths."""
_MAGIC = 0x1A2B3C4D
_END, _COMMENT = 0, 1
_APPLICATION = 4
_IF_NAME, _IF_DESCRIPTION, _IF_RESOLUTION, _IF_OFFSET = 2, 3, 9, 14
_FLAGS = 2
_INBOUND, _OUTBOUND = 1, 2
_MAX_TEXT = 0xFFFF


class Interface(msgspec.Struct, frozen=True):
    """An interface of a capture. `tick` and `offset_s` define its stamps: units of 10^-tick s, or 2^-(tick - 128) s."""

    name: str = ""
    description: str = ""
    link_type: int = ETHERNET
    tick: int = 9
    offset_s: int = 0

    def nanoseconds(self, stamp: int) -> int:
        """Return `stamp` in ns since 1970."""
        per_second: int = 1 << (self.tick & 0x7F) if self.tick & 0x80 else 10**self.tick
        return self.offset_s * 1_000_000_000 + stamp * 1_000_000_000 // per_second


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """One frame. `time_ns` since 1970 (0 if unknown), `outbound` None if unknown.

    `length` is that on the wire, more than `data` holds if it was truncated.
    """

    time_ns: int
    interface: Interface
    data: bytes
    length: int
    outbound: bool | None = None
    comment: str = ""


class Secrets(msgspec.Struct, frozen=True):
    """Secrets that decrypt packets of the same section; `kind` is TLS_KEY_LOG or another program's."""

    kind: int
    data: bytes

    def __repr__(self) -> str:
        return f"Secrets(kind={self.kind:#x}, {len(self.data)} bytes)"


Record = Packet | Secrets


def section(application: str = "", comment: str = "") -> bytes:
    """Return the block that begins a section; interface numbers count from 0 again."""
    options = option(_COMMENT, comment.encode()) + option(_APPLICATION, application.encode())
    return block(_SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, -1) + _options(options))


def interface(name: str, description: str = "", link_type: int = ETHERNET) -> bytes:
    """Return the block of another interface, with stamps in nanoseconds."""
    options = option(_IF_NAME, name.encode()) + option(_IF_DESCRIPTION, description.encode())
    return block(_INTERFACE, struct.pack("<HHI", link_type, 0, 0) + _options(options + option(_IF_RESOLUTION, b"\x09")))


def packet(number: int, time_ns: int, data: bytes, *, outbound: bool | None = None, comment: str = "") -> bytes:
    """Return the block of a frame seen on interface `number`, at `time_ns` since 1970."""
    head = struct.pack("<IIIII", number, time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF, len(data), len(data))
    options = option(_COMMENT, comment.encode())
    if outbound is not None:
        options += option(_FLAGS, struct.pack("<I", _OUTBOUND if outbound else _INBOUND))
    return block(_PACKET, head + _padded(data) + _options(options))


def secrets(data: bytes, kind: int = TLS_KEY_LOG) -> bytes:
    """Return the block of secrets for the following packets of the section."""
    return block(_SECRETS, struct.pack("<II", kind, len(data)) + _padded(data))


class PcapngReader:
    """Takes a capture in pieces of any size and returns its records; holds one unfinished block, at most MAX_BLOCK."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._order = ""
        self._interfaces: list[Interface] = []
        self.whole = 0
        """Bytes up to the end of the last whole block."""

    def feed(self, data: bytes) -> list[Record]:
        """Return the complete records. Raises FrameError for invalid pcapng; nothing can follow then."""
        return list(self.each(data))

    def each(self, data: bytes) -> Iterator[Record]:
        """Yield the same records: those before an invalid one, too."""
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= 12:
                length = self._length(at)
                if len(self._buffer) - at < length:
                    return
                (kind,) = self._unpack("I", at)
                if self._unpack("I", at + length - 4) != (length,):
                    raise FrameError(f"a capture block of {length} bytes does not end as it begins")
                body = bytes(self._buffer[at + 8 : at + length - 4])
                at += length
                self.whole += length
                record = self._record(kind, body)
                if record is not None:
                    yield record
        finally:
            del self._buffer[:at]

    @property
    def unfinished(self) -> int:
        """Bytes of an incomplete block."""
        return len(self._buffer)

    def _length(self, at: int) -> int:
        """Return the length of the block at `at`; a section header also sets the byte order."""
        if self._buffer[at : at + 4] == _SECTION.to_bytes(4, "little"):
            magic = bytes(self._buffer[at + 8 : at + 12])
            if magic not in (struct.pack("<I", _MAGIC), struct.pack(">I", _MAGIC)):
                raise FrameError("a capture section without its byte order")
            self._order = "<" if magic == struct.pack("<I", _MAGIC) else ">"
        elif not self._order:
            raise FrameError("not a pcapng capture", hint="editcap -F pcapng converts an older capture")
        (length,) = self._unpack("I", at + 4)
        if length % 4 or not 12 <= length <= MAX_BLOCK:
            raise FrameError(f"a capture block of {length} bytes: 12 to {MAX_BLOCK}, a multiple of 4, are allowed")
        return int(length)

    def _record(self, kind: int, body: bytes) -> Record | None:
        try:
            if kind in _HEADS:
                return self._packet(_HEADS[kind], body)
            if kind == _SECRETS:
                return self._secrets(body)
            if kind == _SIMPLE:
                (length,) = struct.unpack_from(self._order + "I", body)
                return Packet(time_ns=0, interface=self._seen_on(0), data=body[4 : 4 + length], length=length)
            if kind == _INTERFACE:
                self._interface(body)
            elif kind == _SECTION:
                _, major, _ = struct.unpack_from(self._order + "IHH", body)
                if major != 1:
                    raise FrameError(f"unknown pcapng version {major}")
                self._interfaces = []
        except struct.error:
            raise FrameError(f"a capture block of kind {kind:#x} with {len(body)} bytes is cut short") from None
        return None

    def _interface(self, body: bytes) -> None:
        link_type, _, _ = struct.unpack_from(self._order + "HHI", body)
        if len(self._interfaces) == MAX_INTERFACES:
            raise FrameError(f"more than {MAX_INTERFACES} interfaces in a capture")
        options = self._option_values(body[8:])
        (tick,) = options.get(_IF_RESOLUTION, b"\x06")[:1] or b"\x06"
        if tick & 0x7F > 64:
            raise FrameError(f"capture stamps of resolution {tick:#x}")
        offset = options.get(_IF_OFFSET, bytes(8))
        self._interfaces.append(
            Interface(
                name=_text(options.get(_IF_NAME, b"")),
                description=_text(options.get(_IF_DESCRIPTION, b"")),
                link_type=link_type,
                tick=tick,
                offset_s=struct.unpack(self._order + "q", offset)[0],
            )
        )

    def _seen_on(self, number: int) -> Interface:
        if number >= len(self._interfaces):
            raise FrameError(f"a captured packet of interface {number}, of which there are {len(self._interfaces)}")
        return self._interfaces[number]

    def _packet(self, head: str, body: bytes) -> Packet:
        number, *_, high, low, captured, length = struct.unpack_from(self._order + head, body)
        if captured > len(body) - 20:
            raise FrameError(f"a captured packet of {captured} bytes in a block of {len(body)}")
        where = self._seen_on(number)
        time_ns = where.nanoseconds(high << 32 | low)
        if not 0 <= time_ns <= LATEST_NS:
            raise FrameError(f"a captured packet with the invalid stamp {time_ns} ns")
        options = self._option_values(body[20 + captured + -captured % 4 :])
        flags = options.get(_FLAGS, b"")
        way = struct.unpack(self._order + "I", flags)[0] & 3 if len(flags) == 4 else 0
        return Packet(
            time_ns=time_ns,
            interface=where,
            data=body[20 : 20 + captured],
            length=length,
            outbound={_INBOUND: False, _OUTBOUND: True}.get(way),
            comment=_text(options.get(_COMMENT, b"")),
        )

    def _secrets(self, body: bytes) -> Secrets:
        kind, length = struct.unpack_from(self._order + "II", body)
        if length > len(body) - 8:
            raise FrameError(f"capture secrets of {length} bytes in a block of {len(body)}")
        return Secrets(kind, body[8 : 8 + length])

    def _option_values(self, data: bytes) -> dict[int, bytes]:
        """Return the options of a block; of duplicates the first."""
        found: dict[int, bytes] = {}
        at = 0
        while len(data) - at >= 4:
            code, length = struct.unpack_from(self._order + "HH", data, at)
            if code == _END:
                break
            if length > len(data) - at - 4:
                raise FrameError(f"a capture option of {length} bytes, {len(data) - at - 4} are left")
            found.setdefault(code, data[at + 4 : at + 4 + length])
            at += 4 + length + -length % 4
        return found

    def _unpack(self, layout: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, self._buffer, at)


def block(kind: int, body: bytes) -> bytes:
    """Return a block of any kind."""
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _options(options: bytes) -> bytes:
    return options + struct.pack("<HH", _END, 0) if options else b""


def option(code: int, value: bytes) -> bytes:
    """Return an option of a block; an empty one is omitted, a long one truncated."""
    value = value[:_MAX_TEXT]
    return struct.pack("<HH", code, len(value)) + _padded(value) if value else b""


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "replace")
