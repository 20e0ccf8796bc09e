"""Charging stations as the back end knows them."""

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, get
from csms.http.parameters import Paged, StationId, pages, shown
from csms.http.problems import existing
from csms.sites import store as site_store
from csms.sites.rules import site_of_stations
from csms.stations import store as rows
from csms.stations.listed import ListedStation, everything
from v2g.ocpp.quirks import QuirkName, quirks_of
from v2g.ocpp.v16.explained import lost_at
from v2g.typed_json import Fields


class Connector(msgspec.Struct, frozen=True, kw_only=True):
    """A connector and its last StatusNotification."""

    evse_id: int
    connector_id: int
    status: str
    changed_ms: int


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """A charging station. Times are ms since 1970 in UTC; texts are empty before BootNotification."""

    station_id: str
    connected: bool
    first_seen_ms: int
    last_seen_ms: int
    protocol: str
    boot_status: str
    boot_reason: str
    booted_ms: int | None
    vendor: str
    model: str
    serial_number: str
    firmware: str
    signal_version: int | None
    quirks: tuple[QuirkName, ...]
    """What is tolerated of it, by vendor, model and firmware."""
    delay_after_boot_s: float
    """How long after its boot it gets no requests, s."""
    connectors: tuple[Connector, ...]


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """What a station cannot do."""

    what: str
    why: str


class StationDetails(Station, frozen=True, kw_only=True):
    """A charging station, with what was noticed on its connection."""

    tolerated: dict[str, int]
    """Violations of OCPP that were tolerated since it connected, with their number."""
    lacks: tuple[Missing, ...]
    """What it cannot do: by its version (1.6) and make, and what it has refused as not supported since its boot."""


class WhichStations(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for stations."""

    text: Annotated[str, msgspec.Meta(max_length=48, description="Only those with this text in their identity.")] = ""
    connected: Annotated[bool | None, msgspec.Meta(description="Only those that are, or are not, connected.")] = None
    status: Annotated[
        Literal["Available", "Occupied", "Reserved", "Unavailable", "Faulted"] | None,
        msgspec.Meta(description="Only those with a connector of this status."),
    ] = None


@get("/stations", Permission.READ_STATIONS)
async def list_stations(call: Call, parameters: WhichStations) -> Page[Station]:
    """List the stations that ever connected, by identity."""
    connected = call.services.connections.connected()
    wanted = rows.StationFilter(
        text=parameters.text,
        status=parameters.status,
        connected=connected if parameters.connected else None,
        others=connected if parameters.connected is False else frozenset(),
    )

    def fetch(connection: Connection, after: tuple[str, ...] | None, limit: int) -> list[dict[str, object]]:
        found = rows.list_page(connection, after, limit, wanted)
        return [_with_quirks(call, row, connected) for row in found]

    return await pages(call, parameters, Station, tuple[str], ("station_id",), fetch)


@get("/overview/station-list", Permission.READ_STATIONS, tag="overview", for_sites=True)
async def list_every_station(call: Call) -> tuple[ListedStation, ...]:
    """List every station in a line, those first that need a person: also those that never connected."""
    connected = call.services.connections.connected()

    def read(connection: Connection) -> list[ListedStation]:
        site_of = site_of_stations(site_store.all_sites(connection))
        return everything(connection, connected, site_of, call.stations)

    return tuple(await call.run(read))


@get("/stations/{station_id}", Permission.READ_STATIONS, problems=(404,))
async def read_station(call: Call, station_id: StationId) -> StationDetails:
    """Return one station."""
    row = existing("station", await call.run(rows.find, station_id))
    connections = call.services.connections
    noticed = await connections.deviations(station_id)
    quirks = quirks_of(row["vendor"], row["model"], row["firmware"], call.services.config.ocpp.quirks)
    lost = [*(lost_at(quirks) if row["protocol"] == "ocpp1.6" else ())]
    lost += [(each, "refused as not supported since its boot") for each in noticed.refused]
    lacks = [{"what": what, "why": why} for what, why in lost]
    return shown(
        _with_quirks(call, row, connections.connected()) | {"tolerated": noticed.tolerated, "lacks": lacks},
        StationDetails,
    )


def _with_quirks(call: Call, row: Fields, connected: Collection[str]) -> Fields:
    found = quirks_of(row["vendor"], row["model"], row["firmware"], call.services.config.ocpp.quirks)
    return {
        **row, "connected": row["station_id"] in connected, "quirks": found.tolerates,
        "delay_after_boot_s": found.delay_after_boot_s,
    }  # fmt: skip
