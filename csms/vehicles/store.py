"""Values of vehicles: ranges by signal and time, routes, aggregates, latest states; and their erasure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, and_, delete, func, insert, or_, select, text, tuple_

from csms.batteries import store as batteries
from csms.db.base import AnyRow, page
from csms.db.bulk import find_rows
from csms.telemetry import tables
from csms.telemetry.seal import seal_of
from csms.vehicles.rules import VehicleState, decode_state, encode_state, installed_in, join
from v2g import typed_json
from v2g.telemetry.signals import LATITUDE, LONGITUDE, CellSamples, Record
from v2g.typed_json import Fields

STEP: Final = 200
"""Runs of consecutive records aggregated in one transaction."""

ERASED_STEP: Final = 5000
"""Records erased in one transaction."""

Place = tuple[int, int, int]
"""(at_ms, boot, seq): the position of a record in a range."""


class _Signals(msgspec.Struct, frozen=True):
    signals: dict[str, float] = {}


class _Cells(msgspec.Struct, frozen=True):
    cells: CellSamples | None = None


_signals = typed_json.decoder(_Signals).decode
_cells = typed_json.decoder(_Cells).decode


def column_of(signal: str) -> Column[float]:
    """Return the column with a signal's values. Raises KeyError for an unknown one."""
    return tables.telemetry.c[tables.VALUES[signal]]


def has_one_of(signals: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a record has a value of one of the signals. Raises KeyError for an unknown one."""
    bits = sum(tables.BITS[signal] for signal in signals)
    return or_(*(column_of(signal).is_not(None) for signal in signals), tables.telemetry.c.present.op("&")(bits) != 0)


def document_of(connection: Connection, row: AnyRow) -> bytes:
    """Return a record's JSON. Raises StoreError."""
    return seal_of(connection).open(connection, row.document, row.ev, row.boot, row.seq)


def numbers_in(document: bytes) -> dict[str, float]:
    """Return the values of a record's JSON by signal."""
    return _signals(document).signals


def within_run() -> ColumnElement[bool]:
    """Return the condition that a record of `telemetry` is in the run of a row of `telemetry_pending`."""
    run, record = tables.telemetry_pending.c, tables.telemetry.c
    return and_(record.ev == run.ev, record.boot == run.boot, record.seq >= run.first_seq, record.seq <= run.last_seq)


def values(
    connection: Connection, ev: str, signals: Sequence[str], span_ms: tuple[int, int], limit: int, after: Place | None
) -> list[Fields]:
    """Return records with a value of one of the signals, oldest first: from the first time to before the second."""
    table = tables.telemetry.c
    place = table.at_ms, table.boot, table.seq
    query = (
        select(table.ev, *place, table.context, table.document)
        .where(table.ev == ev, table.at_ms >= span_ms[0], table.at_ms < span_ms[1])
        .where(has_one_of(signals))
        .order_by(*place)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(*place) > tuple_(*after))
    found = []
    for row in connection.execute(query).all():
        numbers = numbers_in(document_of(connection, row))
        values = {name: numbers[name] for name in signals if name in numbers}
        found.append({"at_ms": row.at_ms, "boot": row.boot, "seq": row.seq, "context": row.context, "values": values})
    return found


def cell_samples(
    connection: Connection, ev: str, span_ms: tuple[int, int], limit: int, after: Place | None
) -> list[dict[str, object]]:
    """Return records with samples of single cells, oldest first: from the first time to before the second."""
    table, found = tables.telemetry.c, list[Fields]()
    place = table.at_ms, table.boot, table.seq
    without_values = or_(
        table.present == 0, and_(*(tables.telemetry.c[name].is_(None) for name in ("present", *tables.VALUES.values())))
    )
    while len(found) < limit:
        query = (
            select(table.ev, *place, table.document)
            .where(table.ev == ev, table.at_ms >= span_ms[0], table.at_ms < span_ms[1], without_values)
            .order_by(*place)
            .limit(STEP)
        )
        if after is not None:
            query = query.where(tuple_(*place) > tuple_(*after))
        records = connection.execute(query).all()
        for row in records:
            after = row.at_ms, row.boot, row.seq
            cells = _cells(document_of(connection, row)).cells
            if cells is not None and len(found) < limit:
                found.append({"at_ms": row.at_ms, "boot": row.boot, "seq": row.seq, "cells": cells})
        if len(records) < STEP:
            break
    return found


def route(connection: Connection, ev: str, span_ms: tuple[int, int], limit: int, after: Place | None) -> list[Fields]:
    """Return the positions of a vehicle, oldest first.

    A record has only the coordinate that has changed; the other one is that of the record before.
    """
    found = values(connection, ev, (LATITUDE, LONGITUDE), span_ms, limit, after)
    if not found:
        return []
    first = found[0]
    begin = first["at_ms"], first["boot"], first["seq"]
    known = {name: _value_before(connection, ev, name, begin) for name in (LATITUDE, LONGITUDE)}
    points = []
    for each in found:
        known |= each["values"]
        point = {"latitude": known[LATITUDE], "longitude": known[LONGITUDE]}
        points.append({"at_ms": each["at_ms"], "boot": each["boot"], "seq": each["seq"], **point})
    return points


def _value_before(connection: Connection, ev: str, signal: str, place: Place) -> float | None:
    table = tables.telemetry.c
    order = table.at_ms, table.boot, table.seq
    query = select(table.ev, *order, table.document).where(
        table.ev == ev, has_one_of((signal,)), tuple_(*order) < tuple_(*place)
    )
    row = connection.execute(query.order_by(*(each.desc() for each in order)).limit(1)).one_or_none()
    return None if row is None else numbers_in(document_of(connection, row)).get(signal)


def save_states(connection: Connection, states: Iterable[VehicleState], changed_ms: Mapping[str, int]) -> None:
    """Store latest states, joined with those that are stored, which another node may have written, and when each
    vehicle's changed, by our clock."""
    new = {each.ev: each for each in states}
    evs = sorted(new)
    given = [{"ev": ev} for ev in evs]
    for row in find_rows(connection, tables.telemetry_states, ("ev", "document"), given, for_update=True):
        if (state := _state(connection, row)) is not None:
            new[row.ev] = join(state, new[row.ev])
    if new:
        seal = seal_of(connection)
        rows = [(ev, changed_ms[ev], seal.seal(encode_state(new[ev]), "state", ev)) for ev in evs]
        values = "%s, %s, %s" if connection.dialect.name == "postgresql" else "?, ?, ?"
        connection.exec_driver_sql(
            f"INSERT INTO telemetry_states (ev, at_ms, document) VALUES ({values}) "  # noqa: S608 - our own text
            "ON CONFLICT (ev) DO UPDATE SET at_ms = excluded.at_ms, document = excluded.document",
            rows,
        )


def _state(connection: Connection, row: AnyRow) -> VehicleState | None:
    document = seal_of(connection).find(connection, row.document, "state", row.ev)
    return None if document is None else decode_state(document)


def states(connection: Connection) -> list[tuple[VehicleState, int]]:
    """Return the stored states of all vehicles, and when each changed (ms), by our clock."""
    rows = connection.execute(select(tables.telemetry_states)).all()
    return [(state, row.at_ms) for row in rows if (state := _state(connection, row)) is not None]


def records_beyond(connection: Connection, known: Mapping[str, tuple[int, int]]) -> list[tuple[bytes, int]]:
    """Return documents of records that are newer than the (boot, seq) known of their vehicle, by its latest boot, and
    when each came (ms)."""
    marks = tables.telemetry_marks.c
    latest = select(marks.ev, func.max(marks.boot).label("boot")).group_by(marks.ev).subquery()
    query = select(marks.ev, marks.boot, marks.highest).join(
        latest, (marks.ev == latest.c.ev) & (marks.boot == latest.c.boot)
    )
    found: list[tuple[bytes, int]] = []
    for ev, boot, highest in connection.execute(query).all():
        place = known.get(ev, (0, 0))
        if (boot, highest) <= place:
            continue
        key = tables.telemetry.c.boot, tables.telemetry.c.seq
        columns = tables.telemetry.c.ev, *key, tables.telemetry.c.document, tables.telemetry.c.received_ms
        newer = select(*columns).where(tables.telemetry.c.ev == ev, tuple_(*key) > tuple_(*place))
        newest = newer.order_by(*(each.desc() for each in key)).limit(ERASED_STEP)
        rows = connection.execute(newest).all()
        seal = seal_of(connection)
        documents = ((seal.find(connection, row.document, row.ev, row.boot, row.seq), row.received_ms) for row in rows)
        found += [(document, came_ms) for document, came_ms in documents if document is not None]
    return found


def erase(connection: Connection, ev: str, before_ms: int, sinks: Sequence[str]) -> int:
    """Erase some of what a vehicle delivered until a time; return how many records, 0 once nothing is left.

    The last step also erases aggregates, latest state and what is installed, and lets the sinks erase theirs. The marks
    stay: they have numbers only, and without them a repeated delivery would bring back what was erased.
    """
    erased = 0
    for table in (tables.telemetry, tables.telemetry_quarantine):
        key = table.c.ev, table.c.boot, table.c.seq
        some = select(*key).where(table.c.ev == ev, table.c.received_ms <= before_ms).limit(ERASED_STEP)
        erased += connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
    if erased:
        return erased
    run = tables.telemetry_pending.c  # first: this waits for another node that is aggregating them
    connection.execute(delete(tables.telemetry_pending).where(run.ev == ev, run.received_ms <= before_ms))
    for other in (
        tables.telemetry_aggregates,
        tables.telemetry_segments,
        tables.telemetry_states,
        tables.vehicle_firmware,
    ):
        connection.execute(delete(other).where(other.c.ev == ev))
    batteries.erase(connection, ev)
    markers = [
        {"sink": sink, "ev": ev, "boot": 0, "first_seq": 0, "last_seq": 0, "received_ms": before_ms} for sink in sinks
    ]
    if markers:
        connection.execute(insert(tables.telemetry_pending), markers)
    return 0


def last_received_ms(connection: Connection, ev: str) -> int:
    """Return when the last of a vehicle's stored records came: after now by a clock that was set back since."""
    kept = (tables.telemetry, tables.telemetry_quarantine)
    times = [select(func.max(each.c.received_ms)).where(each.c.ev == ev) for each in kept]
    return max(connection.execute(each).scalar() or 0 for each in times)


def erase_state(connection: Connection, ev: str) -> None:
    """Erase the stored latest state of a vehicle."""
    connection.execute(delete(tables.telemetry_states).where(tables.telemetry_states.c.ev == ev))


def newest(connection: Connection, ev: str) -> tuple[int, int]:
    """Return the highest (boot, seq) of which a vehicle's records are known, (0, 0) without any."""
    marks = tables.telemetry_marks.c
    query = select(marks.boot, marks.highest).where(marks.ev == ev).order_by(marks.boot.desc()).limit(1)
    found = connection.execute(query).one_or_none()
    return (0, 0) if found is None else (found.boot, found.highest)


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
    connection: Connection, after: Sequence[str] | None, limit: int, evs: Sequence[str] | None
) -> list[dict[str, object]]:
    """Return parts with what is installed there, by vehicle and part; of some vehicles (`evs`), or of all."""
    table = tables.vehicle_firmware.c
    query = page(select(tables.vehicle_firmware), (table.ev, table.part), after, limit, rising=True)
    if evs is not None:
        query = query.where(table.ev.in_(evs))
    return [dict(row._mapping) for row in connection.execute(query)]


def counts(connection: Connection, evs: Sequence[str] | None) -> list[Fields]:
    """Return how many parts have the same firmware, most first; of some vehicles (`evs`), or of all."""
    table, vehicles = tables.vehicle_firmware.c, func.count().label("vehicles")
    kind = table.part, table.hardware, table.version, table.number, table.failed
    query = select(*kind, vehicles).group_by(*kind).order_by(vehicles.desc(), *kind)
    if evs is not None:
        query = query.where(table.ev.in_(evs))
    return [dict(row._mapping) for row in connection.execute(query)]
