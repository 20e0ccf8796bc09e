"""Framing of Ethernet on the serial port of a QCA7000: pure.

AA AA AA AA, length (u16, little endian), two reserved bytes, the frame without checksum, 55 55. Nothing is escaped
without protection: only the length delimits, so a receiver that lost its position searches for the next AA run.
"""

from typing import Final

from v2g.errors import FrameError

MIN_LENGTH: Final = 60
MAX_LENGTH: Final = 1518
"""Lengths (bytes) of the Ethernet frame inside; 1518 leaves room for a VLAN tag."""

_HEAD: Final = b"\xaa" * 4
_TAIL: Final = b"\x55\x55"
_HEAD_SIZE: Final = 8


def wrap(frame: bytes) -> bytes:
    """Return `frame` encoded for the port, padded to 60 bytes. Raises FrameError when it is longer than 1518."""
    if len(frame) > MAX_LENGTH:
        raise FrameError(f"an Ethernet frame of {len(frame)} bytes does not fit {MAX_LENGTH}")
    padded = frame.ljust(MIN_LENGTH, b"\0")
    return _HEAD + len(padded).to_bytes(2, "little") + b"\0\0" + padded + _TAIL


class Deframer:
    """Finds frames in the port's data. Holds at most one incomplete frame (1528 bytes) besides its input.

    Never raises: on a serial line, noise is not an error. `dropped` counts the bytes skipped.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Feed `data` and return the complete frames."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        at = 0
        while True:
            start = buffer.find(_HEAD, at)
            if start < 0:
                keep = self._trailing_head(at)
                self.dropped += len(buffer) - keep - at
                at = len(buffer) - keep
                break
            self.dropped += start - at
            at = start
            if len(buffer) < at + _HEAD_SIZE:
                break
            length = int.from_bytes(buffer[at + 4 : at + 6], "little")
            end = at + _HEAD_SIZE + length
            if MIN_LENGTH <= length <= MAX_LENGTH and len(buffer) < end + len(_TAIL):
                break
            if MIN_LENGTH <= length <= MAX_LENGTH and buffer[end : end + len(_TAIL)] == _TAIL:
                frames.append(bytes(buffer[at + _HEAD_SIZE : end]))
                at = end + len(_TAIL)
            else:
                at += 1  # a false header, or an additional AA before the real one
                self.dropped += 1
        del buffer[:at]
        return frames

    def _trailing_head(self, at: int) -> int:
        """Return how many AA end the buffer (0..3): they may begin the next header."""
        for count in (3, 2, 1):
            if len(self._buffer) - at >= count and self._buffer.endswith(_HEAD[:count]):
                return count
        return 0
