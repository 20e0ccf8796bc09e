"""Backup and restore: everything of one moment, from either database into either, whole or not at all."""

import asyncio
import gzip
import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, inspect, select, text

from csms.alerts.tables import alerts
from csms.db.backup import backup, restore
from csms.db.schema import metadata
from csms.db.store import HEAD, Store, revision_of
from csms.remote_control.store import data_transfers
from csms.stations import store as stations
from csms.telemetry.tables import telemetry
from csms.transactions.events import add_events
from tests.csms.databases import Cluster, Databases
from tests.csms.db.events import add_document, arrival, found_as
from tests.csms.db.older import PAYMENT
from v2g.errors import CodecError, RefusedError, StoreError


def everything(connection: Connection) -> dict[str, list[Any]]:
    """Every row of every table."""
    return {table.name: sorted(map(repr, connection.execute(select(table)).all())) for table in metadata.sorted_tables}


def fill(store: Store) -> None:
    """Some of everything that is hard: text that needs quoting, booleans, bytes, numbers that rows get."""
    store.do(stations.touch, "CS-1", "ocpp2.1", 1)
    store.do(stations.save_connector, "CS-1", 1, 1, "Available", 5)
    store.do(add_document, '{"a": "ünï\\n\\u0000"}', 7)
    store.do(add_events, [arrival("CS-1", "T1", n, "Ended" if n == 4 else "Started", n) for n in range(5)])
    row = {"ev": "E", "boot": 1, "seq": 2, "at_ms": 3, "received_ms": 4, "digest": b"\x00\xff", "document": b"\x80{"}
    store.do(lambda connection: connection.execute(insert(telemetry).values(**row)))


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, store: Store) -> str:
    """An empty database of the other kind."""
    other = "sqlite" if store.engine.dialect.name == "postgresql" else "postgresql"
    databases: Databases = request.getfixturevalue(f"{other}_databases")
    return databases.create(owner=True)


@pytest.mark.some(1)
def test_what_is_restored_is_what_was_there_and_can_be_worked_with(
    store: Store, store_url: str, empty_url: str, tmp_path: Path
) -> None:
    fill(store)
    file = tmp_path / "csms.db.backup"
    rows = backup(store_url, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert restore(empty_url, file) == rows
    restored = Store(empty_url)
    assert restored.do(everything) == store.do(everything)
    restored.do(add_events, [arrival("CS-1", "T1", 9)])  # numbers go on after those that were restored
    restored.close()


@pytest.mark.some(1)
async def test_a_backup_is_of_one_moment_while_others_write(
    store: Store, store_url: str, empty_url: str, tmp_path: Path
) -> None:
    await store.run(stations.touch, "CS-1", "ocpp2.1", 1)
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            await store.gather(add_events, arrival("CS-1", "T1", number))
            number += 1

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.02)
    await asyncio.to_thread(backup, store_url, tmp_path / "file")
    stop.set()
    await writing
    restore(empty_url, tmp_path / "file")
    other = Store(empty_url)
    (found,) = other.do(found_as, "T1")
    other.close()
    assert found["last_seq"] == len(found["events"]) - 1 >= 0  # the transaction and its events go together


@pytest.mark.long
def test_a_damaged_backup_leaves_nothing_behind(
    sqlite_databases: Databases, postgresql_databases: Databases, tmp_path: Path
) -> None:
    store_url, target = sqlite_databases.create(), postgresql_databases.create(owner=True)
    store = Store(store_url)
    fill(store)
    store.close()
    file = tmp_path / "whole"
    backup(store_url, file)
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    broken = {
        "cut off": b"".join(lines[:-1]),
        "end": b"".join(lines).replace(b"Available", b"Occupied!"),
        "not a backup": b"hello\n",
        "no table": b"".join(lines).replace(b'"name":"stations"', b'"name":"stations; DROP"'),
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(gzip.compress(content))
    (tmp_path / "no gzip").write_bytes(b"hello")
    (tmp_path / "half a gzip").write_bytes(file.read_bytes()[:-20])
    for name in (*broken, "no gzip", "half a gzip"):
        with pytest.raises(CodecError):
            restore(target, tmp_path / name)
    with pytest.raises(StoreError):
        restore(target, tmp_path / "missing")
    restore(target, file)


@pytest.mark.parametrize(("before", "after"), [(b'"E",1,2,', b'"E",99999999999999999999,2,'), (b'"AP8="', b'"A"')])
def test_a_value_that_fits_no_column_is_damage(
    sqlite_databases: Databases, tmp_path: Path, before: bytes, after: bytes
) -> None:
    store_url = sqlite_databases.create()
    store = Store(store_url)
    fill(store)
    store.close()
    backup(store_url, tmp_path / "whole")
    content = gzip.decompress((tmp_path / "whole").read_bytes())
    assert before in content
    (tmp_path / "damaged").write_bytes(gzip.compress(content.replace(before, after)))
    with pytest.raises(CodecError, match="damaged"):
        restore(sqlite_databases.create(), tmp_path / "damaged")


def test_a_backup_of_a_later_version_is_refused_by_that_name(sqlite_databases: Databases, tmp_path: Path) -> None:
    """What it means is not known here, even where its columns fit."""
    backup(sqlite_databases.create(), tmp_path / "file")
    header, *lines = gzip.decompress((tmp_path / "file").read_bytes()).splitlines(keepends=True)
    (tmp_path / "later").write_bytes(gzip.compress(header.replace(HEAD.encode(), b"9999") + b"".join(lines)))
    with pytest.raises(RefusedError, match="revision 9999"):
        restore(f"sqlite:///{tmp_path}/restored.sqlite3", tmp_path / "later")


@pytest.mark.requirement("R136")
def test_a_backup_of_an_earlier_version_is_migrated(
    store: Store, store_url: str, empty_url: str, tmp_path: Path
) -> None:
    """Its names of columns, rows that are unique now, and values of signals that had no column yet."""
    document = b'{"signals": {"motor.speed": 7}}'
    row = {"ev": "E", "boot": 1, "seq": 2, "at_ms": 3, "received_ms": 4, "digest": b"", "document": document}
    store.do(lambda connection: connection.execute(insert(telemetry).values(**row)))
    for number, state in enumerate(("pending", "captured"), 1):
        store.do(lambda c, *of: c.exec_driver_sql(PAYMENT.format(id=of[0], state=of[1])), number, state)
    names = ("subject_kind", "subject", "kind", "severity", "acknowledged_by", "note")
    alert = dict.fromkeys(names, "") | {"raised_ms": 5, "changed_ms": 6, "count": 1, "announced": "raised"}
    store.do(lambda connection: connection.execute(insert(alerts).values(**alert, evidence=b"")))
    backup(store_url, tmp_path / "file")
    lines = [json.loads(line) for line in gzip.decompress((tmp_path / "file").read_bytes()).splitlines()]
    lines[0]["revision"] = "0045"
    for table, rows in pairwise(lines):
        if table.get("name") == "telemetry":
            place = table["columns"].index("motor_speed")
            for each in (table["columns"], *rows["rows"]):
                del each[place]
        elif table.get("name") == "direct_payments":
            rows["rows"] = [["authorized" if each == "captured" else each for each in row] for row in rows["rows"]]
        elif table.get("name") == "alerts":
            table["columns"] = ["told" if each == "announced" else each for each in table["columns"]]
    *whole, end = [json.dumps(each).encode() + b"\n" for each in lines]
    digest = lines[-1]["sha256"].encode()
    end = end.replace(digest, hashlib.sha256(b"".join(whole)).hexdigest().encode())
    (tmp_path / "earlier").write_bytes(gzip.compress(b"".join([*whole, end])))
    restore(empty_url, tmp_path / "earlier")
    restored = Store(empty_url)
    for query, found in (
        ("SELECT motor_speed FROM telemetry", [7.0]),
        ("SELECT state FROM direct_payments ORDER BY id", ["pending", "releasing"]),
        ("SELECT announced_ms FROM alerts WHERE announced = 'raised'", [5]),
    ):
        assert restored.do(lambda connection, query: list(connection.scalars(text(query))), query) == found
    assert restored.do(revision_of) == HEAD
    indices, there = (
        {index.name for table in metadata.sorted_tables for index in table.indexes},
        inspect(restored.engine),
    )
    assert {index["name"] for table in metadata.tables for index in there.get_indexes(table)} >= indices
    restored.close()


def test_nobody_else_reads_a_database_that_store_url_names(sqlite_databases: Databases, tmp_path: Path) -> None:
    backup(sqlite_databases.create(), tmp_path / "file")
    restore(f"sqlite:///{tmp_path}/restored.sqlite3", tmp_path / "file")
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


def test_nothing_is_restored_over_something(sqlite_databases: Databases, tmp_path: Path) -> None:
    store_url = sqlite_databases.create()
    store = Store(store_url)
    fill(store)
    store.close()
    backup(store_url, tmp_path / "file")
    with pytest.raises(RefusedError, match="not empty"):
        restore(store_url, tmp_path / "file")


def test_a_backup_replaces_an_earlier_one_and_nothing_else(sqlite_databases: Databases, tmp_path: Path) -> None:
    url, file = sqlite_databases.create(), tmp_path / "csms.db.backup"
    assert backup(url, file) == backup(url, file)
    database = Path(url.removeprefix("sqlite:///"))
    before = database.read_bytes()
    with pytest.raises(RefusedError, match="is not a backup"):
        backup(url, database)
    assert database.read_bytes() == before


def test_a_database_that_is_not_there_is_not_made_by_a_backup(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not found"):
        backup(f"sqlite:///{tmp_path}/none.sqlite3", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_character_that_postgresql_has_not_is_replaced_there(
    sqlite_databases: Databases, postgresql_databases: Databases, tmp_path: Path
) -> None:
    url = sqlite_databases.create()
    source = Store(url)
    source.do(add_document, "a\0b", 1)
    source.close()
    backup(url, tmp_path / "file")
    target_url = postgresql_databases.create(owner=True)
    restore(target_url, tmp_path / "file")
    target = Store(target_url)
    assert target.do(lambda c: c.execute(select(data_transfers.c.document)).scalar()) == "a\ufffdb"
    target.close()


@pytest.mark.long
def test_a_database_without_tables_gets_them_and_numbers_of_rows_go_on_after_a_restore(
    postgresql_databases: Databases, cluster: Cluster, tmp_path: Path
) -> None:
    source = Store(postgresql_databases.create())
    fill(source)
    source.close()
    backup(str(source.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)), tmp_path / "file")
    url = cluster.url(cluster.create())
    restore(url, tmp_path / "file")
    target = Store(url)
    before = target.do(everything)["transaction_events"]
    target.do(add_events, [arrival("CS-1", "T2", n) for n in range(3)])
    assert len(target.do(everything)["transaction_events"]) == len(before) + 3
    target.close()


def test_a_backup_follows_no_link_and_touches_nothing_beside_it(store: Store, store_url: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("not ours")
    file = tmp_path / "csms.db.backup"
    for trap in (file, file.with_name(file.name + ".part")):
        trap.symlink_to(other)
    backup(store_url, file)
    assert other.read_text() == "not ours"
    assert file.is_file()
    assert not file.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["csms.db.backup", "csms.db.backup.part", "other"]
