"""When stations were last seen: updated in memory with every heartbeat, stored periodically in batches.

A heartbeat contains nothing that would be missed after a crash, so it need not wait for a disk.
"""

from csms.db.store import Store
from csms.stations import store as stations


class LastSeen:
    """Not stored yet: station -> UTC in ms. `since_ms` (UTC): since when this node can see stations."""

    def __init__(self, store: Store, since_ms: int) -> None:
        self.since_ms = since_ms
        self._store = store
        self._seen: dict[str, int] = {}
        self._left: dict[str, int] = {}

    def note(self, station_id: str, now_ms: int) -> None:
        """Update a station's time."""
        self._seen[station_id] = now_ms

    def left(self, station_id: str, now_ms: int) -> None:
        """A station's connection has ended."""
        self._left[station_id] = now_ms

    async def flush(self) -> None:
        """Store the updates. Raises StoreError."""
        if self._seen:
            seen, self._seen = self._seen, {}
            await self._store.report(stations.save_seen, seen)
        if self._left:
            left, self._left = self._left, {}
            await self._store.report(stations.save_left, left)
