"""Feeds a sink with stored records, from the database: its failures delay no other sink and no ingest."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from csms.db.store import Store
from csms.metrics import Metrics
from csms.telemetry import store as rows
from csms.telemetry.rules import StoredRecord
from csms.telemetry.sinks import Sink
from v2g.errors import StoreError, TransportError, UnstorableError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import Backoff, wait_at_most
from v2g.observe import Observe, Scalar

PAUSE_S: Final = 1.0
"""Pause when a sink has got everything."""

TOGETHER_S: Final = 0.25
"""Pause after a batch that was not full: what comes meanwhile shares the reads, states and commits of the next one."""

LEASE_S: Final = 10.0
"""Interval in which nodes agree which of them feeds a sink."""

MOST_REJECTED: Final = 10
"""A sink that rejects so many records and takes none of their batch has another problem than a record."""


class SinkFeeder:
    """Feeds one sink. `leads` says whether this node feeds it now; one does at a time, so that order is kept."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        store: Store,
        clock: Clock,
        observe: Callable[[Observe], None],
        leads: Callable[[str, float], Awaitable[bool]],
        metrics: Metrics,
        log_name: Callable[[str], str],
    ) -> None:
        """`log_name(ev)`: what stands for a vehicle in the log of events."""
        self._name, self._sink, self._store = name, sink, store
        self._clock, self._observe, self._leads = clock, observe, leads
        self._metrics, self._woken, self._log_name = metrics, asyncio.Event(), log_name
        metrics.sink_configured(name)

    async def run(self) -> None:
        """Feed the sink for ever."""
        backoff, failing = Backoff(1.0, 60.0), False
        leading_until = 0.0
        while True:
            try:
                if self._clock.monotonic() >= leading_until:
                    if not await self._leads(f"telemetry sink {self._name}", LEASE_S):
                        self._metrics.sink_works(self._name)
                        await asyncio.sleep(LEASE_S)
                        continue
                    leading_until = self._clock.monotonic() + LEASE_S
                batch = await self.feed()
            except (StoreError, TransportError) as error:
                self._metrics.sink_failed(self._name)
                if not failing:
                    data: dict[str, Scalar] = {"sink": self._name, "reason": str(error).partition("\n")[0][:200]}
                    self._observe(Observe("telemetry", "sink_failed", data))
                failing = True
                await asyncio.sleep(backoff.pause_s())
                continue
            if failing:
                self._observe(Observe("telemetry", "sink_recovered", {"sink": self._name}))
            failing = False
            self._metrics.sink_works(self._name)
            backoff.reset()
            if batch is not None and not batch.full:
                await asyncio.sleep(TOGETHER_S)
            elif batch is None:
                await wait_at_most(PAUSE_S, self._woken.wait())
            self._woken.clear()

    def wake(self, _: Sequence[bytes] = ()) -> None:
        """Feed the sink at once: there are new records."""
        self._woken.set()

    async def feed(self) -> rows.Batch | None:
        """Give the sink its next batch, and return it; None if there is none. Raises StoreError, TransportError."""
        batch = await self._store.read(rows.next_batch, self._name, self._clock.utc_ms())
        if batch is None:
            return None
        for ev in batch.erased:
            await self._sink.erase(ev)
        if batch.records:
            late = sum(each.late for each in batch.records)
            self._metrics.sink_fed(self._name, await self._write(batch.records), late)
        await self._store.run(rows.delivered, self._name, batch)
        if batch.lost:
            self._observe(Observe("telemetry", "sink_lost", {"sink": self._name, "records": batch.lost}))
        return batch

    async def _write(self, records: Sequence[StoredRecord]) -> int:
        """Give the sink records, but those that it rejects: they are reported, and stay in the back end's database.

        Returns how many it has got.

        Raises UnstorableError if it rejects all: then none is passed over.
        """
        parts, stored = [records], 0
        rejected: list[StoredRecord] = []
        reason = ""
        while parts:
            part = parts.pop()
            try:
                await self._sink.write(part)
                stored += len(part)
            except UnstorableError as error:
                if middle := len(part) // 2:
                    parts += [part[middle:], part[:middle]]
                    continue
                rejected += part
                reason = reason or str(error).partition("\n")[0][:200]
                if not stored and (not parts or len(rejected) >= MOST_REJECTED):
                    raise
        if rejected:
            ev, boot, seq = rejected[0].key
            data: dict[str, Scalar] = {"sink": self._name, "ev": self._log_name(ev), "boot": boot, "seq": seq}
            data |= {"records": len(rejected), "reason": reason}
            self._observe(Observe("telemetry", "sink_rejected", data))
        return stored
