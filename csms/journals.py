"""Copies of the stations' journals: one file a session, durable before it is acknowledged, indexed in the database."""

import asyncio
from collections import OrderedDict
from pathlib import Path
from typing import Any

import msgspec

from csms.core.journals import Copy, read_delivery
from csms.rows import records
from csms.rows.records import JournalRow
from csms.settlements import settle_journal
from csms.store import Store
from v2g.errors import RefusedError, StoreError, V2GError, VerificationError
from v2g.net.clock import Clock
from v2g.net.events import EventLog
from v2g.net.journal_file import JournalFile
from v2g.observe import Observe, Scalar

_MAX_OPEN = 128
"""Copies that are kept ready; each holds an open file."""


class Delivered(msgspec.Struct, frozen=True):
    """Where a copy stands after a delivery: how many `lines` it has and its `head` hash."""

    lines: int
    head: str


class _Open(msgspec.Struct, frozen=True):
    copy: Copy
    file: JournalFile


class JournalArchive:
    """Copies below `directory`/<station>/<session>.jsonl. The files are the truth; the database only indexes them."""

    def __init__(self, directory: Path, store: Store, clock: Clock, observe: EventLog) -> None:
        self._directory = directory
        self._store = store
        self._clock = clock
        self._observe = observe
        self._open: OrderedDict[tuple[str, str], _Open] = OrderedDict()
        self._lock = asyncio.Lock()

    def path(self, station_id: str, session_id: str) -> Path:
        """Return where a copy lies."""
        return self._directory / station_id / f"{session_id}.jsonl"

    async def deliver(self, station_id: str, data: Any) -> Delivered:
        """Take a delivery of the station `station_id`; returning means that all its lines are durable here.

        Raises CodecError, RefusedError and VerificationError for what is refused for good, StoreError for what may
        succeed later.
        """
        delivery = read_delivery(data)
        if delivery.station_id != station_id:
            raise RefusedError(f"{station_id} delivers for {delivery.station_id}", reason="foreign")
        session_id = delivery.session_id
        lines = [line.removesuffix("\n").encode() for line in delivery.lines]
        async with self._lock:
            try:
                copy, added = await asyncio.to_thread(self._take, station_id, session_id, lines)
            except V2GError as error:
                await self._refuse(station_id, session_id, error)
                raise
            if added:
                await self._index(station_id, session_id, copy)
                self._tell("journal_appended", station_id, session_id, lines=copy.lines, added=added)
        if copy.ended:
            await self._settle(station_id, session_id)
        return Delivered(copy.lines, copy.head)

    async def recover(self) -> None:
        """After a start: index what an earlier run wrote without indexing it, and settle what it did not settle."""
        indexed = {
            (row["station_id"], row["session_id"]): (row["lines"], row["ended"])
            for row in await self._store.run(records.list_journals)
        }
        for path in sorted(self._directory.glob("*/*.jsonl")):
            station_id, session_id = path.parent.name, path.stem
            if indexed.get((station_id, session_id), (0, False)) == (await asyncio.to_thread(_lines, path), True):
                continue
            try:
                copy = (await asyncio.to_thread(self._get, station_id, session_id)).copy
            except V2GError as error:
                self._tell("journal_damaged", station_id, session_id, reason=str(error)[:300])
                continue
            if copy.lines:
                await self._index(station_id, session_id, copy)
        for station_id, session_id in await self._store.run(records.unsettled):
            await self._settle(station_id, session_id)

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].file.close()

    async def _settle(self, station_id: str, session_id: str) -> None:
        """Store the settlement of a complete copy, unless it is there. Failure is told as an event."""
        path = self.path(station_id, session_id)
        try:
            settled = await asyncio.to_thread(lambda: settle_journal(path.read_bytes(), path.name))
        except (OSError, V2GError) as error:
            self._tell("settlement_failed", station_id, session_id, reason=str(error)[:300])
            return
        now_ms = self._clock.utc_ms()
        fresh = await self._store.run(
            records.save_settlement, station_id, session_id, settled.head, settled.document, now_ms
        )
        if fresh:
            self._tell("settled", station_id, session_id, **settled.summary)

    def _take(self, station_id: str, session_id: str, lines: list[bytes]) -> tuple[Copy, int]:
        entry = self._get(station_id, session_id)
        try:
            fresh = entry.copy.take(lines)
            if fresh:
                entry.file.append(fresh)
        except (VerificationError, StoreError):
            self._drop(station_id, session_id)  # memory and file may differ now: read it again next time
            raise
        return entry.copy, len(fresh)

    def _get(self, station_id: str, session_id: str) -> _Open:
        key = station_id, session_id
        entry = self._open.get(key)
        if entry is None:
            path = self.path(station_id, session_id)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = JournalFile.open(path)
            copy = Copy(station_id, session_id)
            try:
                if file.recovered:
                    copy.take(file.recovered[:-1].split(b"\n"))
            except V2GError:
                file.close()
                raise
            entry = self._open[key] = _Open(copy, file)
        self._open.move_to_end(key)
        while len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)[1].file.close()
        return entry

    def _drop(self, station_id: str, session_id: str) -> None:
        entry = self._open.pop((station_id, session_id))
        entry.file.close()

    async def _index(self, station_id: str, session_id: str, copy: Copy) -> None:
        row = JournalRow(
            station_id=station_id, session_id=session_id, lines=copy.lines, head=copy.head, ended=copy.ended
        )
        await self._store.run(records.save_journal, row, self._clock.utc_ms())

    async def _refuse(self, station_id: str, session_id: str, error: V2GError) -> None:
        reason = error.reason if isinstance(error, RefusedError) else type(error).__name__
        await self._store.run(records.count_refusal, station_id, session_id, self._clock.utc_ms())
        self._tell("journal_refused", station_id, session_id, reason=reason, detail=str(error)[:300])

    def _tell(self, name: str, station_id: str, session_id: str, **data: Scalar) -> None:
        self._observe(Observe("settlement", name, {"station": station_id, "session": session_id, **data}))


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
