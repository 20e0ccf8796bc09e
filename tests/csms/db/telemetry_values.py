"""What several tests of telemetry values use."""

from collections.abc import Iterable

from csms.db.store import Store
from csms.telemetry import store as records
from csms.telemetry.rules import read_delivery
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.signals import Record, encode_record


def made(seq: int, at_ms: int, values: dict[str, float], *, ev: str = "EV-1", boot: int = 1) -> Record:
    return Record(ev, boot, seq, at_ms, "city", seq == 1, dict(values))


def put(store: Store, found: Iterable[Record], *, at_ms: int = 7, sinks: tuple[str, ...] = ("aggregates",)) -> None:
    body = encode_delivery(encode_record(each) for each in found)
    store.do(records.store, [records.Arrival(read_delivery(body), at_ms, sinks)])
