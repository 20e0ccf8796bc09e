"""What is installed in vehicles: of each part what the record with the highest (boot, seq) says."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select, text, tuple_

from csms.db.tables import vehicle_firmware
from csms.domain.diagnostics.vehicle_firmware import installed_in
from v2g.telemetry.signals import Record

_KEEP: Final = text(
    "INSERT INTO vehicle_firmware (ev, part, boot, seq, at_ms, hardware, version, number, failed) "
    "VALUES (:ev, :part, :boot, :seq, :at_ms, :hardware, :version, :number, :failed) "
    "ON CONFLICT (ev, part) DO UPDATE SET boot = excluded.boot, seq = excluded.seq, at_ms = excluded.at_ms, "
    "hardware = excluded.hardware, version = excluded.version, number = excluded.number, failed = excluded.failed "
    "WHERE (vehicle_firmware.boot, vehicle_firmware.seq) < (excluded.boot, excluded.seq)"
)


def keep(connection: Connection, records: Iterable[Record]) -> None:
    """Store what new records say, in the order of vehicles: so nodes wait for each other, and never in a circle."""
    if found := installed_in(records):
        connection.execute(_KEEP, [msgspec.structs.asdict(each) for each in found])


def parts(
    connection: Connection, evs: Sequence[str] | None, limit: int, after: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return parts with what is installed there, by vehicle and part; of some vehicles (`evs`), or of all."""
    table = vehicle_firmware.c
    key = table.ev, table.part
    query = select(vehicle_firmware).order_by(*key).limit(limit)
    if evs is not None:
        query = query.where(table.ev.in_(evs))
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    return [dict(row._mapping) for row in connection.execute(query)]


def counts(connection: Connection, evs: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return how many parts have the same firmware, most first; of some vehicles (`evs`), or of all."""
    table, vehicles = vehicle_firmware.c, func.count().label("vehicles")
    kind = table.part, table.hardware, table.version, table.number, table.failed
    query = select(*kind, vehicles).group_by(*kind).order_by(vehicles.desc(), *kind)
    if evs is not None:
        query = query.where(table.ev.in_(evs))
    return [dict(row._mapping) for row in connection.execute(query)]
