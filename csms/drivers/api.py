"""Addresses of drivers' pages, for QR codes at EVSEs."""

import msgspec
from sqlalchemy import Connection, select

from csms.accounts.rules import Permission
from csms.drivers.work import evse_address
from csms.http.call import Call
from csms.http.operations import get
from csms.http.parameters import StationId
from csms.stations.tables import connectors


class DriverPage(msgspec.Struct, frozen=True, kw_only=True):
    """The page that an EVSE's QR code opens. `path` is below the console's origin (`api.origin`)."""

    evse_id: int
    path: str


@get("/stations/{station_id}/driver-pages", Permission.READ_STATIONS, tag="stations")
async def list_driver_pages(call: Call, station_id: StationId) -> tuple[DriverPage, ...]:
    """List the pages of a station's EVSEs for drivers: price, live energy and cost, receipt, without login."""

    def read(connection: Connection) -> list[int]:
        of = connectors.c
        rows = connection.execute(select(of.evse_id).where(of.station_id == station_id).distinct())
        return sorted(row.evse_id for row in rows if row.evse_id)

    found = await call.run(read)
    return tuple(DriverPage(evse_id=each, path=evse_address(call.services, station_id, each)) for each in found)
