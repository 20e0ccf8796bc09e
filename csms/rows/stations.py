"""Stations, their connectors, who may charge, and what stations report."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from csms.tables import connectors, stations


def touch(connection: Connection, station_id: str, protocol: str, now_ms: int) -> str:
    """Note that a station is connected; return the boot status it had ("" for one that never booted)."""
    status: str | None = connection.execute(
        select(stations.c.boot_status).where(stations.c.station_id == station_id)
    ).scalar()
    if status is None:
        connection.execute(
            insert(stations).values(station_id=station_id, first_seen_ms=now_ms, last_seen_ms=now_ms, protocol=protocol)
        )
        return ""
    connection.execute(
        update(stations).where(stations.c.station_id == station_id).values(last_seen_ms=now_ms, protocol=protocol)
    )
    return status


def save_seen(connection: Connection, seen: Mapping[str, int]) -> None:
    """Note when stations were last heard (UTC, ms)."""
    here = stations.c.station_id == bindparam("known")
    work = update(stations).where(here).values(last_seen_ms=bindparam("heard_ms"))
    connection.execute(work, [{"known": station_id, "heard_ms": at_ms} for station_id, at_ms in sorted(seen.items())])


def save_boot(connection: Connection, station_id: str, facts: Mapping[str, Any], now_ms: int) -> bool:
    """Note a BootNotification; return whether the station has other firmware than before. `facts`: columns."""
    known = stations.c.station_id == station_id
    before = connection.execute(select(stations.c.firmware).where(known)).scalar()
    connection.execute(update(stations).where(known).values(last_seen_ms=now_ms, booted_ms=now_ms, **facts))
    return bool(before != facts.get("firmware", before))


def save_signal_version(connection: Connection, station_id: str, version: int) -> None:
    """Note which grid signal a station has taken."""
    connection.execute(update(stations).where(stations.c.station_id == station_id).values(signal_version=version))


def save_connector(
    connection: Connection, station_id: str, evse_id: int, connector_id: int, status: str, at_ms: int
) -> None:
    """Note a connector's status, unless a newer one is known."""
    key = (
        (connectors.c.station_id == station_id)
        & (connectors.c.evse_id == evse_id)
        & (connectors.c.connector_id == connector_id)
    )
    changed_ms = connection.execute(select(connectors.c.changed_ms).where(key)).scalar()
    if changed_ms is None:
        connection.execute(
            insert(connectors).values(
                station_id=station_id,
                evse_id=evse_id,
                connector_id=connector_id,
                status=status,
                changed_ms=at_ms,
            )
        )
    elif changed_ms <= at_ms:
        connection.execute(update(connectors).where(key).values(status=status, changed_ms=at_ms))


def list_page(connection: Connection, after: str = "", limit: int = 1000) -> list[dict[str, Any]]:
    """Return stations with their connectors, by identity: at most `limit` of those that come after `after`."""
    rows = connection.execute(
        select(stations).where(stations.c.station_id > after).order_by(stations.c.station_id).limit(limit)
    ).all()
    plugs = _plugs(connection, [row.station_id for row in rows])
    return [{**row._mapping, "connectors": plugs.get(row.station_id, [])} for row in rows]


def find(connection: Connection, station_id: str) -> dict[str, Any] | None:
    """Return a station with its connectors."""
    row = connection.execute(select(stations).where(stations.c.station_id == station_id)).first()
    if row is None:
        return None
    return {**row._mapping, "connectors": _plugs(connection, [station_id]).get(station_id, [])}


def _plugs(connection: Connection, station_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(
        select(connectors)
        .where(connectors.c.station_id.in_(station_ids))
        .order_by(connectors.c.evse_id, connectors.c.connector_id)
    ):
        plug = dict(row._mapping)
        found.setdefault(plug.pop("station_id"), []).append(plug)
    return found
