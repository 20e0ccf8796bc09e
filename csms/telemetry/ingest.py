"""Storage of telemetry, from any transport: each record once, in any order; conflicts are rejected.

HTTP calls `Ingest.store`, MQTT `Ingest.receive`; when it returns, everything reported as stored or in quarantine
survives a power cut.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final

from msgspec import UNSET

from csms.cluster.feed import Feed
from csms.cluster.precedence import Precedence
from csms.db.store import Store
from csms.metrics import Metrics
from csms.telemetry import store as rows
from csms.telemetry.aggregate_store import aggregate_pending, seal_plain
from csms.telemetry.aggregates import AGGREGATES
from csms.telemetry.latest import LatestStates
from csms.telemetry.rules import Delivery, DeliveryOutcome, Prepared, RecordKey, boot_of
from csms.telemetry.workers import DeliveryReception, IngestWorkers, keep, receive
from csms.vehicles import store as values
from v2g.errors import StoreError, TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe, Scalar
from v2g.telemetry.delivery import DeliveryNotice, encode_delivery, encode_notice
from v2g.telemetry.signals import Record

_log = logging.getLogger(__name__)

ALARM_S: Final = 10.0
STORED_S: Final = 0.5
"""Minimum interval of events for the same alarm, and for stored records."""

MAX_CHECKED: Final = 10_000
"""Records of checkpoints known to be compared, the newest ones: an older one that comes again is compared again."""

AGGREGATE_S: Final = 15.0
"""Interval in which new records are aggregated: more at once share the work."""

ERASED: Final = "telemetry_erased"
"""Event: a vehicle's telemetry was erased."""

_RELEASE_S: Final = 600.0

OnStored = Callable[[Sequence[bytes]], None]
"""Called with newly stored records, as canonical JSON."""


class ReportLimiter:
    """Rate limiter of reports: the first at once, then at most one in `every_s`, with the accumulated count."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._counts: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, tuple[asyncio.TimerHandle, Callable[[int], None]]] = {}

    def add(self, key: Hashable, count: int, report: Callable[[int], None]) -> None:
        """Count something; `report` is called with the count accumulated under the same key."""
        if key in self._counts:
            self._counts[key] += count
        else:
            self._report(key, count, report)

    def _report(self, key: Hashable, count: int, report: Callable[[int], None]) -> None:
        report(count)
        self._counts[key] = 0
        timer = asyncio.get_running_loop().call_later(self._every_s, self._again, key)
        self._waiting[key] = timer, report

    def _again(self, key: Hashable) -> None:
        _, report = self._waiting.pop(key)
        if count := self._counts.pop(key):
            self._report(key, count, report)

    def close(self) -> None:
        """Report the accumulated counts."""
        for key, (timer, report) in self._waiting.items():
            timer.cancel()
            if self._counts[key]:
                report(self._counts[key])
        self._counts.clear()
        self._waiting.clear()


_VEHICLES: Final = frozenset({"ev", "sender"})
"""Fields of events that name a vehicle."""


class Ingest:
    """Accepts deliveries. Safe to call from many tasks and on many nodes: each boot's records are stored in turn."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        observe: EventLog,
        feed: Feed,
        precedence: Precedence,
        latest: LatestStates,
        metrics: Metrics,
        on_records: Callable[[Sequence[Record]], Awaitable[None]],
        on_checkpoint: Callable[[str], Awaitable[None]],
        sinks: Sequence[str] = (),
        workers: IngestWorkers | None = None,
        log_name: Callable[[str], str] = lambda ev: ev,
    ) -> None:
        """`on_records` takes what is new, of any order, `on_checkpoint` a session with a new checkpoint. `sinks`: names
        of those that get new records, besides the aggregates. `workers` store; None: this process. `log_name(ev)`: what
        stands for a vehicle in the log of events."""
        self._log_name = log_name
        self._store, self._clock, self._observe, self._feed = store, clock, observe, feed
        self._precedence, self._latest, self._metrics = precedence, latest, metrics
        self._on_records, self._on_checkpoint = on_records, on_checkpoint
        self._sinks = (AGGREGATES, *sinks)
        self._workers = workers
        self._alarms, self._stored = ReportLimiter(ALARM_S), ReportLimiter(STORED_S)
        self._listeners: list[OnStored] = []
        self._checked: dict[RecordKey, None] = {}

    def subscribe(self, listener: OnStored) -> None:
        """Call `listener` with every record stored here from now on."""
        self._listeners.append(listener)

    async def receive(self, ev: str, payload: bytes) -> DeliveryReception:
        """Store a vehicle's delivery, behind power commands. Raises StoreError: nothing is stored, as far as known."""
        begun = self._clock.monotonic()
        if self._workers is None:
            reception = await receive(payload, ev, self._keep)
        else:
            reception = await self._let_work(ev, payload, payload.count(b'"seq"'))
        if reception.malformed:
            self.refuse(ev, reception.malformed)
        if reception.refused:
            self.refuse(ev, reception.refused[0][1], len(reception.refused))
        if reception.foreign:
            self.refuse_foreign(ev, reception.foreign, reception.elements)
        if reception.outcome is not None:
            await self._report(reception.outcome, begun)
        return reception

    async def store(self, delivery: Delivery) -> DeliveryOutcome:
        """As `receive`, for a delivery that was read and checked, perhaps of several vehicles. Raises StoreError."""
        begun = self._clock.monotonic()
        outcome = await (self._keep(delivery) if self._workers is None else self._share_out(delivery))
        await self._report(outcome, begun)
        return outcome

    async def _keep(self, delivery: Delivery) -> DeliveryOutcome:
        async with self._precedence.report(len(delivery.elements)):
            return await keep(self._store, rows.Arrival(delivery, self._clock.utc_ms(), self._sinks))

    async def _let_work(self, ev: str, payload: bytes, records: int) -> DeliveryReception:
        assert self._workers is not None
        async with self._precedence.report(max(1, records)):
            return await self._workers.receive(ev, payload, self._clock.utc_ms(), self._sinks)

    async def _share_out(self, delivery: Delivery) -> DeliveryOutcome:
        """Give each vehicle's part to its worker."""
        outcome = DeliveryOutcome()
        for ev in sorted({ev for ev, _ in delivery.boots}):
            part = [each for each in delivery.elements if boot_of(each)[0] == ev]
            payload = encode_delivery(encode_notice(e) if isinstance(e, DeliveryNotice) else e.sent for e in part)
            done = (await self._let_work(ev, payload, len(part))).outcome
            assert done is not None
            outcome.add(done)
        return outcome

    async def _report(self, outcome: DeliveryOutcome, begun: float) -> None:
        """Count a delivery that came at `begun` (s, monotonic), report problems, and do what follows from records."""
        metrics, now_ms = self._metrics, self._clock.utc_ms()
        metrics.delivery_stored(self._clock.monotonic() - begun)
        metrics.records_judged("stored", len(outcome.fresh))
        metrics.records_judged("duplicate", outcome.duplicates)
        metrics.records_judged("quarantined", len(outcome.quarantine))
        metrics.records_judged("conflict", len(outcome.conflicts))
        metrics.records_judged("deferred", len(outcome.deferred))
        metrics.records_judged("missing", sum(last - first + 1 for *_, first, last in outcome.missing))
        for new in outcome.fresh:
            metrics.record_stored((now_ms - new.record.utc_ms) / 1000)
        for ev, boot, _ in outcome.conflicts[:1]:
            self._alarm("telemetry_conflict", ev, len(outcome.conflicts), ev=ev, boot=boot)
        for each in outcome.quarantine[:1]:
            ev = each.name.ev
            self._alarm("telemetry_quarantined", ev, len(outcome.quarantine), ev=ev, reason=each.reason)
        for ev, boot, first, last in outcome.missing:
            self._alarm("telemetry_missing", ev, last - first + 1, ev=ev, boot=boot)
        next_boots = {(each.ev, each.boot): each.next_boot for each in outcome.marks}
        for (ev, boot), elements in outcome.strangers:
            next_boot = next_boots[ev, boot]
            self._alarm("telemetry_boot_refused", ev, elements, ev=ev, boot=boot, next_boot=next_boot)
        for ev, boot, _ in outcome.deferred[:1]:
            self._alarm("telemetry_deferred", ev, len(outcome.deferred), ev=ev, boot=boot)
        for (ev, _, _), reason in outcome.refused[:1]:
            self.refuse(ev, reason, len(outcome.refused))
        await self._follow(outcome.fresh, outcome.repeated)

    async def _follow(self, fresh: Sequence[Prepared], repeated: Sequence[Prepared] = ()) -> None:
        """Do what follows from new records; also from `repeated` ones, except that they are not reported again: when a
        worker ended or a commit was unclear, their first delivery had no result.
        """
        stored = [each.record for each in (*fresh, *repeated)]
        self._latest.update(stored)
        bodies = [each.body for each in fresh]
        if bodies:
            self._stored.add("stored", len(bodies), self._observe_stored)
            for listener in self._listeners:
                listener(bodies)
        # Compare the sessions of checkpoints that were not compared yet with the stations' journals
        due = {
            (each.ev, each.boot, each.seq): each.checkpoint.session_id
            for each in stored
            if each.checkpoint is not UNSET and (each.ev, each.boot, each.seq) not in self._checked
        }
        for session_id in set(due.values()):
            await self._on_checkpoint(session_id)
        self._checked.update(dict.fromkeys(due))
        while len(self._checked) > MAX_CHECKED:
            del self._checked[next(iter(self._checked))]
        await self._on_records(stored)  # now, not when all records before them are there

    def refuse(self, sender: str, reason: str, records: int = 1) -> None:
        """Report an invalid record that cannot be put into quarantine either."""
        self._metrics.records_judged("refused", records)
        self._alarm("telemetry_refused", sender, records, sender=sender, reason=reason)

    def refuse_foreign(self, sender: str, ev: str, records: int) -> None:
        """Report a delivery in the name of another vehicle."""
        self._metrics.records_judged("refused", records)
        self._alarm("telemetry_foreign", sender, records, sender=sender, ev=ev)

    def report_unowned(self, ev: str) -> None:
        """Report that no node has the slot of a vehicle that has sent a delivery."""
        self._alarm("telemetry_unowned", ev, 1, ev=ev)

    def fail(self, error: StoreError) -> None:
        """Report that a delivery could not be stored."""
        self._metrics.delivery_failed()
        self._alarm("telemetry_not_stored", "", 1, reason=str(error).partition("\n")[0][:200])

    async def release(self) -> int:
        """Store records in quarantine that can be decoded now; return how many. Raises StoreError."""
        released, after = 0, None
        while True:
            found = await self._store.run(rows.release, after, self._clock.utc_ms(), self._sinks)
            released += len(found.fresh)
            await self._follow(found.fresh)
            if found.last is None:
                break
            after = found.last
        if released:
            self._observe(Observe("telemetry", "telemetry_released", {"records": released}))
        return released

    async def keep_releasing(self) -> None:
        """Do that at once, since this may be a new version, and periodically: other nodes may be older."""
        while True:
            await self.release()
            await asyncio.sleep(_RELEASE_S)

    async def erase(self, ev: str) -> int:
        """Erase what a vehicle has delivered until now, also at other nodes and in the sinks; return how many records.

        Raises StoreError, TransportError: some may be erased; repeat it.
        """
        boot, seq = await self._store.read(values.newest, ev)
        until_ms = max(self._clock.utc_ms(), await self._store.read(values.last_received_ms, ev))
        erased = 0
        while count := await self._store.run(values.erase, ev, until_ms, self._sinks[1:]):
            erased += count
        self._feed.publish(ERASED, None, {"ev": ev, "boot": boot, "seq": seq}, also_away=True)
        await self._latest.erase(ev, (boot, seq))
        await self._store.forget()
        self._observe(Observe("telemetry", ERASED, {"records": erased}))
        return erased

    async def follow_erasures(self) -> None:
        """Forget the latest states of vehicles that other nodes erase."""
        with self._feed.subscribe({ERASED}) as events:
            async for event in events:
                if event.node == self._feed.node:
                    continue
                ev, through = str(event.data["ev"]), (int(event.data["boot"]), int(event.data["seq"]))
                try:
                    await self._latest.erase(ev, through)
                except (StoreError, TransportError) as error:
                    _log.warning("a latest state is erased in memory only: %s", error)

    async def keep_aggregating(self) -> None:
        """Aggregate new records, and seal what is plain, in small steps; nodes share the work."""
        while True:
            for step in (aggregate_pending, seal_plain):
                while await self._store.run(step):
                    pass
            await asyncio.sleep(AGGREGATE_S)

    def close(self) -> None:
        """Report everything accumulated."""
        self._alarms.close()
        self._stored.close()

    def _observe_stored(self, records: int) -> None:
        self._observe(Observe("telemetry", "telemetry_stored", {"records": records}))

    def _alarm(self, name: str, whose: str, records: int, **facts: Scalar) -> None:
        """Report a problem, in the log of events and in the feed, rate-limited, with the number of records.

        Vehicles have their names of the log: what receivers of events keep, no erasure reaches (R107).
        """

        def report(count: int) -> None:
            logged = {key: self._log_name(str(each)) if key in _VEHICLES else each for key, each in facts.items()}
            self._observe(Observe("telemetry", name, {**logged, "records": count}))
            self._feed.publish(name, None, {**logged, "records": count})

        self._alarms.add((name, whose), records, report)
