"""V2GTP, the 8-byte header of ISO 15118 messages on a connection (ISO 15118-20, clause 7.8.3).

Header: version 0x01, its inverse 0xFE, payload type (u16, big endian), payload length (u32, big endian).
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import msgspec

from v2g.errors import FrameError

HEADER_SIZE: Final = 8
VERSION: Final = b"\x01\xfe"

DEFAULT_MAX_PAYLOAD: Final = 128 * 1024
"""Bytes. Far above the largest message known (CertificateInstallationRes with several contract chains, about
25 kB), so that only a broken or hostile peer exceeds it; two peers cost at most twice this much memory."""


class PayloadType(IntEnum):
    """Payload types of ISO 15118-20, Amendment 1, and our manufacturer-specific ones (0xA000-0xFFFF)."""

    SAP = 0x8001
    COMMON = 0x8002
    AC = 0x8003
    DC = 0x8004
    ACDP = 0x8005
    WPT = 0x8006
    AC_DER_IEC = 0x8010
    AC_DER_SAE = 0x8011
    SCHEDULE_RENEGOTIATION = 0x8101
    METERING_CONFIRMATION = 0x8102
    ACDP_SYSTEM_STATUS = 0x8103
    PARKING_STATUS = 0x8104
    SDP_REQ = 0x9000
    SDP_RES = 0x9001
    SDP_WIRELESS_REQ = 0x9002
    SDP_WIRELESS_RES = 0x9003
    SIGNED_DISCHARGE = 0xA000


_OF_MESSAGES: Final = frozenset(each for each in PayloadType if each < PayloadType.SDP_REQ)


class Frame(msgspec.Struct, frozen=True):
    """One V2GTP frame. `payload_type` is 0..0xFFFF and may be unknown to `PayloadType`."""

    payload_type: int
    payload: bytes


def frame(payload_type: int, payload: bytes) -> bytes:
    """Return `payload` with its header. Raises FrameError when the type does not fit 16 or the length 32 bits."""
    if not 0 <= payload_type <= 0xFFFF or len(payload) > 0xFFFF_FFFF:
        raise FrameError(f"V2GTP payload type {payload_type:#x} with {len(payload)} bytes does not fit the header")
    return VERSION + payload_type.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload


def read_header(header: bytes | bytearray, *, max_payload: int) -> tuple[int, int]:
    """Return `(payload_type, payload_length)` of the first 8 bytes of `header`.

    Raises FrameError for another version, a bad inverse, or a length above `max_payload` bytes.
    """
    if header[:2] != VERSION:
        raise FrameError(
            f"not a V2GTP header: starts with {bytes(header[:2]).hex()}, not 01fe",
            hint="the peer uses another protocol or version, or lost its position in the stream",
        )
    length = int.from_bytes(header[4:8], "big")
    if length > max_payload:
        raise FrameError(f"V2GTP payload of {length} bytes announced, at most {max_payload} accepted")
    return int.from_bytes(header[2:4], "big"), length


class Framer:
    """Splits a byte stream into frames, however the network fragmented it.

    Holds at most one incomplete frame (8 + `max_payload` bytes) besides its input. A stream that lost its position
    cannot be resynchronised: after the first FrameError every further `feed` raises it, too.

    With `skips`, a wrong version before the type of a message and an acceptable length is no such loss: the frame comes
    without its payload, as another version's cannot be read.
    """

    def __init__(self, max_payload: int = DEFAULT_MAX_PAYLOAD, *, skips: bool = False) -> None:
        self._max_payload, self._skips = max_payload, skips
        self._buffer = bytearray()
        self._error: FrameError | None = None

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame; not 0 at the end of the stream means it was truncated."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Feed `data` (any length) and yield the complete frames, in order.

        The bytes are consumed at the call; frames not drawn from the iterator come with the next one. Raises
        FrameError, when the iterator reaches it, after the complete frames before it have been yielded.
        """
        if self._error is None:
            self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        if self._error is not None:
            raise self._error
        buffer = self._buffer
        while len(buffer) >= HEADER_SIZE:
            # whether a header is that of another version, and to be skipped
            foreign = self._skips and buffer[:2] != VERSION and int.from_bytes(buffer[2:4], "big") in _OF_MESSAGES
            try:
                header = VERSION + buffer[2:HEADER_SIZE] if foreign else buffer
                payload_type, length = read_header(header, max_payload=self._max_payload)
            except FrameError as error:
                self._error = error
                buffer.clear()
                raise
            end = HEADER_SIZE + length
            if len(buffer) < end:
                return
            payload = bytes(buffer[HEADER_SIZE:end])
            del buffer[:end]
            yield Frame(payload_type, b"" if foreign else payload)


def parse(data: bytes, *, max_payload: int = DEFAULT_MAX_PAYLOAD) -> Frame:
    """Return the one frame in `data` (a datagram). Raises FrameError unless it is exactly one."""
    if len(data) < HEADER_SIZE:
        raise FrameError(f"{len(data)} bytes are shorter than a V2GTP header")
    payload_type, length = read_header(data, max_payload=max_payload)
    if len(data) != HEADER_SIZE + length:
        raise FrameError(f"V2GTP header announces {length} bytes, {len(data) - HEADER_SIZE} follow")
    return Frame(payload_type, data[HEADER_SIZE:])
