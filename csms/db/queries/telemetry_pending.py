"""Records that a sink has not got yet. A row is deleted once the sink has them, so a sink goes on where it was.

Records of a vehicle are handed out by (boot, seq): those behind a gap wait for it, for a limited time.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, and_, delete, or_, select

from csms.db.queries.telemetry_values import column_of, within_run
from csms.db.tables import telemetry, telemetry_marks, telemetry_pending
from csms.db.tables.telemetry import VALUES
from csms.domain.diagnostics.sink_records import StoredRecord

GAP_MS: Final = 60_000
"""How long records wait for a gap before them."""

MAX_RUNS: Final = 500
MAX_RECORDS: Final = 5000
"""Runs and records of one batch; a single run is never split, so there may be a run more."""


_BOOTS: Final = 250  # per query: SQLite allows 999 variables in old builds


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
    ready = or_(run.boot == 0, run.last_seq <= mark.contiguous, run.received_ms <= now_ms - GAP_MS)
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
    oldest = _most(takewhile(lambda each: each.boot != 0, found))
    last: dict[tuple[str, int], int] = {}
    for each in oldest:
        last[each.ev, each.boot] = max(each.last_seq, last.get((each.ev, each.boot), 0))
    before: list[Any] = []  # these, and what arrived later, but belongs before them
    ends = list(last.items())
    for start in range(0, len(ends), _BOOTS):
        some = ends[start : start + _BOOTS]
        here = (and_(run.ev == ev, run.boot == boot, run.first_seq <= end) for (ev, boot), end in some)
        in_order = runs.where(or_(*here)).order_by(run.ev, run.boot, run.first_seq)
        before += connection.execute(in_order.limit(MAX_RECORDS)).all()
    places = {boot: place for place, boot in enumerate(last)}  # the boot of the oldest run goes first
    chosen = _most(sorted(before, key=lambda each: (places[each.ev, each.boot], each.first_seq)))
    ids = tuple(sorted(each.id for each in chosen))
    records = _records(connection, ids)
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
    signals = tuple(VALUES)
    record = telemetry.c
    query = select(
        record.ev, record.boot, record.seq, record.at_ms, record.context, record.document, *map(column_of, signals)
    ).join(telemetry_pending, within_run())
    found: dict[tuple[str, int, int], StoredRecord] = {}
    for start in range(0, len(runs), 250):
        for row in connection.execute(query.where(telemetry_pending.c.id.in_(runs[start : start + 250]))):
            numbers = zip(signals, row[6:], strict=True)
            values = {name: value for name, value in numbers if value is not None}
            each = StoredRecord(row.ev, row.boot, row.seq, row.at_ms, row.context, values, row.document)
            found[each.key] = each
    return tuple(found[key] for key in sorted(found))


def delivered(connection: Connection, runs: Sequence[int]) -> None:
    """Note that a sink has got a batch."""
    for start in range(0, len(runs), 250):
        connection.execute(delete(telemetry_pending).where(telemetry_pending.c.id.in_(runs[start : start + 250])))
