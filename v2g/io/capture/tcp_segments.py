"""From captured frames of several link layers to the bytes of TCP connections in their order: pure.

Link layers: Ethernet, also with VLAN tags, Linux cooked (SLL, SLL2), raw IP, BSD loopback. IPv4 and IPv6 with extension
headers. Fragments of IP packets are skipped: TCP does not need any.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from v2g.io.capture.pcapng import ETHERNET, Packet

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
MAX_HELD: Final = 64
"""Limit of segments that wait for an earlier one."""

FAR: Final = 1 << 24
"""Octets that no recording of a vehicle and a charger lacks: a number so far away is of another connection."""

_VLAN: Final = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_IP: Final = (b"\x86\xdd", b"\x08\x00")
_TYPE_AT: Final = {ETHERNET: (12, 14), 113: (14, 16), 276: (0, 20)}
"""LINKTYPE -> where the type of the payload stands, and where the payload begins: Ethernet, SLL, SLL2."""
_PAYLOAD_AT: Final = {0: 4, 108: 4, 12: 0, 14: 0, 101: 0, 228: 0, 229: 0}
"""LINKTYPE without an EtherType -> where the IP packet begins: BSD loopback, raw IP."""
_TCP, _FRAGMENT, _AUTHENTICATION = 6, 44, 51
_EXTENSIONS: Final = frozenset({0, 43, _FRAGMENT, _AUTHENTICATION, 60, 135, 139, 140})
_WORD: Final = 0x1_0000_0000


class TcpSegment(msgspec.Struct, frozen=True):
    """A TCP segment: its ends are address and port; `data` is less than was sent if the recording truncates frames."""

    source: bytes
    destination: bytes
    sequence: int
    acknowledged: int
    flags: int
    data: bytes


def segment_of(packet: Packet) -> TcpSegment | None:
    """Return the TCP segment in a captured frame, None for anything else."""
    frame = packet.data
    ip = _ip_packet(packet.interface.link_type, frame)
    if ip is None:
        return None
    found = _ipv6(ip) if ip[0] >> 4 == 6 else _ipv4(ip) if ip[0] >> 4 == 4 else None
    if found is None:
        return None
    source, destination, tcp, length = found
    if len(tcp) < 20 or not 20 <= (offset := (tcp[12] >> 4) * 4) <= min(length, len(tcp)):
        return None
    return TcpSegment(
        source=source + tcp[:2],
        destination=destination + tcp[2:4],
        sequence=int.from_bytes(tcp[4:8], "big"),
        acknowledged=int.from_bytes(tcp[8:12], "big"),
        flags=tcp[13],
        data=tcp[offset:length],
    )


def is_read(link_type: int) -> bool:
    """Return whether frames of a link layer are understood."""
    return link_type in _PAYLOAD_AT or link_type in _TYPE_AT


def _ip_packet(link_type: int, frame: bytes) -> bytes | None:
    """Return what follows the headers of the link layer, None unless it is IP."""
    begin = _PAYLOAD_AT.get(link_type)
    if begin is None:
        if link_type not in _TYPE_AT:
            return None
        at, begin = _TYPE_AT[link_type]
        kind = frame[at : at + 2]
        while kind in _VLAN:
            kind, begin = frame[begin + 2 : begin + 4], begin + 4
        if kind not in _IP:
            return None
    return frame[begin:] or None


def _ipv4(ip: bytes) -> tuple[bytes, bytes, bytes, int] | None:
    """Return addresses, TCP segment, and its length on the wire."""
    header = (ip[0] & 15) * 4
    if not 20 <= header <= len(ip) or ip[9] != _TCP or int.from_bytes(ip[6:8], "big") & 0x3FFF:
        return None
    total = int.from_bytes(ip[2:4], "big") or len(ip)  # 0: segmented by the network card later
    return ip[12:16], ip[16:20], ip[header:total], total - header


def _ipv6(ip: bytes) -> tuple[bytes, bytes, bytes, int] | None:
    if len(ip) < 40:
        return None
    kind, at, end = ip[6], 40, 40 + (int.from_bytes(ip[4:6], "big") or len(ip) - 40)
    while kind in _EXTENSIONS:
        if len(ip) < at + 8 or (kind == _FRAGMENT and int.from_bytes(ip[at + 2 : at + 4], "big") & ~0x6):
            return None
        size = 8 if kind == _FRAGMENT else (ip[at + 1] + 2) * 4 if kind == _AUTHENTICATION else (ip[at + 1] + 1) * 8
        kind, at = ip[at], at + size
    return (ip[8:24], ip[24:40], ip[at:end], end - at) if kind == _TCP else None


class Direction:
    """The bytes of one end in order: repetitions are dropped, segments that overtook others wait for them.

    What the recording lacks is skipped once the other end has answered it.
    """

    def __init__(self) -> None:
        self._begin: int | None = None
        self._next: int | None = None
        self._held: dict[int, TcpSegment] = {}

    def take(self, segment: TcpSegment) -> Iterator[tuple[bytes, bool]]:
        """Yield the bytes that are in order now, each with whether some before them are missing.

        Without the connection's beginning they count from the first segment that is seen.
        """
        if segment.flags & SYN:
            self._begin = self._next = (segment.sequence + 1) % _WORD
        if segment.flags & SYN or not segment.data:
            return
        if self._next is None:
            self._next = segment.sequence
        ahead = (segment.sequence - self._next + _WORD // 2) % _WORD - _WORD // 2
        if ahead <= 0:
            yield from self._pass_on(segment, -ahead, gap=False)
        else:
            known = self._held.get(segment.sequence)
            if known is None or len(known.data) < len(segment.data):
                self._held[segment.sequence] = segment
            if len(self._held) > MAX_HELD:
                yield from self._skip()

    def begins_anew(self, segment: TcpSegment) -> bool:
        """Return whether a segment of this end is of another connection between the same ends, whether the recording
        has its opening or not.
        """
        if self._next is None or not (segment.flags & SYN or segment.data):
            return False
        if segment.flags & SYN:
            return self._begin != (segment.sequence + 1) % _WORD
        return FAR < (segment.sequence - self._next) % _WORD < _WORD - FAR

    def answered(self, acknowledged: int) -> Iterator[tuple[bytes, bool]]:
        """The other end has received everything before this number, and says so in an answer: skip what is missing."""
        while self._held and self._next is not None and 0 < (acknowledged - self._next) % _WORD < _WORD // 2:
            yield from self._skip()

    def end(self) -> Iterator[tuple[bytes, bool]]:
        """The recording ends: yield what still waits."""
        while self._held:
            yield from self._skip()

    def _skip(self) -> Iterator[tuple[bytes, bool]]:
        assert self._next is not None
        now = self._next
        first = min(self._held, key=lambda sequence: (sequence - now) % _WORD)
        self._next = first
        yield from self._pass_on(self._held.pop(first), 0, gap=True)

    def _pass_on(self, segment: TcpSegment, known: int, *, gap: bool) -> Iterator[tuple[bytes, bool]]:
        while True:
            assert self._next is not None
            fresh = segment.data[known:]
            if fresh:
                self._next = (self._next + len(fresh)) % _WORD
                yield fresh, gap
                gap = False
            now = self._next
            following = next((each for each in self._held if (now - each) % _WORD < _WORD // 2), None)
            if following is None:
                return
            segment = self._held.pop(following)
            known = (self._next - following) % _WORD
