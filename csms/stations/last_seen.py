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

    def unsaved_ms(self, station_id: str) -> int:
        """Return when a station was last here, as far as that may not be stored yet; 0: it is."""
        return max(self._seen.get(station_id, 0), self._left.get(station_id, 0))

    async def flush(self) -> None:
        """Store the updates. Raises StoreError."""
        for save, kept in ((stations.save_seen, self._seen), (stations.save_left, self._left)):
            if stored := dict(kept):
                await self._store.report(save, stored)
                for station_id in [each for each, at_ms in stored.items() if kept[each] == at_ms]:
                    del kept[station_id]
