"""When stations last sent something is stored many at once, and not for each heartbeat."""

from sqlalchemy import select

from csms.db.store import Store
from csms.stations import store as stations
from csms.stations.last_seen import LastSeen
from csms.stations.tables import stations as table


async def test_what_was_noted_is_stored_by_the_next_flush_and_only_then(store: Store) -> None:
    for station_id in ("CS-1", "CS-2", "CS-3"):
        await store.run(stations.touch, station_id, "ocpp2.1", 1)
    seen = LastSeen(store, 0)
    for station_id, now_ms in (("CS-1", 10), ("CS-2", 20), ("CS-1", 30)):
        seen.note(station_id, now_ms)
    before = await store.read(lambda c: c.execute(select(table.c.last_seen_ms)).scalars().all())
    await seen.flush()
    await seen.flush()
    after = await store.read(lambda c: dict(c.execute(select(table.c.station_id, table.c.last_seen_ms)).all()))  # type: ignore[arg-type]
    assert before == [1, 1, 1]
    assert after == {"CS-1": 30, "CS-2": 20, "CS-3": 1}
