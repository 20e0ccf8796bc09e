"""Telemetry of vehicles: records stored once, undecodable ones in quarantine, and the progress of each boot.

A new record is stored with its typed values, and a row in `telemetry_pending` for each sink that has not got it.
"""

import contextlib
from collections.abc import Iterable, Sequence
from functools import cache, partial
from itertools import takewhile
from typing import Final

import msgspec
import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.exc import DBAPIError

from csms.db.base import AnyRow, AnySelect, page
from csms.db.bulk import append_rows, delete_many, delete_rows, find_rows, update_rows
from csms.db.group_commit import LASTING
from csms.db.leases import lock
from csms.telemetry import rules
from csms.telemetry.aggregates import AGGREGATES
from csms.telemetry.seal import TelemetrySeal, seal_of
from csms.telemetry.tables import (
    BITS,
    VALUES,
    telemetry,
    telemetry_marks,
    telemetry_pending,
    telemetry_quarantine,
    telemetry_sink_positions,
    vehicle_checkpoints,
)
from csms.vehicles import store as vehicle_firmware
from csms.vehicles.store import numbers_in, within_run
from v2g import typed_json
from v2g.energy.settlement.checkpoints import Copy, encode_copy
from v2g.errors import CodecError
from v2g.telemetry.delivery import DeliveryNotice
from v2g.telemetry.signals import decode_record
from v2g.text import printable
from v2g.typed_json import Fields

RELEASE_STEP: Final = 500
"""Records in quarantine examined in one transaction."""

_MAKE: Final = sa.text(
    "INSERT INTO telemetry_marks (ev, boot, boot_id, highest, contiguous, stored, duplicates, conflicts) "
    "VALUES (:ev, :boot, :boot_id, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING"  # another node may be faster
)

_KEEP: Final = sa.text(
    "INSERT INTO vehicle_checkpoints (session_id, ev, number, received_ms, document) "
    "VALUES (:session_id, :ev, :number, :received_ms, :document) ON CONFLICT DO NOTHING"
)

_copy = typed_json.decoder(Copy).decode
_json = msgspec.json.Encoder().encode
_ranges = typed_json.decoder(list[tuple[int, int]]).decode


_SIGNALS: Final = tuple(VALUES)
_RECORD: Final = ("ev", "boot", "seq", "at_ms", "received_ms", "digest", "document", "context")
_PLAIN_COLUMNS: Final = (*_RECORD, *VALUES.values())
_SEALED_COLUMNS: Final = (*_RECORD, "present")
_PENDING: Final = ("sink", "ev", "boot", "first_seq", "last_seq", "received_ms")


class Arrival(msgspec.Struct, frozen=True):
    """A delivery, its time of arrival (UTC), and the sinks that get its new records."""

    delivery: rules.Delivery
    at_ms: int
    sinks: tuple[str, ...] = (AGGREGATES,)


class Released(msgspec.Struct, frozen=True):
    """Result of a pass over the quarantine: the `fresh` records, and where to continue (None: there were no more)."""

    fresh: tuple[rules.Prepared, ...]
    last: rules.RecordKey | None


def store(connection: sa.Connection, arrivals: list[Arrival]) -> list[rules.DeliveryOutcome]:
    """Store the new records of some deliveries."""
    progress, highest = _progress(connection, arrivals)
    keys = {key for each in arrivals for key in rules.suspects(each.delivery, progress)}
    stored: dict[rules.RecordKey, rules.StoredContent] = {}
    given = list(map(_named, sorted(keys)))
    for table in (telemetry, telemetry_quarantine):
        quarantined = table is telemetry_quarantine
        purpose = ("quarantine",) if quarantined else ()
        for row in find_rows(connection, table, ("ev", "boot", "seq", "digest", "document"), given):
            here = row.ev, row.boot, row.seq
            sealed = None if row.digest else seal_of(connection).find(connection, row.document, *purpose, *here)
            digest = row.digest if sealed is None else rules.digest_of(sealed)
            stored[here] = rules.StoredContent(digest, quarantined=quarantined)
    outcomes = [rules.judge(each.delivery, progress, stored, highest) for each in arrivals]
    pairs = list(zip(arrivals, outcomes, strict=True))
    for arrival, out in pairs:
        _keep_checkpoints(connection, out.fresh, arrival.at_ms)
    vehicle_firmware.keep(connection, (each.record for _, out in pairs for each in out.fresh))
    _append(connection, [(each, a.at_ms) for a, out in pairs for each in out.fresh])
    append_rows(connection, telemetry_pending, _PENDING, [row for a, out in pairs for row in _pending(out.fresh, a)])
    seal = seal_of(connection)
    found = [
        {
            **_named(each.key),
            "received_ms": arrival.at_ms,
            "schema_version": each.name.schema,
            "reason": each.reason,
            "digest": b"" if seal.sealing else each.digest,
            "document": seal.seal(each.sent, "quarantine", *each.key),
        }
        for arrival, out in pairs
        for each in out.quarantine
    ]
    if found:
        connection.execute(sa.insert(telemetry_quarantine), found)
    _save(connection, {boot: each for boot, each in progress.items() if each.changed})
    return outcomes


def store_each(connection: sa.Connection, arrival: Arrival) -> rules.DeliveryOutcome:
    """As `store`, element by element: a record that the database rejects goes into quarantine.

    One that it rejects there, too, is refused, and its number is missing for good: the gateway must not repeat what no
    attempt can store.
    """
    outcome = rules.DeliveryOutcome()
    for each in arrival.delivery.elements:
        try:
            outcome.add(_store_one(connection, each, arrival))
        except LASTING as error:
            ev, boot, seq = key = rules.key_of(each)
            outcome.refused.append((key, _reason(error)))
            if seq:  # not that of a notice
                with contextlib.suppress(*LASTING):
                    given_up = _store_one(connection, DeliveryNotice(ev, boot, ((seq, seq),)), arrival)
                    outcome.add(msgspec.structs.replace(given_up, missing=[]))  # reported as refused
    return outcome


def _store_one(connection: sa.Connection, element: rules.Element, arrival: Arrival) -> rules.DeliveryOutcome:
    """Store one element, or put it into quarantine. Raises one of `LASTING`."""
    alone = msgspec.structs.replace(arrival, delivery=rules.Delivery((element,), boot_ids=arrival.delivery.boot_ids))
    try:
        with connection.begin_nested():
            return store(connection, [alone])[0]
    except LASTING as error:
        if not isinstance(element, rules.Prepared):
            raise
        return _store_one(connection, rules.set_aside(element, _reason(error)), arrival)


def _reason(error: DBAPIError) -> str:
    """Return why the database rejects something, without the lines that quote it."""
    return printable(f"rejected by the database: {error.orig}".partition("\n")[0])[:200]


def _keep_checkpoints(connection: sa.Connection, fresh: Iterable[rules.Prepared], at_ms: int) -> None:
    """Store checkpoints by their session; the first of a vehicle and number stays."""
    seal = seal_of(connection)
    for each in fresh:
        checkpoint = each.record.checkpoint
        if checkpoint is UNSET:
            continue
        name = checkpoint.session_id, each.record.ev, checkpoint.number
        row = {
            "session_id": checkpoint.session_id,
            "ev": each.record.ev,
            "number": checkpoint.number,
            "received_ms": at_ms,
            "document": seal.seal(encode_copy(checkpoint), "checkpoint", *name),
        }
        connection.execute(_KEEP, row)


def find_checkpoints(connection: sa.Connection, session_id: str) -> list[tuple[str, Copy]]:
    """Return the checkpoints that vehicles delivered of a session, each with the vehicle's pseudonym."""
    there = vehicle_checkpoints.c
    columns = there.ev, there.number, there.document
    query = sa.select(*columns).where(there.session_id == session_id).order_by(there.ev, there.number)
    opened = partial(seal_of(connection).open, connection)
    rows = connection.execute(query).all()
    return [(row.ev, _copy(opened(row.document, "checkpoint", session_id, row.ev, row.number))) for row in rows]


def _append(connection: sa.Connection, items: Iterable[tuple[rules.Prepared, int]]) -> None:
    """Insert records, each with the time of its arrival."""
    seal = seal_of(connection)
    if seal.sealing:
        append_rows(connection, telemetry, _SEALED_COLUMNS, [_sealed_row(seal, *each) for each in items])
    else:
        append_rows(connection, telemetry, _PLAIN_COLUMNS, [_plain_row(*each) for each in items])


def _plain_row(item: rules.Prepared, at_ms: int) -> tuple[object, ...]:
    record = item.record
    values = map(record.signals.get, _SIGNALS)
    return record.ev, record.boot, record.seq, record.utc_ms, at_ms, item.digest, item.body, record.context, *values


def _sealed_row(seal: TelemetrySeal, item: rules.Prepared, at_ms: int) -> tuple[object, ...]:
    """Return a row without digest: that of a record with few possible values would reveal them."""
    record = item.record
    document = seal.seal(item.body, *item.key)
    present = sum(map(BITS.__getitem__, record.signals))
    return record.ev, record.boot, record.seq, record.utc_ms, at_ms, b"", document, record.context, present


def _pending(fresh: Sequence[rules.Prepared], arrival: Arrival) -> Iterable[tuple[object, ...]]:
    """Return a row for each sink and run of consecutive numbers."""
    runs: list[tuple[str, int, int, int]] = []
    for ev, boot, seq in (each.key for each in fresh):
        if runs and runs[-1][:2] == (ev, boot) and runs[-1][3] == seq - 1:
            runs[-1] = ev, boot, runs[-1][2], seq
        else:
            runs.append((ev, boot, seq, seq))
    return ((sink, *run, arrival.at_ms) for sink in arrival.sinks for run in runs)


def _progress(
    connection: sa.Connection, arrivals: Sequence[Arrival]
) -> tuple[dict[rules.Boot, rules.BootProgress], dict[str, int]]:
    """Return the progress of the boots of some deliveries, locked against other nodes until the commit, and the
    highest boot of each vehicle that has new ones or somebody else's.

    A boot without an id that is only queried is not created.
    """
    named = [(boot, each.delivery.boot_ids.get(boot, "")) for each in arrivals for boot in each.delivery.boots]
    asked = {boot for boot, _ in named}.union(*(each.delivery.boot_ids for each in arrivals))
    progress = _locked(connection, asked)
    raised = {boot[0] for boot, boot_id in named if boot_id != (progress[boot].boot_id if boot in progress else "")}
    highest: dict[str, int] = {}
    if raised:  # else two nodes could each begin a boot that is not the highest any more when it is stored
        lock(connection, (f"boots of {ev}" for ev in raised))
        progress |= _locked(connection, asked - progress.keys())  # one that another node has begun meanwhile
        # the highest boot of vehicles that have one
        of = telemetry_marks.c
        query = sa.select(of.ev, sa.func.max(of.boot).label("boot")).where(of.ev.in_(raised)).group_by(of.ev)
        highest = {row.ev: row.boot for row in connection.execute(query)}
    begun = {boot: progress[boot] for each in arrivals for boot in rules.admit(each.delivery, progress, highest)}
    without_id = {
        boot
        for arrival in arrivals
        for each in arrival.delivery.elements
        if (not isinstance(each, DeliveryNotice) or each.missing)
        and (boot := rules.boot_of(each)) not in arrival.delivery.boot_ids
    }
    new = begun | {boot: rules.BootProgress() for boot in without_id - progress.keys()}
    if new:
        made = [{"ev": ev, "boot": boot, "boot_id": each.boot_id} for (ev, boot), each in sorted(new.items())]
        connection.execute(_MAKE, made)
        progress |= _locked(connection, new)
    return {boot: rules.BootProgress() for boot in asked} | progress, highest


def _locked(connection: sa.Connection, boots: Iterable[rules.Boot]) -> dict[rules.Boot, rules.BootProgress]:
    """Return the progress of known boots, locked against other nodes until the commit."""
    columns = "arrived", "gaps", "stored", "duplicates", "conflicts", "quarantined", "missing", "boot_id"
    given = [{"ev": ev, "boot": boot} for ev, boot in sorted(boots)]
    return {
        (row.ev, row.boot): rules.BootProgress(
            rules.Numbers(_ranges(row.arrived)),
            rules.Numbers(_ranges(row.gaps)),
            stored=row.stored,
            duplicates=row.duplicates,
            conflicts=row.conflicts,
            quarantined=row.quarantined,
            lost=row.missing,
            boot_id=row.boot_id,
        )
        for row in find_rows(connection, telemetry_marks, ("ev", "boot", *columns), given, for_update=True)
    }


def _named(key: rules.RecordKey) -> Fields:
    """Return a record's key by columns."""
    return dict(zip(("ev", "boot", "seq"), key, strict=True))


def _save(connection: sa.Connection, progress: dict[rules.Boot, rules.BootProgress]) -> None:
    rows = [
        {
            "ev": ev,
            "boot": boot,
            "highest": each.arrived.highest,
            "contiguous": each.arrived.contiguous,
            "arrived": _json(each.arrived.ranges).decode(),
            "gaps": _json(each.missing.ranges).decode(),
            "stored": each.stored,
            "duplicates": each.duplicates,
            "conflicts": each.conflicts,
            "quarantined": each.quarantined,
            "missing": each.lost,
        }
        for (ev, boot), each in sorted(progress.items())
    ]
    update_rows(connection, telemetry_marks, rows)


def marks(connection: sa.Connection, ev: str, limit: int, after: Sequence[int] | None) -> list[dict[str, object]]:
    """Return the progress of a vehicle's records, its latest boot first."""
    names = "boot", "boot_id", "highest", "contiguous", "stored", "duplicates", "conflicts", "quarantined", "missing"
    query = sa.select(*(telemetry_marks.c[name] for name in names)).where(telemetry_marks.c.ev == ev)
    return [dict(row._mapping) for row in connection.execute(page(query, (telemetry_marks.c.boot,), after, limit))]


def vehicles(
    connection: sa.Connection, evs: Sequence[str] | None, limit: int, after: Sequence[str] | None
) -> list[Fields]:
    """Return the state of each vehicle's records, by name; of some (`evs`), or of all."""
    names = "stored", "duplicates", "conflicts", "quarantined", "missing"
    ev = telemetry_marks.c.ev
    query = sa.select(
        ev,
        sa.func.count().label("boots"),
        sa.func.max(telemetry_marks.c.boot).label("last_boot"),
        *(sa.func.sum(telemetry_marks.c[name]).label(name) for name in names),
    )
    if evs is not None:
        query = query.where(ev.in_(evs))
    if after is not None:
        query = query.where(ev > after[0])
    found = connection.execute(query.group_by(ev).order_by(ev).limit(limit))
    return [{**row._mapping, **{name: int(row._mapping[name]) for name in names}} for row in found]


def counts(connection: sa.Connection) -> dict[str, int]:
    """Return how many records are in quarantine, and how many boots wait for records before others (`gaps`)."""
    of = telemetry_marks.c
    return {
        "quarantined": connection.execute(sa.select(sa.func.count()).select_from(telemetry_quarantine)).scalar_one(),
        "gaps": connection.execute(sa.select(sa.func.count()).where(of.highest > of.contiguous)).scalar_one(),
    }


def quarantined(
    connection: sa.Connection, evs: Sequence[str] | None, limit: int, after: Sequence[object] | None
) -> list[Fields]:
    """Return records in quarantine, newest first, with their text; of some vehicles (`evs`), or of all."""
    table = telemetry_quarantine.c
    query = page(sa.select(telemetry_quarantine), (table.received_ms, table.ev, table.boot, table.seq), after, limit)
    if evs is not None:
        query = query.where(table.ev.in_(evs))
    rows = []
    for row in connection.execute(query).all():
        found = dict(row._mapping)
        found.pop("digest")
        found["document"] = _sent(connection, row).decode(errors="replace")
        rows.append(found)
    return rows


def _sent(connection: sa.Connection, row: AnyRow) -> bytes:
    """Return the text of a record in quarantine; empty if the store key that sealed it was lost."""
    return seal_of(connection).find(connection, row.document, "quarantine", row.ev, row.boot, row.seq) or b""


def release(
    connection: sa.Connection, after: rules.RecordKey | None, at_ms: int, sinks: tuple[str, ...] = (AGGREGATES,)
) -> Released:
    """Store records that can be decoded now; examine some records after `after`, and return where to continue."""
    key = telemetry_quarantine.c.ev, telemetry_quarantine.c.boot, telemetry_quarantine.c.seq
    query = sa.select(telemetry_quarantine).order_by(*key).limit(RELEASE_STEP).with_for_update()
    if after is not None:
        query = query.where(sa.tuple_(*key) > sa.tuple_(*after))
    rows = connection.execute(query).all()
    found = [_understood(_sent(connection, row), row.received_ms) for row in rows]
    fresh = _move(connection, [each for each in found if each is not None], at_ms, sinks)
    boots: dict[rules.Boot, int] = {}
    for item in fresh:
        boots[item.key[:2]] = boots.get(item.key[:2], 0) + 1
    for (ev, boot), count in sorted(boots.items()):
        connection.execute(
            sa.update(telemetry_marks)
            .where((telemetry_marks.c.ev == ev) & (telemetry_marks.c.boot == boot))
            .values(stored=telemetry_marks.c.stored + count, quarantined=telemetry_marks.c.quarantined - count)
        )
    last = rows[-1] if rows else None  # fewer than a step are not the end: another node may have taken some meanwhile
    return Released(tuple(fresh), None if last is None else (last.ev, last.boot, last.seq))


def _move(
    connection: sa.Connection, items: list[rules.Prepared], at_ms: int, sinks: tuple[str, ...]
) -> list[rules.Prepared]:
    """Move records out of quarantine; return which. One that the database rejects remains there."""
    try:
        with connection.begin_nested():
            delete_many(connection, telemetry_quarantine, [_named(item.key) for item in items])
            _append(connection, [(item, at_ms) for item in items])
            pending = list(_pending(items, Arrival(rules.Delivery(()), at_ms, sinks)))
            append_rows(connection, telemetry_pending, _PENDING, pending)
            _keep_checkpoints(connection, items, at_ms)
            vehicle_firmware.keep(connection, (each.record for each in items))
    except LASTING:
        return [item for each in items for item in _move(connection, [each], at_ms, sinks)] if len(items) > 1 else []
    return items


def _understood(document: bytes, received_ms: int) -> rules.Prepared | None:
    try:
        found = rules.prepare(decode_record(document))
    except CodecError:
        return None
    return None if rules.mistimed(found, received_ms) else found


GAP_MS: Final = 60_000
"""How long records wait for a gap before them."""

MAX_RUNS: Final = 500
MAX_RECORDS: Final = 5000
"""Runs and records of one batch; a single run is never split, so there may be a run more."""


_ADVANCE: Final = sa.text(
    "INSERT INTO telemetry_sink_positions (sink, ev, boot, seq) VALUES (:sink, :ev, :boot, :seq) "
    "ON CONFLICT (sink, ev) DO UPDATE SET boot = excluded.boot, seq = excluded.seq "
    "WHERE (excluded.boot, excluded.seq) > (telemetry_sink_positions.boot, telemetry_sink_positions.seq)"
)

_SOME: Final = 250  # rows that one statement names
_VEHICLES: Final = 128  # in one statement: SQLite allows 999 variables in old builds


def _ready() -> AnySelect:
    """Return the query for the runs that `sink` may get when those `before_ms` do not wait any longer.

    Statements of this module are made once: a sink asks all the time, and to make them took longer than the database.
    """
    run, mark = telemetry_pending.c, telemetry_marks.c
    sink, before_ms = sa.bindparam("sink", type_=sa.String), sa.bindparam("before_ms", type_=sa.BigInteger)
    before, its = telemetry_pending.alias(), telemetry_marks.alias()
    there = sa.and_(before.c.sink == sink, before.c.ev == run.ev, before.c.boot < run.boot)
    waits = sa.exists().where(
        there, before.c.received_ms > before_ms, its.c.ev == before.c.ev, its.c.boot == before.c.boot
    )
    behind_gap = waits.where(before.c.last_seq > its.c.contiguous)  # of an earlier boot
    in_order = sa.and_(run.last_seq <= mark.contiguous, ~behind_gap)
    return (
        sa.select(telemetry_pending)
        .outerjoin(telemetry_marks, sa.and_(mark.ev == run.ev, mark.boot == run.boot))
        .where(run.sink == sink, sa.or_(run.boot == 0, in_order, run.received_ms <= before_ms))
    )


@cache
def _through(number: int) -> AnySelect:
    """Return the query for those runs of `number` vehicles through (`boot0`, `seq0`) of `ev0` ...."""
    run = telemetry_pending.c
    ends = [
        (
            sa.bindparam(f"ev{each}", type_=sa.String),
            sa.bindparam(f"boot{each}", type_=sa.BigInteger),
            sa.bindparam(f"seq{each}", type_=sa.BigInteger),
        )
        for each in range(number)
    ]
    here = (
        sa.and_(run.ev == ev, run.boot > 0, sa.tuple_(run.boot, run.first_seq) <= sa.tuple_(*end)) for ev, *end in ends
    )
    return _ready().where(sa.or_(*here)).order_by(run.ev, run.boot, run.first_seq).limit(MAX_RECORDS)


_OLDEST: Final = _ready().order_by(telemetry_pending.c.id).limit(MAX_RUNS)
_RECORDS: Final = (
    sa.select(
        telemetry.c.ev, telemetry.c.boot, telemetry.c.seq, telemetry.c.at_ms, telemetry.c.context, telemetry.c.document
    )
    .join(telemetry_pending, within_run())
    .where(telemetry_pending.c.id.in_(sa.bindparam("runs", expanding=True)))
)
_BACKLOGS: Final = sa.select(
    telemetry_pending.c.sink,
    sa.func.sum(telemetry_pending.c.last_seq - telemetry_pending.c.first_seq + 1).label("records"),
    sa.func.min(telemetry_pending.c.received_ms).label("since"),
).group_by(telemetry_pending.c.sink)


class Batch(msgspec.Struct, frozen=True):
    """What a sink gets next: vehicles to erase, then records, by (ev, boot, seq). `runs`: the rows to delete then.

    `lost` records were deleted for their age before the sink could get them.
    """

    runs: tuple[int, ...]
    erased: tuple[str, ...] = ()
    records: tuple[rules.StoredRecord, ...] = ()
    lost: int = 0

    @property
    def full(self) -> bool:
        """Whether more records may be ready than it could take, or after vehicles to erase."""
        return bool(self.erased) or len(self.runs) >= MAX_RUNS or len(self.records) + self.lost >= MAX_RECORDS


def next_batch(connection: sa.Connection, sink: str, now_ms: int) -> Batch | None:
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
    through: list[AnyRow] = []  # these, and what arrived later, but belongs before them
    ends = list(last.items())
    for start in range(0, len(ends), _VEHICLES):
        some = ends[start : start + _VEHICLES]
        some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))  # few statements for all numbers
        here: dict[str, object] = {}
        for number, (ev, (boot, seq)) in enumerate(some):
            here |= {f"ev{number}": ev, f"boot{number}": boot, f"seq{number}": seq}
        through += connection.execute(_through(len(some)), ready | here).all()
    places = {ev: place for place, ev in enumerate(last)}  # the vehicle of the oldest run goes first
    chosen = _most(sorted(through, key=lambda each: (places[each.ev], each.boot, each.first_seq)))
    ids = tuple(sorted(each.id for each in chosen))
    records = _marked(connection, sink, _records(connection, ids))
    return Batch(ids, (), records, sum(map(_length, chosen)) - len(records))


def _length(run: AnyRow) -> int:
    return int(run.last_seq - run.first_seq + 1)


def _most(runs: Iterable[AnyRow]) -> list[AnyRow]:
    """Return the first runs, until they are `MAX_RUNS` or have `MAX_RECORDS`."""
    chosen: list[AnyRow] = []
    number = 0
    for each in runs:
        if number >= MAX_RECORDS or len(chosen) == MAX_RUNS:
            break
        chosen.append(each)
        number += _length(each)
    return chosen


def _records(connection: sa.Connection, runs: Sequence[int]) -> tuple[rules.StoredRecord, ...]:
    found: dict[tuple[str, int, int], rules.StoredRecord] = {}
    seal = seal_of(connection)
    for start in range(0, len(runs), _SOME):
        for row in connection.execute(_RECORDS, {"runs": runs[start : start + _SOME]}).all():
            document = seal.find(connection, row.document, row.ev, row.boot, row.seq)
            if document is None:
                continue
            each = rules.StoredRecord(row.ev, row.boot, row.seq, row.at_ms, row.context, numbers_in(document), document)
            found[each.key] = each
    return tuple(found[key] for key in sorted(found))


def _marked(
    connection: sa.Connection, sink: str, records: Sequence[rules.StoredRecord]
) -> tuple[rules.StoredRecord, ...]:
    """Return records with those marked as late that come after higher ones."""
    given = [{"sink": sink, "ev": ev} for ev in sorted({each.ev for each in records})]
    rows = find_rows(connection, telemetry_sink_positions, ("ev", "boot", "seq"), given)
    reached = {row.ev: (row.boot, row.seq) for row in rows}
    return tuple(
        msgspec.structs.replace(each, late=True) if each.key[1:] < reached.get(each.ev, (0, 0)) else each
        for each in records
    )


def backlogs(connection: sa.Connection) -> dict[str, tuple[int, int]]:
    """Return for each sink with waiting records how many there are, and when the oldest arrived (ms since 1970)."""
    return {row.sink: (int(row.records), row.since) for row in connection.execute(_BACKLOGS)}


def delivered(connection: sa.Connection, sink: str, batch: Batch) -> None:
    """Note that a sink has got a batch."""
    for ev in batch.erased:
        delete_rows(connection, telemetry_sink_positions, sink=sink, ev=ev)
    reached = {each.ev: each for each in batch.records}
    if reached:
        rows = [{"sink": sink, "ev": ev, "boot": each.boot, "seq": each.seq} for ev, each in reached.items()]
        connection.execute(_ADVANCE, rows)
    delete_many(connection, telemetry_pending, [{"id": number} for number in batch.runs])
