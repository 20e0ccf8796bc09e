"""Records that a sink has not got yet. A row is deleted once the sink has them, so a sink goes on where it was.

Records of a vehicle are handed out by (boot, seq): those behind a gap, also of an earlier boot, wait for it, for a
limited time. What comes after that, behind later ones, is marked as late.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, and_, delete, exists, func, or_, select, text, tuple_

from csms.db.queries.telemetry_values import numbers_in, within_run
from csms.db.tables import telemetry, telemetry_marks, telemetry_pending, telemetry_sink_positions
from csms.db.telemetry_seal import seal_of
from csms.domain.diagnostics.sink_records import StoredRecord

GAP_MS: Final = 60_000
"""How long records wait for a gap before them."""

MAX_RUNS: Final = 500
MAX_RECORDS: Final = 5000
"""Runs and records of one batch; a single run is never split, so there may be a run more."""


_ADVANCE: Final = text(
    "INSERT INTO telemetry_sink_positions (sink, ev, boot, seq) VALUES (:sink, :ev, :boot, :seq) "
    "ON CONFLICT (sink, ev) DO UPDATE SET boot = excluded.boot, seq = excluded.seq "
    "WHERE (excluded.boot, excluded.seq) > (telemetry_sink_positions.boot, telemetry_sink_positions.seq)"
)

_VEHICLES: Final = 150  # per query: SQLite allows 999 variables in old builds


class Batch(msgspec.Struct, frozen=True):
    """What a sink gets next: vehicles to erase, then records, by (ev, boot, seq). `runs`: the rows to delete then.

    `lost` records were deleted for their age before the sink could get them.
    """

    runs: tuple[int, ...]
    erased: tuple[str, ...] = ()
    records: tuple[StoredRecord, ...] = ()
    lost: int = 0


def next_batch(connection: Connection, sink: str, now_ms: int) -> Batch | None:
    """Return the oldest records that a sink has not got; None when there are none."""
    run, mark = telemetry_pending.c, telemetry_marks.c
    before, its = telemetry_pending.alias(), telemetry_marks.alias()
    there = and_(before.c.sink == sink, before.c.ev == run.ev, before.c.boot < run.boot)
    recent = before.c.received_ms > now_ms - GAP_MS
    waits = exists().where(there, recent, its.c.ev == before.c.ev, its.c.boot == before.c.boot)
    behind_gap = waits.where(before.c.last_seq > its.c.contiguous)  # of an earlier boot
    in_order = and_(run.last_seq <= mark.contiguous, ~behind_gap)
    ready = or_(run.boot == 0, in_order, run.received_ms <= now_ms - GAP_MS)
    runs = (
        select(telemetry_pending)
        .outerjoin(telemetry_marks, and_(mark.ev == run.ev, mark.boot == run.boot))
        .where(run.sink == sink, ready)
    )
    found = connection.execute(runs.order_by(run.id).limit(MAX_RUNS)).all()
    if not found:
        return None
    if found[0].boot == 0:  # whatever came before it was handed out before
        return Batch(runs=(found[0].id,), erased=(found[0].ev,))
    last: dict[str, tuple[int, int]] = {}
    for each in _most(takewhile(lambda each: each.boot != 0, found)):
        last[each.ev] = max((each.boot, each.last_seq), last.get(each.ev, (0, 0)))
    through: list[Any] = []  # these, and what arrived later, but belongs before them
    ends = list(last.items())
    for start in range(0, len(ends), _VEHICLES):
        some = ends[start : start + _VEHICLES]
        here = (and_(run.ev == ev, run.boot > 0, tuple_(run.boot, run.first_seq) <= tuple_(*end)) for ev, end in some)
        by_key = runs.where(or_(*here)).order_by(run.ev, run.boot, run.first_seq)
        through += connection.execute(by_key.limit(MAX_RECORDS)).all()
    places = {ev: place for place, ev in enumerate(last)}  # the vehicle of the oldest run goes first
    chosen = _most(sorted(through, key=lambda each: (places[each.ev], each.boot, each.first_seq)))
    ids = tuple(sorted(each.id for each in chosen))
    records = _marked(connection, sink, _records(connection, ids))
    return Batch(ids, (), records, sum(map(_length, chosen)) - len(records))


def _length(run: Any) -> int:
    length: int = run.last_seq - run.first_seq + 1
    return length


def _most(runs: Iterable[Any]) -> list[Any]:
    """Return the first runs, until they are `MAX_RUNS` or have `MAX_RECORDS`."""
    chosen: list[Any] = []
    number = 0
    for each in runs:
        if number >= MAX_RECORDS or len(chosen) == MAX_RUNS:
            break
        chosen.append(each)
        number += _length(each)
    return chosen


def _records(connection: Connection, runs: Sequence[int]) -> tuple[StoredRecord, ...]:
    record = telemetry.c
    query = select(record.ev, record.boot, record.seq, record.at_ms, record.context, record.document).join(
        telemetry_pending, within_run()
    )
    found: dict[tuple[str, int, int], StoredRecord] = {}
    seal = seal_of(connection)
    for start in range(0, len(runs), 250):
        for row in connection.execute(query.where(telemetry_pending.c.id.in_(runs[start : start + 250]))).all():
            document = seal.find(connection, row.document, row.ev, row.boot, row.seq)
            if document is None:
                continue
            each = StoredRecord(row.ev, row.boot, row.seq, row.at_ms, row.context, numbers_in(document), document)
            found[each.key] = each
    return tuple(found[key] for key in sorted(found))


def _marked(connection: Connection, sink: str, records: Sequence[StoredRecord]) -> tuple[StoredRecord, ...]:
    """Return records with those marked as late that come after higher ones."""
    position = telemetry_sink_positions.c
    reached: dict[str, tuple[int, int]] = {}
    evs = sorted({each.ev for each in records})
    for start in range(0, len(evs), _VEHICLES):
        query = select(telemetry_sink_positions).where(
            position.sink == sink, position.ev.in_(evs[start : start + _VEHICLES])
        )
        reached |= {row.ev: (row.boot, row.seq) for row in connection.execute(query)}
    return tuple(
        msgspec.structs.replace(each, late=True) if each.key[1:] < reached.get(each.ev, (0, 0)) else each
        for each in records
    )


def backlogs(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return for each sink with waiting records how many there are, and when the oldest arrived (ms since 1970)."""
    run = telemetry_pending.c
    records = func.sum(run.last_seq - run.first_seq + 1)
    query = select(run.sink, records.label("records"), func.min(run.received_ms).label("since")).group_by(run.sink)
    return {row.sink: (int(row.records), row.since) for row in connection.execute(query)}


def delivered(connection: Connection, sink: str, batch: Batch) -> None:
    """Note that a sink has got a batch."""
    for ev in batch.erased:
        position = telemetry_sink_positions.c
        connection.execute(delete(telemetry_sink_positions).where(position.sink == sink, position.ev == ev))
    reached = {each.ev: each for each in batch.records}
    if reached:
        rows = [{"sink": sink, "ev": ev, "boot": each.boot, "seq": each.seq} for ev, each in reached.items()]
        connection.execute(_ADVANCE, rows)
    for start in range(0, len(batch.runs), 250):
        some = batch.runs[start : start + 250]
        connection.execute(delete(telemetry_pending).where(telemetry_pending.c.id.in_(some)))
