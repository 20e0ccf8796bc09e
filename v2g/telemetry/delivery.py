"""Delivery of records from a gateway to the back end, by MQTT or HTTPS (docs/reference/telemetry-delivery.md).

A gateway sends deliveries: JSON arrays of records and notices. The back end answers with marks: the progress of
each boot. A gateway deletes what a mark covers, and nothing else.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import CodecError
from v2g.telemetry.signals import MAX_NUMBER, Number, Pseudonym

MAX_BATCH: Final = 1000
"""Maximum number of records and notices in one delivery."""

MAX_DELIVERY_BYTES: Final = 256_000
"""Maximum size of a delivery: fits an MQTT packet of 256 KiB with topic and headers."""

TOPIC_PREFIX: Final = "v2g/telemetry"

Range = tuple[Number, Number]
"""First and last of consecutive numbers."""


BootId = Annotated[str, Meta(pattern=r"^([0-9a-f]{16})?\Z")]
"""Random id of a boot, 16 hexadecimal digits: starts with the same number differ in it. Older gateways have none."""


class DeliveryNotice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Element among records: says whose boot it is that has this number, and lists numbers that the gateway no longer
    has. One that lists some, or is beside no record, requests the mark of `boot`."""

    ev: Pseudonym
    boot: Number
    missing: Annotated[tuple[Range, ...], Meta(max_length=100)] = ()
    boot_id: BootId = ""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Progress of the records of `boot`: `contiguous` without gaps from 1, `highest` in any case, and the ranges that
    have arrived `beyond` the first gap.

    Numbers missing for good, or in quarantine, are not gaps. The mark covers only what was sent under `boot_id`. With
    `next_boot` nothing of it is stored: the boot has to take this number, or a higher one. `slots`: how many slots the
    nodes of the back end share, 0 if they do not; deliveries then belong at `slot_topic`.
    """

    boot: Number
    contiguous: Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
    highest: Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
    beyond: Annotated[tuple[Range, ...], Meta(max_length=256)] = ()
    boot_id: BootId = ""
    next_boot: Annotated[int, Meta(ge=0, le=MAX_NUMBER)] = 0
    slots: Annotated[int, Meta(ge=0, le=65536)] = 0

    def covers(self, seq: int) -> bool:
        """Return whether a number has arrived."""
        return seq <= self.contiguous or any(first <= seq <= last for first, last in self.beyond)


class DeliveryStatus(msgspec.Struct, frozen=True):
    """Whether a gateway is connected, and its boot; retained by the broker."""

    online: bool
    boot: Number


_encoder = msgspec.json.Encoder()
_marks = typed_json.decoder(tuple[Mark, ...])
_notice = typed_json.decoder(DeliveryNotice)


def encode_notice(notice: DeliveryNotice) -> bytes:
    """Return a notice as an element of a delivery."""
    return _encoder.encode(notice)


def decode_notice(data: bytes) -> DeliveryNotice:
    """Return the notice in `data`. Raises CodecError."""
    try:
        notice = _notice.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"telemetry notice: {error}") from None
    if any(first > last for first, last in notice.missing):
        raise CodecError("notice: a range ends before it begins")
    return notice


def encode_delivery(elements: Iterable[bytes]) -> bytes:
    """Return encoded records and notices as one delivery."""
    return b"[" + b",".join(elements) + b"]"


def encode_status(status: DeliveryStatus) -> bytes:
    """Return a status encoded for readers."""
    return _encoder.encode(status)


def encode_marks(marks: Iterable[Mark]) -> bytes:
    """Return marks encoded for a vehicle."""
    return _encoder.encode(tuple(marks))


def decode_marks(data: bytes) -> tuple[Mark, ...]:
    """Return the marks in `data`. Raises CodecError."""
    try:
        return _marks.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"telemetry marks: {error}") from None


def records_topic(prefix: str, ev: str) -> str:
    """Return the topic of a vehicle's deliveries; `+` stands for every vehicle."""
    return f"{prefix}/vehicle/{ev}/records"


def slot_of(ev: str, slots: int) -> int:
    """Return the slot of a vehicle, below `slots`: the first 8 octets of BLAKE2b of its pseudonym, modulo `slots`."""
    return int.from_bytes(blake2b(ev.encode(), digest_size=8).digest(), "big") % slots


def slot_topic(prefix: str, slot: int, ev: str) -> str:
    """Return the topic of a vehicle's deliveries to the node that has its slot; `+` stands for every vehicle."""
    return f"{prefix}/slot/{slot}/vehicle/{ev}/records"


def marks_topic(prefix: str, ev: str) -> str:
    """Return the topic of a vehicle's marks."""
    return f"{prefix}/vehicle/{ev}/marks"


def status_topic(prefix: str, ev: str) -> str:
    """Return the topic of a gateway's status."""
    return f"{prefix}/vehicle/{ev}/status"


def stream_topic(prefix: str) -> str:
    """Return the topic where the back end publishes every stored record, one in a message (R81)."""
    return f"{prefix}/stream"
