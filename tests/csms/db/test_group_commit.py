"""One writer for many requests: commands before reports, a share of each commit for reports, none for ever."""

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, QueuePool, text

from csms.db.group_commit import LEAST_REPORTS, MAX_GROUP
from csms.db.sqlite import WriteTurn
from csms.db.store import Store, open_sqlite


class Order:
    """Operations that note when they run; the first one holds the writer until all others are queued."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._held, self._free = threading.Event(), threading.Event()

    def hold(self, connection: Connection) -> None:
        """Keep the writer."""
        self._held.set()
        assert self._free.wait(60)

    def note(self, connection: Connection, name: str) -> None:
        """Note that it has run."""
        self.done.append(name)

    def note_all(self, connection: Connection, names: list[str]) -> list[str]:
        """Note that they have."""
        self.done += names
        return names

    async def run(self, store: Store, commands: int, reports: int) -> None:
        """Run reports that came first, then commands."""
        held = asyncio.ensure_future(store.run(self.hold))
        await asyncio.to_thread(self._held.wait)
        waiting = [asyncio.ensure_future(store.report(self.note, "report")) for _ in range(reports)]
        waiting += [asyncio.ensure_future(store.run(self.note, "command")) for _ in range(commands)]
        await asyncio.sleep(0)
        assert (store.waiting, store.reports_waiting) == (commands + reports, reports)
        self._free.set()
        await asyncio.gather(held, *waiting)
        assert (store.waiting, store.reports_waiting) == (0, 0)


@pytest.mark.requirement("R29")
async def test_commands_overtake_reports(store: Store) -> None:
    order = Order()
    await order.run(store, commands=10, reports=2 * MAX_GROUP)
    assert order.done[:10] == ["command"] * 10
    assert order.done.count("report") == 2 * MAX_GROUP


@pytest.mark.requirement("R29")
async def test_a_share_of_each_commit_is_for_reports(store: Store) -> None:
    order = Order()
    await order.run(store, commands=2 * MAX_GROUP, reports=2 * LEAST_REPORTS)
    first, second, last = order.done[:MAX_GROUP], order.done[MAX_GROUP : 2 * MAX_GROUP], order.done[2 * MAX_GROUP :]
    assert first.count("report") == second.count("report") == LEAST_REPORTS
    assert set(last) == {"command"}


async def test_reports_alone_fill_a_commit(store: Store) -> None:
    order = Order()
    await order.run(store, commands=0, reports=MAX_GROUP)
    assert order.done == ["report"] * MAX_GROUP


async def test_gathered_reports_have_their_own_results(store: Store) -> None:
    order = Order()
    found = await asyncio.gather(*(store.gather_reports(order.note_all, f"{number}") for number in range(5)))
    assert found == order.done == ["0", "1", "2", "3", "4"]


async def test_an_option_counts_from_the_next_operation_on(store: Store) -> None:
    def look(connection: Connection) -> object:
        return connection.get_execution_options().get("seal")

    assert await store.run(look) is None
    store.set_option("seal", 1)
    assert [await store.run(look), await store.look_up(lambda c, items: [look(c) for _ in items], 0)] == [1, 1]


async def test_a_writer_that_rests_gives_its_connection_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the next one is pinged: the server may have closed it meanwhile."""
    monkeypatch.setattr("csms.db.group_commit.FRESH_S", 0.0)
    pool = store.engine.pool
    assert isinstance(pool, QueuePool)
    await store.run(lambda connection: connection.execute(text("SELECT 1")).scalar())
    async with asyncio.timeout(60):
        while pool.checkedout():
            await asyncio.sleep(0)


async def test_closing_finishes_reports(store: Store) -> None:
    order = Order()
    waiting = [asyncio.ensure_future(store.report(order.note, "report")) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.to_thread(store.close)
    await asyncio.gather(*waiting)
    assert order.done == ["report"] * 3


async def test_programs_with_one_file_take_turns(tmp_path: Path) -> None:
    """A writer waits for the one that has the turn, not for SQLite's lock, which nobody takes here."""
    store, done = open_sqlite(tmp_path / "csms.sqlite3"), list[str]()
    turn = WriteTurn(str(tmp_path / "csms.sqlite3"))
    with turn:
        writing = asyncio.ensure_future(store.run(lambda _connection: done.append("written")))
        for _ in range(10):
            await store.read(lambda connection: connection.execute(text("SELECT count(*) FROM stations")).scalar())
        done.append("released")
    await writing
    assert done == ["released", "written"]
    turn.close()
    store.close()
