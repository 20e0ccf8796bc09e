"""The canonical JSON form of journal, settlement and manifest.

UTF-8, keys sorted at every level, no white space, integers only. Everything hashed or signed has this form, and a
reader requires its input to be exactly the canonical form of its content, so that no byte can be changed unnoticed.
"""

import hashlib
from typing import TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import VerificationError

T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="sorted")


def canonical(value: object) -> bytes:
    """Return the canonical JSON of a Struct, dict or list without floating-point numbers."""
    return _encoder.encode(value)


def parse_canonical(data: bytes, type_: type[T], *, where: str) -> T:
    """Return `data` as a `type_`. Raises VerificationError unless it is canonical JSON of exactly that type."""
    try:
        value = typed_json.decode(data, type_)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise VerificationError(str(error), where=where) from None
    if canonical(value) != data:
        raise VerificationError("not in canonical form", where=where, hint="it was edited after it was written")
    return value


def sha256_hex(data: bytes) -> str:
    """Return SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
