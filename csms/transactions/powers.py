"""The power of running transactions, and what meters at grid connections read."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from csms.booking import held
from csms.db.bulk import find_rows
from csms.transactions.events import read_samples
from csms.transactions.rules import Dated, Sample, flowing_w
from csms.transactions.tables import grid_meters, transaction_events, transactions
from v2g import typed_json
from v2g.hardware.energy_manager.commands import ConnectionReading

_FEW: Final = 100
"""So many stations are named in a query."""


FRESH_MS: Final = 900_000
"""A power that was reported longer ago is unknown where it is to be that of now: stations send one each 15 min or more
often."""


class RunningPower(msgspec.Struct, frozen=True):
    """What the last events of a running transaction say: power, W, negative out of the vehicle, charge, %, its state,
    and the EVSE's phases in use; its power was received at `received_ms` (UTC), or, without one, its last message."""

    station_id: str
    transaction_id: str
    evse_id: int | None = None
    power_w: Dated | None = None
    soc: Dated | None = None
    charging_state: Dated | None = None
    power_ms: int = 0
    lines: str = ""
    received_ms: int = 0

    @property
    def watts(self) -> Decimal | None:
        """The power, None where it is unknown."""
        return flowing_w(self.power_w, self.charging_state)

    @property
    def rests(self) -> bool:
        """Whether no energy flows by its state, which is newer than its power."""
        return flowing_w(None, self.charging_state) == self.watts == 0

    def without_power(self) -> "RunningPower":
        """Return it with an unknown power."""
        return msgspec.structs.replace(self, power_w=None, charging_state=None)


class PowerFlow(NamedTuple):
    """The power of all running transactions, W, negative out of the vehicles: the sum of those whose power is known,
    and how many others there are."""

    known_w: int
    unknown: int

    @property
    def watts(self) -> int | None:
        """The power; None where a part of it is unknown."""
        return None if self.unknown else self.known_w


_decode = typed_json.decoder(RunningPower).decode


_decode_reading = typed_json.decoder(ConnectionReading).decode


def flow(connection: Connection, since_ms: int = 0) -> PowerFlow:
    """Return the power of all running transactions by the last readings received since a time (UTC ms)."""
    return flow_of([each.watts for each in powers(connection, since_ms=since_ms)])


def connection_readings(connection: Connection, since_ms: int) -> dict[str, ConnectionReading]:
    """Return what meters at grid connections read, by the station, the latest reading last."""
    there = grid_meters.c
    query = select(grid_meters).where(there.received_ms >= since_ms).order_by(there.received_ms)
    return {
        row.station_id: msgspec.structs.replace(_decode_reading(row.reading), power_w=row.power_w)
        for row in connection.execute(query)
    }


def samples_with_power(
    connection: Connection, running: Iterable[RunningPower]
) -> dict[tuple[str, str], Sequence[Sample]]:
    """Return what was measured with the last power of transactions, by station and id."""
    keys = [
        {"station_id": each.station_id, "transaction_id": each.transaction_id, "seq_no": each.power_w.seq_no}
        for each in running
        if each.power_w is not None
    ]
    rows = find_rows(connection, transaction_events, ("station_id", "transaction_id", "samples"), keys)
    return {(row.station_id, row.transaction_id): read_samples(row.samples) for row in rows}


def flow_of(powers: Sequence[Decimal | None]) -> PowerFlow:
    """Return the sum of powers, W, None for an unknown one."""
    known = [each for each in powers if each is not None]
    return PowerFlow(round(sum(known)), len(powers) - len(known))


def powers(connection: Connection, only: frozenset[str] | None = None, since_ms: int = 0) -> list[RunningPower]:
    """Return the last power of each running transaction, or only of these stations.

    One that was not read since a time (UTC ms) is unknown, whatever else its station has sent, as is more than its EVSE
    can have: one meter's error or lie changes no sum (R194).
    """
    running = transactions.c.ended_ms.is_(None) & transactions.c.active.is_(True)  # the first has an index
    query = select(transactions.c.document, transactions.c.heard_ms).where(running)
    if only is not None and len(only) <= _FEW:
        query = query.where(transactions.c.station_id.in_(only))
    decoded = (
        msgspec.structs.replace(each, received_ms=each.power_ms or heard_ms)
        for each, heard_ms in ((_decode(row.document), row.heard_ms) for row in connection.execute(query))
    )
    found = [
        each if each.received_ms >= since_ms or each.rests else each.without_power()
        for each in decoded
        if only is None or each.station_id in only
    ]
    rated = held.ratings(connection, {(each.station_id, each.evse_id) for each in found if each.watts})
    return [
        each if not each.watts or rated[each.station_id, each.evse_id].permits(each.watts) else each.without_power()
        for each in found
    ]
