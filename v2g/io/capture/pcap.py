"""pcap, the older capture format of tcpdump (draft-ietf-opsawg-pcap): a header, then packets. Read only, pure."""

import struct
from collections.abc import Iterator
from typing import Final

from v2g.errors import FrameError
from v2g.io.capture.pcapng import LATEST_NS, Interface, Packet

MAX_PACKET: Final = 256 * 1024
"""Limit of a packet when reading, bytes: the largest snapshot length of tcpdump."""

MAGICS: Final = {
    struct.pack(order + "I", magic): (order, tick)
    for order in "<>"
    for magic, tick in ((0xA1B2C3D4, 6), (0xA1B23C4D, 9))
}
"""First bytes of a file -> byte order, and the unit of its stamps as 10^-n s."""

_HEADER, _PACKET = 24, 16


class PcapReader:
    """Takes a capture in pieces of any size and returns its packets; holds one unfinished packet."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._order = ""
        self._interface = Interface()

    def feed(self, data: bytes) -> list[Packet]:
        """Return the complete packets. Raises FrameError for invalid pcap; nothing can follow then."""
        return list(self.each(data))

    @property
    def unfinished(self) -> int:
        """Bytes of an incomplete packet."""
        return len(self._buffer)

    def each(self, data: bytes) -> Iterator[Packet]:
        """Yield the same packets: those before an invalid one, too."""
        self._buffer += data
        yield from self._packets()

    def _packets(self) -> Iterator[Packet]:
        buffer = self._buffer
        if not self._order and len(buffer) >= _HEADER:
            known = MAGICS.get(bytes(self._buffer[:4]))
            if known is None:
                raise FrameError("not a pcap capture")
            self._order, tick = known
            major, link_type = struct.unpack_from(self._order + "H14xI", self._buffer, 4)
            if major != 2:
                raise FrameError(f"unknown pcap version {major}")
            # the bits above the type: whether frames have an FCS, and its length
            self._interface = Interface(link_type=link_type & 0x03FF_FFFF, tick=tick)
            del self._buffer[:_HEADER]
        at = 0
        try:
            while self._order and len(buffer) - at >= _PACKET:
                seconds, parts, captured, length = struct.unpack_from(self._order + "4I", buffer, at)
                if captured > MAX_PACKET:
                    raise FrameError(f"a captured packet of {captured} bytes, at most {MAX_PACKET} are allowed")
                if len(buffer) - at < _PACKET + captured:
                    return
                begin = at + _PACKET
                at = begin + captured
                time_ns = seconds * 1_000_000_000 + self._interface.nanoseconds(parts)
                if time_ns > LATEST_NS:
                    raise FrameError(f"a captured packet with the invalid stamp {time_ns} ns")
                data = bytes(buffer[begin:at])
                yield Packet(time_ns=time_ns, interface=self._interface, data=data, length=length)
        finally:
            del buffer[:at]
