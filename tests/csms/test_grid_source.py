"""The grid operator's signal: from a file, watched; kept across restarts; never backwards."""

from pathlib import Path

from tests.csms.conftest import Start
from tests.csms.support import grid_signal


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
            path.write_bytes(b"half a sig")
            assert (await csms.event("grid_signal_refused"))["origin"] == "file"
            path.write_bytes(grid_signal(1).to_json())
            await csms.event("grid_signal_refused", 2)
            path.unlink()
            await csms.event("grid_signal_unreadable")
        assert csms.csms.grid.current is not None
        assert csms.csms.grid.current.version == 2


async def test_the_newest_signal_survives_a_restart_without_its_file(start: Start) -> None:
    async with start() as csms:
        await csms.csms.grid.offer(grid_signal(8), "test")
    async with start() as csms:
        assert csms.csms.grid.current is not None
        assert csms.csms.grid.current.version == 8


def _times(signal: object) -> dict[str, object]:
    return {name: getattr(signal, name) for name in ("issued_at_ms", "slots", "valid_until_ms")}
