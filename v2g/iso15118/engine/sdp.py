"""SDP, the SECC discovery protocol: the vehicle requests the charger's address and port (ISO 15118-20, 7.10.1).

One UDP datagram each way, framed by V2GTP. A -20 session needs TLS over TCP, which both sides request and offer;
other values are decoded, too, so that a charger without TLS can be reported.
"""

from enum import IntEnum
from ipaddress import IPv6Address
from typing import Final

import msgspec

from v2g.errors import FrameError
from v2g.iso15118.engine import v2gtp
from v2g.rates import Buckets

PORT: Final = 15118
"""UDP port that a SECC listens on."""

TCP_PORTS: Final = range(49152, 65536)
"""TCP ports for sessions; some vehicles accept no others."""

MULTICAST: Final = IPv6Address("ff02::1")
"""All nodes of the link; the vehicle sends its request there."""

RETRY_S: Final = 0.25
"""Seconds that the vehicle waits for an answer before it repeats the request."""

MAX_TRIES: Final = 50
"""Maximum number of the vehicle's requests."""

SETUP_S: Final = 20.0
"""Seconds of the communication set-up timer, the limit for all requests."""


class Security(IntEnum):
    """Security byte. A -20 session is TLS only (V2G20-1235, V2G20-1238)."""

    TLS = 0x00
    NONE = 0x10


class Transport(IntEnum):
    """Transport byte. UDP is reserved and never used."""

    TCP = 0x00
    UDP = 0x10


class SdpRequest(msgspec.Struct, frozen=True):
    """A vehicle's request."""

    security: Security = Security.TLS
    transport: Transport = Transport.TCP


class SdpResponse(msgspec.Struct, frozen=True):
    """The charger's address: `address` without scope, `port` 1..65535, and security."""

    address: IPv6Address
    port: int
    security: Security = Security.TLS
    transport: Transport = Transport.TCP


def encode_request(request: SdpRequest) -> bytes:
    """Return the datagram of `request` (10 bytes)."""
    return v2gtp.frame(v2gtp.PayloadType.SDP_REQ, bytes((request.security, request.transport)))


def encode_response(response: SdpResponse) -> bytes:
    """Return the datagram of `response` (28 bytes). Raises FrameError for a port outside 1..65535."""
    if not 1 <= response.port <= 0xFFFF:
        raise FrameError(f"SDP response with port {response.port}")
    body = response.address.packed + response.port.to_bytes(2, "big") + bytes((response.security, response.transport))
    return v2gtp.frame(v2gtp.PayloadType.SDP_RES, body)


def decode_request(datagram: bytes) -> SdpRequest:
    """Return the request in `datagram`. Raises FrameError for anything else."""
    body = body_of(datagram, v2gtp.PayloadType.SDP_REQ, 2)
    return SdpRequest(*_security_transport(body))


def decode_response(datagram: bytes) -> SdpResponse:
    """Return the response in `datagram`. Raises FrameError for anything else, also for port 0."""
    body = body_of(datagram, v2gtp.PayloadType.SDP_RES, 20)
    port = int.from_bytes(body[16:18], "big")
    if port == 0:
        raise FrameError("SDP response with port 0")
    security, transport = _security_transport(body[18:])
    return SdpResponse(IPv6Address(body[:16]), port, security, transport)


def body_of(datagram: bytes, payload_type: v2gtp.PayloadType, size: int) -> bytes:
    """Return the payload of a datagram, which has this type and size. Raises FrameError for anything else."""
    frame = v2gtp.parse(datagram, max_payload=size)
    if frame.payload_type != payload_type or len(frame.payload) != size:
        raise FrameError(
            f"payload type {frame.payload_type:#06x} with {len(frame.payload)} bytes, "
            f"{payload_type:#06x} with {size} expected"
        )
    return frame.payload


def _security_transport(two: bytes) -> tuple[Security, Transport]:
    try:
        return Security(two[0]), Transport(two[1])
    except ValueError as error:
        raise FrameError(f"SDP: {error}") from None


# -- Rate limit of SDP requests: answers every conforming vehicle, and little of a flood. Pure.

SOURCES: Final = 256
"""Limit of tracked senders; the one idle for longest is dropped for a new one."""


class SdpLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sustained requests per second, and burst. A vehicle sends 4 a second, 50 at most."""

    source_rate: float = 8.0
    source_burst: float = 16.0
    total_rate: float = 100.0
    total_burst: float = 200.0


class SdpLimiter:
    """Decides for each request whether it is answered, with bounded memory."""

    def __init__(self, limits: SdpLimits | None = None) -> None:
        limits = limits or SdpLimits()
        self._sources = Buckets(per_s=limits.source_rate, burst=limits.source_burst, most=SOURCES)
        self._total = Buckets(per_s=limits.total_rate, burst=limits.total_burst)

    def __len__(self) -> int:
        return len(self._sources)

    def allow(self, source: str, now: float) -> bool:
        """Return whether a request of `source` (an address without port) at `now` (s, monotonic) is answered."""
        # A sender beyond its own limit is rejected before it uses the common one.
        return not self._sources.take(source, now) and not self._total.take("", now)
