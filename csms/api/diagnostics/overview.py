"""What all stations and transactions do now, in figures, and what is installed where."""

from collections.abc import Sequence

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import Page, get
from csms.api.http.paging import pages, shown
from csms.api.http.parameters import Paged
from csms.db.queries import nodes, vehicle_firmware
from csms.db.queries import overview as rows
from csms.domain.diagnostics.vehicle_firmware import Part
from csms.domain.security.access import Permission, sees
from csms.domain.transactions.transactions import plain

_MOST_BACK = 50


class StationsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """All stations: how many are known and connected, and connectors by status. `undecided` wait for admission."""

    known: int
    connected: int
    undecided: int
    connectors: dict[str, int]
    faulted: tuple[str, ...]
    """Stations with a faulted connector: at most 20."""


class FeedingBack(msgspec.Struct, frozen=True, kw_only=True):
    """A running transaction that feeds back: its power (W, below 0), and the vehicle's charge (%) where known."""

    station_id: str
    transaction_id: str
    power_w: str
    soc: str | None


class TransactionsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """Running transactions: how many, how many of them feed back, and power (W) into and out of vehicles."""

    active: int
    feeding_back: int
    import_w: int
    export_w: int
    most_back: tuple[FeedingBack, ...]
    """Transactions that feed back most: at most 50."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """How many stations report a vendor, model and firmware; empty where they report none."""

    vendor: str
    model: str
    firmware: str
    number: int


class InstalledParts(msgspec.Struct, frozen=True, kw_only=True):
    """How many vehicles say that a part of theirs has the same firmware: `version` and `number` of its release.

    A number of 0 is that with which it came; `failed` is the newest release above it that did not work there.
    """

    part: Part
    hardware: str
    version: str
    number: int
    failed: int | None
    vehicles: int


class InstalledPart(msgspec.Struct, frozen=True, kw_only=True):
    """What a vehicle said at `at_ms` about the firmware of a part, as `InstalledParts`."""

    ev: str
    part: Part
    hardware: str
    version: str
    number: int
    failed: int | None
    at_ms: int


class InstalledNode(msgspec.Struct, frozen=True, kw_only=True):
    """What is installed in a node of this back end that follows releases: as of vehicles, and which release it is
    `trying`."""

    node: str
    hardware: str
    version: str
    number: int
    failed: int | None
    trying: int | None
    at_ms: int


@get("/overview/stations", Permission.READ_STATIONS, for_sites=True)
async def read_stations_overview(call: Call) -> StationsOverview:
    """Return what all stations do."""
    connected = call.services.connections.connected()
    found = await call.run(rows.stations_overview, call.stations)
    return StationsOverview(
        known=found.known,
        connected=len(connected if call.stations is None else connected & call.stations),
        undecided=found.undecided,
        connectors=found.connectors,
        faulted=found.faulted,
    )


@get("/overview/inventory", Permission.READ_STATIONS, for_sites=True)
async def read_inventory(call: Call) -> tuple[Installed, ...]:
    """Return how many stations there are of each vendor, model and firmware, most first."""
    return shown(await call.run(rows.inventory, call.stations), tuple[Installed, ...])


@get("/overview/vehicle-inventory", Permission.READ_VEHICLES)
async def read_vehicle_inventory(call: Call) -> tuple[InstalledParts, ...]:
    """Return how many of the caller's vehicles have the same firmware in gateway or controller, most first."""
    return shown(await call.run(vehicle_firmware.counts, _evs(call)), tuple[InstalledParts, ...])


@get("/vehicle-firmware", Permission.READ_VEHICLES)
async def list_vehicle_firmware(call: Call, parameters: Paged) -> Page[InstalledPart]:
    """List what is installed in gateways and controllers of the caller's vehicles, by vehicle."""
    evs = _evs(call)
    return await pages(
        call,
        parameters,
        InstalledPart,
        tuple[str, str],
        ("ev", "part"),
        lambda connection, after, limit: vehicle_firmware.parts(connection, evs, limit, after),
    )


@get("/node-firmware", Permission.READ_METRICS)
async def list_node_firmware(call: Call, parameters: Paged) -> Page[InstalledNode]:
    """List what is installed in the nodes of this back end that follow releases, by name."""
    return await pages(call, parameters, InstalledNode, tuple[str], ("node",), nodes.nodes)


def _evs(call: Call) -> Sequence[str] | None:
    """Return the vehicles of a caller, None for all; a role that sees some signals only has none here (R113)."""
    return call.caller.only_evs if sees(call.caller, "firmware") else ()


@get("/overview/transactions", Permission.READ_TRANSACTIONS, for_sites=True)
async def read_transactions_overview(call: Call) -> TransactionsOverview:
    """Return what all running transactions do, by the last power of each."""
    running = await call.run(rows.powers, call.stations)
    powers = [each.watts for each in running]
    back = sorted((each for each in running if each.watts < 0), key=lambda each: each.watts)[:_MOST_BACK]
    return TransactionsOverview(
        active=len(powers),
        feeding_back=sum(power < 0 for power in powers),
        import_w=round(sum(power for power in powers if power > 0)),
        export_w=round(-sum(power for power in powers if power < 0)),
        most_back=tuple(
            FeedingBack(
                station_id=each.station_id,
                transaction_id=each.transaction_id,
                power_w=plain(each.watts),
                soc=None if each.soc is None else each.soc.value,
            )
            for each in back
        ),
    )
