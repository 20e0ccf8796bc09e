"""Prequalification records."""

import msgspec
from sqlalchemy import Connection, select

from csms.db.bulk import delete_rows, upsert_rows
from csms.prequalifications.rules import Prequalification
from csms.prequalifications.tables import prequalifications


def records(connection: Connection, station_id: str | None = None) -> list[Prequalification]:
    """Return the records of a station, or of all, by station and certificate."""
    query = select(prequalifications).order_by(prequalifications.c.station_id, prequalifications.c.certificate)
    if station_id is not None:
        query = query.where(prequalifications.c.station_id == station_id)
    return [Prequalification(**row._mapping) for row in connection.execute(query)]


def record(connection: Connection, station_id: str, certificate: str) -> Prequalification | None:
    """Return one record."""
    return next((each for each in records(connection, station_id) if each.certificate == certificate), None)


def put(connection: Connection, one: Prequalification) -> None:
    """Store a record, replacing one of the same station and certificate."""
    upsert_rows(connection, prequalifications, [msgspec.structs.asdict(one)])


def remove(connection: Connection, station_id: str, certificate: str) -> None:
    """Delete a record."""
    delete_rows(connection, prequalifications, station_id=station_id, certificate=certificate)
