"""The grid operator's signal: from a file, watched; kept across restarts; never backwards."""

import asyncio
from pathlib import Path

from csms.db.store import Store
from csms.grid.rules import SiteLimits, SourceSignal
from csms.grid.source import GridSource
from tests.csms.conftest import Start
from tests.csms.support import grid_signal
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog


async def test_a_file_is_read_at_start_and_again_whenever_it_changes(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "signal.json"
    path.write_bytes(grid_signal(1).to_json())
    async with start(grid={"signal_file": path, "poll_interval_s": 0.01}) as csms:
        assert csms.csms.grid.current == grid_signal(1, **_times(csms.csms.grid.current))
        async with csms.watching():
            part = tmp_path / "part"
            part.write_bytes(grid_signal(2).to_json())
            part.replace(path)
            assert (await csms.event("grid_signal_received", 2))["version"] == 2
            assert '"0.30"' in (await csms.event("grid_signal_old_prices", 2))["reason"]
            path.write_bytes(b"half a sig")
            assert (await csms.event("grid_signal_refused"))["origin"] == "file"
            path.write_bytes(grid_signal(1).to_json())
            await csms.event("grid_signal_refused", 2)
            path.unlink()
            assert "No such file" in (await csms.event("grid_signal_unreadable"))["reason"]
            path.mkdir()
            assert "directory" in (await csms.event("grid_signal_unreadable", 2))["reason"], "each reason is named"
        assert csms.csms.grid.current is not None
        assert csms.csms.grid.current.version == 2


async def test_the_newest_signal_survives_a_restart_without_its_file(start: Start) -> None:
    async with start() as csms:
        await csms.csms.grid.offer(grid_signal(8), "test")
    async with start() as csms:
        assert csms.csms.grid.current is not None
        assert csms.csms.grid.current.version == 8


async def test_a_signal_that_two_nodes_get_at_once_is_stored_once_and_in_force_on_both(store: Store) -> None:
    clock = Clock()
    nodes = [GridSource(store, clock, EventLog("csms", clock), None) for _ in range(2)]
    reported: list[int] = []
    for node in nodes:
        node.on_change = lambda signal: reported.append(signal.version)
    await asyncio.gather(*(node.offer(grid_signal(3), "test") for node in nodes))
    assert [node.current.version for node in nodes if node.current] == [3, 3]
    assert reported == [3, 3]
    await nodes[0].offer(grid_signal(5), "test")
    await nodes[1].take_newest()
    await nodes[1].take_newest()
    assert nodes[1].current is not None
    assert (nodes[1].current.version, reported) == (5, [3, 3, 5, 5])


async def test_what_two_nodes_state_at_once_is_combined(store_url: str) -> None:
    """Neither misses the other's source, on either database."""
    site = SiteLimits(currency="EUR", import_limit_w=90_000, export_limit_w=90_000, sources=("a", "b"))
    clock = Clock()
    stores = [Store(store_url) for _ in range(2)]
    nodes = [GridSource(each, clock, EventLog("csms", clock), None, site) for each in stores]
    for watts in range(10):
        await asyncio.gather(
            nodes[0].state(SourceSignal(source="a", import_limit_w=watts)),
            nodes[1].state(SourceSignal(source="b", export_limit_w=watts)),
        )
        for node in nodes:
            await node.take_newest()
            assert node.current is not None
            assert (node.current.site_import_limit_w, node.current.export_limit_w) == (watts, watts)
    for each in stores:
        each.close()


def _times(signal: object) -> dict[str, object]:
    return {name: getattr(signal, name) for name in ("issued_at_ms", "slots", "valid_until_ms")}
