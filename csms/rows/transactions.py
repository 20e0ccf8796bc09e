"""Transactions, their events and meter values."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, insert, select, update

from csms.core.profiles import Needs
from csms.core.transactions import Event, Sample, Transaction, complete, merge, missing
from csms.tables import meter_values, transaction_events, transactions

Outcome = Literal["new", "duplicate", "conflict"]

_decode = msgspec.json.Decoder(Transaction).decode


def add_event(connection: Connection, event: Event, document: bytes, received_ms: int) -> tuple[Outcome, Transaction]:
    """Store an event once; return what it was and the transaction as it stands.

    `conflict` is another content under a number that is taken: the first one stands.
    """
    transaction = _get(connection, event.station_id, event.transaction_id)
    if transaction is not None:
        digest = connection.execute(
            select(transaction_events.c.digest).where(
                (transaction_events.c.station_id == event.station_id)
                & (transaction_events.c.transaction_id == event.transaction_id)
                & (transaction_events.c.seq_no == event.seq_no)
            )
        ).scalar()
        if digest is not None:
            return ("duplicate" if digest == event.digest else "conflict"), transaction
    merged = merge(transaction, event)
    _put(connection, merged, known=transaction is not None)
    connection.execute(
        insert(transaction_events).values(
            station_id=event.station_id,
            transaction_id=event.transaction_id,
            seq_no=event.seq_no,
            kind=event.kind,
            trigger=event.trigger,
            at_ms=event.at_ms,
            received_ms=received_ms,
            offline=event.offline,
            digest=event.digest,
            document=document.decode(),
        )
    )
    add_samples(connection, event.station_id, event.evse_id, event.samples, event.transaction_id, event.seq_no)
    return "new", merged


def add_samples(
    connection: Connection,
    station_id: str,
    evse_id: int | None,
    samples: Iterable[Sample],
    transaction_id: str | None = None,
    seq_no: int | None = None,
) -> None:
    """Store meter values."""
    rows = [
        {
            "station_id": station_id,
            "transaction_id": transaction_id,
            "seq_no": seq_no,
            "evse_id": evse_id,
            **msgspec.structs.asdict(sample),
        }
        for sample in samples
    ]
    if rows:
        connection.execute(insert(meter_values), rows)


def active(connection: Connection, station_id: str) -> list[Transaction]:
    """Return a station's transactions that have not ended."""
    rows = connection.execute(
        select(transactions.c.document).where(
            (transactions.c.station_id == station_id) & transactions.c.active.is_(True)
        )
    )
    return [_decode(row.document) for row in rows]


def save_needs(connection: Connection, station_id: str, transaction_id: str, needs: Needs) -> None:
    """Note what the vehicle of a transaction said it needs."""
    connection.execute(
        update(transactions)
        .where((transactions.c.station_id == station_id) & (transactions.c.transaction_id == transaction_id))
        .values(needs=msgspec.json.encode(needs).decode())
    )


def with_needs(connection: Connection, station_id: str) -> list[tuple[str, Needs]]:
    """Return (transactionId, needs) of a station's active transactions whose vehicle has told its needs."""
    rows = connection.execute(
        select(transactions.c.transaction_id, transactions.c.needs).where(
            (transactions.c.station_id == station_id)
            & transactions.c.active.is_(True)
            & transactions.c.needs.is_not(None)
        )
    )
    return [(row.transaction_id, msgspec.json.decode(row.needs, type=Needs)) for row in rows]


def find(connection: Connection, transaction_id: str) -> list[dict[str, Any]]:
    """Return the transactions of that id, one per station that uses it, with events, gaps and meter values."""
    rows = connection.execute(
        select(transactions.c.document).where(transactions.c.transaction_id == transaction_id)
    ).all()
    return [_describe(connection, _decode(row.document)) for row in rows]


def _describe(connection: Connection, transaction: Transaction) -> dict[str, Any]:
    events = connection.execute(
        select(transaction_events)
        .where(
            (transaction_events.c.station_id == transaction.station_id)
            & (transaction_events.c.transaction_id == transaction.transaction_id)
        )
        .order_by(transaction_events.c.seq_no)
    ).all()
    values = connection.execute(
        select(meter_values)
        .where(
            (meter_values.c.station_id == transaction.station_id)
            & (meter_values.c.transaction_id == transaction.transaction_id)
        )
        .order_by(meter_values.c.seq_no, meter_values.c.id)
    ).all()
    numbers = [event.seq_no for event in events]
    document: dict[str, Any] = msgspec.to_builtins(transaction)
    for key, value in document.items():
        if isinstance(value, dict):  # a Dated: how late it was said is of no interest outside
            document[key] = value["value"]
    document["active"] = transaction.active
    document["complete"] = complete(transaction, numbers)
    document["missing"] = missing(transaction, numbers)
    shown = ("seq_no", "kind", "trigger", "at_ms", "received_ms", "offline")
    document["events"] = [{name: getattr(event, name) for name in shown} for event in events]
    document["meter_values"] = [_value(row._mapping) for row in values]
    return document


def _value(row: Any) -> dict[str, Any]:
    shown = ("seq_no", "at_ms", "measurand", "value", "unit", "context", "phase", "location")
    value: dict[str, Any] = {name: row[name] for name in shown}
    if row["signed"]:
        value["signed"] = msgspec.json.decode(row["signed"])
    return value


def _get(connection: Connection, station_id: str, transaction_id: str) -> Transaction | None:
    document: str | None = connection.execute(
        select(transactions.c.document).where(
            (transactions.c.station_id == station_id) & (transactions.c.transaction_id == transaction_id)
        )
    ).scalar()
    return None if document is None else _decode(document)


def _put(connection: Connection, transaction: Transaction, *, known: bool) -> None:
    columns = {
        "active": transaction.active,
        "started_ms": transaction.started_ms,
        "ended_ms": transaction.ended_ms,
        "document": msgspec.json.encode(transaction).decode(),
    }
    key = {"station_id": transaction.station_id, "transaction_id": transaction.transaction_id}
    if known:
        connection.execute(
            update(transactions)
            .where(
                (transactions.c.station_id == transaction.station_id)
                & (transactions.c.transaction_id == transaction.transaction_id)
            )
            .values(**columns)
        )
    else:
        connection.execute(insert(transactions).values(**key, **columns))
