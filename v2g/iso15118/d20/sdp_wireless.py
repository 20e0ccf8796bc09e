"""SDP of wireless charging and automatic connection devices: payload types 0x9002 and 0x9003 (ISO 15118-20).

The rules for answers are in `v2g.iso15118.d20.association`. Sources disagree on the length of EVSEID (37 or 36
characters); 37 is used, as in the documented totals of 62 and 59 bytes.
"""

from enum import IntEnum, IntFlag
from ipaddress import IPv6Address
from typing import Final

import msgspec

from v2g.errors import FrameError
from v2g.iso15118.engine import v2gtp
from v2g.iso15118.engine.sdp import Security, Transport, body_of

NO_EVID: Final = "ZZ00000"
"""EVID of a vehicle that has none."""

EVID_LENGTH: Final = 20
EVSEID_LENGTH: Final = 37
_REQUEST, _RESPONSE = 62, 59


class Positioning(IntFlag):
    """The vehicle's methods of pairing and positioning (P2PS, PPD)."""

    PPD_INFRASTRUCTURE = 0x0100
    PPD_VEHICLE = 0x0200
    WPT_LF_INFRASTRUCTURE = 0x0400
    WPT_LF_VEHICLE = 0x0800
    WPT_CAMERA_VEHICLE = 0x1000
    ACD_U_INFRARED = 0x2000
    ACD_DIRECTED_WLAN = 0x4000


class Diagnosis(IntEnum):
    """Progress of pairing."""

    ONGOING = 0x00
    FINISHED = 0x01
    FINISHED_WITHOUT_EVSEID = 0x02
    ERROR = 0x10


class SdpWirelessRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's request. `coupling` 0x00-0x05 ACDP, 0x10 WPT, 0x20/0x21 ACD-U, 0x30 ACD-S, 0x40 manual,
    0xFF none; `evid` at most 20, `evseid` at most 37 characters."""

    security: Security = Security.TLS
    transport: Transport = Transport.TCP
    positioning: int = 0
    coupling: int = 0xFF
    evid: str = NO_EVID
    evseid: str = ""


class SdpWirelessResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's address, and the progress of pairing."""

    address: IPv6Address
    port: int
    security: Security = Security.TLS
    transport: Transport = Transport.TCP
    diagnosis: Diagnosis = Diagnosis.ONGOING
    coupling: int = 0xFF
    evseid: str = ""


def encode_request(request: SdpWirelessRequest) -> bytes:
    """Return the datagram of `request` (70 bytes). Raises FrameError for a value that does not fit its field."""
    body = bytes((request.security, request.transport)) + _number(request.positioning, 2) + _number(request.coupling, 1)
    body += _text(request.evid, EVID_LENGTH) + _text(request.evseid, EVSEID_LENGTH)
    return v2gtp.frame(v2gtp.PayloadType.SDP_WIRELESS_REQ, body)


def encode_response(response: SdpWirelessResponse) -> bytes:
    """Return the datagram of `response` (67 bytes). Raises FrameError for a value that does not fit its field."""
    if response.port == 0:
        raise FrameError("SDP response with port 0")
    body = response.address.packed + _number(response.port, 2)
    body += bytes((response.security, response.transport, response.diagnosis)) + _number(response.coupling, 1)
    return v2gtp.frame(v2gtp.PayloadType.SDP_WIRELESS_RES, body + _text(response.evseid, EVSEID_LENGTH))


def decode_request(datagram: bytes) -> SdpWirelessRequest:
    """Return the request in `datagram`. Raises FrameError for anything else."""
    body = body_of(datagram, v2gtp.PayloadType.SDP_WIRELESS_REQ, _REQUEST)
    try:
        return SdpWirelessRequest(
            security=Security(body[0]),
            transport=Transport(body[1]),
            positioning=int.from_bytes(body[2:4], "big"),
            coupling=body[4],
            evid=_read(body[5 : 5 + EVID_LENGTH]),
            evseid=_read(body[5 + EVID_LENGTH :]),
        )
    except ValueError as error:
        raise FrameError(f"wireless SDP: {error}") from None


def decode_response(datagram: bytes) -> SdpWirelessResponse:
    """Return the response in `datagram`. Raises FrameError for anything else, also for port 0."""
    body = body_of(datagram, v2gtp.PayloadType.SDP_WIRELESS_RES, _RESPONSE)
    port = int.from_bytes(body[16:18], "big")
    if port == 0:
        raise FrameError("SDP response with port 0")
    try:
        return SdpWirelessResponse(
            address=IPv6Address(body[:16]),
            port=port,
            security=Security(body[18]),
            transport=Transport(body[19]),
            diagnosis=Diagnosis(body[20]),
            coupling=body[21],
            evseid=_read(body[22:]),
        )
    except ValueError as error:
        raise FrameError(f"wireless SDP: {error}") from None


def _number(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise FrameError(f"wireless SDP: {value} does not fit {size} bytes") from None


def _text(value: str, size: int) -> bytes:
    data = value.encode("ascii", "replace")
    if len(data) > size or not value.isascii() or "\0" in value:
        raise FrameError(f"wireless SDP: {value!r} is not a text of at most {size} ASCII characters")
    return data.ljust(size, b"\0")


def _read(data: bytes) -> str:
    """Return the characters before the padding. Raises ValueError unless they are printable ASCII."""
    text = data.rstrip(b"\0 ").decode("ascii")
    if not text.isprintable():
        raise ValueError(f"{text!r} is not printable")
    return text
