"""DER controls as stations hold them, and their alarms (block R)."""

from typing import Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    String,
    Text,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from csms.db.base import declare_table, newest, row_id
from v2g.ocpp.messages.der_control import NotifyDERAlarmRequest, SetDERControlRequest
from v2g.typed_json import Fields

der_controls: Final = declare_table(
    "der_controls",
    Column("station_id", String(48), primary_key=True),
    Column("control_id", String(36), primary_key=True),
    Column("control_type", String(32), nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("superseded", Boolean, nullable=False),
    Column("started", Boolean, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

der_alarms: Final = declare_table(
    "der_alarms",
    Column("id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("control_type", String(32), nullable=False),
    Column("fault", String(24), nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("extra", Text, nullable=False),
    Index(None, "station_id", "at_ms"),
)


def save_control(
    connection: Connection, station_id: str, control: SetDERControlRequest, now_ms: int, *, superseded: bool = False
) -> None:
    """Store a control that a station holds, replacing one of the same id."""
    values = {
        "control_type": control.control_type,
        "is_default": control.is_default,
        "superseded": superseded,
        "updated_ms": now_ms,
        "document": msgspec.json.encode(control).decode(),
    }
    key = (der_controls.c.station_id == station_id) & (der_controls.c.control_id == control.control_id)
    if connection.execute(update(der_controls).where(key).values(**values)).rowcount == 0:
        connection.execute(
            insert(der_controls).values(station_id=station_id, control_id=control.control_id, started=False, **values)
        )


def supersede(connection: Connection, station_id: str, control_ids: tuple[str, ...], now_ms: int) -> None:
    """Mark controls as superseded (R04.FR.03, FR.06)."""
    key = (der_controls.c.station_id == station_id) & der_controls.c.control_id.in_(control_ids)
    connection.execute(update(der_controls).where(key).values(superseded=True, updated_ms=now_ms))


def start_stop(connection: Connection, station_id: str, control_id: str, now_ms: int, *, started: bool) -> None:
    """Mark a scheduled control as started, or delete an ended one (R04.FR.10, FR.20, FR.22)."""
    key = (der_controls.c.station_id == station_id) & (der_controls.c.control_id == control_id)
    if started:
        connection.execute(update(der_controls).where(key).values(started=True, updated_ms=now_ms))
    else:
        connection.execute(delete(der_controls).where(key))


def clear_controls(
    connection: Connection, station_id: str, *, is_default: bool, control_type: str | None, control_id: str | None
) -> int:
    """Delete cleared controls (R04.FR.44 to FR.46); return how many."""
    columns = der_controls.c
    wanted = {"control_type": control_type, "control_id": control_id}
    key = [columns[name] == value for name, value in wanted.items() if value is not None]
    where = (columns.station_id == station_id, columns.is_default.is_(is_default), *key)
    return connection.execute(delete(der_controls).where(*where)).rowcount


def controls(connection: Connection, station_id: str) -> list[Fields]:
    """Return a station's controls, by id."""
    query = select(der_controls).where(der_controls.c.station_id == station_id).order_by(der_controls.c.control_id)
    return [{**row._mapping, "document": msgspec.json.decode(row.document)} for row in connection.execute(query)]


def documents(connection: Connection, prefix: str) -> dict[str, dict[str, str]]:
    """Return the controls of all stations whose ids begin so: their documents by station and id."""
    columns = der_controls.c
    query = select(columns.station_id, columns.control_id, columns.document)
    found: dict[str, dict[str, str]] = {}
    for row in connection.execute(query.where(columns.control_id.startswith(prefix, autoescape=True))):
        found.setdefault(row.station_id, {})[row.control_id] = row.document
    return found


def add_alarm(connection: Connection, station_id: str, alarm: NotifyDERAlarmRequest, at_ms: int) -> None:
    """Store an alarm, or its end (R05)."""
    connection.execute(
        insert(der_alarms).values(
            station_id=station_id,
            control_type=alarm.control_type,
            fault=alarm.grid_event_fault or "",
            ended=bool(alarm.alarm_ended),
            at_ms=at_ms,
            extra=alarm.extra_info or "",
        )
    )


def active_alarms(connection: Connection) -> set[tuple[str, str]]:
    """Return the stations and faults of alarms that have not ended. A station has one alarm at a time: of one that
    another takes over it reports no end (R05.FR.03, FR.04)."""
    there, end = der_alarms.c, der_alarms.alias().c
    begun = select(func.max(there.id)).where(there.ended.is_(False)).group_by(there.station_id)
    later = (end.station_id == there.station_id) & (end.id > there.id)
    over = exists().where(later, end.ended, end.fault.in_((there.fault, "")))
    query = select(there.station_id, there.fault).where(there.id.in_(begun), there.fault != "", ~over)
    return {(station_id, fault) for station_id, fault in connection.execute(query)}


def alarms(connection: Connection, before: int | None, limit: int, station_id: str) -> list[dict[str, object]]:
    """Return a station's newest alarms, the newest first: of those below the number `before`."""
    query = newest(der_alarms, before, limit, station_id=station_id)
    return [dict(row._mapping) for row in connection.execute(query)]
