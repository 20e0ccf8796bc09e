"""Telemetry comes to rest here, whichever way it travelled: stored once, in any order, contradictions refused.

HTTP and MQTT both call `Ingest.store`; when it returns, everything that it counts as stored survives a power cut.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, func, insert, select, tuple_, update

from csms.core.telemetry import MAX_BATCH, HighWater, Key, Prepared, advance, prepare, sort_out
from csms.store import Store
from csms.tables import telemetry, telemetry_marks
from v2g.net.clock import Clock
from v2g.net.events import EventLog
from v2g.observe import Observe, Scalar
from v2g.telemetry.signals import Record

_CHUNK = 250  # keys per query: SQLite allows 999 variables in old builds


class IngestResult(msgspec.Struct, frozen=True):
    """What became of a batch: records `stored` now, `duplicates` known before, keys that `conflict` and were refused.

    `marks` says how far each gateway's records have arrived; up to `highest` a gateway may forget what it sent.
    """

    stored: int
    duplicates: int
    conflicts: tuple[Key, ...]
    marks: tuple[HighWater, ...]


class Ingest:
    """Takes batches of records. Safe to call from many tasks: the store's one writer puts them in a row."""

    def __init__(self, store: Store, clock: Clock, observe: EventLog) -> None:
        self._store = store
        self._clock = clock
        self._observe = observe

    async def store(self, records: Sequence[Record]) -> IngestResult:
        """Store what is new (at most 1000 records at once). Raises ValueError for more, StoreError."""
        if len(records) > MAX_BATCH:
            raise ValueError(f"{len(records)} records at once; at most {MAX_BATCH} are taken")
        batch = [prepare(record) for record in records]
        result = await self._store.run(_store, batch, self._clock.utc_ms())
        for mark in result.marks:
            data: dict[str, Scalar] = {"ev": mark.ev, "boot": mark.boot, "highest": mark.highest}
            counts: dict[str, Scalar] = {"stored": mark.stored, "duplicates": mark.duplicates}
            self._observe(Observe("telemetry", "telemetry_stored", {**data, **counts}))
        for ev, boot, seq in result.conflicts:
            self._observe(Observe("telemetry", "telemetry_conflict", {"ev": ev, "boot": boot, "seq": seq}))
        return result

    async def marks(self, ev: str) -> tuple[HighWater, ...]:
        """Return how far the records of `ev` have arrived, by boot."""
        return await self._store.run(_marks, ev)


def _store(connection: Connection, batch: list[Prepared], now_ms: int) -> IngestResult:
    keys = [item.key for item in batch]
    known: dict[Key, bytes] = {}
    key_columns = tuple_(telemetry.c.ev, telemetry.c.boot, telemetry.c.seq)
    for start in range(0, len(keys), _CHUNK):
        rows = connection.execute(select(telemetry).where(key_columns.in_(keys[start : start + _CHUNK])))
        known.update({(row.ev, row.boot, row.seq): row.digest for row in rows})
    judged = sort_out(batch, known)
    if judged.fresh:
        connection.execute(
            insert(telemetry),
            [
                {
                    "ev": item.record.ev,
                    "boot": item.record.boot,
                    "seq": item.record.seq,
                    "at_ms": item.record.utc_ms,
                    "received_ms": now_ms,
                    "digest": item.digest,
                    "document": item.body,
                }
                for item in judged.fresh
            ],
        )
    marks = []
    for ev, boot in sorted({key[:2] for key in keys}):
        of_boot = [item.key for item in judged.fresh if item.key[:2] == (ev, boot)]
        conflicts = sum(key[:2] == (ev, boot) for key in judged.conflicts)
        arrived = sum(key[:2] == (ev, boot) for key in keys)
        marks.append(_mark(connection, ev, boot, len(of_boot), arrived - len(of_boot) - conflicts, conflicts))
    return IngestResult(len(judged.fresh), judged.duplicates, judged.conflicts, tuple(marks))


def _mark(connection: Connection, ev: str, boot: int, stored: int, duplicates: int, conflicts: int) -> HighWater:
    """Bring the marks of one boot up to date with what was just stored."""
    here = (telemetry_marks.c.ev == ev) & (telemetry_marks.c.boot == boot)
    old = connection.execute(select(telemetry_marks).where(here)).first()
    contiguous = 0 if old is None else old.contiguous
    of_boot = (telemetry.c.ev == ev) & (telemetry.c.boot == boot)
    highest = connection.execute(select(func.max(telemetry.c.seq)).where(of_boot)).scalar() or 0
    while contiguous < highest:
        beyond = connection.execute(
            select(telemetry.c.seq)
            .where(of_boot & (telemetry.c.seq > contiguous))
            .order_by(telemetry.c.seq)
            .limit(_CHUNK)
        ).scalars()
        reached = advance(contiguous, list(beyond))
        if reached - contiguous < _CHUNK:
            contiguous = reached
            break
        contiguous = reached
    if old is None:
        connection.execute(
            insert(telemetry_marks).values(
                ev=ev,
                boot=boot,
                highest=highest,
                contiguous=contiguous,
                stored=stored,
                duplicates=duplicates,
                conflicts=conflicts,
            )
        )
    else:
        connection.execute(
            update(telemetry_marks)
            .where(here)
            .values(
                highest=highest,
                contiguous=contiguous,
                stored=old.stored + stored,
                duplicates=old.duplicates + duplicates,
                conflicts=old.conflicts + conflicts,
            )
        )
    return HighWater(ev, boot, highest, contiguous, stored, duplicates)


def _marks(connection: Connection, ev: str) -> tuple[HighWater, ...]:
    rows = connection.execute(
        select(telemetry_marks).where(telemetry_marks.c.ev == ev).order_by(telemetry_marks.c.boot)
    )
    return tuple(HighWater(row.ev, row.boot, row.highest, row.contiguous) for row in rows)
