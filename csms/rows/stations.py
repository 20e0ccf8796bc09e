"""Stations, their connectors, who may charge, and what stations report."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from csms.core.authorize import Token
from csms.tables import connectors, reports, stations, tokens


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


def seen(connection: Connection, station_id: str, now_ms: int) -> None:
    """Note a heartbeat."""
    connection.execute(update(stations).where(stations.c.station_id == station_id).values(last_seen_ms=now_ms))


def save_boot(connection: Connection, station_id: str, facts: Mapping[str, Any], now_ms: int) -> None:
    """Note a BootNotification. `facts`: columns of `stations`."""
    connection.execute(
        update(stations)
        .where(stations.c.station_id == station_id)
        .values(last_seen_ms=now_ms, booted_ms=now_ms, **facts)
    )


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


def list_all(connection: Connection) -> list[dict[str, Any]]:
    """Return every station with its connectors, by identity."""
    plugs: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(select(connectors).order_by(connectors.c.evse_id, connectors.c.connector_id)):
        plug = dict(row._mapping)
        plugs.setdefault(plug.pop("station_id"), []).append(plug)
    return [
        {**row._mapping, "connectors": plugs.get(row.station_id, [])}
        for row in connection.execute(select(stations).order_by(stations.c.station_id))
    ]


def add_report(connection: Connection, station_id: str, action: str, document: bytes, now_ms: int) -> None:
    """Keep what a station reported (NotifyEvent, SecurityEventNotification, ...), as JSON."""
    connection.execute(
        insert(reports).values(station_id=station_id, action=action, received_ms=now_ms, document=document.decode())
    )


def replace_tokens(connection: Connection, entries: Iterable[Token]) -> None:
    """Make the configured tokens the only ones."""
    rows = [
        {
            "token_type": token.type,
            "id_token": token.id_token,
            "status": token.status,
            "energy_transfer": msgspec.json.encode(token.energy_transfer).decode(),
        }
        for token in entries
    ]
    connection.execute(delete(tokens))
    if rows:
        connection.execute(insert(tokens), rows)


def find_token(connection: Connection, token_type: str, id_token: str) -> Token | None:
    """Return a token by its type and normalised identifier."""
    row = connection.execute(
        select(tokens).where((tokens.c.token_type == token_type) & (tokens.c.id_token == id_token))
    ).first()
    if row is None:
        return None
    return Token(row.token_type, row.id_token, row.status, tuple(msgspec.json.decode(row.energy_transfer)))
