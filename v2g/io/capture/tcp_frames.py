"""A TCP connection as Ethernet frames, generated from the bytes of each side: pure.

The kernel does not show the real frames; these carry the same bytes in the same order with complete headers, so that
Wireshark shows the capture as a conversation. Synthetic are the addresses of the Ethernet
layer, sequence numbers and acknowledgements; there are no losses.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

import msgspec

MAX_SEGMENT: Final = 1440
"""Bytes of payload in one frame: 1500 without the headers of IPv6 and TCP."""

_FIN, _SYN, _PSH, _ACK = 0x01, 0x02, 0x08, 0x10
_TCP = 6
_WORD = 0xFFFFFFFF


class Socket(msgspec.Struct, frozen=True):
    """One end: address (IPv4 is shown mapped into IPv6) and port."""

    host: str
    port: int

    @property
    def address(self) -> bytes:
        """The 16 bytes of the address."""
        return _packed(self.host)

    @property
    def mac(self) -> bytes:
        """A locally administered Ethernet address that distinguishes the two ends."""
        return b"\x02\x54" + self.port.to_bytes(2, "big") + self.address[-2:]


@lru_cache(maxsize=64)  # each frame has both
def _packed(host: str) -> bytes:
    address = ip_address(host.partition("%")[0])
    return address.packed if isinstance(address, IPv6Address) else bytes(10) + b"\xff\xff" + address.packed


class TcpFrames:
    """Frames of one connection. Every method returns the frames of an event, in order."""

    def __init__(self, client: Socket, server: Socket) -> None:
        self._ends = (client, server)
        self._sent = [0, 0]  # sequence numbers, that of the client first

    def open(self) -> list[bytes]:
        """Return the three frames of the connection's setup."""
        frames = [self._frame(0, _SYN), self._frame(1, _SYN | _ACK)]
        self._sent = [1, 1]
        return [*frames, self._frame(0, _ACK)]

    def data(self, payload: bytes, *, from_client: bool) -> list[bytes]:
        """Return the frames that carry `payload`."""
        return list(self._segments(0 if from_client else 1, payload))

    def close(self) -> list[bytes]:
        """Return the frames of an orderly end."""
        frames = [self._frame(0, _FIN | _ACK)]
        self._sent[0] += 1
        frames.append(self._frame(1, _FIN | _ACK))
        self._sent[1] += 1
        return [*frames, self._frame(0, _ACK)]

    def _segments(self, side: int, payload: bytes) -> Iterator[bytes]:
        for at in range(0, len(payload), MAX_SEGMENT):
            part = payload[at : at + MAX_SEGMENT]
            yield self._frame(side, _PSH | _ACK, part)
            self._sent[side] = (self._sent[side] + len(part)) & _WORD

    def _frame(self, side: int, flags: int, payload: bytes = b"") -> bytes:
        source, destination = self._ends[side], self._ends[1 - side]
        acknowledged = self._sent[1 - side] + (flags == _SYN | _ACK) if flags & _ACK else 0
        segment = (
            struct.pack(
                ">HHIIBBHHH",
                source.port,
                destination.port,
                self._sent[side] & _WORD,
                acknowledged & _WORD,
                5 << 4,
                flags,
                0xFFFF,
                0,
                0,
            )
            + payload
        )
        checksum = _checksum(source.address, destination.address, segment)
        segment = segment[:16] + checksum.to_bytes(2, "big") + segment[18:]
        packet = struct.pack(">IHBB", 6 << 28, len(segment), _TCP, 64) + source.address + destination.address
        return destination.mac + source.mac + b"\x86\xdd" + packet + segment


def _checksum(source: bytes, destination: bytes, segment: bytes) -> int:
    """Return TCP's checksum over IPv6 (RFC 8200, 8.1)."""
    data = source + destination + struct.pack(">II", len(segment), _TCP) + segment
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
