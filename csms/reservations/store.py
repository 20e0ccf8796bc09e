"""Reservations as stations were asked for them."""

from typing import Any, Final

import msgspec
import sqlalchemy as sa

from csms.db.base import declare_table, row_id, transaction_key
from csms.db.bulk import insert_numbered
from csms.reservations.rules import ACTIVE, Reservation

reservations: Final = declare_table(
    "reservations",
    sa.Column("reservation_id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("evse_id", sa.Integer),
    sa.Column("connector_type", sa.String(20)),
    sa.Column("token_type", sa.String(20), nullable=False),
    sa.Column("id_token", sa.String(255), nullable=False),
    sa.Column("group_type", sa.String(20)),
    sa.Column("group_token", sa.String(255)),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("transaction_id", transaction_key),
    sa.Column("since_ms", sa.BigInteger, nullable=False, default=0, server_default="0"),
    sa.Index(None, "station_id", "state"),
    sa.Index(None, "station_id", "transaction_id"),
    sqlite_autoincrement=True,
)


def open_reservation(connection: sa.Connection, /, number: int | None = None, **values: Any) -> Reservation:
    """Store a reservation before it is requested; columns of `reservations`. Returns it with its number."""
    number = insert_numbered(connection, reservations, number, {"state": "Requested", **values})
    return Reservation(reservation_id=number, **values)


def replace_reservation(connection: sa.Connection, /, reservation_id: int, **values: object) -> Reservation:
    """Replace the content of a reservation (H01.FR.02)."""
    where = reservations.c.reservation_id == reservation_id
    connection.execute(sa.update(reservations).where(where).values(state="Requested", **values))
    (changed,) = _reservations(connection, where)
    return changed


def restore_reservation(connection: sa.Connection, old: Reservation) -> bool:
    """Store a reservation as it was before it was to be replaced. False: it has ended meanwhile."""
    where = (reservations.c.reservation_id == old.reservation_id) & reservations.c.state.in_(ACTIVE)
    values = msgspec.structs.asdict(old)
    return connection.execute(sa.update(reservations).where(where).values(**values)).rowcount > 0


def save_reservation(
    connection: sa.Connection, station_id: str, reservation_id: int, state: str, now_ms: int,
    transaction_id: str | None = None,
) -> bool:  # fmt: skip
    """Store the state of a reservation. False: that station has no such active one.

    One that has expired here may have been used: its station was offline meanwhile, or learnt of it too late.
    """
    where = (reservations.c.reservation_id == reservation_id) & (reservations.c.station_id == station_id)
    where &= reservations.c.state.in_({*ACTIVE, "Expired"} if state == "Used" else ACTIVE)
    values = {"state": state, "updated_ms": now_ms} | ({"transaction_id": transaction_id} if transaction_id else {})
    return connection.execute(sa.update(reservations).where(where).values(**values)).rowcount > 0


def reserved_since(connection: sa.Connection, station_id: str, transaction_id: str) -> int | None:
    """Return when the reservation of a transaction was made, None without one."""
    where = (reservations.c.station_id == station_id) & (reservations.c.transaction_id == transaction_id)
    found: int | None = connection.execute(sa.select(reservations.c.since_ms).where(where).limit(1)).scalar()
    return found


def find_reservation(connection: sa.Connection, reservation_id: int) -> Reservation | None:
    found = _reservations(connection, reservations.c.reservation_id == reservation_id)
    return found[0] if found else None


def list_reservations(
    connection: sa.Connection, station_id: str | None = None, *, only_active: bool = False
) -> list[Reservation]:
    """Return reservations, oldest first."""
    where = [] if station_id is None else [reservations.c.station_id == station_id]
    if only_active:
        where.append(reservations.c.state.in_(ACTIVE))
    return _reservations(connection, *where)


def _reservations(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Reservation]:
    query = sa.select(reservations).where(*where).order_by(reservations.c.reservation_id)
    return [Reservation(**row._mapping) for row in connection.execute(query)]
