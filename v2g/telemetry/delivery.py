"""How records travel from a gateway to the back end, over MQTT and HTTPS alike (docs/reference/telemetry.md).

A gateway sends deliveries: JSON arrays of records and notices. The back end answers with marks: how far the records of
a boot have arrived. A gateway forgets what a mark covers, and nothing else.
"""

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import CodecError
from v2g.telemetry.signals import MAX_NUMBER, Number, Pseudonym

MAX_BATCH: Final = 1000
"""Records and notices in one delivery at most."""

MAX_DELIVERY_BYTES: Final = 256_000
"""Size of a delivery at most: an MQTT packet of 256 KiB holds it with topic and headers."""

TOPIC_PREFIX: Final = "v2g/telemetry"

Range = tuple[Number, Number]
"""First and last of some consecutive numbers."""


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stands among records: asks for the mark of `boot`, and says which numbers the gateway does not have any more."""

    ev: Pseudonym
    boot: Number
    missing: Annotated[tuple[Range, ...], Meta(max_length=100)] = ()


class Mark(msgspec.Struct, frozen=True):
    """How far the records of `boot` have arrived: `contiguous` without gaps from 1, `highest` in any case.

    What is missing for good, or in quarantine, makes no gap.
    """

    boot: Number
    contiguous: Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
    highest: Annotated[int, Meta(ge=0, le=MAX_NUMBER)]


_encoder = msgspec.json.Encoder()
_marks = typed_json.decoder(tuple[Mark, ...])


def encode_notice(notice: Notice) -> bytes:
    """Return a notice as an element of a delivery."""
    return _encoder.encode(notice)


def encode_delivery(elements: Iterable[bytes]) -> bytes:
    """Return encoded records and notices as one delivery."""
    return b"[" + b",".join(elements) + b"]"


def encode_marks(marks: Iterable[Mark]) -> bytes:
    """Return marks as they are published to a vehicle."""
    return _encoder.encode(tuple(marks))


def decode_marks(data: bytes) -> tuple[Mark, ...]:
    """Return the marks in `data`. Raises CodecError."""
    try:
        return _marks.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"telemetry marks: {error}") from None


def records_topic(prefix: str, ev: str) -> str:
    """Return where deliveries of a vehicle are published; `+` stands for every vehicle."""
    return f"{prefix}/vehicle/{ev}/records"


def marks_topic(prefix: str, ev: str) -> str:
    """Return where marks for a vehicle are published."""
    return f"{prefix}/vehicle/{ev}/marks"


def stream_topic(prefix: str) -> str:
    """Return where the back end publishes every record that it has stored, one in a message (R81)."""
    return f"{prefix}/stream"
