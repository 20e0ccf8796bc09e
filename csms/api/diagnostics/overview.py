"""What all stations and transactions do now, in figures."""

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import get
from csms.db.queries import overview as rows
from csms.domain.security.access import Permission


class StationsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """All stations: how many are known and connected, and connectors by status. `undecided` wait for admission."""

    known: int
    connected: int
    undecided: int
    connectors: dict[str, int]
    faulted: tuple[str, ...]
    """Stations with a faulted connector: at most 20."""


class TransactionsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """Running transactions: how many, how many of them feed back, and power (W) into and out of vehicles."""

    active: int
    feeding_back: int
    import_w: int
    export_w: int


@get("/overview/stations", Permission.READ_STATIONS)
async def read_stations_overview(call: Call) -> StationsOverview:
    """Return what all stations do."""
    found = await call.run(rows.stations_overview)
    return StationsOverview(
        known=found.known,
        connected=len(call.services.connections.connected()),
        undecided=found.undecided,
        connectors=found.connectors,
        faulted=found.faulted,
    )


@get("/overview/transactions", Permission.READ_TRANSACTIONS)
async def read_transactions_overview(call: Call) -> TransactionsOverview:
    """Return what all running transactions do, by the last power of each."""
    powers = await call.run(rows.powers)
    return TransactionsOverview(
        active=len(powers),
        feeding_back=sum(power < 0 for power in powers),
        import_w=round(sum(power for power in powers if power > 0)),
        export_w=round(-sum(power for power in powers if power < 0)),
    )


OPERATIONS = (read_stations_overview, read_transactions_overview)
