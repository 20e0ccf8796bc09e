"""The database: migrations lead to the declared tables, work is whole or not at all, and no newer file is touched."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, insert, select

from csms.core.authorize import Token
from csms.rows import records, stations
from csms.store import HEAD, MIGRATIONS, Store, open_sqlite
from csms.tables import metadata
from csms.tables import stations as stations_table
from v2g.errors import StoreError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_sqlite(tmp_path / "data" / "csms.sqlite3")


def test_migrations_lead_to_the_declared_tables(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD
    store.close()


def test_the_newest_revision_is_the_one_that_the_store_knows() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_file_is_wal_durable_and_the_owners_alone(tmp_path: Path, store: Store) -> None:
    with store.engine.connect() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}
    assert pragmas == PRAGMAS
    assert (tmp_path / "data" / "csms.sqlite3").stat().st_mode & 0o777 == 0o600
    store.close()


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_database_of_a_newer_program_is_not_touched(tmp_path: Path, store: Store) -> None:
    store.close()
    path = tmp_path / "data" / "csms.sqlite3"
    database = sqlite3.connect(path)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="migrate"):
        open_sqlite(path)


async def test_work_that_fails_leaves_nothing_behind(store: Store) -> None:
    def work(connection: Connection) -> None:
        stations.touch(connection, "CS", "ocpp2.1", 1)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        await store.run(work)
    assert await store.run(lambda c: c.execute(select(func.count()).select_from(stations_table)).scalar()) == 0
    store.close()


async def test_a_database_that_refuses_is_a_store_error(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.run(lambda c: c.execute(insert(stations_table).values(station_id="CS")))
    store.close()


async def test_the_loop_goes_on_while_the_database_works(store: Store) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(_connection: Connection) -> bool:
        loop.call_soon_threadsafe(done.set)
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(done.wait(), 5), loop).result(5)

    assert await store.run(work) is True
    store.close()


async def test_tokens_are_those_of_the_configuration_and_no_others(store: Store) -> None:
    token = Token("eMAID", "DEV2GC00000001", "Accepted", ("DC", "DC_BPT"))
    await store.run(stations.replace_tokens, [token, Token("ISO14443", "04AA", "Blocked")])
    assert await store.run(stations.find_token, "eMAID", "DEV2GC00000001") == token
    await store.run(stations.replace_tokens, [token])
    assert await store.run(stations.find_token, "ISO14443", "04AA") is None
    store.close()


async def test_an_older_status_does_not_overwrite_a_newer_one(store: Store) -> None:
    await store.run(stations.touch, "CS", "ocpp2.1", 1)
    for status, at_ms in (("Occupied", 20), ("Available", 10)):
        await store.run(stations.save_connector, "CS", 1, 1, status, at_ms)
    assert (await store.run(stations.list_all))[0]["connectors"][0]["status"] == "Occupied"
    store.close()


async def test_a_settlement_is_stored_once_for_each_journal(store: Store) -> None:
    assert await store.run(records.save_settlement, "CS", "s", "h1", b"{}", 1)
    assert not await store.run(records.save_settlement, "CS", "s", "h1", b"{}", 2)
    assert await store.run(records.save_settlement, "CS", "s", "h2", b'{"a":1}', 3)
    found = await store.run(records.find_settlements, "s")
    assert [(each["journal_head"], each["document"]) for each in found] == [("h2", {"a": 1})]
    store.close()
