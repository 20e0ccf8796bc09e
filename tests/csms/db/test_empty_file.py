"""An empty file of SQLite gets at once, from one script, what all migrations would make of it."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, inspect

from csms.db.store import EMPTY, HEAD, READABLE_BY, Store, migrate, open_engine
from docs import database

PRAGMAS = ("user_version", "application_id", "encoding", "auto_vacuum", "journal_mode", "page_size")


def content(path: Path) -> dict[str, Any]:
    """Return all that a file says: its tables and indices, their rows, and its settings."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        master = file.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        tables = [name for kind, name, _, _ in master if kind == "table"]
        rows = {name: file.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
        pragmas = {name: file.execute(f"PRAGMA {name}").fetchall() for name in PRAGMAS}
    return {"master": sorted(master, key=str), "rows": rows, "pragmas": pragmas}


def test_the_script_is_what_all_migrations_make_of_an_empty_file(tmp_path: Path) -> None:
    database.make(migrated := tmp_path / "migrated.sqlite3")
    assert EMPTY.read_text() == database.statements(migrated), "run `python docs/generate.py`"
    Store(f"sqlite:///{tmp_path}/filled.sqlite3").close()
    filled = content(tmp_path / "filled.sqlite3")
    assert filled == content(migrated)
    assert filled["rows"]["alembic_version"] == [(HEAD, READABLE_BY)]


def test_a_store_in_an_empty_file_does_without_alembic(tmp_path: Path) -> None:
    code = "import sys; from csms.db.store import Store; Store(sys.argv[1]).close(); print('alembic' in sys.modules)"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/new.sqlite3"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
    assert content(tmp_path / "new.sqlite3")["rows"]["alembic_version"] == [(HEAD, READABLE_BY)]


def test_a_file_with_tables_of_others_keeps_them(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "old.sqlite3")) as file:
        file.executescript("CREATE TABLE other (id INTEGER); INSERT INTO other VALUES (7)")
    Store(f"sqlite:///{tmp_path}/old.sqlite3").close()
    rows = content(tmp_path / "old.sqlite3")["rows"]
    assert (rows["other"], rows["alembic_version"]) == ([(7,)], [(HEAD, READABLE_BY)])


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
    engine.dispose()
    assert content(tmp_path / "new.sqlite3")["rows"]["alembic_version"] == [(HEAD, READABLE_BY)]
