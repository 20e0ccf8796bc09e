"""Prequalification by grid operators."""

from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Integer, String, select

from csms.db.base import declare_table
from csms.db.bulk import delete_rows, upsert_rows
from csms.prequalifications.rules import Prequalification

prequalifications: Final = declare_table(
    "prequalifications",
    Column("station_id", String(48), primary_key=True),
    Column("certificate", String(64), primary_key=True),
    Column("evse_id", Integer, nullable=False),  # 0: the whole station
    Column("operator", String(100), nullable=False),
    Column("valid_from_ms", BigInteger, nullable=False),
    Column("valid_until_ms", BigInteger, nullable=False),
    Column("most_export_w", BigInteger, nullable=False),
)


def records(connection: Connection, station_id: str | None = None) -> list[Prequalification]:
    """Return the records of a station, or of all, by station and certificate."""
    query = select(prequalifications).order_by(prequalifications.c.station_id, prequalifications.c.certificate)
    if station_id is not None:
        query = query.where(prequalifications.c.station_id == station_id)
    return [Prequalification(**row._mapping) for row in connection.execute(query)]


def record(connection: Connection, station_id: str, certificate: str) -> Prequalification | None:
    return next((each for each in records(connection, station_id) if each.certificate == certificate), None)


def put(connection: Connection, one: Prequalification) -> None:
    """Store a record, replacing one of the same station and certificate."""
    upsert_rows(connection, prequalifications, [msgspec.structs.asdict(one)])


def remove(connection: Connection, station_id: str, certificate: str) -> None:
    """Delete a record."""
    delete_rows(connection, prequalifications, station_id=station_id, certificate=certificate)
