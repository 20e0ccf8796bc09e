"""Stores what limits the power of running transactions whenever it changes, each node of its own stations."""

from collections.abc import Collection
from typing import Final

from csms.db.queries import charging
from csms.ocpp.base import Services

_TRIGGERS: Final = frozenset({
    "charging_limit", "charging_limit_cleared", "charging_needs", "dispatched", "share", "station_connected",
    "transaction_started",
})  # fmt: skip
"""Events after which another limit may bind."""

_SETTLE_S: Final = 5.0
"""A transaction gets no more than one point in this time."""

_EVERY_MS: Final = 60_000
"""How often limits are looked at that begin or end by the clock."""

_STEP: Final = 20
"""Stations looked at in one operation of the store."""


class LimitCourse:
    """Looks at stations after events, and at those with limits that depend on the time once a minute."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._timed: set[str] = set()
        self._looked_ms = 0

    async def run(self) -> None:
        """Store limits, for ever."""
        with self._services.feed.subscribe(_TRIGGERS) as triggers:
            while True:
                events = await triggers.batch(_SETTLE_S, within_s=_EVERY_MS / 1000)
                await self.note({each.station_id for each in events if each.station_id is not None})

    async def note(self, stations: Collection[str]) -> None:
        """Store what limits transactions at some stations of this node, and at those that a minute has passed for."""
        services, now_ms = self._services, self._services.clock.utc_ms()
        due = set(stations)
        if now_ms >= self._looked_ms + _EVERY_MS:
            self._looked_ms = now_ms
            due |= self._timed
        here = sorted(due & services.connections.connected_here())
        self._timed -= due
        if not here:
            return
        sites = await services.store.read(charging.all_sites)
        phases = {(each.station_id, each.evse_id): len(each.phases) for site in sites for each in site.places}
        for at in range(0, len(here), _STEP):
            some = here[at : at + _STEP]
            self._timed.update(await services.store.run(charging.note_limits, some, phases, now_ms))
