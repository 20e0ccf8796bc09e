"""MAC addresses of IPv6 neighbours, from the kernel (rtnetlink)."""

import socket
import struct
from ipaddress import IPv6Address
from typing import Final

_NETLINK_ROUTE: Final = 0
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30  # linux/rtnetlink.h
_NLMSG_DONE, _NLMSG_ERROR = 3, 2
_REQUEST_DUMP: Final = 0x1 | 0x300
_NDA_DST, _NDA_LLADDR = 1, 2  # linux/neighbour.h
_HEADER: Final = struct.Struct("=IHHII")
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
_ATTRIBUTE: Final = struct.Struct("=HH")
_REPLY: Final = 64 * 1024
_PATIENCE_S: Final = 0.5


def mac_of(address: str) -> bytes | None:
    """Return the MAC address of a neighbour (`fe80::1%eth0`, or without interface), None if there is none:
    the loopback interface, a peer behind a router, no permission."""
    text, _, interface = address.partition("%")
    try:
        wanted = IPv6Address(text).packed
        index = socket.if_nametoindex(interface) if interface else 0
        table = _table()
    except (OSError, ValueError):
        return None
    return next((mac for where, ip, mac in table if ip == wanted and index in (0, where)), None)


def _table() -> list[tuple[int, bytes, bytes]]:
    """Return (interface index, IPv6 address, MAC) of every known neighbour."""
    found: list[tuple[int, bytes, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as netlink:
        netlink.settimeout(_PATIENCE_S)
        body = _NEIGHBOUR.pack(socket.AF_INET6, 0, 0, 0, 0)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETNEIGH, _REQUEST_DUMP, 1, 0) + body)
        while True:
            reply = netlink.recv(_REPLY)
            for kind, payload in _messages(reply):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return found
                if kind == _RTM_NEWNEIGH:
                    found += _neighbour(payload)


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    messages = []
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            break
        messages.append((kind, data[_HEADER.size : length]))
        data = data[(length + 3) & ~3 :]
    return messages


def _neighbour(payload: bytes) -> list[tuple[int, bytes, bytes]]:
    _, index, _, _, _ = _NEIGHBOUR.unpack_from(payload)
    fields: dict[int, bytes] = {}
    rest = payload[_NEIGHBOUR.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            break
        fields[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[(length + 3) & ~3 :]
    ip, mac = fields.get(_NDA_DST, b""), fields.get(_NDA_LLADDR, b"")
    return [(index, ip, mac)] if len(mac) == 6 and any(mac) else []  # the loopback interface has zeros
