"""Commands with a later outcome (remote starts, availability), and data of vendors."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from csms.db.base import AnyRow, declare_table, newest, row_id, transaction_key
from csms.db.bulk import insert_numbered
from csms.remote_control.rules import OPEN, Order, covers, fulfilled
from csms.stations.store import ConnectorStatus, save_connectors
from csms.stations.tables import connectors
from csms.transactions.tables import transactions
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.availability import OperationalStatus
from v2g.ocpp.messages.data_transfer import DataTransferRequest
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.typed_json import Fields

remote_starts: Final = declare_table(
    "remote_starts",
    sa.Column("remote_start_id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("evse_id", sa.Integer),
    sa.Column("token_type", sa.String(20), nullable=False),
    sa.Column("id_token", sa.String(255), nullable=False),
    sa.Column("transaction_limit", sa.Text),
    sa.Column("requested_ms", sa.BigInteger, nullable=False),
    sa.Column("answer", sa.String(40), nullable=False, default="", server_default=""),
    sa.Column("transaction_id", transaction_key),
    sa.Column("started_ms", sa.BigInteger),
    sa.Index(None, "station_id", "requested_ms"),
    sqlite_autoincrement=True,
)

data_transfers: Final = declare_table(
    "data_transfers",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("vendor_id", sa.String(255), nullable=False),
    sa.Column("message_id", sa.String(50), nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index(None, "station_id", "received_ms"),
)

availability_orders: Final = declare_table(
    "availability_orders",
    sa.Column("order_id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("evse_id", sa.Integer, nullable=False),  # 0: the whole station
    sa.Column("connector_id", sa.Integer, nullable=False),  # 0: the whole EVSE
    sa.Column("wanted", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("not_before_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("detail", sa.Text, nullable=False, default="", server_default=""),
    sa.Index(None, "station_id", "state"),
)


# -- remote starts

WITHDRAWN: Final = "Withdrawn"
"""Stored as the answer to a remote start whose transaction may not begin any more."""


def open_start(
    connection: sa.Connection, station_id: str, evse_id: int | None, token: IdToken, limit: TransactionLimit | None,
    now_ms: int, number: int | None = None,
) -> int:  # fmt: skip
    """Store a remote start, with its limit if any; return its remoteStartId: `number`, or the next one."""
    values = {
        "station_id": station_id, "evse_id": evse_id, "token_type": token.type, "id_token": token.id_token,
        "requested_ms": now_ms,
        "transaction_limit": msgspec.json.encode(limit).decode() if limit is not None else None,
    }  # fmt: skip
    return insert_numbered(connection, remote_starts, number, values)


def save_start_answer(connection: sa.Connection, remote_start_id: int, answer: str, transaction_id: str | None) -> None:
    """Store the station's answer, and the transaction that it named, if any (F01.FR.13)."""
    values: Fields = {"answer": answer} | ({"transaction_id": transaction_id} if transaction_id else {})
    connection.execute(
        sa.update(remote_starts).where(remote_starts.c.remote_start_id == remote_start_id).values(**values)
    )


def match_start(
    connection: sa.Connection, station_id: str, remote_start_id: int, transaction_id: str, at_ms: int
) -> Fields | None:
    """Link a transaction to the remote start that began it (F02.FR.05); return it, with the time at which it was named
    first. None: of another station."""
    where = (remote_starts.c.remote_start_id == remote_start_id) & (remote_starts.c.station_id == station_id)
    values = {"transaction_id": transaction_id, "started_ms": sa.func.coalesce(remote_starts.c.started_ms, at_ms)}
    if connection.execute(sa.update(remote_starts).where(where).values(**values)).rowcount == 0:
        return None
    return find_start(connection, remote_start_id)


def find_start(connection: sa.Connection, remote_start_id: int) -> Fields | None:
    """Return a remote start as columns, or None."""
    row = connection.execute(sa.select(remote_starts).where(remote_starts.c.remote_start_id == remote_start_id)).first()
    return dict(row._mapping) if row else None


def has_started(connection: sa.Connection, station_id: str, token_type: str, id_token: str) -> bool:
    """Return whether a station was asked to start for that token, which may still begin a transaction."""
    where = (
        (remote_starts.c.station_id == station_id)
        & (remote_starts.c.token_type == token_type)
        & (remote_starts.c.id_token == id_token)
        & (remote_starts.c.answer != WITHDRAWN)
    )
    return connection.execute(sa.select(remote_starts.c.remote_start_id).where(where).limit(1)).first() is not None


def stations_of(connection: sa.Connection, transaction_id: str) -> list[str]:
    """Return the stations that have a transaction of that id which has not ended."""
    return list(
        connection.execute(
            sa.select(transactions.c.station_id).where(
                (transactions.c.transaction_id == transaction_id) & transactions.c.active
            )
        ).scalars()
    )


# -- availability


def open_order(
    connection: sa.Connection, station_id: str, evse_id: int, connector_id: int, wanted: OperationalStatus,
    not_before_ms: int, now_ms: int,
) -> Order:  # fmt: skip
    """Store an order, replacing pending ones for the same target."""
    same = (
        (availability_orders.c.station_id == station_id)
        & (availability_orders.c.evse_id == evse_id)
        & (availability_orders.c.connector_id == connector_id)
        & availability_orders.c.state.in_(OPEN)
    )
    connection.execute(sa.update(availability_orders).where(same).values(state="Replaced", updated_ms=now_ms))
    values: Fields = {
        "station_id": station_id, "evse_id": evse_id, "connector_id": connector_id, "wanted": wanted,
        "not_before_ms": not_before_ms, "updated_ms": now_ms,
    }  # fmt: skip
    number = insert_numbered(connection, availability_orders, None, {"state": "Planned", **values})
    return Order(order_id=number, **values)


def save_order(connection: sa.Connection, order_id: int, state: str, detail: str, now_ms: int) -> None:
    """Store the state of an order."""
    connection.execute(
        sa.update(availability_orders)
        .where(availability_orders.c.order_id == order_id)
        .values(state=state, detail=detail, updated_ms=now_ms)
    )


def list_orders(connection: sa.Connection, station_id: str | None = None, *, only_open: bool = False) -> list[Order]:
    """Return orders, oldest first."""
    query = sa.select(availability_orders).order_by(availability_orders.c.order_id)
    if station_id is not None:
        query = query.where(availability_orders.c.station_id == station_id)
    if only_open:
        query = query.where(availability_orders.c.state.in_(OPEN))
    return [_read(row, Order) for row in connection.execute(query)]


def is_order_due(connection: sa.Connection, now_ms: int) -> bool:
    """Return whether any planned order is due."""
    due = (availability_orders.c.state == "Planned") & (availability_orders.c.not_before_ms <= now_ms)
    return connection.execute(sa.select(availability_orders.c.order_id).where(due).limit(1)).first() is not None


def take_due_orders(connection: sa.Connection, connected: Collection[str], now_ms: int) -> list[Order]:
    """Claim the due planned orders of connected stations exclusively."""
    due = (
        (availability_orders.c.state == "Planned")
        & (availability_orders.c.not_before_ms <= now_ms)
        & availability_orders.c.station_id.in_(tuple(connected))
    )
    taken = sa.update(availability_orders).where(due).values(state="Sent").returning(availability_orders)
    return [_read(row, Order) for row in connection.execute(taken)]


def fulfil_orders(
    connection: sa.Connection, station_id: str, evse_id: int, connector_id: int, now_ms: int
) -> list[Order]:
    """After a connector's status changed: mark the fulfilled orders, and return them (G03.FR.01)."""
    waiting = [
        order
        for order in list_orders(connection, station_id, only_open=True)
        if order.state != "Planned" and covers(order, evse_id, connector_id)
    ]
    if not waiting:
        return []
    found = connection.execute(
        sa.select(connectors.c.evse_id, connectors.c.connector_id, connectors.c.status).where(
            connectors.c.station_id == station_id
        )
    )
    statuses = [(row.evse_id, row.connector_id, row.status) for row in found]
    done = [order for order in waiting if fulfilled(order, statuses)]
    for order in done:
        save_order(connection, order.order_id, "Done", order.detail, now_ms)
    return done


def take_statuses(connection: sa.Connection, reported: Sequence[tuple[ConnectorStatus, int]]) -> list[list[Order]]:
    """Store connectors' status, each with its time (UTC ms); return the orders fulfilled by it."""
    save_connectors(connection, reported)
    open_here = availability_orders.c.state.in_(OPEN) & availability_orders.c.station_id.in_(
        {status.station_id for status, _ in reported}
    )
    waiting = set(connection.execute(sa.select(availability_orders.c.station_id).where(open_here)).scalars())
    return [
        fulfil_orders(connection, each.station_id, each.evse_id, each.connector_id, now_ms)
        if each.station_id in waiting
        else []
        for each, now_ms in reported
    ]


def _read(row: AnyRow, type_: type[object]) -> Any:
    return type_(**row._mapping)


def add_transfer(connection: sa.Connection, station_id: str, request: DataTransferRequest, now_ms: int) -> None:
    """Store a vendor's data (P02)."""
    connection.execute(
        sa.insert(data_transfers).values(
            station_id=station_id,
            vendor_id=request.vendor_id,
            message_id=request.message_id or "",
            received_ms=now_ms,
            document=msgspec.json.encode(request.data).decode(),
        )
    )


def list_transfers(
    connection: sa.Connection, before: int | None = None, limit: int = 100, station_id: str | None = None
) -> list[dict[str, object]]:
    """Return the newest data of vendors first, decoded: of those below the number `before`."""
    query = newest(data_transfers, before, limit, station_id=station_id)
    return [{**row._mapping, "document": msgspec.json.decode(row.document)} for row in connection.execute(query)]
