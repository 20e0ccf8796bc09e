"""Recording TCP connections at their endpoint, in synthetic frames."""

import asyncio
import struct
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Final

import msgspec

from v2g.io.capture.recorder import FrameRecorder

# -- A TCP connection as Ethernet frames, generated from the bytes of each side: pure. The kernel does not show the
# real frames; these carry the same bytes in the same order with complete headers, so that Wireshark shows the capture
# as a conversation. Synthetic are the addresses of the Ethernet layer, sequence numbers and acknowledgements; there
# are no losses.

MAX_SEGMENT: Final = 1440
"""Bytes of payload in one frame: 1500 without the headers of IPv6 and TCP."""

_FIN, _SYN, _PSH, _ACK = 0x01, 0x02, 0x08, 0x10
_TCP = 6
_HEADER_SIZE = 20
_WORD = 0xFFFFFFFF


class Socket(msgspec.Struct, frozen=True):
    """One end: address (IPv4 is shown mapped into IPv6) and port."""

    host: str
    port: int

    @property
    def address(self) -> bytes:
        """The 16 bytes of the address."""
        address = ip_address(self.host.partition("%")[0])
        return address.packed if isinstance(address, IPv6Address) else bytes(10) + b"\xff\xff" + address.packed

    @property
    def mac(self) -> bytes:
        """A locally administered Ethernet address that distinguishes the two ends."""
        return b"\x02\x54" + self.port.to_bytes(2, "big") + self.address[-2:]


class _TcpWay:
    """What all frames of one direction share."""

    def __init__(self, source: Socket, destination: Socket) -> None:
        self.ethernet: Final = destination.mac + source.mac + b"\x86\xdd"
        self.addresses: Final = source.address + destination.address
        self.ports: Final = struct.pack(">HH", source.port, destination.port)


class TcpFrames:
    """Frames of one connection. Every method returns the frames of an event, in order."""

    def __init__(self, client: Socket, server: Socket) -> None:
        self._ways = (_TcpWay(client, server), _TcpWay(server, client))
        self._sent = [0, 0]  # sequence numbers, that of the client first

    def open(self) -> list[bytes]:
        """Return the three frames of the connection's setup."""
        frames = [self._frame(0, _SYN), self._frame(1, _SYN | _ACK)]
        self._sent = [1, 1]
        return [*frames, self._frame(0, _ACK)]

    def data(self, payload: bytes, *, from_client: bool) -> list[bytes]:
        """Return the frames that carry `payload`."""
        side, frames = 0 if from_client else 1, []
        for at in range(0, len(payload), MAX_SEGMENT):
            part = payload[at : at + MAX_SEGMENT]
            frames.append(self._frame(side, _PSH | _ACK, part))
            self._sent[side] = (self._sent[side] + len(part)) & _WORD
        return frames

    def close(self) -> list[bytes]:
        """Return the frames of an orderly end."""
        frames = [self._frame(0, _FIN | _ACK)]
        self._sent[0] += 1
        frames.append(self._frame(1, _FIN | _ACK))
        self._sent[1] += 1
        return [*frames, self._frame(0, _ACK)]

    def _frame(self, side: int, flags: int, payload: bytes = b"") -> bytes:
        way, length = self._ways[side], _HEADER_SIZE + len(payload)
        acknowledged = self._sent[1 - side] + (flags == _SYN | _ACK) if flags & _ACK else 0
        numbers = struct.pack(">II", self._sent[side] & _WORD, acknowledged & _WORD)
        head = way.ports + numbers + struct.pack(">BBH", 5 << 4, flags, 0xFFFF)
        # TCP's checksum (RFC 9293, 3.1): the negated sum in ones' complement, which is that modulo 0xFFFF
        data = way.addresses + struct.pack(">II", length, _TCP) + head + bytes(4) + payload
        checksum = -int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF
        packet = struct.pack(">IHBB", 6 << 28, length, _TCP, 64) + way.addresses
        return way.ethernet + packet + head + struct.pack(">HH", checksum, 0) + payload


class ConnectionRecorder:
    """Records connections into `recorder`, on an interface of their own with this description.

    Their frames are not recorded at the port as well: each byte appears once.
    """

    def __init__(
        self, recorder: FrameRecorder, description: str = "bytes of the TCP connection, in synthetic TCP"
    ) -> None:
        number = recorder.interface("tcp", description)
        recorder.has_connections = True
        self._packet = partial(recorder.packet, number)

    def open(self, writer: asyncio.StreamWriter, *, server: bool) -> "RecordedConnection | None":
        """Record the beginning of a connection, `server` at its server; None if it is gone already."""
        local, peer = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        if local is None or peer is None:
            return None
        ends = (Socket(*peer[:2]), Socket(*local[:2])) if server else (Socket(*local[:2]), Socket(*peer[:2]))
        return RecordedConnection(self, TcpFrames(*ends), server=server)

    def put(self, frames: list[bytes]) -> None:
        """Record frames."""
        for frame in frames:
            self._packet(frame)


class RecordedConnection:
    """One connection, recorded at one of its ends."""

    def __init__(self, recorder: ConnectionRecorder, frames: TcpFrames, *, server: bool) -> None:
        self._recorder, self._frames, self._server = recorder, frames, server
        self._closed = False
        recorder.put(frames.open())

    def received(self, data: bytes) -> None:
        """Record bytes of the peer."""
        self._recorder.put(self._frames.data(data, from_client=self._server))

    def sent(self, data: bytes) -> None:
        """Record our own bytes."""
        self._recorder.put(self._frames.data(data, from_client=not self._server))

    def closed(self) -> None:
        """Record the end; idempotent."""
        if not self._closed:
            self._closed = True
            self._recorder.put(self._frames.close())
