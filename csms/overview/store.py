"""Figures about all stations and all running transactions, and the course of power and use."""

from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, Integer, String, Table, func, select, true

from csms.admission.store import WAITING, admissions
from csms.db.base import metadata
from csms.stations.tables import connectors, stations

power_course: Final = Table(
    "power_course",
    metadata,
    Column("site_id", String(60), primary_key=True),  # "": all stations
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("import_w", BigInteger, nullable=False),
    Column("export_w", BigInteger, nullable=False),
    Column("unknown", Integer, nullable=False),
    Column("sessions", Integer, nullable=False),
    Column("evses", Integer, nullable=False),
    Column("ready", Integer, nullable=False),
    Column("import_limit_w", BigInteger),
    Column("export_limit_w", BigInteger),
    Column("base_w", BigInteger),
)
"""Every five minutes: power in and out of vehicles, sessions, EVSEs and how many of them work, limits in force,
and what the grid connection draws beside the vehicles."""


class StationFigures(NamedTuple):
    """Stations known and undecided, connectors by status, and (at most 20) stations with a faulted one."""

    known: int
    undecided: int
    connectors: dict[str, int]
    faulted: tuple[str, ...]


def stations_overview(connection: Connection, only: frozenset[str] | None = None) -> StationFigures:
    """Return figures about all stations, or only these."""

    def of(table: Table) -> ColumnElement[bool]:
        return true() if only is None else table.c.station_id.in_(only)

    known = connection.execute(select(func.count()).select_from(stations).where(of(stations))).scalar_one()
    waiting = select(func.count()).select_from(admissions).where(WAITING, of(admissions))
    status = connectors.c.status
    by_status = select(status, func.count()).where(of(connectors)).group_by(status).order_by(status)
    broken = select(connectors.c.station_id).where(status == "Faulted", of(connectors)).distinct()
    return StationFigures(
        known=known,
        undecided=connection.execute(waiting).scalar_one(),
        connectors={row.status: row[1] for row in connection.execute(by_status)},
        faulted=tuple(connection.execute(broken.order_by(connectors.c.station_id).limit(20)).scalars()),
    )


def inventory(connection: Connection, only: frozenset[str] | None = None) -> list[dict[str, object]]:
    """Return how many stations there are of each vendor, model and firmware, most first; `only`: of these stations."""
    number = func.count().label("number")
    kind = stations.c.vendor, stations.c.model, stations.c.firmware
    query = select(*kind, number).group_by(*kind).order_by(number.desc(), *kind)
    if only is not None:
        query = query.where(stations.c.station_id.in_(only))
    return [dict(row._mapping) for row in connection.execute(query)]
