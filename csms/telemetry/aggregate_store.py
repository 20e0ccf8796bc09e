"""Aggregates of telemetry: added to from new records, each once; sealed as these; read in pages."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, tuple_, update

from csms.db.base import AnyRow
from csms.db.bulk import append_rows, delete_many, find_rows
from csms.db.leases import lock
from csms.telemetry.aggregates import AGGREGATES, Aggregate, Aggregation, Boot, BootSegment, Interval, SignalNumbers
from csms.telemetry.seal import seal_of
from csms.telemetry.tables import telemetry, telemetry_aggregates, telemetry_pending, telemetry_segments
from csms.vehicles.store import numbers_in, within_run
from v2g import typed_json
from v2g.typed_json import Fields

STEP: Final = 200
"""Runs of consecutive records aggregated in one transaction, and rows of one statement."""

MAX_RECORDS: Final = 2000
"""Records aggregated in one transaction, about 0.1 s, for which new ones wait in SQLite; a single run is not split."""

_COLUMNS: Final = "ev", "width_s", "at_ms", "sealed", "document"

_encode = msgspec.json.Encoder().encode
_segment = typed_json.decoder(BootSegment).decode
_interval = typed_json.decoder(dict[str, Aggregate]).decode


def aggregate_pending(connection: Connection) -> bool:
    """Add some new records to the aggregates, each once; return whether there may be more."""
    there = telemetry_pending.c
    query = select(there.id, there.first_seq, there.last_seq).where(there.sink == AGGREGATES).order_by(there.id)
    ids, number = list[int](), 0
    for run in connection.execute(query.limit(STEP).with_for_update(skip_locked=True)):
        if number < MAX_RECORDS:
            ids.append(run.id)
            number += run.last_seq - run.first_seq + 1
    if not ids:
        return False
    key = telemetry.c.ev, telemetry.c.boot, telemetry.c.seq, telemetry.c.at_ms
    records = select(*key, telemetry.c.document).join(telemetry_pending, within_run()).where(there.id.in_(ids))
    of = there.ev, there.boot
    query = select(*of).where(there.id.in_(ids)).distinct().order_by(*of)
    boots = [(row.ev, row.boot) for row in connection.execute(query)]
    lock(connection, {f"aggregates of {ev}" for ev, _ in boots})  # another node may have other runs of a vehicle
    seal = seal_of(connection)
    taken = dict[Boot, list[BootSegment]]()  # out of the database
    given = [{"ev": ev, "boot": boot} for ev, boot in boots]
    for row in sorted(find_rows(connection, telemetry_segments, ("ev", "boot", "first_seq", "document"), given)):
        document = seal.find(connection, row.document, "segment", row.ev, row.boot, row.first_seq)
        if document is not None:
            taken.setdefault((row.ev, row.boot), []).append(_segment(document))
    delete_many(connection, telemetry_segments, given)
    aggregation = Aggregation(taken)
    for row in connection.execute(records.order_by(telemetry.c.ev, telemetry.c.boot, telemetry.c.seq)).all():
        document = seal.find(connection, row.document, row.ev, row.boot, row.seq)
        if document is not None:
            aggregation.add(SignalNumbers(row.ev, row.boot, row.seq, row.at_ms, numbers_in(document)))
    aggregation.finish()
    _add_intervals(connection, aggregation.intervals)
    segments = [
        {
            "ev": ev,
            "boot": boot,
            "first_seq": each.first_seq,
            "at_ms": each.at_ms,
            "document": seal.seal(_encode(each), "segment", ev, boot, each.first_seq),
        }
        for (ev, boot), found in aggregation.segments.items()
        for each in found
    ]
    if segments:
        connection.execute(insert(telemetry_segments), segments)
    connection.execute(delete(telemetry_pending).where(there.id.in_(ids)))
    return len(ids) == STEP or number >= MAX_RECORDS


def _add_intervals(connection: Connection, intervals: Mapping[Interval, dict[str, Aggregate]]) -> None:
    """Add new values of intervals to those that are stored."""
    places, seal = sorted(intervals), seal_of(connection)
    given = [{"ev": ev, "width_s": width_s, "at_ms": at_ms} for ev, width_s, at_ms in places]
    for row in find_rows(connection, telemetry_aggregates, ("ev", "width_s", "at_ms", "document"), given):
        place = _key_of(row)
        document, new = seal.find(connection, row.document, *_name(place)), intervals[place]
        for signal, stored in _interval(document).items() if document is not None else ():
            if signal in new:
                new[signal].merge(stored)
            else:
                new[signal] = stored
    delete_many(connection, telemetry_aggregates, given)
    rows = [(*place, seal.sealing, seal.seal(_encode(intervals[place]), *_name(place))) for place in places]
    append_rows(connection, telemetry_aggregates, _COLUMNS, rows)


def seal_plain(connection: Connection) -> int:
    """Seal some aggregates that are plain, of an earlier version or configuration; return how many."""
    seal = seal_of(connection)
    if not seal.sealing:
        return 0
    plain = select(telemetry_aggregates).where(telemetry_aggregates.c.sealed.is_(False))
    rows = connection.execute(plain.limit(STEP).with_for_update(skip_locked=True)).all()
    for row in rows:
        there = _key_of(row)
        connection.execute(
            update(telemetry_aggregates)
            .where(tuple_(*telemetry_aggregates.primary_key) == there)
            .values(sealed=True, document=seal.seal(row.document, *_name(there)))
        )
    return len(rows)


def aggregates(
    connection: Connection,
    ev: str,
    signal: str,
    width_s: int,
    span_ms: tuple[int, int],
    limit: int,
    after: Sequence[int] | None,
) -> list[dict[str, object]]:
    """Return the aggregates of a signal whose intervals begin in a span of time, oldest first."""
    table, seal, found = telemetry_aggregates.c, seal_of(connection), list[Fields]()
    begin_ms, end_ms = span_ms
    if after is not None:
        begin_ms = max(begin_ms, after[0] + 1)
    while len(found) < limit:  # not every interval has every signal
        here = (table.ev == ev) & (table.width_s == width_s) & (table.at_ms >= begin_ms) & (table.at_ms < end_ms)
        rows = connection.execute(select(telemetry_aggregates).where(here).order_by(table.at_ms).limit(STEP)).all()
        for row in rows:
            each = _interval(seal.open(connection, row.document, *_name(_key_of(row)))).get(signal)
            if each is not None:
                counted = {"number": each.number, "last": each.last, "mean": each.mean, "held_s": each.held_ms / 1000}
                found.append({"at_ms": row.at_ms, "minimum": each.minimum, "maximum": each.maximum} | counted)
        if len(rows) < STEP:
            break
        begin_ms = rows[-1].at_ms + 1
    return found[:limit]


def _key_of(row: AnyRow) -> Interval:
    return row.ev, row.width_s, row.at_ms


def _name(place: Interval) -> tuple[object, ...]:
    """Return the name under which an interval is sealed."""
    return "aggregates", *place
