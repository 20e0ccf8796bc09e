"""Detectors of batteries as a sink of telemetry, and the report of each month's references (R124).

States and findings of the detectors (`v2g.battery`) are stored in one transaction. A batch that comes again, as after
a kill, changes nothing: the state says up to which record it is.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NoReturn

from csms.batteries import store as rows
from csms.batteries.rules import Advanced, Battery, advance
from csms.db.store import Store
from csms.services import Services
from csms.telemetry.rules import StoredRecord
from v2g.battery.detectors import DetectorSettings
from v2g.battery.scores import ScoreSettings
from v2g.errors import StoreError
from v2g.io.runtime.clock import Clock

LOOK_S: Final = 600.0


async def make_reports(services: Services) -> NoReturn:
    """Make the report of the last month when it has ended, until cancelled. Raises StoreError."""
    while True:
        await make_report(services)
        await asyncio.sleep(LOOK_S / services.clock.scale)


async def make_report(services: Services) -> None:
    """Make the report of the month before this one, if there is none. Raises StoreError."""
    now_ms = services.clock.utc_ms()
    month, span_ms = last_month(now_ms)
    apart_percent = 100 * services.config.battery.health.apart
    made = await services.store.run(rows.make_report, month, span_ms, apart_percent, now_ms)
    if made is not None:
        services.announce(
            "alerts", "battery_report", month=month, vehicles=made.vehicles, checked=made.checked, apart=made.apart
        )


def last_month(now_ms: int) -> tuple[str, tuple[int, int]]:
    """Return the month before that of `now_ms` (UTC), as 2026-11, and its span (ms)."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    end = datetime(now.year, now.month, 1, tzinfo=UTC)
    begin = datetime(end.year - (end.month == 1), (end.month - 2) % 12 + 1, 1, tzinfo=UTC)
    return f"{begin:%Y-%m}", (round(1000 * begin.timestamp()), round(1000 * end.timestamp()))


BATTERIES: Final = "battery detectors"
"""Name of this sink; a configured one has no space in its name."""


class BatterySink:
    """`on_change` is called after an alert has changed. Implements Sink."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: DetectorSettings,
        on_change: Callable[[], None],
        scoring: ScoreSettings | None = None,
    ) -> None:
        self._store, self._clock, self._settings, self._on_change = store, clock, settings, on_change
        self._scoring = scoring

    async def write(self, records: Sequence[StoredRecord]) -> None:
        """See Sink. Raises StoreError, too, when a vehicle was erased or another node fed its records meanwhile."""
        by_ev = defaultdict[str, list[StoredRecord]](list)
        for each in records:
            by_ev[each.ev].append(each)
        before = await self._store.read(rows.batteries, list(by_ev))
        after = await asyncio.to_thread(self._advance, before, by_ev)  # beside the events of stations
        changed = await self._store.run(rows.save, before, after, self._clock.utc_ms())
        if changed is None:
            raise StoreError("states of batteries have changed meanwhile", hint="they are read again")
        if changed:
            self._on_change()

    def _advance(self, before: dict[str, Battery], by_ev: dict[str, list[StoredRecord]]) -> dict[str, Advanced]:
        return {
            ev: advance(self._settings, before.get(ev, Battery()), each, self._scoring) for ev, each in by_ev.items()
        }

    async def erase(self, ev: str) -> None:
        await self._store.run(rows.erase, ev)

    async def close(self) -> None:
        """See Sink."""
