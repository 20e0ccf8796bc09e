"""Invalid bytes, by name: each is derived from a valid request, and sent in pieces."""

from collections.abc import Callable, Mapping
from typing import Final

from v2g.iso15118.engine.v2gtp import HEADER_SIZE, VERSION

Pieces = tuple[bytes, ...]
Form = Callable[[bytes], Pieces]

MOST_S: Final = 0.2
"""Total time of a request in pieces, s: a charger in its loop does not wait long."""


def _typed(frame: bytes, payload_type: int) -> bytes:
    return frame[:2] + payload_type.to_bytes(2, "big") + frame[4:]


def _framed(frame: bytes, payload: bytes) -> bytes:
    return frame[:4] + len(payload).to_bytes(4, "big") + payload


def _claims(frame: bytes, length: int) -> bytes:
    return frame[:4] + length.to_bytes(4, "big") + frame[HEADER_SIZE:]


FORMS: Final[Mapping[str, Form]] = {
    "wrong version": lambda frame: (b"\x02\xfd" + frame[2:],),
    "wrong inverse version": lambda frame: (VERSION[:1] + b"\x00" + frame[2:],),
    "reserved payload type": lambda frame: (_typed(frame, 0x8007),),
    "payload type of SDP": lambda frame: (_typed(frame, 0x9000),),
    "payload type of another schema": lambda frame: (_typed(frame, 0x8005 if frame[3] != 5 else 0x8006),),
    "payload of 4 GiB announced": lambda frame: (_claims(frame, 0xFFFF_FFFF),),
    "length too small": lambda frame: (_claims(frame, len(frame) - HEADER_SIZE - 2),),
    "no payload": lambda frame: (_framed(frame, b""),),
    "EXI cut off": lambda frame: (_framed(frame, frame[HEADER_SIZE : HEADER_SIZE + 3]),),
    "EXI of no message": lambda frame: (_framed(frame, b"\x80" + b"\xff" * 16),),
    "no EXI header": lambda frame: (_framed(frame, b"\x00" + frame[HEADER_SIZE + 1 :]),),
    "the same request twice": lambda frame: (frame + frame,),
    "manufacturer's frame before": lambda frame: (_typed(_framed(frame, b"?"), 0xBEEF) + frame,),
    "byte by byte": lambda frame: tuple(frame[at : at + 1] for at in range(len(frame))),
    "cut within the header": lambda frame: (frame[:5], frame[5:]),
}
"""Name -> modification of a V2GTP frame."""

HEADERS: Final[Mapping[str, Form]] = {
    "length 0": lambda frame: (_framed(frame, b""),),
    "payload type 7001": lambda frame: (_typed(frame, 0x7001),),
    "version FF": lambda frame: (b"\xff" + frame[1:],),
    "inverse version FF": lambda frame: (frame[:1] + b"\xff" + frame[2:],),
}
"""The faults of V2GTP headers in ISO 15118-4, by name."""
