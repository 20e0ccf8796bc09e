"""TCP connections as the kernel sees them (TCP_INFO), over netlink; needs no privilege (R90)."""

import socket
import struct
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from v2g.errors import TransportError

# linux/sock_diag.h, linux/inet_diag.h, linux/tcp.h
_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _DUMP = 4, 20, 0x301
_DONE, _ERROR = 3, 2
_WITH_INFO, _INFO, _ESTABLISHED = 1 << 1, 2, 1 << 1
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBBI48x")
_MESSAGE: Final = 72
_WORDS: Final = struct.Struct("=8x24I")
_SENT_BYTES, _SEND_WINDOW, _RECEIVE_WINDOW = 200, 228, 232


class TcpConnection(msgspec.Struct, frozen=True, kw_only=True):
    """An established connection: sizes in octets, times in µs. Windows that an older kernel does not tell are None."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    mss: int
    rtt_us: int
    least_rtt_us: int | None
    congestion_window: int
    """What we may have in flight, by congestion control."""
    peer_window: int | None
    """What the peer accepts."""
    receive_window: int
    """What we accept; by an older kernel, what we are prepared for."""
    unacked: int
    retransmitted: int
    """Segments that were sent again since the connection was opened."""
    sent_bytes: int | None
    retransmitted_bytes: int | None
    waiting: int
    """Octets that the program wrote and the peer has not acknowledged."""

    @property
    def window(self) -> int:
        """Octets that may be in flight towards the peer."""
        return self.congestion_window if self.peer_window is None else min(self.congestion_window, self.peer_window)


def connections() -> list[TcpConnection]:
    """Return all established TCP connections of this network namespace. Raises TransportError."""
    found: list[TcpConnection] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as netlink:
            netlink.settimeout(5)
            for family in (socket.AF_INET, socket.AF_INET6):
                body = _REQUEST.pack(family, socket.IPPROTO_TCP, _WITH_INFO, 0, _ESTABLISHED)
                netlink.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _DUMP, 1, 0) + body)
                while not _take(netlink.recv(1 << 17), found):
                    pass
    except OSError as error:
        raise TransportError(
            f"the kernel shows no TCP connections: {error}", hint="needs Linux with inet_diag"
        ) from None
    return found


def _take(data: bytes, found: list[TcpConnection]) -> bool:
    """Add the connections of a netlink datagram; return whether it was the last."""
    while len(data) >= _HEADER.size:
        size, kind, *_ = _HEADER.unpack_from(data)
        if kind in (_DONE, _ERROR) or size < _HEADER.size:
            return True
        found += read_connection(data[_HEADER.size : size])
        data = data[(size + 3) & ~3 :]
    return False


def read_connection(message: bytes) -> Iterator[TcpConnection]:
    """Yield the connection of an inet_diag_msg with its attributes; none if it has no TCP_INFO."""
    if len(message) < _MESSAGE:
        return
    family = message[0]
    size = 4 if family == socket.AF_INET else 16
    local_port, remote_port = struct.unpack_from("!HH", message, 4)
    local, remote = (socket.inet_ntop(family, message[at : at + size]) for at in (8, 24))
    (waiting,) = struct.unpack_from("=I", message, 60)
    at = _MESSAGE
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        info = message[at + 4 : at + length]
        if kind == _INFO and len(info) >= _WORDS.size:
            words = _WORDS.unpack_from(info)
            mss, rtt_us, segments = words[2], words[15], words[18]
            yield TcpConnection(
                local=local, local_port=local_port, remote=remote, remote_port=remote_port, mss=mss, rtt_us=rtt_us,
                least_rtt_us=_word(info, 148), congestion_window=segments * mss,
                peer_window=_word(info, _SEND_WINDOW),
                receive_window=_word(info, _RECEIVE_WINDOW) or words[22],
                unacked=words[4], retransmitted=words[23],
                sent_bytes=_long(info, _SENT_BYTES), retransmitted_bytes=_long(info, _SENT_BYTES + 8),
                waiting=waiting,
            )  # fmt: skip
        at += max(4, (length + 3) & ~3)


def _word(info: bytes, at: int) -> int | None:
    return int(struct.unpack_from("=I", info, at)[0]) if len(info) >= at + 4 else None


def _long(info: bytes, at: int) -> int | None:
    return int(struct.unpack_from("=Q", info, at)[0]) if len(info) >= at + 8 else None


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
