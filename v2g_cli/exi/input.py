"""Input of `v2g exi`: an argument, a file or standard input; bytes in any notation, or a message as text."""

import base64
import binascii
import re
import sys
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import ConfigError, ExiDecodeError, FrameError
from v2g.iso15118.engine.v2gtp import DEFAULT_MAX_PAYLOAD, HEADER_SIZE, VERSION, read_header

_HEX: Final = re.compile(r"(0[xX])?([0-9A-Fa-f]{2}[\s:,]*)+")
_SEPARATORS: Final = re.compile(r"0[xX]|[\s:,]")
_EXI_HEADER: Final = 0x80


class Notation(Enum):
    """Notations of bytes."""

    auto = "auto"
    hex = "hex"
    base64 = "base64"
    binary = "binary"


class Stream(msgspec.Struct, frozen=True):
    """An EXI stream, and the V2GTP payload type if it came with that header."""

    octets: bytes
    payload_type: int | None = None


def read_stream(given: str | None, notation: Notation) -> Stream:
    """Return the octets of an argument (hexadecimal, base64 or a file's name), or of standard input."""
    path = _file(given)
    if path is not None or given in (None, "-"):
        return stream_of(_content(path), notation)
    stream = stream_of(str(given).encode("utf-8", "replace"), notation)
    if notation is Notation.auto and stream.octets[0] != _EXI_HEADER:
        raise ConfigError(f"{given}: no such file, and not an EXI stream in hexadecimal or base64")
    return stream


def stream_of(content: bytes, notation: Notation = Notation.auto) -> Stream:
    """Return the bytes of an input, without a leading V2GTP header."""
    octets = _octets(content, notation)
    if not octets:
        raise ExiDecodeError("nothing to read", bit_position=0)
    if octets[:2] != VERSION:
        return Stream(octets)
    if len(octets) < HEADER_SIZE:
        raise FrameError("the V2GTP header is truncated")
    kind, size = read_header(octets, max_payload=DEFAULT_MAX_PAYLOAD)
    if len(octets) != HEADER_SIZE + size:
        raise FrameError(f"V2GTP header announces {size} octets, {len(octets) - HEADER_SIZE} follow")
    return Stream(octets[HEADER_SIZE:], kind)


def read_text(given: str | None) -> str:
    """Return a message as text: from a file, standard input, or the argument itself."""
    path = _file(given)
    if path is None and given not in (None, "-"):
        if not re.match(r"\s*(<|\{|from\s|\w+\()", str(given)):
            raise ConfigError(f"{given}: no such file, and not XML, JSON or Python")
        return str(given)
    try:
        return _content(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path or 'standard input'}: not UTF-8 at octet {error.start}") from None


def _file(given: str | None) -> Path | None:
    try:
        return Path(given) if given and given != "-" and Path(given).is_file() else None
    except (OSError, ValueError):  # too long for a name, or a null character
        return None


def _content(path: Path | None) -> bytes:
    if path is None:
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _octets(content: bytes, notation: Notation) -> bytes:
    """Decode the notation. EXI begins with a byte that no text begins with, so it is recognised."""
    if notation is Notation.binary or (
        notation is Notation.auto and (content[:1] == bytes((_EXI_HEADER,)) or content[:2] == VERSION)
    ):
        return content
    text = content.decode("ascii", "replace").strip()
    if notation is Notation.hex or (notation is Notation.auto and _HEX.fullmatch(text)):
        try:
            return bytes.fromhex(_SEPARATORS.sub("", text))
        except ValueError:
            raise ConfigError(f"{text[:40]!r} is not hexadecimal") from None
    try:
        packed = re.sub(r"\s", "", text)
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (ValueError, binascii.Error):
        what = "base64" if notation is Notation.base64 else "no such file, and not hexadecimal or base64"
        raise ConfigError(f"{text[:40]!r} is {'not ' if what == 'base64' else ''}{what}") from None
