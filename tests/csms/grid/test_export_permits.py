"""The permits that a back end keeps in memory: what they allow to the watt, and when they are said to have changed."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from csms.cluster.bus import LocalBus
from csms.cluster.feed import Feed
from csms.db.store import Store, open_sqlite
from csms.prequalifications import store as prequalifications
from csms.prequalifications.rules import Prequalification
from csms.prequalifications.work import ExportPermits
from tests.csms.backend import TestClock
from v2g.energy.limits import MOST_W
from v2g.errors import RefusedError

NOW_MS = 1_780_000_200_000


class Permits:
    """The permits of a back end, its records, and how often they were said to have changed."""

    def __init__(self, store: Store, *, required: bool = False) -> None:
        self.store, self.clock = store, TestClock(NOW_MS)
        self.feed = Feed(LocalBus("node"), self.clock.utc_ms)
        self.kept = ExportPermits(store, self.clock, self.feed, required=required, attested=False)
        self.changes = 0
        self.kept.on_change = self.count

    def count(self) -> None:
        self.changes += 1

    async def put(
        self, station_id: str, evse_id: int, most_w: int, from_ms: int = 0, until_ms: int = NOW_MS * 2
    ) -> None:
        """Store a record."""
        record = Prequalification(
            station_id=station_id,
            certificate=f"C-{evse_id}-{from_ms}",
            evse_id=evse_id,
            operator="DSO",
            valid_from_ms=from_ms,
            valid_until_ms=until_ms,
            most_export_w=most_w,
        )
        await self.store.run(prequalifications.put, record)

    def refusal(self, station_id: str, evse_id: int, export_w: int, evses: int = 2) -> str:
        """Why an export is refused, or nothing."""
        refused = None
        try:
            self.kept.check(station_id, evse_id, export_w, evses=evses)
        except RefusedError as error:
            refused = error
        if refused is None:
            return ""
        assert refused.reason == "not_prequalified"
        assert refused.hint == f"add a record: PUT /stations/{station_id}/prequalifications/CERTIFICATE"
        return str(refused)


@pytest.fixture
def sqlite(empty_database: Path, tmp_path: Path) -> Iterator[Store]:
    """A store with nothing in it."""
    found = open_sqlite(Path(shutil.copy(empty_database, tmp_path / "csms.sqlite3")))
    yield found
    found.close()


@pytest.mark.requirement("R45")
async def test_export_is_permitted_up_to_the_watt_of_the_record(sqlite: Store) -> None:
    permits = Permits(sqlite)
    await permits.put("A", 1, 6000)
    await permits.put("A", 2, 5000)
    await permits.kept.load()
    assert permits.refusal("A", 1, 6000) == permits.refusal("A", 2, 5000) == permits.refusal("A", 0, 5000) == ""
    assert permits.refusal("A", 1, 6001) == "prequalified for 6000 W, not 6001 W"
    assert permits.refusal("A", 0, 5001) == "prequalified for 5000 W, not 5001 W"
    assert permits.refusal("A", 0, 6000, evses=1) == "", "it has one EVSE only"
    assert permits.refusal("A", 3, 1) == permits.refusal("A", 0, 1, evses=3) == "EVSE 3 has no prequalification record"


@pytest.mark.requirement("R45")
async def test_the_first_evse_may_be_the_strictest(sqlite: Store) -> None:
    permits = Permits(sqlite)
    await permits.put("A", 1, 4000)
    await permits.put("A", 2, 5000)
    await permits.kept.load()
    granted = permits.kept.of_all("A", 2)
    assert (granted.evse_w, granted.station_w, granted.reason) == (4000, None, "")


@pytest.mark.requirement("R45")
@pytest.mark.parametrize("required", [True, False])
async def test_a_station_without_records_is_bound_where_they_are_required(sqlite: Store, required: bool) -> None:
    permits = Permits(sqlite, required=required)
    await permits.put("A", 0, 6000)
    await permits.kept.load()
    assert (permits.kept.recorded("A"), permits.kept.recorded("B")) == (True, False)
    assert (permits.kept.concerns("A"), permits.kept.concerns("B")) == (True, required)
    reason = "EVSE 1 has no prequalification record" if required else ""
    assert permits.kept.of("B", 1).reason == reason
    assert permits.kept.of("B", 1).most_w == (0 if required else MOST_W)
    assert permits.refusal("B", 1, 1) == reason
    assert permits.refusal("B", 1, 0) == ""


async def test_only_what_was_loaded_counts(sqlite: Store) -> None:
    permits = Permits(sqlite)
    await permits.put("A", 0, 6000)
    assert not permits.kept.recorded("A")
    permits.kept.tick()
    assert permits.changes == 0, "nothing ends of which nothing is known"
    await permits.kept.load()
    assert permits.kept.recorded("A")
    await sqlite.run(prequalifications.remove, "A", "C-0-0")
    await permits.kept.load()
    assert not permits.kept.recorded("A")


@pytest.mark.requirement("R45")
async def test_each_begin_and_end_is_reported_once_whichever_station_it_is_of(sqlite: Store) -> None:
    permits = Permits(sqlite)
    await permits.put("A", 0, 6000, until_ms=NOW_MS + 3000)
    await permits.put("B", 0, 6000, from_ms=NOW_MS + 1000, until_ms=NOW_MS + 5000)
    await permits.put("C", 0, 6000, until_ms=NOW_MS - 1)
    await permits.kept.load()
    reported = []
    for later_ms in range(0, 6001, 500):
        permits.clock.now_ms = NOW_MS + later_ms
        before = permits.changes
        permits.kept.tick()
        reported += [later_ms] * (permits.changes - before)
        permits.kept.tick()
        assert permits.changes - before <= 1
    assert reported == [1000, 3000, 5000]
    permits.clock.now_ms = NOW_MS * 3
    permits.kept.tick()
    assert permits.changes == 3


@pytest.mark.requirement("R45")
async def test_changed_records_are_loaded_before_it_is_said_and_edges_go_on_being_reported(sqlite: Store) -> None:
    permits = Permits(sqlite)
    await permits.kept.load()
    said: asyncio.Queue[tuple[bool, int]] = asyncio.Queue()

    def changed() -> None:
        said.put_nowait((permits.kept.recorded("A"), permits.kept.of("A", 1).most_w))
        permits.clock.now_ms = NOW_MS + 1000  # the record ends while this is handled

    permits.kept.on_change = changed
    running = asyncio.create_task(permits.kept.run())
    await asyncio.sleep(0)  # it listens now
    try:
        for most_w in (6000, 4000):
            permits.clock.now_ms = NOW_MS
            await permits.put("A", 0, most_w, until_ms=NOW_MS + 1000)
            permits.feed.publish("prequalification_changed", "A", {})
            async with asyncio.timeout(60):
                assert [await said.get(), await said.get()] == [(True, most_w), (True, 0)]
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
