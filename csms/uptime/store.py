"""The history of connectors and connections of many stations, and what does not count."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Row, String, Text, delete, func, select

from csms.db.base import declare_table, row_id
from csms.db.bulk import insert_numbered
from csms.overview.course import STEP_MS
from csms.overview.tables import power_course
from csms.stations.tables import connector_history, station_absences, stations
from csms.uptime.rules import Exclusion, Status, TimeSpan

uptime_exclusions: Final = declare_table(
    "uptime_exclusions",
    Column("exclusion_id", row_id, primary_key=True),
    Column("station_id", String(48), nullable=False),
    Column("evse_id", Integer, nullable=False),  # 0: all of the station
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("cause", String(16), nullable=False),
    Column("evidence", Text, nullable=False),
    Column("added_by", String(200), nullable=False),
    Column("added_ms", BigInteger, nullable=False),
    Index(None, "station_id", "from_ms"),
    sqlite_autoincrement=True,
)
"""Times of outages that may not count, with evidence."""


class PastOfStation(NamedTuple):
    """What is known of a station in a period: states by EVSE, absences, and exclusions by EVSE (0: all of them)."""

    station_id: str
    history: dict[int, list[Status]]
    absences: list[TimeSpan]
    exclusions: dict[int, list[Exclusion]]


def pasts(
    connection: Connection, names: Sequence[str], period: TimeSpan, connected: Collection[str], now_ms: int
) -> list[PastOfStation]:
    """Return what is known of stations, in their order. One that is not `connected` is absent until now. Nothing is
    known of a station before it first connected, whatever its clock says."""
    found = {name: PastOfStation(name, {}, [], {}) for name in names}
    past, away, left_out = connector_history.c, station_absences.c, uptime_exclusions.c
    column = stations.c
    ends = select(column.station_id, column.first_seen_ms, column.last_seen_ms, column.left_ms).where(
        column.station_id.in_(names)
    )
    first: dict[str, int] = {}
    for station_id, first_ms, seen_ms, left_ms in connection.execute(ends):
        first[station_id] = first_ms
        if station_id not in connected:
            found[station_id].absences.append(TimeSpan(max(seen_ms, left_ms or 0), now_ms))
    states = (
        select(past.station_id, past.evse_id, past.connector_id, past.at_ms, past.status)
        .where(past.station_id.in_(names) & (past.at_ms < period.to_ms))
        .order_by(past.station_id, past.evse_id, past.connector_id, past.at_ms)
    )
    for station_id, evse_id, connector_id, at_ms, status in connection.execute(states):
        known_ms = max(at_ms, first[station_id])
        found[station_id].history.setdefault(evse_id, []).append(Status(connector_id, known_ms, status))
    spans = select(away.station_id, away.from_ms, away.to_ms).where(
        away.station_id.in_(names) & (away.from_ms < period.to_ms) & (away.to_ms > period.from_ms)
    )
    for station_id, from_ms, to_ms in connection.execute(spans):
        found[station_id].absences.append(TimeSpan(from_ms, to_ms))
    excluded = select(left_out.station_id, left_out.evse_id, left_out.from_ms, left_out.to_ms, left_out.cause).where(
        left_out.station_id.in_(names) & (left_out.from_ms < period.to_ms) & (left_out.to_ms > period.from_ms)
    )
    for station_id, evse_id, from_ms, to_ms, cause in connection.execute(excluded):
        found[station_id].exclusions.setdefault(evse_id, []).append(Exclusion(TimeSpan(from_ms, to_ms), cause))
    return list(found.values())


def names_after(connection: Connection, after: str, limit: int, only: Collection[str] | None) -> list[str]:
    """Return stations with a history after one by name, of `only` these (None: all)."""
    column = connector_history.c.station_id
    query = select(column).distinct().where(column > after).order_by(column).limit(limit)
    if only is not None:
        query = query.where(column.in_(sorted(only)))
    return list(connection.execute(query).scalars())


def blind(connection: Connection, period: TimeSpan) -> list[TimeSpan]:
    """Return when no node of the back end ran, to five minutes: where two points of the course are farther apart."""
    at_ms, here = power_course.c.at_ms, power_course.c.site_id == ""
    last = select(func.max(at_ms)).where(here & (at_ms <= period.from_ms)).scalar_subquery()
    then = select(func.min(at_ms)).where(here & (at_ms >= period.to_ms)).scalar_subquery()
    there = here & at_ms.between(func.coalesce(last, period.from_ms), func.coalesce(then, period.to_ms))
    points = connection.execute(select(at_ms).where(there).order_by(at_ms)).scalars().all()
    return [TimeSpan(a + STEP_MS, b) for a, b in pairwise(points) if b - a > STEP_MS]


def began(connection: Connection) -> int | None:
    """Return since when it is known whether the back end runs (UTC, ms), None: it is not."""
    first: int | None = connection.execute(
        select(func.min(power_course.c.at_ms)).where(power_course.c.site_id == "")
    ).scalar()
    return first


def add_exclusion(connection: Connection, /, **values: object) -> dict[str, Any]:
    """Store an exclusion; return it."""
    number = insert_numbered(connection, uptime_exclusions, None, values)
    return {"exclusion_id": number, **values}


def exclusions_before(
    connection: Connection, before: int | None, limit: int, station_id: str | None
) -> list[dict[str, object]]:
    """Return exclusions of a number below one, of a station or of all, the newest first."""
    column = uptime_exclusions.c
    query = select(uptime_exclusions)
    if before is not None:
        query = query.where(column.exclusion_id < before)
    if station_id is not None:
        query = query.where(column.station_id == station_id)
    return [_plain(row) for row in connection.execute(query.order_by(column.exclusion_id.desc()).limit(limit))]


def exclusion(connection: Connection, exclusion_id: int) -> dict[str, Any] | None:
    """Return an exclusion, or None."""
    row = connection.execute(
        select(uptime_exclusions).where(uptime_exclusions.c.exclusion_id == exclusion_id)
    ).one_or_none()
    return None if row is None else _plain(row)


def drop_exclusion(connection: Connection, exclusion_id: int) -> None:
    """Delete an exclusion."""
    connection.execute(delete(uptime_exclusions).where(uptime_exclusions.c.exclusion_id == exclusion_id))


def _plain(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)
