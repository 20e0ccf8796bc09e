"""Figures about all stations and all running transactions."""

from decimal import Decimal
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, func, select

from csms.db.tables import admissions, connectors, stations, transactions
from csms.domain.transactions.transactions import Dated
from v2g import typed_json


class StationFigures(NamedTuple):
    """Stations known and undecided, connectors by status, and (at most 20) stations with a faulted one."""

    known: int
    undecided: int
    connectors: dict[str, int]
    faulted: tuple[str, ...]


class RunningPower(msgspec.Struct, frozen=True):
    """What the last events of a running transaction say: power, W, negative out of the vehicle, and charge, %."""

    station_id: str
    transaction_id: str
    power_w: Dated | None = None
    soc: Dated | None = None

    @property
    def watts(self) -> Decimal:
        """The power, 0 where it is unknown."""
        return Decimal(0) if self.power_w is None else Decimal(self.power_w.value)


_decode = typed_json.decoder(RunningPower).decode


def stations_overview(connection: Connection) -> StationFigures:
    """Return figures about all stations."""
    known = connection.execute(select(func.count()).select_from(stations)).scalar_one()
    waiting = select(func.count()).select_from(admissions).where(admissions.c.boot == "")
    by_status = select(connectors.c.status, func.count()).group_by(connectors.c.status).order_by(connectors.c.status)
    broken = select(connectors.c.station_id).where(connectors.c.status == "Faulted").distinct()
    return StationFigures(
        known=known,
        undecided=connection.execute(waiting).scalar_one(),
        connectors={row.status: row[1] for row in connection.execute(by_status)},
        faulted=tuple(connection.execute(broken.order_by(connectors.c.station_id).limit(20)).scalars()),
    )


def powers(connection: Connection) -> list[RunningPower]:
    """Return the last power of each running transaction."""
    running = transactions.c.ended_ms.is_(None) & transactions.c.active.is_(True)  # the first has an index
    rows = connection.execute(select(transactions.c.document).where(running)).scalars()
    return [_decode(row) for row in rows]
