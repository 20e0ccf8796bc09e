"""What several tests of events use."""

import hashlib
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from csms.remote_control.store import data_transfers
from csms.transactions import store as transactions
from csms.transactions.events import EventArrival
from csms.transactions.rules import IMPORT_REGISTER, Event, Sample
from csms.transactions.tables import transaction_events, transaction_faults

TABLES = (transaction_events, transaction_faults)


def arrival(station_id: str, transaction_id: str, seq_no: int, kind: str = "Updated", wh: int = 0) -> EventArrival:
    document = msgspec.json.encode([station_id, transaction_id, seq_no, kind, wh])
    event = Event(
        station_id=station_id,
        transaction_id=transaction_id,
        seq_no=seq_no,
        kind=kind,  # type: ignore[arg-type]
        at_ms=1_000 * seq_no,
        trigger="MeterValuePeriodic",
        digest=hashlib.sha256(document).hexdigest(),
        samples=(Sample(at_ms=1_000 * seq_no, measurand=IMPORT_REGISTER, value=str(wh), unit="Wh"),),
    )
    return EventArrival(event, document, 5_000)


def add_document(connection: Connection, document: str, at_ms: int) -> None:
    """Store some document that a station sent."""
    columns = {"station_id": "CS-1", "vendor_id": "v", "message_id": "", "received_ms": at_ms, "document": document}
    connection.execute(insert(data_transfers).values(**columns))


def found_as(connection: Connection, transaction_id: str) -> list[dict[str, Any]]:
    """Return the transactions of that id, by station, as the API shows them."""
    names = transactions.stations_of(connection, transaction_id)
    found = (transactions.find(connection, name, transaction_id) for name in names)
    return [each for each in found if each is not None]


def stored(connection: Connection) -> dict[str, Any]:
    """Everything but the numbers of rows."""
    found: dict[str, Any] = {}
    for name in ("T1", "T2"):
        found[name] = found_as(connection, name)
    for table in TABLES:
        rows = [{k: v for k, v in row._mapping.items() if k != "id"} for row in connection.execute(select(table))]
        found[table.name] = sorted(map(repr, rows))
    return found
