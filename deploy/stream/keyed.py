"""What one vehicle's stream does, without Flink: wait for the watermark, then let the back end's own function run.

Records may come out of order and repeated. Those up to the watermark are taken in the order of (boot, seq), and those
that are known change nothing: so what is found is the same as behind the back end's feeder.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from csms.batteries.rules import Battery, advance
from csms.telemetry.rules import StoredRecord
from v2g import typed_json
from v2g.battery.detectors import DetectorSettings

STEP_MS: Final = 1000
"""Records wait for the next multiple of it: a timer for each would cost more than the detectors."""


class _Document(msgspec.Struct, frozen=True):
    ev: str
    boot: int
    seq: int
    utc_ms: int
    context: str
    signals: Mapping[str, float | int | str] = {}


_document = typed_json.decoder(_Document).decode
_report: Final = msgspec.json.Encoder(order="deterministic").encode


class Stream(msgspec.Struct, frozen=True):
    """A vehicle's battery, and its records that wait."""

    battery: Battery = Battery()
    waiting: tuple[StoredRecord, ...] = ()


def record_of(document: bytes) -> StoredRecord:
    """Return a record as the back end's Kafka sink sends it. Raises DecodeError."""
    read = _document(document)
    values = {name: float(value) for name, value in read.signals.items() if not isinstance(value, str)}
    return StoredRecord(read.ev, read.boot, read.seq, read.utc_ms, read.context, values, document)


def is_record(document: bytes) -> bool:
    """Return whether a line can be read; anybody who may write to the topic can write another one."""
    try:
        record_of(document)
    except (msgspec.DecodeError, OverflowError):
        return False
    return True


def due_ms(at_ms: int) -> int:
    """Return when (event time) a record is taken."""
    return (at_ms // STEP_MS + 1) * STEP_MS


def offered(stream: Stream, record: StoredRecord) -> Stream:
    """Let a record wait."""
    return Stream(stream.battery, (*stream.waiting, record))


def passed(settings: DetectorSettings, stream: Stream, watermark_ms: int) -> tuple[Stream, Sequence[bytes]]:
    """Take the records that the watermark has passed; return what was found as JSON."""
    due = sorted((each for each in stream.waiting if due_ms(each.at_ms) <= watermark_ms), key=_place)
    if not due:
        return stream, ()
    later = tuple(each for each in stream.waiting if due_ms(each.at_ms) > watermark_ms)
    done = advance(settings, stream.battery, due)
    return Stream(done.battery, later), [_report(each) for each in done.reports]


def _place(record: StoredRecord) -> tuple[int, int]:
    return record.boot, record.seq
