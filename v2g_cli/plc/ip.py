"""One-line descriptions of other frames: IPv6, UDP with SDP, TCP with V2GTP or TLS."""

import msgspec

from v2g.errors import FrameError

_TCP, _UDP, _ICMP = 6, 17, 58
_IPV6 = b"\x86\xdd"
_SDP_PORT = 15118
_TLS = {20: "change cipher spec", 21: "alert", 22: "handshake", 23: "encrypted data"}


class IpDescription(msgspec.Struct, frozen=True):
    """Content of a frame; addresses with ports where there are any."""

    source: str
    destination: str
    name: str
    fields: tuple[tuple[str, str], ...] = ()


def describe_ip(frame: bytes) -> IpDescription:
    """Return the description of an Ethernet frame of any other kind. Never raises."""
    source, destination = frame[6:12].hex(":"), frame[:6].hex(":")
    if frame[12:14] != _IPV6 or len(frame) < 54:
        return IpDescription(source, destination, f"EtherType {frame[12:14].hex()}", (("bytes", str(len(frame))),))
    from ipaddress import IPv6Address

    source, destination = str(IPv6Address(frame[22:38])), str(IPv6Address(frame[38:54]))
    length, protocol = int.from_bytes(frame[18:20], "big"), frame[20]
    payload = frame[54 : 54 + length]
    if protocol == _UDP and len(payload) >= 8:
        ports = _ports(payload)
        ends = f"[{source}]:{ports[0]}", f"[{destination}]:{ports[1]}"
        found = _sdp(payload[8:]) if _SDP_PORT in ports else None
        return IpDescription(*ends, *(found or ("UDP", (("bytes", str(len(payload) - 8)),))))
    if protocol == _TCP and len(payload) >= 20:
        return _tcp(source, destination, payload)
    name = {_ICMP: "ICMPv6"}.get(protocol, f"IPv6 protocol {protocol}")
    return IpDescription(source, destination, name, (("bytes", str(len(payload))),))


def _ports(payload: bytes) -> tuple[int, int]:
    return int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")


def _sdp(datagram: bytes) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    from v2g.iso15118.engine import sdp

    try:
        request = sdp.decode_request(datagram)
    except FrameError:
        try:
            answer = sdp.decode_response(datagram)
        except FrameError:
            return None
        where = (("address", str(answer.address)), ("port", str(answer.port)))
        return "SDP response", (*where, ("security", answer.security.name), ("transport", answer.transport.name))
    return "SDP request", (("security", request.security.name), ("transport", request.transport.name))


def _tcp(source: str, destination: str, payload: bytes) -> IpDescription:
    ports = _ports(payload)
    ends = f"[{source}]:{ports[0]}", f"[{destination}]:{ports[1]}"
    flags = "".join(letter for bit, letter in enumerate("FSRPA") if payload[13] >> bit & 1)
    data = payload[4 * (payload[12] >> 4) :]
    fields: tuple[tuple[str, str], ...] = (("flags", flags), ("bytes", str(len(data))))
    if len(data) > 5 and data[0] in _TLS and data[1] == 3:
        return IpDescription(*ends, "TLS", (("record", _TLS[data[0]]), *fields))
    if data[:2] == b"\x01\xfe" and len(data) >= 8:
        return IpDescription(*ends, "V2GTP", (("payload_type", f"0x{data[2:4].hex()}"), *fields))
    return IpDescription(*ends, "TCP", fields)
