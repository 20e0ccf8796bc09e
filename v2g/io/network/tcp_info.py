"""TCP connections as the kernel sees them (TCP_INFO), over netlink; needs no privilege (R90)."""

import socket
import struct
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
