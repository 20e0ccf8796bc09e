"""Fleets that are planned together, and calls of their flexibility."""

import msgspec
from sqlalchemy import Connection, delete, select, update

from csms.db.bulk import upsert_rows
from csms.fleets.rules import Fleet, FleetCall
from csms.smart_charging.tables import fleet_course, fleets
from v2g import typed_json


def save(connection: Connection, fleet: Fleet, now_ms: int) -> None:
    """Store a fleet, replacing one of the same id; a call goes on."""
    row = {"fleet_id": fleet.id, "updated_ms": now_ms, "document": msgspec.json.encode(fleet).decode()}
    upsert_rows(connection, fleets, [row])


def get(connection: Connection, fleet_id: str) -> Fleet | None:
    """Return a fleet by its id."""
    document = connection.execute(select(fleets.c.document).where(fleets.c.fleet_id == fleet_id)).scalar()
    return None if document is None else _fleet(document)


def every(connection: Connection) -> list[Fleet]:
    """Return every fleet, by id."""
    rows = connection.execute(select(fleets.c.document).order_by(fleets.c.fleet_id))
    return [_fleet(row.document) for row in rows]


def remove(connection: Connection, fleet_id: str) -> bool:
    """Delete a fleet; False when it is unknown."""
    return connection.execute(delete(fleets).where(fleets.c.fleet_id == fleet_id)).rowcount > 0


def put_call(connection: Connection, fleet_id: str, call: FleetCall | None) -> None:
    """Store the call of a fleet's flexibility, None when it has ended."""
    text = None if call is None else msgspec.json.encode(call).decode()
    connection.execute(update(fleets).where(fleets.c.fleet_id == fleet_id).values(call=text))


def call(connection: Connection, fleet_id: str) -> FleetCall | None:
    """Return the call of a fleet's flexibility."""
    document = connection.execute(select(fleets.c.call).where(fleets.c.fleet_id == fleet_id)).scalar()
    return None if document is None else typed_json.decode(document, FleetCall)


class FleetPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet in a minute from `at_ms` (UTC) on, W, negative out of vehicles: what its plan said, what was asked for
    (less while set-points rise step by step, and by a call), what `vehicles` vehicles follow, and their power, None if
    that of one is unknown."""

    at_ms: int
    planned_w: int
    asked_w: int
    accepted_w: int
    delivered_w: int | None
    vehicles: int


def note_course(connection: Connection, fleet_id: str, point: FleetPoint) -> None:
    """Store a fleet's point, replacing one of the same minute."""
    upsert_rows(connection, fleet_course, [{"fleet_id": fleet_id, **msgspec.structs.asdict(point)}])


def course(connection: Connection, fleet_id: str, from_ms: int) -> list[FleetPoint]:
    """Return a fleet's points from a time on."""
    there = fleet_course.c
    columns = [there[name] for name in FleetPoint.__struct_fields__]
    query = select(*columns).where((there.fleet_id == fleet_id) & (there.at_ms >= from_ms)).order_by(there.at_ms)
    return [FleetPoint(**row._mapping) for row in connection.execute(query)]


def _fleet(document: str) -> Fleet:
    """Return a stored fleet, without what those stored by version 0.1 still have."""
    fields = msgspec.json.decode(document)
    for name in ("preheat_below_c", "preheat_ms"):
        fields.get("climate", {}).pop(name, None)
    return typed_json.decode(msgspec.json.encode(fields), Fleet)
