"""Which prices each station was sent, and until when it held them: tariffs by their hash."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from csms.db.tables import price_deliveries
from csms.domain.billing.booking import PriceDelivery


def begin(connection: Connection, station_id: str, tariff: str, now_ms: int) -> None:
    """Note that a station is about to be sent prices, unless it may hold them already."""
    if connection.execute(select(price_deliveries.c.tariff).where(_open(station_id, tariff))).first() is None:
        connection.execute(insert(price_deliveries).values(station_id=station_id, tariff=tariff, sent_ms=now_ms))


def accept(connection: Connection, station_id: str, tariff: str, now_ms: int) -> None:
    """Note that a station has accepted prices: it holds no others any more."""
    there = price_deliveries.c
    fresh = _open(station_id, tariff) & there.accepted_ms.is_(None)
    connection.execute(update(price_deliveries).where(fresh).values(accepted_ms=now_ms))
    others = (there.station_id == station_id) & (there.tariff != tariff) & there.ended_ms.is_(None)
    connection.execute(update(price_deliveries).where(others).values(ended_ms=now_ms))


def refuse(connection: Connection, station_id: str, tariff: str) -> None:
    """Note that a station does not take prices, which it has not accepted before."""
    connection.execute(
        delete(price_deliveries).where(_open(station_id, tariff) & price_deliveries.c.accepted_ms.is_(None))
    )


def deliveries(
    connection: Connection, station_id: str, tariffs: Collection[str]
) -> dict[str, tuple[PriceDelivery, ...]]:
    """Return when a station was sent some tariffs; those that it never was are left out."""
    there = price_deliveries.c
    found: dict[str, tuple[PriceDelivery, ...]] = {}
    for row in connection.execute(
        select(there.tariff, there.sent_ms, there.ended_ms)
        .where((there.station_id == station_id) & there.tariff.in_(tariffs))
        .order_by(there.sent_ms)
    ):
        found[row.tariff] = (*found.get(row.tariff, ()), PriceDelivery(row.sent_ms, row.ended_ms))
    return found


def _open(station_id: str, tariff: str) -> Any:
    there = price_deliveries.c
    return (there.station_id == station_id) & (there.tariff == tariff) & there.ended_ms.is_(None)
