"""An empty database gets the declared tables at once: they are what a migration makes of release 0.2.0's."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, inspect, select, text, update

import csms.app  # noqa: F401 - declares what the whole program stores
from csms.db.schema import metadata
from csms.db.store import HEAD, READABLE_BY, Store, migrate, open_engine
from csms.payments.store import open_web_payment, web_payments
from csms.remote_control.store import open_start
from csms.tariffs.store import save_cost
from csms.tariffs.tables import transaction_costs
from tests.csms.databases import Cluster
from tests.csms.db.older import make_0_2_0
from v2g.energy.settlement.costing import Bill
from v2g.errors import StoreError
from v2g.ocpp.messages.authorization import IdToken


def content(engine: Engine) -> dict[str, Any]:
    """Return the tables of a database: columns, keys and indices; their order is of no meaning."""
    found = inspect(engine)
    columns, keys = (
        found.get_multi_columns(),
        found.get_multi_pk_constraint(),
    )  # all tables at once: a fifth of the time
    foreign, unique = found.get_multi_foreign_keys(), found.get_multi_unique_constraints()
    indices = found.get_multi_indexes()
    of_table: dict[str, Any] = {}
    for table in columns:
        of_table[table[1]] = {
            "columns": sorted(str((each["name"], each["type"], each["nullable"], each["default"]))
                              for each in columns[table]),
            "key": keys[table]["constrained_columns"],
            "foreign": sorted(map(str, foreign[table])),
            "unique": sorted(map(str, unique[table])),
            "indices": sorted(
                str((each["name"], each["column_names"], each["unique"],
                     [str(value) for value in each.get("dialect_options", {}).values()]))
                for each in indices[table]
            ),
        }  # fmt: skip
    return of_table


def versions(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM alembic_version"))]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_it_is_what_a_migration_makes_of_the_oldest_one(tmp_path: Path, cluster: Cluster, kind: str) -> None:
    urls = [
        f"sqlite:///{tmp_path}/{name}.sqlite3" if kind == "sqlite" else cluster.url(cluster.create())
        for name in ("migrated", "created")
    ]
    migrated, created = map(open_engine, urls)
    make_0_2_0(migrated)
    migrate(migrated)
    Store(urls[1]).close()
    assert content(created) == content(migrated)
    assert versions(created) == versions(migrated) == [(HEAD, READABLE_BY)]
    migrated.dispose()
    created.dispose()


def test_a_store_in_an_empty_file_has_every_table_and_does_without_alembic(tmp_path: Path) -> None:
    code = "import sys; from csms.db.store import Store; Store(sys.argv[1]).close(); print('alembic' in sys.modules)"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/new.sqlite3"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
    engine = open_engine(f"sqlite:///{tmp_path}/new.sqlite3")
    assert versions(engine) == [(HEAD, READABLE_BY)]
    assert {*metadata.tables, "alembic_version"} == set(inspect(engine).get_table_names())
    engine.dispose()


def test_a_database_that_a_command_made_before_the_first_start_gets_the_table_that_it_lacks(owner_url: str) -> None:
    engine = open_engine(owner_url)
    migrate(engine)
    whole = content(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE enrolments")
        connection.exec_driver_sql("DROP TABLE booked_transactions")
        connection.exec_driver_sql("DROP TABLE past_plans")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0087'")
    migrate(engine)
    assert content(engine) == whole
    engine.dispose()


def test_costs_in_what_stations_once_called_a_currency_have_codes(owner_url: str) -> None:
    store = Store(owner_url)
    names = ("EUR", "eur", "", "US1")

    def stored(connection: Connection) -> list[str]:
        query = select(transaction_costs.c.currency).order_by(transaction_costs.c.incl_tax)
        return list(connection.execute(query).scalars())

    def write(connection: Connection) -> None:
        for number, name in enumerate(names):
            totals = Bill(currency=name, incl_tax=number)
            save_cost(connection, "CS", f"t{number}", totals, "{}", 1, final=True, source="station")

    store.do(write)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0090'")
    migrate(store.engine)
    assert store.do(stored) == ["EUR", "EUR", "XXX", "XXX"]
    store.close()


def test_a_payment_without_its_remote_start_gets_the_one_that_was_made_for_it(owner_url: str) -> None:
    store = Store(owner_url)

    def write(connection: Connection) -> None:
        token = IdToken(id_token="psp-1", type="DirectPayment")
        for evse in (1, 2):
            open_web_payment(connection, "CS", evse, 1_000, 121_000)
        connection.execute(update(web_payments).values(state="Paid"))
        for evse, at_ms in ((1, 900), (1, 2_000), (1, 3_000), (2, 121_001)):
            open_start(connection, "CS", evse, token, None, at_ms)

    store.do(write)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0093'")
    migrate(store.engine)
    query = select(web_payments.c.remote_start_id).order_by(web_payments.c.evse_id)
    assert store.do(lambda connection: list(connection.execute(query).scalars())) == [2, None]
    store.close()


def test_a_file_with_tables_of_others_keeps_them(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "old.sqlite3")) as file:
        file.executescript("CREATE TABLE other (id INTEGER); INSERT INTO other VALUES (7)")
    store = Store(f"sqlite:///{tmp_path}/old.sqlite3")
    assert store.do(lambda connection: connection.execute(text("SELECT id FROM other")).scalars().all()) == [7]
    assert versions(store.engine) == [(HEAD, READABLE_BY)]
    store.close()


def test_a_database_of_before_the_oldest_release_is_left_as_it_is(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "old.sqlite3")) as file:
        file.executescript(
            "CREATE TABLE alembic_version (version_num VARCHAR(32)); INSERT INTO alembic_version VALUES ('0041')"
        )
    with pytest.raises(StoreError, match="revision 0041, which is older than release"):
        Store(f"sqlite:///{tmp_path}/old.sqlite3")


@pytest.mark.parametrize("last", [1, 100])
def test_a_start_that_ends_half_way_leaves_an_empty_file(tmp_path: Path, last: int) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/new.sqlite3")
    made = 0

    @event.listens_for(engine, "after_cursor_execute")
    def end(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal made
        made += "CREATE" in statement
        if made > last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(engine)
    event.remove(engine, "after_cursor_execute", end)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    migrate(engine)
    assert versions(engine) == [(HEAD, READABLE_BY)]
    engine.dispose()
