"""Copies of the stations' journals: in the common database, durable before they are acknowledged, settled once.

Any node accepts any delivery. A node caches a journal in memory to verify the next delivery; the
database shows whether the cache is current, for another node may have accepted one since.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from csms.booking.work import Bookkeeper
from csms.books import store as books
from csms.db.store import Store
from csms.settlements import store as records
from csms.settlements.rules import Copy, decision_of, entries_of, read_certificates, read_delivery
from csms.settlements.work import receipt_of
from csms.telemetry import store as telemetry
from v2g.energy.settlement import checkpoints
from v2g.energy.settlement.canonical import parse_canonical
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.operator import JournalReceipt
from v2g.energy.settlement.records import CheckpointAnswered, CommandRejected, TermsDecided
from v2g.energy.settlement.taxes import UNTAXED, Taxation
from v2g.errors import CodecError, RefusedError, StoreError, V2GError, VerificationError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe, Scalar
from v2g.pki.keys import SigningKey

_MAX_KEPT: Final = 512
"""Copies cached in memory, 32 bytes a line."""

_ATTEMPTS: Final = 5
"""Attempts when other nodes are quicker each time."""


class Delivered(msgspec.Struct, frozen=True):
    """State of a copy after a delivery: its number of `lines` and its `head` hash.

    `receipt`: the operator's of the complete journal, None before, and of journals completed in earlier versions.
    """

    lines: int
    head: str
    receipt: JournalReceipt | None = None


class JournalStore:
    """Accepts deliveries, and passes complete journals on to be booked.

    `key` signs receipts of complete journals, with the VAT of now.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        observe: EventLog,
        bookkeeper: Bookkeeper,
        key: SigningKey,
        taxation: Taxation = UNTAXED,
        log_name: Callable[[str], str] = lambda ev: ev,
    ) -> None:
        self._bookkeeper, self._log_name = bookkeeper, log_name
        self._key, self._taxation = key, taxation
        self._store = store
        self._clock = clock
        self._observe = observe
        self._copies: OrderedDict[tuple[str, str], Copy] = OrderedDict()
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def deliver(self, station_id: str, data: object) -> Delivered:
        """Accept a delivery of the station `station_id`; on return all its lines are durable.

        Raises CodecError, RefusedError and VerificationError for permanent rejections, StoreError for what may
        succeed later.
        """
        delivery = read_delivery(data)
        if delivery.station_id != station_id:
            raise RefusedError(f"{station_id} delivers for {delivery.station_id}", reason="foreign")
        session_id = delivery.session_id
        lines = [line.removesuffix("\n").encode() for line in delivery.lines]
        key = station_id, session_id
        async with self._locks.setdefault(key, asyncio.Lock()):
            try:
                copy, fresh = await self._take(station_id, session_id, lines)
            except (CodecError, RefusedError, VerificationError) as error:
                reason = error.reason if isinstance(error, RefusedError) else type(error).__name__
                await self._store.run(records.count_refusal, station_id, session_id, self._clock.utc_ms())
                self._report("journal_refused", station_id, session_id, reason=reason, detail=str(error)[:300])
                raise
            if fresh:
                self._report("journal_appended", station_id, session_id, lines=copy.lines, added=len(fresh))
                # report the vehicle's answers to checkpoints in these new lines
                for entry in entries_of(session_id, fresh, CheckpointAnswered):
                    if isinstance(said := entry.data, CheckpointAnswered):
                        place = station_id, session_id
                        self._report("checkpoint_answered", *place, number=said.number, status=said.status)
            if copy.ended:
                await self._bookkeeper.consider(station_id, session_id)
                if fresh:
                    await check_checkpoints(self._store, self._observe, self._log_name, session_id)
            kept = await self._store.read(records.journal_receipt, station_id, session_id) if copy.ended else None
            receipt = None if kept is None else parse_canonical(kept, JournalReceipt, where=session_id)
            return Delivered(copy.lines, copy.head, receipt)

    async def take_certificates(self, station_id: str, data: object) -> None:
        """Accept the certificates of a session's signers. Raises CodecError, RefusedError and StoreError."""
        delivered = read_certificates(data)
        if delivered.station_id != station_id:
            raise RefusedError(f"{station_id} delivers for {delivered.station_id}", reason="foreign")
        await self._bookkeeper.take_certificates(station_id, delivered)

    async def recover(self) -> None:
        """After a start: settle complete copies without a settlement."""
        for station_id, session_id in await self._store.run(records.unsettled):
            await self._bookkeeper.consider(station_id, session_id)
        for station_id, session_id in await self._store.run(books.unposted):  # settled by an older version
            await self._bookkeeper.consider(station_id, session_id)

    async def _take(self, station_id: str, session_id: str, lines: list[bytes]) -> tuple[Copy, list[bytes]]:
        """Return the copy with the lines in it, and those that were new."""
        copy = self._copies.pop((station_id, session_id), None)
        for _ in range(_ATTEMPTS):
            stored = copy is not None
            if copy is None:
                copy = await self._read(station_id, session_id)
            before = copy.lines
            try:
                fresh = await asyncio.to_thread(copy.take, lines)
            except (RefusedError, VerificationError):
                if not stored:
                    raise
                copy = None  # by this node's cache; another node may have more
                continue
            row = records.JournalRow(
                station_id=station_id, session_id=session_id, lines=copy.lines, head=copy.head, ended=copy.ended
            )
            now_ms = self._clock.utc_ms()
            receipt = None
            if fresh and copy.ended:
                whole = [*await self._store.read(records.journal_lines, station_id, session_id), *fresh]
                prices = await self._bookkeeper.own_prices(station_id, whole)
                receipt = await asyncio.to_thread(receipt_of, row, now_ms, self._key, self._taxation, prices)
            entries = entries_of(session_id, fresh, TermsDecided, CommandRejected)
            decisions = [each for entry in entries if (each := decision_of(entry)) is not None]
            if not fresh or await self._store.run(
                records.append_journal, row, before, fresh, now_ms, receipt, decisions
            ):
                self._copies[(station_id, session_id)] = copy
                while len(self._copies) > _MAX_KEPT:
                    self._copies.popitem(last=False)
                return copy, fresh
            copy = None  # another node accepted a delivery since
        raise StoreError("other nodes are storing lines of the same journal", hint="deliver again")

    async def _read(self, station_id: str, session_id: str) -> Copy:
        copy = Copy(station_id, session_id)
        lines = await self._store.read(records.journal_lines, station_id, session_id)
        if lines:
            try:
                await asyncio.to_thread(copy.take, [line.removesuffix(b"\n") for line in lines], stored=True)
            except V2GError as error:
                self._report("journal_damaged", station_id, session_id, reason=str(error)[:300])
                raise
        return copy

    def _report(self, name: str, station_id: str, session_id: str, **data: Scalar) -> None:
        self._observe(Observe("settlement", name, {"station": station_id, "session": session_id, **data}))


async def check_checkpoints(store: Store, observe: EventLog, log_name: Callable[[str], str], session_id: str) -> None:
    """Report each checkpoint that a session's vehicle delivered by telemetry, and that the complete copy of its journal
    lacks or contradicts.

    `log_name(ev)`: what stands for a vehicle in the log of events.

    Signatures are not verified: the station's certificate is in its bundle, where `v2g settle verify --checkpoints`
    proves what an event here only indicates.
    """
    kept = await store.read(telemetry.find_checkpoints, session_id)
    if not kept:
        return
    for journal in await store.read(records.find_journals, session_id):
        if not journal["ended"]:
            continue
        found = await asyncio.to_thread(lambda lines: list(_contradictions(lines, kept)), journal["lines"])
        for ev, number, reason in found:
            data = {"station": journal["station_id"], "session": session_id, "ev": log_name(ev), "number": number}
            observe(Observe("settlement", "checkpoint_contradicted", {**data, "reason": reason}))


def _contradictions(
    lines: Sequence[bytes], kept: Sequence[tuple[str, checkpoints.Copy]]
) -> Iterator[tuple[str, int, str]]:
    issued = checkpoints.issued_in(verify_lines(b"".join(lines)))  # was verified when it arrived
    for ev, copy in kept:
        if issued.get(copy.number) != copy.checkpoint:
            yield ev, copy.number, "differs" if copy.number in issued else "lacking"
