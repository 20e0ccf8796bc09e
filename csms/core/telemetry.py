"""Which telemetry records are new, known, or contradict what was stored under their key (R98, R99)."""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from v2g.errors import CodecError
from v2g.telemetry.signals import Record, decode_record, encode_record

MAX_BATCH = 1000
"""Records in one batch at most."""


Key = tuple[str, int, int]
"""(ev, boot, seq): what a record is for ever."""


class Prepared(msgspec.Struct, frozen=True):
    """A record with its canonical bytes and their SHA-256."""

    record: Record
    body: bytes
    digest: bytes

    @property
    def key(self) -> Key:
        """What identifies it."""
        return self.record.ev, self.record.boot, self.record.seq


class Sorted(msgspec.Struct, frozen=True):
    """A batch, judged: `fresh` in the order of arrival, how many were `duplicates`, and the keys that `conflict`."""

    fresh: tuple[Prepared, ...]
    duplicates: int
    conflicts: tuple[Key, ...]


def prepare(record: Record) -> Prepared:
    """Return the record with its canonical bytes, so that equal contents are equal digests however they were sent."""
    body = encode_record(record)
    return Prepared(record, body, hashlib.sha256(body).digest())


def read_batch(body: bytes) -> tuple[list[Record], list[tuple[int, str]]]:
    """Return the records of a JSON array, and (index, reason) of those that are none.

    A single bad record must not keep a gateway from delivering the others. Raises CodecError when `body` is no array
    of at most 1000 elements.
    """
    try:
        elements = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"telemetry batch: {error}", hint="send a JSON array of records") from None
    if len(elements) > MAX_BATCH:
        raise CodecError(f"{len(elements)} records at once", hint=f"send at most {MAX_BATCH} per request")
    records: list[Record] = []
    refused: list[tuple[int, str]] = []
    for index, element in enumerate(elements):
        try:
            record = decode_record(bytes(element))
        except CodecError as error:
            refused.append((index, str(error)[:200]))
        else:
            records.append(record)
    return records, refused


def sort_out(batch: Sequence[Prepared], stored: Mapping[Key, bytes]) -> Sorted:
    """Judge a batch. `stored`: digests under the batch's keys. The first content under a key stands for ever."""
    known = dict(stored)
    fresh: list[Prepared] = []
    conflicts: list[Key] = []
    duplicates = 0
    for item in batch:
        digest = known.get(item.key)
        if digest is None:
            known[item.key] = item.digest
            fresh.append(item)
        elif digest == item.digest:
            duplicates += 1
        else:
            conflicts.append(item.key)
    return Sorted(tuple(fresh), duplicates, tuple(conflicts))


class HighWater(msgspec.Struct, frozen=True):
    """How far a gateway's records of one boot have arrived: the `highest` seq, and `contiguous` without gaps from 1.

    `stored` and `duplicates` count the records of the batch that is being answered; 0 where none is.
    """

    ev: str
    boot: int
    highest: int
    contiguous: int
    stored: int = 0
    duplicates: int = 0


def advance(contiguous: int, beyond: Sequence[int]) -> int:
    """Return the new gap-free mark, given the stored numbers above the old one in rising order."""
    for seq in beyond:
        if seq != contiguous + 1:
            break
        contiguous = seq
    return contiguous
