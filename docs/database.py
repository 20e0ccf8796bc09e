"""What the migrations make of an empty file of SQLite, as the SQL that the store executes there instead."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from csms.db.store import migrate, open_engine


def make(path: Path) -> None:
    """Run every migration on the missing file `path`."""
    engine = open_engine(f"sqlite:///{path}")
    try:
        migrate(engine, "0001")  # for one of an older revision nothing is left out
        migrate(engine)
    finally:
        engine.dispose()


def statements(path: Path) -> str:
    """Return what makes such a file, without what begins and ends a transaction."""
    with closing(sqlite3.connect(path)) as database:
        _begin, *found, _commit = database.iterdump()
    return "\n".join(["-- What all migrations make of an empty file: see docs/generate.py.", *found, ""])


def script() -> str:
    """Return the script of the store."""
    with tempfile.TemporaryDirectory() as folder:
        make(path := Path(folder) / "empty.sqlite3")
        return statements(path)
