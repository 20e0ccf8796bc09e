"""The database: a change of tables is a revision, work is whole or not at all, and no newer file is touched."""

import asyncio
import contextlib
import hashlib
import re
import resource
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select, text
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from csms.db import sqlite
from csms.db.schema import metadata
from csms.db.store import HEAD, READABLE_BY, Store, migrate, open_engine, open_sqlite, open_store, shut_out
from csms.settlements import store as records
from csms.stations import store as stations
from csms.stations.tables import stations as stations_table
from csms.tokens import store as tokens
from csms.tokens.rules import Token
from tests.csms.databases import Cluster, Databases
from tests.waiting import until
from v2g.errors import RefusedError, StoreError


def _known(connection: Connection) -> list[str]:
    """Return the stations that are stored."""
    return list(connection.execute(select(stations_table.c.station_id).order_by(stations_table.c.station_id)).scalars())


def test_another_change_of_tables_has_another_revision() -> None:
    """Else a database of before would stay without it. To change tables: another HEAD, and both here."""
    tables = [each for each in metadata.sorted_tables if each.name != "telemetry"]  # it gets new signals at each start
    parts = [CreateTable(table) for table in tables] + [CreateIndex(each) for table in tables for each in table.indexes]
    declared = sorted(str(each.compile(dialect=sqlite_dialect.dialect())) for each in parts)
    assert (HEAD, hashlib.sha256("".join(declared).encode()).hexdigest()[:8]) == ("0097", "f6e25e44")


def test_the_file_is_wal_durable_and_the_owners_alone(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path / "data" / "csms.sqlite3")
    with store.engine.connect() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}
    assert pragmas == PRAGMAS
    assert (tmp_path / "data" / "csms.sqlite3").stat().st_mode & 0o777 == 0o600
    store.close()


async def test_a_full_disk_ends_no_checkpoints(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The thread that makes them ended for good; and the log of an erasure is emptied once there is space again."""
    file = tmp_path / "csms.sqlite3"
    store, limits = open_sqlite(file), resource.getrlimit(resource.RLIMIT_FSIZE)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN").execute("SELECT count(*) FROM stations").fetchall()  # the log cannot be copied
    store.do(lambda connection: connection.execute(text("CREATE TABLE large AS SELECT randomblob(3000000) AS octets")))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, limits[1]))
    try:
        reader.close()
        store.do(lambda connection: connection.execute(text("SELECT 1")))
        with pytest.raises(StoreError, match="checkpoint of the database"):
            await store.forget()
        await until(lambda: "checkpoint of the database" in caplog.text)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store.do(lambda connection: connection.execute(text("SELECT 1")))
    await until(lambda: file.stat().st_size >= 3_000_000)
    store.close()


async def test_an_erasure_waits_for_a_checkpoint_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not, but reports at once that the log is in use."""
    file = tmp_path / "csms.sqlite3"
    lock = f"import fcntl; f = open('{file}-shm', 'r+'); fcntl.lockf(f, 2, 1, 121); print(flush=True); input()"
    with contextlib.closing(open_sqlite(file)) as store:
        other = subprocess.Popen([sys.executable, "-c", lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert other.stdout is not None
        other.stdout.readline()
        waits: list[float] = []

        def ends(seconds: float) -> None:
            waits.append(seconds)
            other.communicate()

        monkeypatch.setattr(sqlite, "sleep", ends)
        await store.forget()
    assert waits == [0.1]


def test_the_folder_of_data_is_made_also_for_a_database_elsewhere(tmp_path: Path, owner_url: str) -> None:
    """Backups go there, and metrics say how full its disk is."""
    open_store(owner_url, tmp_path / "of" / "node").close()
    assert (tmp_path / "of" / "node").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        open_store(owner_url, tmp_path / "file")


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_database_of_a_newer_program_is_not_touched(owner_url: str) -> None:
    store = Store(owner_url)
    of_newer(store, "9998")
    with pytest.raises(StoreError, match="migrate"):
        Store(owner_url)


def of_newer(store: Store, oldest_reader: str) -> None:
    """Let a database be as a newer program leaves it, and close it."""
    newer = text("UPDATE alembic_version SET version_num = '9999', oldest_reader = :oldest")
    store.do(lambda connection: connection.execute(newer, {"oldest": oldest_reader}))
    store.close()


@pytest.mark.requirement("R135")
def test_a_database_that_a_newer_program_only_added_to_is_used_and_left_as_it_is(owner_url: str) -> None:
    """So nodes with old and new releases share it, and a new one may go back."""
    of_newer(Store(owner_url), HEAD)
    store = Store(owner_url)
    store.do(stations.touch, "CS", "ocpp2.1", 1)
    assert store.do(_known) == ["CS"]
    assert store.do(lambda c: c.execute(text("SELECT * FROM alembic_version")).one()) == ("9999", HEAD)
    store.close()


def test_a_newer_node_may_migrate_while_an_older_one_waits_for_its_turn(postgresql_databases: Databases) -> None:
    url = postgresql_databases.create(owner=True)
    store, engine = Store(url), open_engine(url)
    store.do(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '0096'")))

    def another_was_faster(connection: Connection) -> None:
        if not connection.get_execution_options().get(sqlite.READS):
            of_newer(store, HEAD)

    event.listen(engine, "begin", another_was_faster)
    migrate(engine)
    with engine.connect().execution_options(**{sqlite.READS: True}) as connection:
        assert connection.execute(text("SELECT * FROM alembic_version")).one() == ("9999", HEAD)
    engine.dispose()


@pytest.mark.some(1)
@pytest.mark.requirement("R135")
@pytest.mark.parametrize("revision", ["0058", None, READABLE_BY])
def test_it_is_known_before_a_migration_whether_the_program_before_is_shut_out(
    tmp_path: Path, revision: str | None
) -> None:
    url = f"sqlite:///{tmp_path}/csms.sqlite3"
    if revision is not None:
        engine = open_engine(url)
        migrate(engine)
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        engine.dispose()
    why = shut_out(url, tmp_path)
    assert (why != "") == (revision == "0058")
    assert ("revision 0058" in why) == (revision == "0058")
    Store(url).close()
    assert shut_out(url, tmp_path) == ""


def test_the_oldest_reader_is_one_that_writes_down_who_is() -> None:
    assert "0059" <= READABLE_BY <= HEAD


def test_nodes_that_start_together_migrate_once(sqlite_databases: Databases, cluster: Cluster, tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/new.sqlite3", cluster.url(cluster.create())):
        with ThreadPoolExecutor(4) as nodes:
            stores = list(nodes.map(lambda _: Store(url), range(4)))  # noqa: B023 - done before the next one
        for store in stores:
            assert store.do(lambda c: c.execute(text("SELECT version_num FROM alembic_version")).scalars().all()) == [
                HEAD
            ]
            store.close()


def test_a_database_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    for url in (f"postgresql://nobody@/none?host={tmp_path}", "oracle://", f"sqlite:///{tmp_path}/no/such/folder"):
        with pytest.raises(StoreError):
            Store(url)


async def test_work_that_fails_leaves_nothing_behind(store: Store) -> None:
    def work(connection: Connection) -> None:
        stations.touch(connection, "CS", "ocpp2.1", 1)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        await store.run(work)
    assert await store.run(lambda c: c.execute(select(func.count()).select_from(stations_table)).scalar()) == 0


@pytest.mark.parametrize("by", [Store.run, Store.read, Store.look_up], ids=lambda each: each.__name__)
async def test_work_that_fails_as_it_fetches_does_not_hold_the_log(tmp_path: Path, by: Any) -> None:
    """What was erased would stay in SQLite's log as long as its error is known."""

    def fails(connection: Connection, *_: object) -> list[None]:
        found = connection.execute(text("SELECT name FROM sqlite_master"))
        for row in found:
            raise ValueError(row.name)
        return [None]

    with contextlib.closing(open_sqlite(tmp_path / "csms.sqlite3")) as store:
        await store.run(tokens.put, Token("ISO14443", "A", "Accepted"))
        error = (await asyncio.gather(by(store, fails, "x"), return_exceptions=True))[0]
        assert isinstance(error, ValueError)
        await store.forget()


async def test_a_database_that_refuses_is_a_store_error(store: Store) -> None:
    with pytest.raises(StoreError, match="the database rejects values: ") as refused:
        await store.run(lambda c: c.execute(insert(stations_table).values(station_id="CS-SECRET")))
    assert not re.search("INSERT|CS-SECRET", str(refused.value))
    assert "parameters hidden" in str(refused.value.__cause__)  # whose text the log has


async def test_works_of_one_commit_fail_and_succeed_each_alone(store: Store) -> None:
    """While the first one holds the writer, the others gather for the next commit."""
    started, release = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        started.set()
        assert release.wait(60)

    def fail(connection: Connection, name: str) -> None:
        stations.touch(connection, name, "ocpp2.1", 1)
        if name == "CS-2":
            raise RefusedError("not this one", reason="test")
        stations.save_connector(connection, "nobody", 1, 1, "Available", 1)  # no such station

    first = asyncio.create_task(store.run(hold))
    await asyncio.to_thread(started.wait, 5)
    works = [
        store.run(stations.touch, "CS-1", "ocpp2.1", 1),
        store.run(fail, "CS-2"),
        store.run(stations.touch, "CS-3", "ocpp2.1", 1),
        store.run(fail, "CS-4"),
        store.run(stations.touch, "CS-3", "ocpp2.1", 2),
    ]
    waiting = [asyncio.create_task(work) for work in works]
    await asyncio.sleep(0)
    release.set()
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [results[0], results[2], results[4]] == ["", "", ""]
    assert isinstance(results[1], RefusedError)
    assert isinstance(results[3], StoreError)
    assert store.do(_known) == ["CS-1", "CS-3"]


async def test_nobody_is_answered_before_the_commit(store: Store) -> None:
    """What a work wrote is there for others when, and not before, its caller goes on."""
    seen: list[int] = []

    @event.listens_for(store.engine, "commit")
    def look(_connection: Connection) -> None:
        seen.append(len(waiting) - sum(work.done() for work in waiting))

    waiting = [asyncio.create_task(store.run(stations.touch, f"CS-{n}", "ocpp2.1", 1)) for n in range(50)]
    await asyncio.gather(*waiting)
    assert seen[0] == 50  # at the first commit nobody had been answered
    assert len(seen) < 25  # and most shared one
    assert len(await store.read(_known)) == 50


async def test_items_for_one_work_are_done_together_and_answered_each(store: Store) -> None:
    calls: list[int] = []

    def work(connection: Connection, names: list[str]) -> list[str]:
        calls.append(len(names))
        for name in names:
            if name == "CS-13":
                raise RefusedError("unlucky", reason="test")
            stations.touch(connection, name, "ocpp2.1", 1)
        return [name.lower() for name in names]

    names = [f"CS-{n}" for n in range(100)]
    results = await asyncio.gather(*(store.gather(work, name) for name in names), return_exceptions=True)
    assert isinstance(results.pop(13), RefusedError)
    assert results == [name.lower() for name in names if name != "CS-13"]
    assert max(calls) > 10
    assert len(store.do(_known)) == 99


async def test_the_loop_goes_on_while_the_database_works(store: Store) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(_connection: Connection) -> bool:
        loop.call_soon_threadsafe(done.set)
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(done.wait(), 60), loop).result(60)

    assert await store.run(work) is True


async def test_no_station_waits_for_what_callers_of_the_interface_read(store: Store) -> None:
    over = threading.Event()

    def report(_connection: Connection) -> bool:
        return over.wait(timeout=300)

    asked = [asyncio.create_task(store.read_for_caller(report)) for _ in range(8)]
    try:
        assert await store.read(_known) == []
        assert not any(each.done() for each in asked)
    finally:
        over.set()
    assert all(await asyncio.gather(*asked))


async def test_reports_are_read_one_after_the_other_while_other_callers_are_answered(store: Store) -> None:
    over = threading.Event()

    def report(_connection: Connection) -> bool:
        return over.wait(timeout=300)

    asked = [asyncio.create_task(store.read_report(report)) for _ in range(5)]
    try:
        assert await store.read_for_caller(_known) == []
        assert not any(each.done() for each in asked)
    finally:
        over.set()
    assert all(await asyncio.gather(*asked))


async def test_who_asks_a_closed_store_is_refused(store_url: str) -> None:
    store = Store(store_url)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.run(_known)


async def test_tokens_are_those_of_the_configuration_and_those_of_operators(store: Store) -> None:
    token = Token("eMAID", "DEV2GC00000001", "Accepted", ("DC", "DC_BPT"))
    await store.run(tokens.replace_configured, [token, Token("ISO14443", "04AA", "Blocked")])
    assert await store.run(tokens.find, "eMAID", "DEV2GC00000001") == token
    await store.run(tokens.replace_configured, [token])
    assert await store.run(tokens.find, "ISO14443", "04AA") is None
    await store.run(tokens.put, Token("ISO14443", "04BB", "Accepted"))
    await store.run(tokens.set_status, "eMAID", "DEV2GC00000001", "Blocked")
    await store.run(tokens.replace_configured, [token])
    assert [each.status for each in await store.run(tokens.list_all)] == ["Accepted", "Blocked"]


async def test_an_older_status_does_not_overwrite_a_newer_one(store: Store) -> None:
    await store.run(stations.touch, "CS", "ocpp2.1", 1)
    for status, at_ms in (("Occupied", 20), ("Available", 10)):
        await store.run(stations.save_connector, "CS", 1, 1, status, at_ms)
    assert (await store.run(stations.list_page))[0]["connectors"][0]["status"] == "Occupied"


async def test_a_settlement_is_stored_once_for_each_journal(store: Store) -> None:
    assert await store.run(records.save_settlement, "CS", "s", "h1", b"{}", 1)
    assert not await store.run(records.save_settlement, "CS", "s", "h1", b"{}", 2)
    assert await store.run(records.save_settlement, "CS", "s", "h2", b'{"a":1}', 3)
    found = await store.run(records.find_settlements, "s")
    assert [(each["journal_head"], each["document"]) for each in found] == [("h2", {"a": 1})]


async def test_connections_that_the_server_has_closed_are_replaced(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = cluster.create()
    opened = Store(cluster.url(database))

    def close_all() -> None:
        ours = f"datname = '{database}' AND pid <> pg_backend_pid()"
        cluster.sql(database, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")

    contact = stations.StationContact("CS-1", "ocpp2.1", 1)
    try:
        await opened.gather(stations.touch_all, contact)
        close_all()
        await opened.gather(stations.touch_all, contact)  # no ping so soon: it fails, and is tried again
        assert await opened.read(_known) == ["CS-1"]
        close_all()
        monkeypatch.setattr("csms.db.store.FRESH_S", 0.0)
        assert await opened.read(_known) == ["CS-1"]
    finally:
        opened.close()
