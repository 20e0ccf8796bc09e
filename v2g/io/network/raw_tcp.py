"""Retransmissions seen on the wire, of all programs; needs CAP_NET_RAW and nothing else (R90)."""

import socket
import struct
import time
from typing import Final

import msgspec

from v2g.errors import TransportError

_ALL_PROTOCOLS: Final = 3
_MOST_FLOWS: Final = 65536
_OUTGOING: Final = 4
_SOL_PACKET, _STATISTICS = 263, 6


class WireCounts(msgspec.Struct, kw_only=True):
    """Counts of TCP segments with payload."""

    packets: int = 0
    segments: int = 0
    retransmitted: int = 0
    not_seen: int = 0
    """Packets that this computer was too slow to look at."""

    @property
    def loss_percent(self) -> float:
        """Share of segments that were sent again."""
        return 100 * self.retransmitted / self.segments if self.segments else 0.0


class RetransmissionCounter:
    """Counts segments whose octets were all sent before, by flow."""

    def __init__(self) -> None:
        self.counts = WireCounts()
        self._reached: dict[bytes, int] = {}

    def take(self, packet: bytes) -> None:
        """Take an IP packet; one that is not TCP, or is cut, only counts as packet."""
        self.counts.packets += 1
        found = _segment(packet)
        if found is None:
            return
        flow, begin, length = found
        if not length:
            return
        self.counts.segments += 1
        end = (begin + length) & 0xFFFFFFFF
        reached = self._reached.get(flow)
        ahead = None if reached is None else (end - reached) & 0xFFFFFFFF
        if ahead is not None and not 0 < ahead < 1 << 31:
            self.counts.retransmitted += 1
        elif reached is not None or len(self._reached) < _MOST_FLOWS:
            self._reached[flow] = end


def _segment(packet: bytes) -> tuple[bytes, int, int] | None:
    """Return flow, sequence number and payload length of a TCP segment."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        header, protocol, addresses = (packet[0] & 15) * 4, packet[9], packet[12:20]
        total = int.from_bytes(packet[2:4], "big")
        if int.from_bytes(packet[6:8], "big") & 0x1FFF:
            return None  # a later fragment has no TCP header
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        header, protocol, addresses = 40, packet[6], packet[8:40]
        total = 40 + int.from_bytes(packet[4:6], "big")
    else:
        return None
    if protocol != socket.IPPROTO_TCP or len(packet) < header + 14:
        return None
    (sequence,) = struct.unpack_from("!I", packet, header + 4)
    length = total - header - (packet[header + 12] >> 4) * 4
    return addresses + packet[header : header + 4], sequence, max(0, length)


def watch_wire(interface: str, seconds: float) -> WireCounts:
    """Return what passes on an interface (empty: all) within `seconds`. Raises TransportError."""
    counter = RetransmissionCounter()
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS)) as raw:
            if interface:
                raw.bind((interface, _ALL_PROTOCOLS))
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                raw.settimeout(left)
                try:
                    packet, address = raw.recvfrom(256)
                except TimeoutError:
                    break
                if not (address[0] == "lo" and address[2] == _OUTGOING):  # the loopback shows each packet twice
                    counter.take(packet)
            _, dropped = struct.unpack("=II", raw.getsockopt(_SOL_PACKET, _STATISTICS, 8))
            counter.counts.not_seen = dropped
    except PermissionError:
        raise TransportError("packets cannot be read", hint="needs CAP_NET_RAW: v2g diag prereq shows how") from None
    except OSError as error:
        raise TransportError(f"{interface or 'all interfaces'}: {error.strerror or error}", hint="ip link") from None
    return counter.counts
