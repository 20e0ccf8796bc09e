"""Stations, their connectors, and what they report."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy import Column, Connection, bindparam, func, select, update

from csms.db.base import page
from csms.db.bulk import insert_rows, update_rows, upsert_rows
from csms.smart_charging.tables import limits_in_force
from csms.stations.tables import connector_history, connectors, station_absences, stations
from v2g.typed_json import Fields
from v2g.units import LAST_MS

LEAST_ABSENCE_MS: Final = 10_000
"""A shorter absence is none."""
_CLOCK_MS: Final = 60_000
"""By so much a station's clock may differ from ours."""
_DELIVERED_MS: Final = 900_000
"""A station that stayed for so long has delivered what it kept while it was offline."""


class StationContact(NamedTuple):
    """A station that has connected with a subprotocol, when, and when it was last here, as far as that is known beside
    what is stored (UTC ms)."""

    station_id: str
    protocol: str
    at_ms: int
    here_ms: int = 0


class StationBoot(NamedTuple):
    """A station's BootNotification, as columns, and the time (UTC ms) it arrived."""

    station_id: str
    facts: Mapping[str, object]
    at_ms: int


class ConnectorStatus(NamedTuple):
    """A connector's status, and since when (UTC ms, by the station's clock)."""

    station_id: str
    evse_id: int
    connector_id: int
    status: str
    at_ms: int


def touch(connection: Connection, station_id: str, protocol: str, now_ms: int) -> str:
    """Mark a station as connected; return its previous boot status ("" for one that never booted)."""
    return touch_all(connection, [StationContact(station_id, protocol, now_ms)])[0]


def touch_all(connection: Connection, contacts: Sequence[StationContact]) -> list[str]:
    """Mark stations as connected, as `touch` does: after a restart, all connect at once."""
    column = stations.c
    query = select(
        column.station_id, column.boot_status, column.last_seen_ms, column.connected_ms, column.away_ms, column.left_ms
    )
    wanted = query.where(column.station_id.in_({each.station_id for each in contacts}))
    known = {row.station_id: row for row in connection.execute(wanted)}
    new: list[dict[str, object]] = []
    again: list[dict[str, object]] = []
    absences: list[dict[str, object]] = []
    for each in {each.station_id: each for each in contacts}.values():
        values: dict[str, object] = {"station_id": each.station_id, "protocol": each.protocol}
        values |= {"last_seen_ms": each.at_ms, "connected_ms": each.at_ms}
        row = known.get(each.station_id)
        if row is None:
            new.append({**values, "first_seen_ms": each.at_ms})
        else:
            stayed = row.away_ms is None or row.last_seen_ms - (row.connected_ms or 0) >= _DELIVERED_MS
            again.append({**values, "away_ms": row.last_seen_ms if stayed else row.away_ms})
            from_ms = max(row.last_seen_ms, row.left_ms or 0, each.here_ms)
            if each.at_ms - from_ms >= LEAST_ABSENCE_MS:
                absences.append({"station_id": each.station_id, "from_ms": from_ms, "to_ms": each.at_ms})
    insert_rows(connection, stations, new)
    update_rows(connection, stations, again)
    upsert_rows(connection, station_absences, absences)
    return ["" if (row := known.get(each.station_id)) is None else row.boot_status for each in contacts]


def makes(connection: Connection, station_ids: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return vendor, model and firmware of stations by their last boot, empty for unknown ones."""
    columns = (stations.c.station_id, stations.c.vendor, stations.c.model, stations.c.firmware)
    rows = connection.execute(select(*columns).where(stations.c.station_id.in_(set(station_ids))))
    found = {row.station_id: (row.vendor, row.model, row.firmware) for row in rows}
    return [found.get(each, ("", "", "")) for each in station_ids]


def save_seen(connection: Connection, seen: Mapping[str, int]) -> None:
    """Store when stations last sent a message (UTC, ms)."""
    _save_times(connection, stations.c.last_seen_ms, seen)


def save_left(connection: Connection, left: Mapping[str, int]) -> None:
    """Store when stations' connections ended (UTC, ms)."""
    _save_times(connection, stations.c.left_ms, left)


def _save_times(connection: Connection, column: Column[int], times: Mapping[str, int]) -> None:
    here = stations.c.station_id == bindparam("known")
    work = update(stations).where(here).values({column: bindparam("time_ms")})
    connection.execute(work, [{"known": station_id, "time_ms": at_ms} for station_id, at_ms in sorted(times.items())])


def save_boots(connection: Connection, boots: Sequence[StationBoot]) -> list[bool]:
    """Store BootNotifications; return whether the firmware of each has changed. Their facts have the same columns."""
    query = select(stations.c.station_id, stations.c.firmware).where(
        stations.c.station_id.in_({each.station_id for each in boots})
    )
    before = {row[0]: row[1] for row in connection.execute(query)}
    newest = {each.station_id: each for each in boots}.values()
    rows = [
        {"station_id": each.station_id, "last_seen_ms": each.at_ms, "booted_ms": each.at_ms, **each.facts}
        for each in newest
    ]
    update_rows(connection, stations, rows)
    # Whether a station has kept its limits is unknown since its last message before.
    away = select(func.coalesce(stations.c.away_ms, 0)).where(stations.c.station_id == limits_in_force.c.station_id)
    known = limits_in_force.c.station_id.in_([each.station_id for each in newest]) & limits_in_force.c.to_ms.is_(None)
    connection.execute(update(limits_in_force).where(known).values(to_ms=away.scalar_subquery()))
    return [before.get(each.station_id) != each.facts.get("firmware", before.get(each.station_id)) for each in boots]


def save_signal_version(connection: Connection, station_id: str, version: int) -> None:
    """Store the version of the grid signal that a station has accepted."""
    connection.execute(update(stations).where(stations.c.station_id == station_id).values(signal_version=version))


def signal_version(connection: Connection, station_id: str) -> int | None:
    """Return the version of the last grid signal that a station has accepted; 0: a permit to export without one."""
    return connection.execute(select(stations.c.signal_version).where(stations.c.station_id == station_id)).scalar()


def save_connector(
    connection: Connection, station_id: str, evse_id: int, connector_id: int, status: str, at_ms: int
) -> None:
    """Store a connector's status, unless a newer one is stored."""
    save_connectors(connection, [(ConnectorStatus(station_id, evse_id, connector_id, status, at_ms), at_ms)])


def save_connectors(connection: Connection, reported: Sequence[tuple[ConnectorStatus, int]]) -> None:
    """Store connectors' status, each with its time of receipt (UTC ms), as `save_connector` does, and each that is new
    in their history, late ones, too.

    One of before its station was last heard before it was offline is not late, but by a clock that was lost: of now.
    So is one of a time at which its station was connected already, by a clock that was set back.
    """
    known_since = func.coalesce(stations.c.away_ms, stations.c.first_seen_ms)
    query = (
        select(
            *connectors.primary_key, connectors.c.changed_ms, connectors.c.status, known_since, stations.c.connected_ms
        )
        .join(stations, stations.c.station_id == connectors.c.station_id)
        .where(connectors.c.station_id.in_({each.station_id for each, _ in reported}))
    )
    known: dict[tuple[str, int, int], tuple[int, str]] = {}
    bounds: dict[str, tuple[int, int]] = {}
    for row in connection.execute(query):
        known[row[0], row[1], row[2]] = row[3], row[4]
        bounds[row[0]] = row[5] - _CLOCK_MS, (row[6] or LAST_MS) + _CLOCK_MS
    newest: dict[tuple[str, int, int], dict[str, object]] = {}
    history: dict[tuple[str, int, int, int], dict[str, object]] = {}
    for found, received_ms in reported:
        key = found.station_id, found.evse_id, found.connector_id
        changed_ms, status = known.get(key, (found.at_ms, ""))
        earliest_ms, here_ms = bounds.get(found.station_id, (0, LAST_MS))
        wrong = found.at_ms < earliest_ms or here_ms < found.at_ms < received_ms - _CLOCK_MS
        each = found._replace(at_ms=received_ms) if wrong and found.at_ms < changed_ms else found
        if changed_ms <= each.at_ms:
            known[key] = each.at_ms, each.status
            newest[key] = dict(zip(_CONNECTOR, each, strict=True))
        if changed_ms > each.at_ms or status != each.status:
            history[*key, each.at_ms] = dict(zip(_PAST, each, strict=True))
    upsert_rows(connection, connectors, list(newest.values()))
    upsert_rows(connection, connector_history, list(history.values()))


_CONNECTOR: Final = ("station_id", "evse_id", "connector_id", "status", "changed_ms")
_PAST: Final = (*_CONNECTOR[:-1], "at_ms")


class StationFilter(NamedTuple):
    """Filter for stations: with `text` in their identity, a connector of this `status`, among those `connected` (None:
    any), and not among `others`."""

    text: str = ""
    status: str | None = None
    connected: Collection[str] | None = None
    others: Collection[str] = frozenset()


_ALL: Final = StationFilter()


def list_page(
    connection: Connection, after: tuple[str, ...] | None = None, limit: int = 1000, wanted: StationFilter = _ALL
) -> list[dict[str, object]]:
    """Return stations with their connectors, by identity: at most `limit` of those that come after `after`."""
    names = page(select(stations.c.station_id), (stations.c.station_id,), after, None, rising=True)
    if wanted.text:
        names = names.where(stations.c.station_id.icontains(wanted.text, autoescape=True))
    if wanted.status is not None:
        there = select(connectors.c.station_id).where(connectors.c.status == wanted.status)
        names = names.where(stations.c.station_id.in_(there))
    if wanted.connected is None and not wanted.others:
        names = names.limit(limit)
    fitting = (
        name
        for name in connection.execute(names).scalars()
        if name not in wanted.others and (wanted.connected is None or name in wanted.connected)
    )
    found = list(islice(fitting, limit))
    rows = connection.execute(select(stations).where(stations.c.station_id.in_(found)).order_by(stations.c.station_id))
    plugs = _plugs(connection, found)
    return [{**row._mapping, "connectors": plugs.get(row.station_id, [])} for row in rows.all()]


def find(connection: Connection, station_id: str) -> Fields | None:
    """Return a station with its connectors."""
    row = connection.execute(select(stations).where(stations.c.station_id == station_id)).first()
    if row is None:
        return None
    return {**row._mapping, "connectors": _plugs(connection, [station_id]).get(station_id, [])}


def count_evses(connection: Connection, station_id: str) -> int:
    """Return the number of EVSEs that a station has reported, at least 1."""
    here = select(func.count(connectors.c.evse_id.distinct())).where(connectors.c.station_id == station_id)
    reported: int = connection.execute(here).scalar_one()
    return max(1, reported)


def is_free(connection: Connection, station_id: str, evse_id: int, since_ms: int, now_ms: int) -> bool:
    """Return whether all connectors of an EVSE have been reported Available since a time (UTC ms), by a station that
    has been connected long enough, with breaks since then, too, to have delivered what it kept."""
    states = connection.execute(
        select(connectors.c.status, connectors.c.changed_ms).where(
            (connectors.c.station_id == station_id) & (connectors.c.evse_id == evse_id)
        )
    ).all()
    if not states or any(status != "Available" or changed_ms <= since_ms for status, changed_ms in states):
        return False
    times = select(stations.c.connected_ms, stations.c.away_ms).where(stations.c.station_id == station_id)
    connected_ms, away_ms = connection.execute(times).one()
    if connected_ms is None:  # its first connection since this is stored has just begun
        return False
    past, absence = connector_history.c, station_absences.c
    freed = select(func.max(past.at_ms)).where((past.station_id == station_id) & (past.evse_id == evse_id))
    freed_ms = connection.execute(freed.where(past.at_ms > since_ms)).scalar()
    from_ms = connected_ms if freed_ms is None else min(connected_ms, max(away_ms or 0, freed_ms))
    gone = select(absence.from_ms, absence.to_ms)
    gone = gone.where((absence.station_id == station_id) & (absence.to_ms > from_ms))
    away = sum(to_ms - max(left_ms, from_ms) for left_ms, to_ms in connection.execute(gone))
    here_ms: int = now_ms - from_ms - away
    return here_ms >= _DELIVERED_MS


def _plugs(connection: Connection, station_ids: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for row in connection.execute(
        select(connectors)
        .where(connectors.c.station_id.in_(station_ids))
        .order_by(connectors.c.evse_id, connectors.c.connector_id)
    ):
        register = dict(row._mapping)
        found.setdefault(register.pop("station_id"), []).append(register)
    return found


def faulted_evses(connection: Connection, station_id: str) -> frozenset[int]:
    """Return the EVSEs of a station that have a faulted connector."""
    column = connectors.c
    query = select(column.evse_id).where((column.status == "Faulted") & (column.station_id == station_id))
    return frozenset(connection.execute(query).scalars())


def faulted_of(connection: Connection, names: Sequence[str]) -> set[str]:
    """Return those of these stations that have a faulted connector."""
    column = connectors.c
    query = select(column.station_id).where((column.status == "Faulted") & column.station_id.in_(names)).distinct()
    return set(connection.execute(query).scalars())
