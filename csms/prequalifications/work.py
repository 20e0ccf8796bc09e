"""Which stations may export by their prequalification records and their attestation: kept in memory, and renewed when
these change."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from csms.attestations import store as attestations
from csms.cluster.feed import Feed
from csms.db.store import Store
from csms.prequalifications import store as prequalifications
from csms.prequalifications.rules import ExportPermit, Prequalification, next_change_ms, permit, permit_of_all
from v2g.errors import RefusedError
from v2g.io.runtime.clock import Clock

CHANGED: Final = "prequalification_changed"
"""The event that a station's records have changed."""

ATTESTED: Final = frozenset({"attested", "attestation_failed", "attestation_changed"})
"""The events that a station has proved to be whole, that it has not, and that it was enrolled or removed."""

_PAUSE_S: Final = 1.0


class ExportPermits:
    """The permits of all stations. Call `load` before anything else. `on_change` is called when they may differ."""

    def __init__(self, store: Store, clock: Clock, feed: Feed, *, required: bool, attested: bool) -> None:
        """`attested`: enrolled stations that have not proved to be whole export nothing."""
        self._store, self._clock, self._feed, self._required = store, clock, feed, required
        self._attested = attested
        self._denied: dict[str, str] = {}
        self._records: dict[str, list[Prequalification]] = {}
        self._edge_ms: int | None = None
        self.on_change: Callable[[], None] = lambda: None

    async def load(self) -> None:
        """Load the records. Raises StoreError."""
        found: dict[str, list[Prequalification]] = defaultdict(list)
        for each in await self._store.read(prequalifications.records):
            found[each.station_id].append(each)
        self._records = dict(found)
        self._denied = await self._store.read(attestations.not_whole) if self._attested else {}
        self._edge_ms = self._next_edge(self._clock.utc_ms())

    async def run(self) -> None:
        """Load the records when they have changed, and report when one begins or ends, for ever."""
        with self._feed.subscribe({CHANGED, *ATTESTED}) as changes:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_S):
                        await anext(changes)
                    await self.load()
                    self.on_change()
                self.tick()

    def tick(self) -> None:
        """Report when a record has begun or ended since the last call."""
        now_ms = self._clock.utc_ms()
        if self._edge_ms is not None and now_ms >= self._edge_ms:
            self._edge_ms = self._next_edge(now_ms)
            self.on_change()

    def _next_edge(self, now_ms: int) -> int | None:
        edges = (next_change_ms(each, now_ms) for each in self._records.values())
        return min((edge for edge in edges if edge is not None), default=None)

    def concerns(self, station_id: str) -> bool:
        """Return whether records or its attestation bound the export of a station, or the lack of records."""
        return self._required or self.recorded(station_id)

    def recorded(self, station_id: str) -> bool:
        """Return whether a station has records, valid or not, or has not proved to be whole."""
        return station_id in self._records or station_id in self._denied

    def of(self, station_id: str, evse_id: int) -> ExportPermit:
        """Return what an EVSE may export now."""
        if (why := self._denied.get(station_id)) is not None:
            return ExportPermit(station_w=0, evse_w=0, reason=f"attestation: {why}")
        records = self._records.get(station_id, ())
        return permit(records, evse_id, self._clock.utc_ms(), required=self._required)

    def of_all(self, station_id: str, evses: int) -> ExportPermit:
        """Return what each of a station's EVSEs may export now: the strictest permit."""
        return permit_of_all([self.of(station_id, evse_id) for evse_id in range(1, evses + 1)])

    def check(self, station_id: str, evse_id: int, export_w: int, *, evses: int) -> None:
        """Reject an export of so many W at an EVSE (0: at all). Raises RefusedError (`not_prequalified`)."""
        granted = self.of(station_id, evse_id) if evse_id else self.of_all(station_id, evses)
        if export_w > granted.most_w and station_id in self._denied:
            raise RefusedError(granted.reason, reason="not_attested", hint=f"v2g csms attestation show {station_id}")
        if export_w > granted.most_w:
            raise RefusedError(
                granted.reason or f"prequalified for {granted.most_w} W, not {export_w} W",
                reason="not_prequalified",
                hint=f"add a record: PUT /stations/{station_id}/prequalifications/CERTIFICATE",
            )
