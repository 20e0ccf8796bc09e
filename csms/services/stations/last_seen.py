"""When stations were last heard: noted in memory with every heartbeat, stored now and then, many at once.

A heartbeat says nothing that would be missed after a crash, so it need not wait for a disk.
"""

from csms.db.queries import stations
from csms.db.store import Store


class LastSeen:
    """What is not stored yet: station -> UTC in ms."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, int] = {}

    def note(self, station_id: str, now_ms: int) -> None:
        """A station was heard."""
        self._seen[station_id] = now_ms

    async def flush(self) -> None:
        """Store what was noted. Raises StoreError."""
        if self._seen:
            seen, self._seen = self._seen, {}
            await self._store.run(stations.save_seen, seen)
