"""Records that a sink has not got yet. A row is deleted once the sink has them, so a sink goes on where it was.

Records of a vehicle are handed out by (boot, seq): those behind a gap, also of an earlier boot, wait for it, for a
limited time. What comes after that, behind later ones, is marked as late.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import takewhile
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    String,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    tuple_,
)

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

_SOME: Final = 250  # rows that one statement names
_VEHICLES: Final = 128  # in one statement: SQLite allows 999 variables in old builds


def _ready() -> Select[Any]:
    """Return the query for the runs that `sink` may get when those `before_ms` do not wait any longer.

    Statements of this module are made once: a sink asks all the time, and to make them took longer than the database.
    """
    run, mark = telemetry_pending.c, telemetry_marks.c
    sink, before_ms = bindparam("sink", type_=String), bindparam("before_ms", type_=BigInteger)
    before, its = telemetry_pending.alias(), telemetry_marks.alias()
    there = and_(before.c.sink == sink, before.c.ev == run.ev, before.c.boot < run.boot)
    waits = exists().where(
        there, before.c.received_ms > before_ms, its.c.ev == before.c.ev, its.c.boot == before.c.boot
    )
    behind_gap = waits.where(before.c.last_seq > its.c.contiguous)  # of an earlier boot
    in_order = and_(run.last_seq <= mark.contiguous, ~behind_gap)
    return (
        select(telemetry_pending)
        .outerjoin(telemetry_marks, and_(mark.ev == run.ev, mark.boot == run.boot))
        .where(run.sink == sink, or_(run.boot == 0, in_order, run.received_ms <= before_ms))
    )


@cache
def _through(number: int) -> Select[Any]:
    """Return the query for those runs of `number` vehicles through (`boot0`, `seq0`) of `ev0` ...."""
    run = telemetry_pending.c
    ends = [
        (
            bindparam(f"ev{each}", type_=String),
            bindparam(f"boot{each}", type_=BigInteger),
            bindparam(f"seq{each}", type_=BigInteger),
        )
        for each in range(number)
    ]
    here = (and_(run.ev == ev, run.boot > 0, tuple_(run.boot, run.first_seq) <= tuple_(*end)) for ev, *end in ends)
    return _ready().where(or_(*here)).order_by(run.ev, run.boot, run.first_seq).limit(MAX_RECORDS)


_OLDEST: Final = _ready().order_by(telemetry_pending.c.id).limit(MAX_RUNS)
_RECORDS: Final = (
    select(
        telemetry.c.ev, telemetry.c.boot, telemetry.c.seq, telemetry.c.at_ms, telemetry.c.context, telemetry.c.document
    )
    .join(telemetry_pending, within_run())
    .where(telemetry_pending.c.id.in_(bindparam("runs", expanding=True)))
)
_POSITIONS: Final = select(telemetry_sink_positions).where(
    telemetry_sink_positions.c.sink == bindparam("sink"),
    telemetry_sink_positions.c.ev.in_(bindparam("evs", expanding=True)),
)
_FORGET: Final = delete(telemetry_sink_positions).where(
    telemetry_sink_positions.c.sink == bindparam("sink"), telemetry_sink_positions.c.ev == bindparam("ev")
)
_DELIVERED: Final = delete(telemetry_pending).where(telemetry_pending.c.id.in_(bindparam("runs", expanding=True)))
_BACKLOGS: Final = select(
    telemetry_pending.c.sink,
    func.sum(telemetry_pending.c.last_seq - telemetry_pending.c.first_seq + 1).label("records"),
    func.min(telemetry_pending.c.received_ms).label("since"),
).group_by(telemetry_pending.c.sink)


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
    ready = {"sink": sink, "before_ms": now_ms - GAP_MS}
    found = connection.execute(_OLDEST, ready).all()
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
        some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))  # few statements for all numbers
        here: dict[str, Any] = {}
        for number, (ev, (boot, seq)) in enumerate(some):
            here |= {f"ev{number}": ev, f"boot{number}": boot, f"seq{number}": seq}
        through += connection.execute(_through(len(some)), ready | here).all()
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
    found: dict[tuple[str, int, int], StoredRecord] = {}
    seal = seal_of(connection)
    for start in range(0, len(runs), _SOME):
        for row in connection.execute(_RECORDS, {"runs": runs[start : start + _SOME]}).all():
            document = seal.find(connection, row.document, row.ev, row.boot, row.seq)
            if document is None:
                continue
            each = StoredRecord(row.ev, row.boot, row.seq, row.at_ms, row.context, numbers_in(document), document)
            found[each.key] = each
    return tuple(found[key] for key in sorted(found))


def _marked(connection: Connection, sink: str, records: Sequence[StoredRecord]) -> tuple[StoredRecord, ...]:
    """Return records with those marked as late that come after higher ones."""
    reached: dict[str, tuple[int, int]] = {}
    evs = sorted({each.ev for each in records})
    for start in range(0, len(evs), _SOME):
        rows = connection.execute(_POSITIONS, {"sink": sink, "evs": evs[start : start + _SOME]})
        reached |= {row.ev: (row.boot, row.seq) for row in rows}
    return tuple(
        msgspec.structs.replace(each, late=True) if each.key[1:] < reached.get(each.ev, (0, 0)) else each
        for each in records
    )


def backlogs(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return for each sink with waiting records how many there are, and when the oldest arrived (ms since 1970)."""
    return {row.sink: (int(row.records), row.since) for row in connection.execute(_BACKLOGS)}


def delivered(connection: Connection, sink: str, batch: Batch) -> None:
    """Note that a sink has got a batch."""
    for ev in batch.erased:
        connection.execute(_FORGET, {"sink": sink, "ev": ev})
    reached = {each.ev: each for each in batch.records}
    if reached:
        rows = [{"sink": sink, "ev": ev, "boot": each.boot, "seq": each.seq} for ev, each in reached.items()]
        connection.execute(_ADVANCE, rows)
    for start in range(0, len(batch.runs), _SOME):
        connection.execute(_DELIVERED, {"runs": batch.runs[start : start + _SOME]})
