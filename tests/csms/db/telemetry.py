"""What several tests of telemetry use."""

from sqlalchemy import Connection, select

from csms.db.store import Store
from csms.telemetry import store as rows
from csms.telemetry.rules import DeliveryOutcome, read_delivery
from csms.telemetry.tables import telemetry
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.signals import Record, encode_record


def record(seq: int, soc: float = 50.0, ev: str = "EV-1", boot: int = 1) -> bytes:
    return encode_record(Record(ev, boot, seq, 1000 + seq, "charging", False, {"battery.soc": soc}))  # noqa: FBT003


def take(store: Store, *elements: bytes, at_ms: int = 7) -> DeliveryOutcome:
    return store.do(rows.store, [rows.Arrival(read_delivery(encode_delivery(elements)), at_ms)])[0]


def kept(connection: Connection) -> list[tuple[str, int, int]]:
    key = telemetry.c.ev, telemetry.c.boot, telemetry.c.seq
    return [tuple(row) for row in connection.execute(select(*key).order_by(*key))]
