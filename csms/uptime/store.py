"""The history of connectors and connections of many stations, and what does not count."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import sqlalchemy as sa

from csms.db.base import AnyRow, declare_table, newest, row_id
from csms.db.bulk import insert_numbered
from csms.overview.course import STEP_MS
from csms.overview.store import power_course
from csms.stations.tables import connectors, station_absences, stations
from csms.transactions.rules import read_transaction
from csms.transactions.tables import transaction_totals
from csms.uptime.rules import Exclusion, Status, TimeSpan
from v2g.units import DAY_MS

uptime_exclusions: Final = declare_table(
    "uptime_exclusions",
    sa.Column("exclusion_id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("evse_id", sa.Integer, nullable=False),  # 0: all of the station
    sa.Column("from_ms", sa.BigInteger, nullable=False),
    sa.Column("to_ms", sa.BigInteger, nullable=False),
    sa.Column("cause", sa.String(16), nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("added_by", sa.String(200), nullable=False),
    sa.Column("added_ms", sa.BigInteger, nullable=False),
    sa.Index(None, "station_id", "from_ms"),
    sqlite_autoincrement=True,
)
"""Times of outages that may not count, with evidence."""


_STATE: Final = "h.station_id, h.evse_id, h.connector_id, h.at_ms, h.status"
_SAME: Final = "{0}.station_id = {1}.station_id AND {0}.evse_id = {1}.evse_id AND {0}.connector_id = {1}.connector_id"
_OF_ALL: Final = f"""{_SAME.format("h", "c")} AND c.station_id IN :names AND +h.at_ms < :to_ms"""
# CROSS JOIN and + keep SQLite from walking through the whole history of a connector.
_DECIDING: Final = sa.text(f"""
WITH out AS (
    SELECT {_STATE} FROM connector_history h
    WHERE h.station_id IN :names AND h.at_ms < :to_ms AND h.status IN ('Faulted', 'Unavailable')
)
SELECT * FROM out
UNION SELECT {_STATE} FROM out o CROSS JOIN connector_history h WHERE {_SAME.format("h", "o")} AND +h.at_ms < :to_ms
    AND h.at_ms = (SELECT min(n.at_ms) FROM connector_history n WHERE {_SAME.format("n", "o")} AND n.at_ms > o.at_ms)
UNION SELECT {_STATE} FROM connectors c CROSS JOIN connector_history h WHERE {_OF_ALL}
    AND h.at_ms = (SELECT min(n.at_ms) FROM connector_history n WHERE {_SAME.format("n", "c")})
UNION SELECT {_STATE} FROM connectors c CROSS JOIN station_absences a CROSS JOIN connector_history h WHERE {_OF_ALL}
    AND a.station_id = c.station_id AND a.to_ms > :from_ms AND h.at_ms BETWEEN a.from_ms AND a.to_ms
UNION SELECT {_STATE} FROM connectors c CROSS JOIN stations s CROSS JOIN connector_history h WHERE {_OF_ALL}
    AND s.station_id = c.station_id AND h.at_ms <= s.first_seen_ms
UNION SELECT {_STATE} FROM connectors c CROSS JOIN stations s CROSS JOIN connector_history h WHERE {_OF_ALL}
    AND s.station_id = c.station_id AND h.at_ms >= s.last_seen_ms
""").bindparams(sa.bindparam("names", expanding=True, type_=sa.String))  # noqa: S608 (put together of constants)
"""The states that decide when EVSEs worked, a small part of all: the first one of each connector, those that may be no
work and what followed each, and all while its station was away or not yet known."""


class PastOfStation(NamedTuple):
    """What is known of a station in a period: states by EVSE, absences, exclusions by EVSE (0: all of them), and its
    EVSEs' sessions during absences."""

    station_id: str
    history: dict[int, list[Status]]
    absences: list[TimeSpan]
    exclusions: dict[int, list[Exclusion]]
    sessions: dict[int, list[TimeSpan]]


def pasts(
    connection: sa.Connection, names: Sequence[str], period: TimeSpan, connected: Collection[str], now_ms: int
) -> list[PastOfStation]:
    """Return what is known of stations, in their order. One that is not `connected` is absent until now. Nothing is
    known of a station before it first connected, whatever its clock says."""
    found = {name: PastOfStation(name, {}, [], {}, {}) for name in names}
    away, left_out = station_absences.c, uptime_exclusions.c
    column = stations.c
    ends = sa.select(column.station_id, column.first_seen_ms, column.last_seen_ms, column.left_ms).where(
        column.station_id.in_(names)
    )
    first: dict[str, int] = {}
    for station_id, first_ms, seen_ms, left_ms in connection.execute(ends):
        first[station_id] = first_ms
        if station_id not in connected:
            found[station_id].absences.append(TimeSpan(max(seen_ms, left_ms or 0), now_ms))
    asked = {"names": list(names), "from_ms": period.from_ms, "to_ms": period.to_ms}
    early: list[tuple[int, str, int, int, str]] = []
    for station_id, evse_id, connector_id, at_ms, status in connection.execute(_DECIDING, asked):
        if at_ms > first[station_id]:
            found[station_id].history.setdefault(evse_id, []).append(Status(connector_id, at_ms, status))
        else:
            early.append((at_ms, station_id, evse_id, connector_id, status))
    for _, station_id, evse_id, connector_id, status in sorted(early):  # the latest of them holds
        found[station_id].history.setdefault(evse_id, []).append(Status(connector_id, first[station_id], status))
    spans = sa.select(away.station_id, away.from_ms, away.to_ms).where(
        away.station_id.in_(names) & (away.from_ms < period.to_ms) & (away.to_ms > period.from_ms)
    )
    for station_id, from_ms, to_ms in connection.execute(spans):
        found[station_id].absences.append(TimeSpan(from_ms, to_ms))
    excluded = sa.select(left_out.station_id, left_out.evse_id, left_out.from_ms, left_out.to_ms, left_out.cause).where(
        left_out.station_id.in_(names) & (left_out.from_ms < period.to_ms) & (left_out.to_ms > period.from_ms)
    )
    for station_id, evse_id, from_ms, to_ms, cause in connection.execute(excluded):
        found[station_id].exclusions.setdefault(evse_id, []).append(Exclusion(TimeSpan(from_ms, to_ms), cause))
    for station_id, evse_id, span in _sessions(connection, asked):
        found[station_id].sessions.setdefault(evse_id, []).append(span)
    return list(found.values())


_SESSIONS: Final = sa.text("""
SELECT * FROM (
    SELECT a.station_id, a.from_ms, t.started_ms, t.document, (
        SELECT max(e.at_ms) FROM transaction_events e WHERE e.station_id = t.station_id
            AND e.transaction_id = t.transaction_id AND e.offline AND e.at_ms BETWEEN a.from_ms AND a.to_ms
            AND NOT (e.kind = 'Ended'
                AND (t.document LIKE '%"value":"PowerLoss"%' OR t.document LIKE '%"value":"Reboot"%'))
    ) AS last_ms
    FROM station_absences a CROSS JOIN transactions t
    WHERE a.station_id IN :names AND a.from_ms < :to_ms AND a.to_ms > :from_ms AND t.station_id = a.station_id
        AND t.started_ms BETWEEN a.from_ms - :before_ms AND a.to_ms AND (t.ended_ms IS NULL OR t.ended_ms >= a.from_ms)
) AS found WHERE last_ms IS NOT NULL
""").bindparams(sa.bindparam("names", expanding=True, type_=sa.String))
"""Transactions during absences, and their last events then. One that ended without power, or by a reboot, did so when
its station came back."""


def _sessions(connection: sa.Connection, asked: Mapping[str, object]) -> Iterator[tuple[str, int, TimeSpan]]:
    """Yield when stations charged while they were away: station, EVSE, and time until the last event of it."""
    rows = connection.execute(_SESSIONS, {**asked, "before_ms": DAY_MS})
    for station_id, from_ms, started_ms, document, last_ms in rows:
        evse_id = read_transaction(document).evse_id
        if evse_id is not None:
            yield station_id, evse_id, TimeSpan(max(from_ms, started_ms), last_ms)


def attempts(
    connection: sa.Connection, names: Sequence[str], period: TimeSpan
) -> dict[tuple[str, int], tuple[int, int]]:
    """Return how many transactions of stations ended in a period, and in how many of them energy flowed, by EVSE."""
    there = transaction_totals.c
    flowed = sa.case(((there.import_mwh > 0) | (there.export_mwh > 0), 1), else_=0)
    query = sa.select(there.station_id, there.evse_id, sa.func.count(), sa.func.sum(flowed)).where(
        there.station_id.in_(names) & (there.end_ms >= period.from_ms) & (there.end_ms < period.to_ms)
    )
    rows = connection.execute(query.group_by(there.station_id, there.evse_id))
    return {(station_id, evse_id): (count, int(charged)) for station_id, evse_id, count, charged in rows}


def names_after(connection: sa.Connection, after: str, limit: int, only: Collection[str] | None) -> list[str]:
    """Return stations with connectors after one by name, of `only` these (None: all)."""
    column = connectors.c.station_id
    query = sa.select(column).distinct().where(column > after).order_by(column).limit(limit)
    if only is not None:
        query = query.where(column.in_(sorted(only)))
    return list(connection.execute(query).scalars())


def blind(connection: sa.Connection, period: TimeSpan) -> list[TimeSpan]:
    """Return when no node of the back end ran, to five minutes: where two points of the course are farther apart."""
    at_ms, here = power_course.c.at_ms, power_course.c.site_id == ""
    last = sa.select(sa.func.max(at_ms)).where(here & (at_ms <= period.from_ms)).scalar_subquery()
    then = sa.select(sa.func.min(at_ms)).where(here & (at_ms >= period.to_ms)).scalar_subquery()
    there = here & at_ms.between(sa.func.coalesce(last, period.from_ms), sa.func.coalesce(then, period.to_ms))
    points = connection.execute(sa.select(at_ms).where(there).order_by(at_ms)).scalars().all()
    return [TimeSpan(a + STEP_MS, b) for a, b in pairwise(points) if b - a > STEP_MS]


def began(connection: sa.Connection) -> int | None:
    """Return since when it is known whether the back end runs (UTC, ms), None: it is not."""
    first: int | None = connection.execute(
        sa.select(sa.func.min(power_course.c.at_ms)).where(power_course.c.site_id == "")
    ).scalar()
    return first


def add_exclusion(connection: sa.Connection, /, **values: object) -> dict[str, object]:
    """Store an exclusion; return it."""
    number = insert_numbered(connection, uptime_exclusions, None, values)
    return {"exclusion_id": number, **values}


def exclusions_before(
    connection: sa.Connection, before: int | None, limit: int, station_id: str | None
) -> list[dict[str, object]]:
    """Return exclusions of a number below one, of a station or of all, the newest first."""
    query = newest(uptime_exclusions, before, limit, key="exclusion_id", station_id=station_id)
    return [_plain(row) for row in connection.execute(query)]


def exclusion(connection: sa.Connection, exclusion_id: int) -> dict[str, object] | None:
    row = connection.execute(
        sa.select(uptime_exclusions).where(uptime_exclusions.c.exclusion_id == exclusion_id)
    ).one_or_none()
    return None if row is None else _plain(row)


def drop_exclusion(connection: sa.Connection, exclusion_id: int) -> None:
    """Delete an exclusion."""
    connection.execute(sa.delete(uptime_exclusions).where(uptime_exclusions.c.exclusion_id == exclusion_id))


def _plain(row: AnyRow) -> dict[str, object]:
    return dict(row._mapping)
